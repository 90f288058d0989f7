//! Where SendGrid's API is, with which key it is asked, and how long its silence is waited for.

use std::time::Duration;

use reqwest::Url;
use secrecy::{ExposeSecret as _, SecretString};

use crate::config::ConfigError;
use crate::config::layers::Loaded;
use crate::config::secrets::{is_blank, one_of, trimmed};
use crate::config::sections::twilio::is_local;
use crate::outbound::config::MailApi;

const URL: &str = "sendgrid.api_url";
const SILENCE: &str = "sendgrid.silence_s";

/// The API, checked even if nothing is sent by it.
pub(crate) fn api(loaded: &Loaded) -> Result<MailApi, ConfigError> {
    let url = url(loaded)?;
    let silence = silence(loaded, &url)?;
    Ok(MailApi { url, silence })
}

fn url(loaded: &Loaded) -> Result<String, ConfigError> {
    let wrong = |problem: &str| loaded.error(URL, problem);
    let not_a_url = "it must be the base of SendGrid's API, such as https://api.sendgrid.com";
    let url = Url::parse(loaded.raw.sendgrid.api_url.trim()).map_err(|_| wrong(not_a_url))?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err(wrong(not_a_url));
    }
    if !url.username().is_empty() || url.password().is_some() {
        let problem = "it has a user or a password: requests are authenticated with sendgrid.api_key; leave them out here";
        return Err(wrong(problem));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(wrong("it must end before `?` and `#`: leave out what follows"));
    }
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

fn silence(loaded: &Loaded, url: &str) -> Result<Duration, ConfigError> {
    // Events come within seconds. What stands in for SendGrid on this machine does as it is told.
    let shortest = if is_local(url) { 1 } else { 60 };
    const LONGEST: u64 = 24 * 3600;
    let seconds = loaded.raw.sendgrid.silence_s;
    if (shortest..=LONGEST).contains(&seconds) {
        return Ok(Duration::from_secs(seconds));
    }
    let problem = format!("it is not from {shortest} to {LONGEST}");
    Err(loaded.error(SILENCE, problem))
}

/// The key of the API for a sender of emails, where every request of it can be confirmed: what is missing, and what to do.
pub(crate) fn api_key(loaded: &Loaded) -> Result<SecretString, String> {
    let raw = &loaded.raw.sendgrid;
    let key = one_of(raw.api_key.as_ref().map(trimmed), &raw.api_key_file);
    let key = key.map_err(|problem| format!("sendgrid.api_key_file: {problem}"))?;
    let Some(key) = key else {
        return Err(
            "emails go by SendGrid, and no key of its API is configured: set sendgrid.api_key, or \
                    sendgrid.api_key_file"
                .to_owned(),
        );
    };
    let fits = key.expose_secret().bytes().all(|byte| byte.is_ascii_graphic());
    if is_blank(&key) || !fits {
        return Err(
            "sendgrid.api_key is not a key: copy it from SendGrid's console once more".to_owned()
        );
    }
    if raw.verification_keys.is_empty() {
        return Err(
            "no event of an email would be accepted, so that none would ever be confirmed: set \
                    sendgrid.verification_keys to the key of SendGrid's signed Event Webhook"
                .to_owned(),
        );
    }
    Ok(key)
}

/// The key goes over the wire in the open.
pub(crate) fn warning(loaded: &Loaded, url: &str) -> Option<ConfigError> {
    let is_exposed = url.starts_with("http://") && !is_local(url);
    let problem = "it is http to another machine, so that the key of the API can be read on the way: take https";
    is_exposed.then(|| loaded.error(URL, problem))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::config::testing::{MINIMAL, check_error, load};
    use crate::dispatch::Channel;
    use crate::dispatch::pace::SenderKind;

    const KEY: &str = "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE83T4O/n84iotIvIW4mdBgQ/7dAfSmpqIM8kF9mN1flpVKS3GRqe62gw+2fNNRaIN\
                       XvVpiglSI8eNEc6wEA3F+g==";

    fn file(sendgrid: &str, sender: &str) -> String {
        format!("[sendgrid]\n{sendgrid}\n[[sender]]\nname = 'mail'\n{sender}\n")
    }

    #[track_caller]
    fn check_wrong(sendgrid: &str, sender: &str, parts: &[&str]) {
        check_error(load(&MINIMAL, &file(sendgrid, sender)), parts);
    }

    #[test]
    fn a_sender_of_emails_belongs_to_sendgrid_and_needs_no_country() {
        let keys = format!("api_key = 'SG.x'\nverification_keys = ['{KEY}']");
        for sender in ["from = 'Shop <a@example.com>'", "from = 'a@example.com'\nkind = 'email'"] {
            let config = load(&MINIMAL, &file(&keys, sender)).expect("it is right");
            let config = config.outbound.expect("there is a sender");
            let sender = &config.senders[0];
            assert_eq!((sender.kind, sender.channel()), (SenderKind::Email, Channel::Email));
            assert_eq!((&*sender.account, &*sender.pace), ("sendgrid", "mail"));
            assert_eq!(config.accounts[0].name, "sendgrid");
            let mail = config.mail.expect("it sends emails");
            assert_eq!(mail.silence, Duration::from_secs(600));
            assert_eq!(mail.url, "https://api.sendgrid.com");
        }
    }

    #[test]
    fn what_an_email_cannot_go_without_stops_the_start() {
        let keys = format!("verification_keys = ['{KEY}']");
        let both = format!("api_key = 'SG.x'\n{keys}");
        let from = "from = 'a@example.com'";
        check_wrong(&keys, from, &["sender[0].from", "my.toml", "sendgrid.api_key"]);
        check_wrong("api_key = 'SG.x'", from, &["sender[0].from", "sendgrid.verification_keys"]);
        check_wrong(&format!("api_key = ' '\n{keys}"), from, &["sendgrid.api_key is not a key"]);
        check_wrong(&both, "from = 'ana'\nkind = 'email'", &["sender[0].from", "email address"]);
        let with = |more: &str| format!("{from}\n{more}");
        check_wrong(&both, &with("kind = 'voice'"), &["sender[0].kind", "email"]);
        check_wrong(&both, &with("account = 'AC1'"), &["sender[0].account", "SendGrid"]);
        check_wrong(&both, &with("pool = { long_code = 1 }"), &["sender[0].pool", "SendGrid"]);
        check_wrong(&both, &with("confirm = 'digit'"), &["sender[0].confirm", "calls"]);
        let wrong = |more: &str| format!("{both}\n{more}");
        check_wrong(&wrong("api_url = 'mail'"), from, &["sendgrid.api_url", "my.toml"]);
        check_wrong(&wrong("silence_s = 59"), from, &["sendgrid.silence_s", "60"]);
    }
}

//! [`Api`]: Twilio's API, and with what each account is asked there. For the commands that ask about accounts: a server
//! holds only the credentials of its senders.

use std::time::Duration;

use super::ConfigError;
use super::layers::{self, Loaded, Sources};
use super::sections::{account, outbound, sender, twilio};
use crate::outbound::config::{Credentials, Sender};
use crate::twilio::keyring::Keyring;

/// Where Twilio's API is, and whose numbers can be asked for there.
#[derive(Debug, Clone)]
pub struct Api {
    /// Its base, without a slash at its end.
    pub url: String,
    /// Longest time of a request.
    pub timeout: Duration,
    /// Each `[[account]]` and its sub-accounts.
    pub accounts: Vec<ApiAccount>,
    /// Whether Twilio has no way to the public URL: it names this machine, and the API is not on it.
    pub is_out_of_reach: bool,
}

/// An account that can be asked about.
#[derive(Debug, Clone)]
pub struct ApiAccount {
    /// Its SID.
    pub sid: String,
    /// Its name in metrics.
    pub name: String,
    /// `None` where nothing is configured that Twilio would take.
    pub access: Option<Access>,
}

/// What the requests about an account are authenticated with.
#[derive(Debug, Clone)]
pub struct Access {
    /// User and password.
    pub credentials: Credentials,
    /// The keys of the configuration that give them, for people.
    pub keys: String,
}

impl Access {
    /// Whether they are of this account itself. Those of a parent may ask about its sub-accounts' numbers, and not about
    /// their Messaging Services.
    #[must_use]
    pub fn is_of(&self, account: &str) -> bool {
        self.credentials.user == account || self.is_key()
    }

    /// Whether it is an API key.
    #[must_use]
    pub fn is_key(&self) -> bool {
        self.credentials.user.starts_with("SK")
    }
}

impl Api {
    /// Reads every layer.
    ///
    /// # Errors
    /// The first thing that is wrong with an account, a sender, or the URL of the API.
    pub fn load(sources: &Sources) -> Result<Self, ConfigError> {
        let loaded = layers::load(sources)?;
        let (keyring, _) = account::resolve(&loaded)?;
        let url = twilio::api_url(&loaded)?;
        let senders = sender::resolve(&loaded, &keyring)?.senders;
        let mut accounts: Vec<ApiAccount> = Vec::new();
        for entry in keyring.accounts() {
            let all =
                [entry.sid()].into_iter().chain(entry.subaccounts().iter().map(String::as_str));
            for sid in all {
                // A sub-account may have an entry of its own.
                let is_own = sid == entry.sid() || keyring.account(sid).is_none();
                if is_own {
                    accounts.push(asked(&loaded, &keyring, &senders, sid, entry.sid()));
                }
            }
        }
        let public_url = loaded.raw.public_url.as_deref().unwrap_or_default();
        let is_out_of_reach = twilio::is_local(public_url) && !twilio::is_local(&url);
        let timeout = Duration::from_millis(loaded.raw.outbound.timeout_ms);
        Ok(Self { url, timeout, accounts, is_out_of_reach })
    }
}

/// An account is asked about with its auth token, or else with the API key of one of its senders; a sub-account of an
/// entry with its own API key, or else with the auth token of the entry.
fn asked(
    loaded: &Loaded,
    keyring: &Keyring,
    senders: &[Sender],
    sid: &str,
    entry: &str,
) -> ApiAccount {
    let by_key = || {
        let is_key = |sender: &Sender| sender.credentials.user.starts_with("SK");
        let place = senders.iter().position(|it| it.account == sid && is_key(it))?;
        let keys = format!("sender[{place}].api_key_sid and api_key_secret");
        Some(Access { credentials: senders[place].credentials.clone(), keys })
    };
    let by_token = || {
        let password = account::first_token(loaded, entry)?;
        let keys = format!("the first of auth_tokens of [[account]] {entry} (TWILIO_AUTH_TOKEN)");
        Some(Access { credentials: Credentials { user: entry.to_owned(), password }, keys })
    };
    let access = if sid == entry { by_token().or_else(by_key) } else { by_key().or_else(by_token) };
    let name = outbound::account_name(keyring, sid).unwrap_or_else(|| sid.to_owned());
    ApiAccount { sid: sid.to_owned(), name, access }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;

    fn load(file: &str) -> Api {
        let at = tempfile::NamedTempFile::new().expect("a temporary file");
        std::fs::write(at.path(), file).expect("it is ours");
        let sources = Sources { file: Some(at.path().to_owned()), environment: [].into() };
        Api::load(&sources).expect("it is right")
    }

    #[test]
    fn each_account_is_asked_with_what_it_has() {
        let api = load(
            "public_url = 'https://hooks.example.com'\n\
             [[account]]\nsid = 'AC1'\nname = 'main'\nauth_tokens = ['first', 'second']\n\
             subaccounts = ['AC11', 'AC12', 'AC2']\n\
             [[account]]\nsid = 'AC2'\nname = 'other'\n\
             shared_keys = [{ id = 'KS1', secret = 'secret-of-16-or-more' }]\n\
             [[account]]\nsid = 'AC3'\n\
             shared_keys = [{ id = 'KS2', secret = 'secret-of-16-or-more' }]\n\
             [[sender]]\nname = 'a'\nfrom = '+12125550100'\naccount = 'AC2'\n\
             api_key_sid = 'SK2'\napi_key_secret = 'of-2'\n\
             [[sender]]\nname = 'b'\nfrom = '+12125550101'\naccount = 'AC12'\n\
             api_key_sid = 'SK12'\napi_key_secret = 'of-12'\n",
        );
        let seen: Vec<_> = api
            .accounts
            .iter()
            .map(|account| {
                let by = account.access.as_ref().map(|access| {
                    let password = access.credentials.password.expose_secret();
                    (access.credentials.user.as_str(), password, access.is_of(&account.sid))
                });
                (account.sid.as_str(), account.name.as_str(), by)
            })
            .collect();
        assert_eq!(
            seen,
            [
                ("AC1", "main", Some(("AC1", "first", true))),
                ("AC11", "main_1", Some(("AC1", "first", false))),
                ("AC12", "main_2", Some(("SK12", "of-12", true))),
                ("AC2", "other", Some(("SK2", "of-2", true))),
                ("AC3", "account_3", None),
            ]
        );
        let keys = api.accounts[3].access.as_ref().map(|access| access.keys.as_str());
        assert_eq!(keys, Some("sender[0].api_key_sid and api_key_secret"));
        assert_eq!((api.url.as_str(), api.is_out_of_reach), ("https://api.twilio.com", false));
    }

    #[test]
    fn twilio_has_no_way_to_a_public_url_of_this_machine() {
        let check = |public: &str, api: &str, expected: bool| {
            let text = format!(
                "public_url = '{public}'\n[twilio]\napi_url = '{api}'\n\
                 [[account]]\nsid = 'AC1'\nauth_tokens = ['x']\n"
            );
            assert_eq!(load(&text).is_out_of_reach, expected, "{public} {api}");
        };
        check("http://127.0.0.1:8080", "https://api.twilio.com", true);
        check("http://127.0.0.1:8080", "http://127.0.0.1:8090", false);
        check("https://hooks.example.com", "https://api.twilio.com", false);
    }
}

//! [`Ours`]: the URLs of this deployment, and where a configured URL [`Points`].

use crate::cli::callback_url::Urls;
use crate::config::Config;
use crate::event::Route;
use crate::labels::{Label as _, labels};
use crate::twilio::rest::{Field, Hook, Incoming};

labels! {
    /// Where a URL leads.
    pub(in crate::cli) enum Points {
        /// To this deployment.
        Here = "here",
        /// To this deployment, and there to another route than the one for it.
        Misplaced = "misplaced",
        /// To another server.
        Elsewhere = "elsewhere",
        /// No URL is set.
        Nowhere = "nowhere",
        /// Twilio goes by an application, a trunk, or the numbers of the Messaging Service.
        Overridden = "overridden",
    }
}

/// What a number should have, so that nothing is lost if the application fails.
pub(in crate::cli) struct Ours {
    /// The public URL with the path prefix, as [`place`] writes it.
    base: String,
    urls: Urls,
}

impl Ours {
    pub(in crate::cli) fn of(config: &Config) -> Self {
        let base = format!("{}{}", config.public_url.as_str(), config.inbound.path_prefix.as_str());
        Self { base: place(&base), urls: Urls::of(config) }
    }

    /// The URL of this deployment for a field; `None` where the application's own belongs.
    fn url(&self, field: Field) -> Option<&str> {
        match field {
            Field::VoiceUrl | Field::SmsUrl | Field::InboundRequestUrl => None,
            Field::VoiceFallbackUrl => Some(&self.urls.voice_fallback),
            Field::SmsFallbackUrl | Field::FallbackUrl => Some(&self.urls.sms_fallback),
            Field::StatusCallback => Some(&self.urls.status),
        }
    }

    pub(in crate::cli) fn points(&self, hook: &Hook) -> Points {
        if hook.overridden_by.is_some() {
            return Points::Overridden;
        }
        let Some(url) = &hook.url else { return Points::Nowhere };
        let place = place(url);
        let route = place.strip_prefix(&self.base);
        let Some(route) = route.filter(|rest| rest.is_empty() || rest.starts_with('/')) else {
            return Points::Elsewhere;
        };
        let fits = match self.url(hook.field) {
            Some(expected) => self::place(expected) == place,
            None => Route::parse(route.trim_start_matches('/')).is_some(),
        };
        if fits { Points::Here } else { Points::Misplaced }
    }

    /// The fallback URLs and status callbacks that are empty, with what they should be.
    pub(in crate::cli) fn missing(&self, of: &Incoming) -> Vec<(Field, &str)> {
        self.wanted(of, |hook, _| hook.url.is_none())
    }

    /// Those that are something else than they should be.
    pub(super) fn different(&self, of: &Incoming) -> Vec<(Field, &str)> {
        self.wanted(of, |hook, ours| hook.url.as_deref() != Some(ours))
    }

    fn wanted(&self, of: &Incoming, is: impl Fn(&Hook, &str) -> bool) -> Vec<(Field, &str)> {
        let hooks = of.hooks.iter().filter(|hook| hook.overridden_by.is_none());
        let wanted = hooks.filter_map(|hook| {
            let ours = self.url(hook.field)?;
            is(hook, ours).then_some((hook.field, ours))
        });
        wanted.collect()
    }
}

/// A URL without what does not decide where it leads: user, password, default port, query and fragment.
fn place(url: &str) -> String {
    let url = url.split(['?', '#']).next().unwrap_or_default().trim_end_matches('/');
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let scheme = scheme.to_ascii_lowercase();
    let host = authority.rsplit('@').next().unwrap_or_default().to_ascii_lowercase();
    let port = if scheme == "https" { ":443" } else { ":80" };
    let host = host.strip_suffix(port).unwrap_or(&host);
    format!("{scheme}://{host}{path}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::twilio::rest::What;

    fn ours() -> Ours {
        let base = "https://user:secret@hooks.example.com/twilio";
        let url = |route: &str| format!("{base}{route}#rc=5&rp=all");
        let urls = Urls {
            status: url("/status"),
            incoming_message: url("/incoming-message"),
            voice_fallback: url("/voice-fallback"),
            sms_fallback: url("/sms-fallback"),
            event_streams: url("/event-streams"),
            debugger: url("/debugger"),
        };
        Ours { base: place(base), urls }
    }

    fn hook(field: Field, url: &str) -> Hook {
        let url = Some(url.to_owned()).filter(|url| !url.is_empty());
        Hook { field, url, method: None, overridden_by: None }
    }

    #[test]
    fn a_url_points_here_whatever_its_spelling_query_and_fragment() {
        let check = |field, url: &str, expected| {
            assert_eq!(ours().points(&hook(field, url)), expected, "{url}");
        };
        let fallback = Field::VoiceFallbackUrl;
        for url in [
            "https://hooks.example.com/twilio/voice-fallback",
            "HTTPS://Hooks.Example.com:443/twilio/voice-fallback/",
            "https://user:secret@hooks.example.com/twilio/voice-fallback?a=1#rc=2",
        ] {
            check(fallback, url, Points::Here);
        }
        check(fallback, "https://hooks.example.com/twilio/sms-fallback", Points::Misplaced);
        check(fallback, "https://hooks.example.com/twilio", Points::Misplaced);
        check(fallback, "https://hooks.example.com/twilio-2/voice-fallback", Points::Elsewhere);
        check(fallback, "http://hooks.example.com/twilio/voice-fallback", Points::Elsewhere);
        check(fallback, "https://hooks.example.com:8443/twilio/voice-fallback", Points::Elsewhere);
        check(fallback, "", Points::Nowhere);
        check(Field::VoiceUrl, "https://app.example.com/voice", Points::Elsewhere);
        check(Field::VoiceUrl, "https://hooks.example.com/twilio/voice-fallback", Points::Here);
        check(Field::SmsUrl, "https://hooks.example.com/twilio/incoming-message", Points::Here);
        check(Field::SmsUrl, "https://hooks.example.com/twilio/sms", Points::Misplaced);
        let by = Some("AP1".to_owned());
        let overridden = Hook { overridden_by: by, ..hook(fallback, "") };
        assert_eq!(ours().points(&overridden), Points::Overridden);
    }

    #[test]
    fn only_fallbacks_and_status_callbacks_are_ever_set() {
        let elsewhere = "https://app.example.com/x";
        let by = Some("AP1".to_owned());
        let of = Incoming {
            what: What::Number,
            sid: "PN1".to_owned(),
            account: "AC1".to_owned(),
            number: Some("+15550100".to_owned()),
            name: None,
            hooks: vec![
                hook(Field::VoiceUrl, ""),
                hook(Field::VoiceFallbackUrl, ""),
                Hook { overridden_by: by, ..hook(Field::SmsFallbackUrl, "") },
                hook(Field::StatusCallback, elsewhere),
            ],
        };
        let ours = ours();
        let fields = |wanted: Vec<(Field, &str)>| wanted.iter().map(|it| it.0).collect::<Vec<_>>();
        assert_eq!(fields(ours.missing(&of)), [Field::VoiceFallbackUrl]);
        assert_eq!(fields(ours.different(&of)), [Field::VoiceFallbackUrl, Field::StatusCallback]);
    }
}

//! `offhook callback-url`: what to paste into Twilio, and the commands of Twilio's CLI that set it.

mod own;
mod snippet;

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use self::own::Parameter;
use self::snippet::Snippet;
use super::output::Format;
use super::terminal::out;
use crate::config::{Config, Role, Sources};

/// Asks Twilio for five retries, after every kind of failure. By default it tries once more, and
/// only if no connection came about. Event Streams has retries of its own, for hours.
const RETRY: &str = "#rc=5&rp=all";

/// The arguments.
#[derive(Debug, Args)]
pub(super) struct CallbackUrl {
    /// A parameter of your own, such as order_id=A-1, which comes back with every callback; may be repeated
    #[arg(long, value_name = "NAME=VALUE")]
    own: Vec<Parameter>,
    /// Print a function that makes such URLs in your program
    #[arg(long, value_enum, value_name = "LANGUAGE", conflicts_with = "json")]
    snippet: Option<Snippet>,
    #[command(flatten)]
    format: Format,
}

/// Every URL that Twilio may be given.
#[derive(Debug, Serialize)]
pub(super) struct Urls {
    pub(super) status: String,
    pub(super) incoming_message: String,
    pub(super) voice_fallback: String,
    pub(super) sms_fallback: String,
    pub(super) event_streams: String,
    pub(super) debugger: String,
}

impl Urls {
    pub(super) fn of(config: &Config) -> Self {
        Self::below(config.public_url.as_str(), config, "")
    }

    /// To be shown where nothing is pasted from: only Twilio is given the password.
    pub(super) fn without_password(config: &Config) -> Self {
        Self::below(&without_password(config.public_url.as_str()), config, "")
    }

    /// `query` goes into the URLs that are about one call or message, and not into the two that get everything.
    fn below(base: &str, config: &Config, query: &str) -> Self {
        let base = format!("{base}{}", config.inbound.path_prefix.as_str());
        let url = |route: &str| format!("{base}{route}{query}{RETRY}");
        Self {
            status: url("/status"),
            incoming_message: url("/incoming-message"),
            voice_fallback: url("/voice-fallback"),
            sms_fallback: url("/sms-fallback"),
            event_streams: format!("{base}/event-streams"),
            debugger: format!("{base}/debugger"),
        }
    }
}

/// `https://user:…@host`, where there is a password.
pub(super) fn without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    match authority.rsplit_once('@').map(|(login, host)| (login.split_once(':'), host)) {
        Some((Some((user, _)), host)) => format!("{scheme}://{user}:…@{host}{path}"),
        _ => url.to_owned(),
    }
}

/// Prints them.
///
/// # Errors
/// The configuration is wrong, or the parameters are too long.
pub(super) fn run(config: Option<PathBuf>, wanted: &CallbackUrl) -> anyhow::Result<()> {
    let config = Config::load(&Sources::of_process(config), Role::All)?;
    match wanted.snippet {
        Some(snippet) => out!("{}", snippet.write(&Urls::of(&config).status, &wanted.own)),
        None => {
            let query = own::query(&wanted.own)?;
            let urls = Urls::below(config.public_url.as_str(), &config, &query);
            wanted.format.print(&urls, explain);
        }
    }
    Ok(())
}

/// Every URL stands in quotes where a shell would read it: `#` and `&` mean something there.
fn explain(urls: &Urls) -> String {
    let Urls { status, incoming_message, voice_fallback, sms_fallback, event_streams, debugger } =
        urls;
    format!(
        "Paste into Twilio:

  status callbacks    {status}
  incoming messages   {incoming_message}
  voice fallback      {voice_fallback}
  SMS fallback        {sms_fallback}
  Event Streams sink  {event_streams}
  debugger webhook    {debugger}

Or with Twilio's CLI. The fallbacks and status callbacks of a number:

  twilio api:core:incoming-phone-numbers:update --sid PN… \\
    --status-callback '{status}' --status-callback-method POST \\
    --voice-fallback-url '{voice_fallback}' --voice-fallback-method POST \\
    --sms-fallback-url '{sms_fallback}' --sms-fallback-method POST

Messages of a Messaging Service:

  twilio api:messaging:v1:services:update --sid MG… \\
    --status-callback '{status}' --fallback-url '{sms_fallback}' --fallback-method POST

One message or call, when it is created (a call reports only its end unless you ask for more):

  twilio api:core:messages:create --from … --to … --body … --status-callback '{status}'
  twilio api:core:calls:create --from … --to … --url … --status-callback '{status}' \\
    --status-callback-event initiated --status-callback-event ringing \\
    --status-callback-event answered --status-callback-event completed

A sink of Event Streams:

  twilio api:events:v1:sinks:create --description offhook --sink-type webhook \\
    --sink-configuration '{{\"destination\":\"{event_streams}\",\"method\":\"POST\",\"batch_events\":true}}'

The debugger webhook can only be set in Twilio's console.
"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_not_shown() {
        let check = |url: &str, shown: &str| assert_eq!(without_password(url), shown);
        check("https://u:p@ss@h.example:1/a@b", "https://u:…@h.example:1/a@b");
        check("https://u@h.example/a:b@c", "https://u@h.example/a:b@c");
        check("https://h.example", "https://h.example");
    }

    #[test]
    fn urls_ask_for_retries_and_are_quoted_for_a_shell() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let at = ([127, 0, 0, 1], 8080).into();
        let config = Config::demo(directory.path(), "AC1", "s3cret", at, None).expect("complete");
        let text = explain(&Urls::of(&config));
        assert!(text.contains("status callbacks    http://127.0.0.1:8080/status#rc=5&rp=all\n"));
        assert!(
            text.contains("--voice-fallback-url 'http://127.0.0.1:8080/voice-fallback#rc=5&rp")
        );
        assert!(text.contains("http://127.0.0.1:8080/event-streams\n"), "{text}");
        let commands = text.split("CLI").nth(1).unwrap_or_default();
        let bare = commands.match_indices("#rc").filter(|(at, _)| {
            let before = &commands[..*at];
            before.matches('\'').count().is_multiple_of(2)
        });
        assert_eq!(bare.count(), 0, "{text}");
        assert!(!text.contains("s3cret"), "{text}");
    }
}

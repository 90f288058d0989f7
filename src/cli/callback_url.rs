//! `offhook callback-url`: what to paste into Twilio, and the commands of Twilio's CLI that set it.

use std::path::PathBuf;

use crate::config::{Config, Role, Sources};

/// Asks Twilio for five retries, after every kind of failure. By default it tries once more, and
/// only if no connection came about. Event Streams has retries of its own, for hours.
const RETRY: &str = "#rc=5&rp=all";

/// Every URL that Twilio may be told.
pub(super) struct Urls {
    pub(super) status: String,
    pub(super) voice_fallback: String,
    pub(super) sms_fallback: String,
    pub(super) event_streams: String,
    pub(super) debugger: String,
}

impl Urls {
    pub(super) fn of(config: &Config) -> Self {
        let base = format!("{}{}", config.public_url.as_str(), config.inbound.path_prefix.as_str());
        let url = |route: &str, fragment: &str| format!("{base}{route}{fragment}");
        Self {
            status: url("/status", RETRY),
            voice_fallback: url("/voice-fallback", RETRY),
            sms_fallback: url("/sms-fallback", RETRY),
            event_streams: url("/event-streams", ""),
            debugger: url("/debugger", ""),
        }
    }
}

/// Prints them.
///
/// # Errors
/// The configuration is wrong.
pub(super) fn run(config: Option<PathBuf>) -> anyhow::Result<()> {
    let config = Config::load(&Sources::of_process(config), Role::All)?;
    print!("{}", explain(&Urls::of(&config)));
    Ok(())
}

/// Every URL stands in quotes where a shell would read it: `#` and `&` mean something there.
fn explain(urls: &Urls) -> String {
    let Urls { status, voice_fallback, sms_fallback, event_streams, debugger } = urls;
    format!(
        "Paste into Twilio:

  status callbacks    {status}
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

One message or call, when it is made (a call reports only its end unless it is asked for more):

  twilio api:core:messages:create --from … --to … --body … --status-callback '{status}'
  twilio api:core:calls:create --from … --to … --url … --status-callback '{status}' \\
    --status-callback-event initiated --status-callback-event ringing \\
    --status-callback-event answered --status-callback-event completed

A sink of Event Streams:

  twilio api:events:v1:sinks:create --description offhook --sink-type webhook \\
    --sink-configuration '{{\"destination\":\"{event_streams}\",\"method\":\"POST\",\"batch_events\":true}}'

The debugger webhook is set in Twilio's console alone.
"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_ask_for_retries_and_are_quoted_for_a_shell() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let at = ([127, 0, 0, 1], 8080).into();
        let config = Config::demo(directory.path(), "AC1", "s3cret", at).expect("complete");
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

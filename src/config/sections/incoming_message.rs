//! `[incoming_message]`: what messages that come in are answered.

use std::path::PathBuf;

use serde::Deserialize;

use super::fallback::twiml;
use crate::config::ConfigError;
use crate::config::layers::Loaded;
use crate::twilio::twiml::{Medium, Twiml};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawIncomingMessage {
    pub(crate) twiml: Option<String>,
    pub(crate) twiml_file: Option<PathBuf>,
}

/// What they are answered.
pub(crate) fn resolve(loaded: &Loaded) -> Result<Twiml, ConfigError> {
    const KEY: &str = "incoming_message.twiml";
    const FILE_KEY: &str = "incoming_message.twiml_file";
    let raw = &loaded.raw.incoming_message;
    let file = raw.twiml_file.as_ref().filter(|_| loaded.overrides(FILE_KEY, KEY));
    let found = twiml(raw.twiml.as_ref(), file, Medium::Sms);
    let found = found
        .map_err(|problem| loaded.error(if file.is_some() { FILE_KEY } else { KEY }, problem))?;
    Ok(found.unwrap_or(Twiml::EMPTY))
}

#[cfg(test)]
mod tests {
    use crate::config::testing::{MINIMAL, check_error, load};
    use crate::twilio::twiml::Twiml;

    #[test]
    fn what_is_answered_is_twiml_and_by_default_nothing() {
        let config = load(&MINIMAL, "").expect("complete");
        assert_eq!(config.incoming, Twiml::EMPTY);
        let thanks = "<Response><Message>Thanks</Message></Response>";
        let file = format!("[incoming_message]\ntwiml = '{thanks}'");
        let config = load(&MINIMAL, &file).expect("complete");
        assert_eq!(&config.incoming.bytes()[..], thanks.as_bytes());
        check_error(
            load(&MINIMAL, "[incoming_message]\ntwiml = '<Response><Dial/></Response>'"),
            &["incoming_message.twiml", "my.toml", "<Dial>"],
        );
        check_error(
            load(&MINIMAL, "[incoming_message]\ntwiml_file = '/nowhere/twiml'"),
            &["incoming_message.twiml_file", "/nowhere/twiml cannot be read"],
        );
    }
}

//! `[fallback]`: the TwiML that answers when the application behind a number does not.

use std::collections::HashMap;
use std::path::PathBuf;

use serde::Deserialize;

use crate::config::ConfigError;
use crate::config::layers::Loaded;
use crate::config::secrets::read;
use crate::twilio::fallback::{Fallback, PerNumber};
use crate::twilio::twiml::{Medium, Twiml};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawFallback {
    pub(crate) voice: Option<String>,
    pub(crate) voice_file: Option<PathBuf>,
    pub(crate) sms: Option<String>,
    pub(crate) sms_file: Option<PathBuf>,
    #[serde(default)]
    pub(crate) number: Vec<RawNumber>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawNumber {
    pub(crate) number: String,
    pub(crate) voice: Option<String>,
    pub(crate) voice_file: Option<PathBuf>,
    pub(crate) sms: Option<String>,
    pub(crate) sms_file: Option<PathBuf>,
}

/// What the fallback URLs answer.
pub(crate) fn resolve(loaded: &Loaded) -> Result<Fallback, ConfigError> {
    let raw = &loaded.raw.fallback;
    let twiml = |key: &str, text: &Option<String>, file: &Option<PathBuf>, medium| {
        let (key, file_key) = (format!("fallback.{key}"), format!("fallback.{key}_file"));
        let file = file.as_ref().filter(|_| loaded.overrides(&file_key, &key));
        let found = twiml(text.as_ref(), file, medium);
        found
            .map_err(|problem| loaded.error(if file.is_some() { &file_key } else { &key }, problem))
    };
    let mut numbers = HashMap::new();
    for number in &raw.number {
        let RawNumber { number, voice, voice_file, sms, sms_file } = number;
        let per_number = PerNumber {
            voice: twiml("number.voice", voice, voice_file, Medium::Voice)?,
            sms: twiml("number.sms", sms, sms_file, Medium::Sms)?,
        };
        if numbers.insert(number.clone(), per_number).is_some() {
            return Err(loaded.error("fallback.number", "a number is there twice"));
        }
    }
    let voice = twiml("voice", &raw.voice, &raw.voice_file, Medium::Voice)?;
    let sms = twiml("sms", &raw.sms, &raw.sms_file, Medium::Sms)?;
    Ok(Fallback { voice: voice.unwrap_or(Twiml::EMPTY), sms: sms.unwrap_or(Twiml::EMPTY), numbers })
}

/// The TwiML of a text or of a file, which overrides it.
pub(crate) fn twiml(
    text: Option<&String>,
    file: Option<&PathBuf>,
    medium: Medium,
) -> Result<Option<Twiml>, String> {
    let text = match file {
        Some(path) => Some(read(path)?),
        None => text.cloned(),
    };
    text.map(|text| Twiml::parse(&text, medium).map_err(|error| error.to_string())).transpose()
}

#[cfg(test)]
mod tests {
    use crate::config::testing::{MINIMAL, check_error, load};

    #[test]
    fn what_is_answered_is_twiml() {
        check_error(
            load(&MINIMAL, "[fallback]\nvoice = '<Response><say/></Response>'"),
            &["fallback.voice", "my.toml", "<say> is not a verb for voice"],
        );
    }
}

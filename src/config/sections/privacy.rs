//! `[privacy]`: what of a callback may be kept.

use std::path::PathBuf;

use secrecy::SecretString;
use serde::Deserialize;

use super::named;
use crate::config::ConfigError;
use crate::config::layers::Loaded;
use crate::config::secrets::one_of;
use crate::twilio::privacy::{Class, KeyError, Privacy, Treatment, Treatments};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawPrivacy {
    #[serde(deserialize_with = "named")]
    pub(crate) numbers: Treatment,
    #[serde(deserialize_with = "named")]
    pub(crate) names: Treatment,
    #[serde(deserialize_with = "named")]
    pub(crate) bodies: Treatment,
    pub(crate) key: Option<SecretString>,
    pub(crate) key_file: Option<PathBuf>,
    pub(crate) also_numbers: Vec<String>,
    pub(crate) also_names: Vec<String>,
    pub(crate) also_bodies: Vec<String>,
}

/// What of a callback may be kept.
pub(crate) fn resolve(loaded: &Loaded) -> Result<Privacy, ConfigError> {
    let raw = &loaded.raw.privacy;
    let key = one_of(raw.key.clone(), &raw.key_file)
        .map_err(|problem| loaded.error("privacy.key_file", problem))?;
    let treatments = [
        ("privacy.numbers", raw.numbers),
        ("privacy.names", raw.names),
        ("privacy.bodies", raw.bodies),
    ];
    let also = [
        (&raw.also_numbers, Class::Numbers),
        (&raw.also_names, Class::Names),
        (&raw.also_bodies, Class::Bodies),
    ];
    let also =
        also.into_iter().flat_map(|(names, class)| names.iter().map(move |name| (&**name, class)));
    let [(_, numbers), (_, names), (_, bodies)] = treatments;
    Privacy::new(Treatments { numbers, names, bodies }, also, key.as_ref()).map_err(|error| {
        let needs = treatments.iter().find(|(_, treatment)| *treatment != Treatment::Plain);
        let key = match (error, needs) {
            (KeyError::Missing, Some((key, _))) => key,
            _ if raw.key_file.is_some() => "privacy.key_file",
            _ => "privacy.key",
        };
        loaded.error(key, error.to_string())
    })
}

#[cfg(test)]
mod tests {
    use crate::config::testing::{MINIMAL, check_error, load};

    #[test]
    fn what_is_not_plain_needs_a_key() {
        let key = "0123456789abcdef0123456789abcdef";
        let hashed = "[privacy]\nnumbers = 'hash'\nalso_numbers = ['phone']\n";
        let config = load(&MINIMAL, &format!("{hashed}key = '{key}'")).expect("complete");
        let forms = config.privacy.forms("+15550100");
        assert!(forms.len() == 2 && forms[1].starts_with("hash:"), "{forms:?}");
        let shown = format!("{config:?}");
        assert!(shown.contains("\"phone\": Numbers"), "{shown}");
        assert!(!shown.contains(key), "Debug shows the key");

        check_error(
            load(&MINIMAL, hashed),
            &["privacy.numbers (", "my.toml", "privacy.key_file", "openssl"],
        );
        let dropped = "[privacy]\nbodies = 'drop'";
        check_error(load(&MINIMAL, dropped), &["privacy.bodies (", "privacy.key_file"]);
        let short = format!("{hashed}key = 't0ken'");
        check_error(load(&MINIMAL, &short), &["privacy.key (", "my.toml", "less than 32"]);
        let nowhere = format!("{hashed}key_file = '/nowhere/key'");
        check_error(load(&MINIMAL, &nowhere), &["privacy.key_file", "/nowhere/key cannot be read"]);
        let unheard = "[privacy]\nnames = 't0ken'";
        check_error(
            load(&MINIMAL, unheard),
            &["privacy.names", "my.toml", "`mask`, `hash`, `drop`"],
        );
    }
}

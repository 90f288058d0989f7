//! `[sendgrid]`: where its API is, by whom email events may be signed, and how large a request of them may be.

mod api;

use std::collections::HashSet;
use std::path::PathBuf;

use secrecy::SecretString;
use serde::Deserialize;

pub(crate) use self::api::{api, api_key, warning};
use crate::config::ConfigError;
use crate::config::layers::Loaded;
use crate::sendgrid::keys::{MOST, VerificationKey, VerificationKeys};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawSendgrid {
    pub(crate) api_url: String,
    pub(crate) api_key: Option<SecretString>,
    pub(crate) api_key_file: Option<PathBuf>,
    pub(crate) silence_s: u64,
    pub(crate) verification_keys: Vec<String>,
    pub(crate) event_body_limit: usize,
}

const KEYS: &str = "sendgrid.verification_keys";
const LIMIT: &str = "sendgrid.event_body_limit";

/// The keys that email events may be signed with.
pub(crate) fn verification_keys(loaded: &Loaded) -> Result<VerificationKeys, ConfigError> {
    let raw = &loaded.raw.sendgrid.verification_keys;
    if raw.len() > MOST {
        let problem =
            format!("{} keys are too many, because each is tried: leave {MOST} at most", raw.len());
        return Err(loaded.error(KEYS, problem));
    }
    let mut texts = HashSet::new();
    if let Some(twice) = raw.iter().position(|text| !texts.insert(text.trim())) {
        return Err(
            loaded.error(KEYS, format!("key {} is there twice: leave it out once", twice + 1))
        );
    }
    let key = |(place, text): (usize, &String)| {
        VerificationKey::parse(place, text)
            .map_err(|error| loaded.error(KEYS, format!("key {}: {error}", place + 1)))
    };
    let keys = raw.iter().enumerate().map(key).collect::<Result<Vec<_>, _>>()?;
    Ok(VerificationKeys::new(keys))
}

/// The largest body of a request of email events, in bytes.
pub(crate) fn event_body_limit(loaded: &Loaded) -> usize {
    loaded.raw.sendgrid.event_body_limit
}

/// Bounds that nothing passes.
pub(crate) fn warnings(loaded: &Loaded) -> impl Iterator<Item = ConfigError> {
    const LARGE: usize = 16 * 1024 * 1024;
    const REFUSED: &str = "with 0 every email event is refused: give it a value, or leave it out";
    let limit = loaded.raw.sendgrid.event_body_limit;
    let too_large = (limit > LARGE).then(|| {
        let problem = "SendGrid's requests have about 1 MiB, and four bodies of this size may be in memory at a time: lower it";
        loaded.error(LIMIT, problem)
    });
    loaded.zero(LIMIT, limit as u64, REFUSED).into_iter().chain(too_large)
}

#[cfg(test)]
mod tests {
    use crate::config::testing::{MINIMAL, check_error, check_warning, load};

    const KEY: &str = "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE83T4O/n84iotIvIW4mdBgQ/7dAfSmpqIM8kF9mN1flpVKS3GRqe62gw+2fNNRaIN\
                       XvVpiglSI8eNEc6wEA3F+g==";

    #[test]
    fn a_bad_key_stops_the_start_and_is_named_by_its_place() {
        let file = |keys: &str| format!("[sendgrid]\nverification_keys = [{keys}]");
        let config = load(&MINIMAL, &file(&format!("'{KEY}'"))).expect("complete");
        assert_eq!(config.email_keys.iter().count(), 1);
        let config = load(&MINIMAL, "").expect("complete");
        assert!(config.email_keys.is_empty());
        assert_eq!(config.inbound.event_body_limit, 1 << 20);
        let wrong = "sendgrid.verification_keys";
        check_error(
            load(&MINIMAL, &file(&format!("'{KEY}', 't0ken'"))),
            &[wrong, "my.toml", "key 2", "copy"],
        );
        check_error(
            load(&MINIMAL, &file(&format!("'{KEY}', '{KEY}'"))),
            &[wrong, "key 2 is there twice"],
        );
        check_error(
            load(&MINIMAL, &file(&format!("'{}'", &KEY[..80]))),
            &[wrong, "key 1", "124 characters"],
        );
        let many: Vec<_> = (0..9).map(|place| format!("'{place}'")).collect();
        check_error(load(&MINIMAL, &file(&many.join(","))), &[wrong, "9 keys are too many"]);
    }

    #[test]
    fn a_bound_that_nothing_passes_is_warned_of() {
        check_warning(
            &[],
            "[sendgrid]\nevent_body_limit = 0",
            "sendgrid.event_body_limit",
            "with 0",
        );
        let large = "[sendgrid]\nevent_body_limit = 67108864";
        check_warning(&[], large, "sendgrid.event_body_limit", "in memory");
    }
}

//! [`RestartOnly`]: what a reload cannot change, so that it can say what it did not take.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use config::{Map, Value, ValueKind};

/// The sections and keys that a reload applies. Every other key needs a restart.
const RELOADED: [&str; 20] = [
    "account",
    "campaigns",
    "fallback",
    "forward",
    "incoming_message",
    "privacy",
    "quiet_hours",
    "route",
    "sender",
    "sendgrid.api_key",
    "sendgrid.api_key_file",
    "sendgrid.verification_keys",
    "outbound.tokens",
    "outbound.countries",
    "outbound.only_to",
    "outbound.max_per_day",
    "outbound.max_per_recipient_hour",
    "outbound.max_calls_per_recipient_hour",
    "outbound.call_confirmed",
    "outbound.call_not_confirmed",
];

/// A [`fingerprint`] of the value of every other key.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RestartOnly(BTreeMap<String, u64>);

impl RestartOnly {
    /// Takes another layer in, which overrides those before.
    pub(super) fn add(&mut self, values: &Map<String, Value>) {
        for (key, value) in values {
            self.note(key.clone(), value);
        }
    }

    fn note(&mut self, key: String, value: &Value) {
        if RELOADED.contains(&&*key) {
            return;
        }
        if let ValueKind::Table(table) = &value.kind {
            for (name, value) in table {
                self.note(format!("{key}.{name}"), value);
            }
            return;
        }
        let fingerprint = fingerprint(&key, value);
        self.0.insert(key, fingerprint);
    }

    /// The keys that say something else in `other`.
    #[must_use]
    pub fn changed<'a>(&'a self, other: &'a Self) -> Vec<&'a str> {
        let gone = self.0.keys().filter(|key| !other.0.contains_key(*key));
        let differs = other.0.iter().filter(|(key, said)| self.0.get(*key) != Some(said));
        let mut keys: Vec<_> =
            differs.map(|(key, _)| key).chain(gone).map(String::as_str).collect();
        keys.sort_unstable();
        keys
    }
}

/// A fingerprint of a value, and of the content of each file that it names: values are compared by it and cannot be shown.
/// It is the same for the same value within a process.
pub(super) fn fingerprint(key: &str, value: &Value) -> u64 {
    let mut hasher = DefaultHasher::new();
    hash(key, value, &mut hasher);
    hasher.finish()
}

fn hash(key: &str, value: &Value, into: &mut DefaultHasher) {
    match &value.kind {
        ValueKind::Table(table) => {
            // In an order, which a map has none of.
            for (name, value) in table.iter().collect::<BTreeMap<_, _>>() {
                name.hash(into);
                hash(name, value, into);
            }
        }
        ValueKind::Array(values) => {
            values.len().hash(into);
            for value in values {
                hash(key, value, into);
            }
        }
        _ => {
            let said = value.to_string();
            if key.ends_with("_file") {
                // One that cannot be read was complained about before, if it matters.
                std::fs::read(&said).unwrap_or_default().hash(into);
            }
            said.hash(into);
        }
    }
}

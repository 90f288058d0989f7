//! [`InForce`]: what a backend's settings make of "committed": read from the backend itself, since
//! a configuration file may say anything.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What survives when a backend says that it has committed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Level {
    /// The backend does not tell.
    Unknown,
    /// Nothing survives a crash of the backend.
    Memory,
    /// All but about the last second.
    EverySecond,
    /// All of it: synced before it answers.
    Synced,
}

impl Level {
    /// Every level.
    pub const ALL: [Self; 4] = [Self::Unknown, Self::Memory, Self::EverySecond, Self::Synced];

    /// The name in metrics, logs and `/readyz`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Memory => "memory",
            Self::EverySecond => "every_second",
            Self::Synced => "synced",
        }
    }
}

/// A backend's durability, as it is set right now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct InForce {
    /// What survives.
    pub level: Level,
    /// The settings that say so, as the backend names them.
    pub settings: String,
    /// A setting that breaks the promise, and what to set instead.
    pub breach: Option<&'static str>,
}

/// Which durability is in force, by backend. Cheap to clone; all clones are one.
#[derive(Clone, Default, Debug)]
pub struct Durabilities(Arc<Mutex<BTreeMap<&'static str, InForce>>>);

impl Durabilities {
    /// Notes what is in force; whether that is news.
    pub fn set(&self, backend: &'static str, in_force: InForce) -> bool {
        let news = self.get(backend).as_ref() != Some(&in_force);
        self.all_mut().insert(backend, in_force);
        news
    }

    /// What was last seen of a backend.
    #[must_use]
    pub fn get(&self, backend: &str) -> Option<InForce> {
        self.all_mut().get(backend).cloned()
    }

    /// What was last seen of every backend.
    #[must_use]
    pub fn all(&self) -> BTreeMap<&'static str, InForce> {
        self.all_mut().clone()
    }

    fn all_mut(&self) -> MutexGuard<'_, BTreeMap<&'static str, InForce>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Of Redis: `appendonly`, `appendfsync` and `maxmemory-policy`; `None` is what it does not tell.
pub(crate) fn of_redis(
    append_only: Option<&str>,
    sync: Option<&str>,
    policy: Option<&str>,
) -> InForce {
    let level = match (append_only, sync) {
        (Some("yes"), Some("always")) => Level::Synced,
        (Some("yes"), Some("everysec")) => Level::EverySecond,
        (Some("yes") | None, None) | (None, _) => Level::Unknown,
        (Some(_), _) => Level::Memory,
    };
    // The volatile policies evict only keys with a time to live: marks, and never the stream.
    let evicts = policy.is_some_and(|policy| policy.starts_with("allkeys"));
    let breach = evicts.then_some(
        "Redis evicts: it would drop the stream when memory runs out; set maxmemory-policy to \
         volatile-ttl or noeviction",
    );
    let said = |name: &str, value: Option<&str>| format!("{name} {}", value.unwrap_or("hidden"));
    let settings = [
        said("appendonly", append_only),
        said("appendfsync", sync),
        said("maxmemory-policy", policy),
    ];
    InForce { level, settings: settings.join(", "), breach }
}

impl InForce {
    /// Of the local log, whose settings are ours.
    #[must_use]
    pub fn of_local_log() -> Self {
        Self { level: Level::Synced, settings: "fdatasync of each batch".to_owned(), breach: None }
    }

    /// Of the embedded store, whose settings are ours.
    #[must_use]
    pub fn of_sqlite() -> Self {
        let settings =
            "journal_mode wal, synchronous normal, in the log until a checkpoint has synced it";
        Self { level: Level::Synced, settings: settings.to_owned(), breach: None }
    }
}

/// Of Postgres: `synchronous_commit` and `fsync`.
pub(crate) fn of_postgres(synchronous_commit: &str, fsync: &str) -> InForce {
    let asynchronous = synchronous_commit == "off";
    let level = match (asynchronous, fsync) {
        (true, _) => Level::EverySecond,
        (false, "on") => Level::Synced,
        (false, _) => Level::Memory,
    };
    let breach = asynchronous.then_some(
        "Postgres answers before it has synced: an event could be acked in the stream and then \
         lost; set synchronous_commit to on for this database or role",
    );
    let settings = format!("synchronous_commit {synchronous_commit}, fsync {fsync}");
    InForce { level, settings, breach }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redis_is_as_durable_as_its_append_only_file() {
        let level = |append_only, sync| of_redis(append_only, sync, Some("noeviction")).level;
        assert_eq!(level(Some("yes"), Some("always")), Level::Synced);
        assert_eq!(level(Some("yes"), Some("everysec")), Level::EverySecond);
        assert_eq!(level(Some("yes"), Some("no")), Level::Memory);
        assert_eq!(level(Some("no"), Some("always")), Level::Memory);
        assert_eq!(level(None, None), Level::Unknown);
        // As far as INFO tells where CONFIG is hidden.
        assert_eq!(level(Some("yes"), None), Level::Unknown);
        assert_eq!(level(Some("no"), None), Level::Memory);
    }

    #[test]
    fn only_what_can_drop_the_stream_is_a_breach() {
        let breach = |policy| of_redis(Some("yes"), Some("always"), policy).breach;
        assert!(breach(Some("allkeys-lru")).is_some_and(|fix| fix.contains("noeviction")));
        assert_eq!(breach(Some("volatile-lru")), None);
        assert_eq!(breach(Some("noeviction")), None);
        assert_eq!(breach(None), None);
    }

    #[test]
    fn postgres_must_sync_before_it_answers() {
        assert_eq!(of_postgres("on", "on").level, Level::Synced);
        assert_eq!(of_postgres("local", "on").breach, None);
        assert_eq!(of_postgres("on", "off").level, Level::Memory);
        assert!(of_postgres("off", "on").breach.is_some_and(|fix| fix.contains("synchronous")));
    }
}

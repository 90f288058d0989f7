//! [`DurabilityReport`]: what a commit means with a backend's settings, read from the backend itself,
//! since a configuration file may say anything.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Backend;
use crate::labels::labels;

labels! {
    /// What survives when a backend says that it has committed.
    pub enum DurabilityLevel {
        /// The backend does not say.
        Unknown = "unknown",
        /// Nothing survives a crash of the backend.
        Memory = "memory",
        /// Everything except about the last second survives a crash.
        EverySecond = "every_second",
        /// Everything survives a crash: it is synced before the answer.
        Synced = "synced",
    }
}

/// A backend's durability, as it is set right now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DurabilityReport {
    /// What survives.
    pub level: DurabilityLevel,
    /// The settings that say so, as the backend names them.
    pub settings: String,
    /// A setting that breaks the promise, and what to set instead.
    pub breach: Option<&'static str>,
}

/// Which durability is in force, by backend. Cheap to clone; all clones are one.
#[derive(Clone, Default, Debug)]
pub struct DurabilityReports(Arc<Mutex<BTreeMap<Backend, DurabilityReport>>>);

impl DurabilityReports {
    /// Records what is in force, and returns whether that is new.
    pub fn set(&self, backend: Backend, report: DurabilityReport) -> bool {
        let news = self.get(backend).as_ref() != Some(&report);
        self.all_mut().insert(backend, report);
        news
    }

    /// What was last seen of a backend.
    #[must_use]
    pub fn get(&self, backend: Backend) -> Option<DurabilityReport> {
        self.all_mut().get(&backend).cloned()
    }

    /// What was last seen of every backend.
    #[must_use]
    pub fn all(&self) -> BTreeMap<Backend, DurabilityReport> {
        self.all_mut().clone()
    }

    fn all_mut(&self) -> MutexGuard<'_, BTreeMap<Backend, DurabilityReport>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl DurabilityReport {
    /// The report of the local log, whose settings are offhook's own.
    #[must_use]
    pub fn of_local_log() -> Self {
        Self {
            level: DurabilityLevel::Synced,
            settings: "fdatasync of each batch".to_owned(),
            breach: None,
        }
    }

    /// The report of the embedded store, whose settings are offhook's own.
    #[must_use]
    pub fn of_sqlite() -> Self {
        let settings =
            "journal_mode wal, synchronous normal, in the log until a checkpoint has synced it";
        Self { level: DurabilityLevel::Synced, settings: settings.to_owned(), breach: None }
    }

    /// The report of Redis, from `appendonly`, `appendfsync` and `maxmemory-policy`; `None` for a setting that it
    /// hides.
    pub(crate) fn of_redis(
        append_only: Option<&str>,
        sync: Option<&str>,
        policy: Option<&str>,
    ) -> Self {
        let level = match (append_only, sync) {
            (Some("yes"), Some("always")) => DurabilityLevel::Synced,
            (Some("yes"), Some("everysec")) => DurabilityLevel::EverySecond,
            (Some("yes") | None, None) | (None, _) => DurabilityLevel::Unknown,
            (Some(_), _) => DurabilityLevel::Memory,
        };
        // The volatile policies evict only keys with a time to live: marks, and never the stream.
        let evicts = policy.is_some_and(|policy| policy.starts_with("allkeys"));
        let breach = evicts.then_some(
            "Redis evicts: it would drop the stream when memory runs out; set maxmemory-policy to \
             volatile-ttl or noeviction",
        );
        let said =
            |name: &str, value: Option<&str>| format!("{name} {}", value.unwrap_or("hidden"));
        let settings = [
            said("appendonly", append_only),
            said("appendfsync", sync),
            said("maxmemory-policy", policy),
        ];
        Self { level, settings: settings.join(", "), breach }
    }

    /// The report of Postgres, from `synchronous_commit` and `fsync`.
    pub(crate) fn of_postgres(synchronous_commit: &str, fsync: &str) -> Self {
        let asynchronous = synchronous_commit == "off";
        let level = match (asynchronous, fsync) {
            (true, _) => DurabilityLevel::EverySecond,
            (false, "on") => DurabilityLevel::Synced,
            (false, _) => DurabilityLevel::Memory,
        };
        let breach = asynchronous.then_some(
            "Postgres answers before it has synced: an event could be acked in the stream and then \
             lost; set synchronous_commit to on for this database or role",
        );
        let settings = format!("synchronous_commit {synchronous_commit}, fsync {fsync}");
        Self { level, settings, breach }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redis_is_as_durable_as_its_append_only_file() {
        let level = |append_only, sync| {
            DurabilityReport::of_redis(append_only, sync, Some("noeviction")).level
        };
        assert_eq!(level(Some("yes"), Some("always")), DurabilityLevel::Synced);
        assert_eq!(level(Some("yes"), Some("everysec")), DurabilityLevel::EverySecond);
        assert_eq!(level(Some("yes"), Some("no")), DurabilityLevel::Memory);
        assert_eq!(level(Some("no"), Some("always")), DurabilityLevel::Memory);
        assert_eq!(level(None, None), DurabilityLevel::Unknown);
        // As far as INFO says where CONFIG is hidden.
        assert_eq!(level(Some("yes"), None), DurabilityLevel::Unknown);
        assert_eq!(level(Some("no"), None), DurabilityLevel::Memory);
    }

    #[test]
    fn only_what_can_drop_the_stream_is_a_breach() {
        let breach =
            |policy| DurabilityReport::of_redis(Some("yes"), Some("always"), policy).breach;
        assert!(breach(Some("allkeys-lru")).is_some_and(|fix| fix.contains("noeviction")));
        assert_eq!(breach(Some("volatile-lru")), None);
        assert_eq!(breach(Some("noeviction")), None);
        assert_eq!(breach(None), None);
    }

    #[test]
    fn postgres_must_sync_before_it_answers() {
        assert_eq!(DurabilityReport::of_postgres("on", "on").level, DurabilityLevel::Synced);
        assert_eq!(DurabilityReport::of_postgres("local", "on").breach, None);
        assert_eq!(DurabilityReport::of_postgres("on", "off").level, DurabilityLevel::Memory);
        assert!(
            DurabilityReport::of_postgres("off", "on")
                .breach
                .is_some_and(|fix| fix.contains("synchronous"))
        );
    }
}

//! [`Settings`]: the configuration of a test, as environment variables.

use std::collections::BTreeMap;

use offhook::config::{Config, Role, Sources};
use tempfile::TempDir;

/// Whose callbacks are accepted.
pub(crate) const ACCOUNT: &str = "AC00000000000000000000000000000001";
/// Its auth token.
pub(crate) const TOKEN: &str = "00000000000000000000000000000a01";
/// A sub-account, in settings that have a file.
pub(crate) const OTHER_ACCOUNT: &str = "AC00000000000000000000000000000002";
/// Its auth token.
pub(crate) const OTHER_TOKEN: &str = "00000000000000000000000000000a02";
/// What Twilio was told, whatever address the test sends to.
pub(crate) const PUBLIC_URL: &str = "https://hooks.example.com";

/// What one offhook is told.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    environment: BTreeMap<String, String>,
    pub(crate) role: Role,
    /// Soft and hard limit on open files.
    files: Option<&'static str>,
}

impl Settings {
    /// Of somebody who has no configuration.
    pub(crate) fn none() -> Self {
        Self { environment: BTreeMap::new(), role: Role::All, files: None }
    }

    /// On free ports of loopback.
    pub(crate) fn new(role: Role) -> Self {
        let settings = Self { environment: BTreeMap::new(), role, files: None };
        settings
            .set("OFFHOOK_PUBLIC_URL", PUBLIC_URL)
            .set("OFFHOOK_INBOUND__LISTEN", "127.0.0.1:0")
            .set("OFFHOOK_ADMIN__LISTEN", "127.0.0.1:0")
            .set("TWILIO_ACCOUNT_SID", ACCOUNT)
            .set("TWILIO_AUTH_TOKEN", TOKEN)
            // Soon enough that a test need not wait, late enough that a busy machine is not
            // mistaken for a dead worker in most of them.
            .set("OFFHOOK_WORKER__RECLAIM_IDLE_MS", "2000")
            .set("OFFHOOK_WORKER__TRIM_EVERY_MS", "200")
    }

    pub(crate) fn set(mut self, name: &str, value: impl Into<String>) -> Self {
        self.environment.insert(name.to_owned(), value.into());
        self
    }

    pub(crate) fn unset(mut self, name: &str) -> Self {
        self.environment.remove(name);
        self
    }

    /// With a forward to where nothing listens.
    pub(crate) fn with_a_forward(self) -> Self {
        self.set(
            "OFFHOOK_CONFIG",
            concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/forward.toml"),
        )
    }

    /// Of a process that may open so many files: `soft:hard`.
    pub(crate) fn with_files(mut self, limit: &'static str) -> Self {
        self.files = Some(limit);
        self
    }

    pub(crate) fn files(&self) -> Option<&'static str> {
        self.files
    }

    /// Of a process that does only this.
    pub(crate) fn with_role(mut self, role: Role) -> Self {
        self.role = role;
        self
    }

    /// These, with a spool of the process's own unless they say where it is; the directory goes
    /// away when it is dropped.
    pub(super) fn with_own_spool(&self) -> (Self, Option<TempDir>) {
        const KEY: &str = "OFFHOOK_SPOOL__DIRECTORY";
        if self.environment.contains_key(KEY) {
            return (self.clone(), None);
        }
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().display().to_string();
        (self.clone().set(KEY, path), Some(directory))
    }

    pub(crate) fn environment(&self) -> &BTreeMap<String, String> {
        &self.environment
    }

    pub(crate) fn load(&self) -> Config {
        let file = self.environment.get("OFFHOOK_CONFIG").map(Into::into);
        let sources = Sources { file, environment: self.environment.clone() };
        Config::load(&sources, self.role).expect("the settings of a test are good")
    }
}

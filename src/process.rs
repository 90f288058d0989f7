//! What a process is set to before it does anything: how many files it may open, that other users cannot read
//! the ones that it makes, and that its memory, which holds secrets and bodies, is never written to a
//! file.

use rustix::fs::Mode;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit, umask};

/// Files besides connections: both stores, the log, sockets that listen, threads' own.
const FOR_THE_REST: u64 = 64;
/// The private listener's connections.
const FOR_ADMIN: u64 = 256;

/// How many connections the limit on open files allows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Connections {
    /// Of the public listener.
    pub(crate) public: usize,
    /// Of the private one.
    pub(crate) admin: usize,
}

/// Raises the limit on open files as far as the system lets it, allows no core dump, and makes every file
/// that is created from now on this user's own.
pub(crate) fn prepare() {
    let mut files = getrlimit(Resource::Nofile);
    files.current = files.maximum;
    // A refusal leaves the limit as it was, and `Connections` uses that.
    let _ = setrlimit(Resource::Nofile, files);
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
    umask(Mode::RWXG | Mode::RWXO);
}

/// How many files this process may open; `None` is any number.
#[must_use]
pub(crate) fn most_files() -> Option<u64> {
    getrlimit(Resource::Nofile).current
}

/// How many a process could open that [`prepare`]s itself; `None` is any number.
#[must_use]
pub(crate) fn most_files_prepared() -> Option<u64> {
    getrlimit(Resource::Nofile).maximum
}

impl Connections {
    /// What is left of this many files: at least half of them for the public listener.
    #[must_use]
    pub(crate) fn within(files: Option<u64>, wanted: usize) -> Self {
        let Some(files) = files else {
            return Self { public: wanted, admin: FOR_ADMIN as usize };
        };
        let admin = FOR_ADMIN.min(files / 4).max(1);
        let rest = FOR_THE_REST.min(files / 4);
        let left = files.saturating_sub(admin + rest).max(1);
        let left = usize::try_from(left).unwrap_or(usize::MAX);
        Self { public: wanted.min(left), admin: admin as usize }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_kept_back_for_the_private_listener_and_the_stores() {
        let check = |files: Option<u64>, public, admin| {
            assert_eq!(
                Connections::within(files, 10_000),
                Connections { public, admin },
                "{files:?}"
            );
        };
        check(None, 10_000, 256);
        check(Some(20_000), 10_000, 256);
        check(Some(10_320), 10_000, 256);
        check(Some(10_319), 9_999, 256);
        check(Some(1024), 704, 256);
        check(Some(256), 128, 64);
        check(Some(0), 1, 1);
    }
}

//! `[spool]`: the bounds of a process's local log, and where it lies behind a stream.

use std::path::PathBuf;

use serde::Deserialize;

use crate::backend::local_log::Bounds;
use crate::config::ConfigError;
use crate::config::layers::Loaded;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawSpool {
    pub(crate) directory: PathBuf,
    pub(crate) max_bytes: u64,
    pub(crate) min_free_bytes: u64,
}

/// The local log of one process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalLog {
    /// The directory of the local log.
    pub directory: PathBuf,
    /// How much it may hold.
    pub bounds: Bounds,
}

/// The local log in this directory, within the bounds of the spool.
pub(crate) fn local_log(loaded: &Loaded, directory: PathBuf) -> Result<LocalLog, ConfigError> {
    let raw = &loaded.raw.spool;
    if raw.min_free_bytes < Bounds::LEAST_FREE {
        let least = Bounds::LEAST_FREE;
        let problem =
            format!("it must be at least {least}: a disk without it stops whatever else is on it");
        return Err(loaded.error("spool.min_free_bytes", problem));
    }
    let bounds = Bounds { max_bytes: raw.max_bytes, min_free_bytes: raw.min_free_bytes };
    Ok(LocalLog { directory, bounds })
}

/// A spool without room.
pub(crate) fn warning(loaded: &Loaded) -> Option<ConfigError> {
    let problem = "with 0 the spool takes nothing: while Redis is down, every callback is refused";
    loaded.zero("spool.max_bytes", loaded.raw.spool.max_bytes, problem)
}

#[cfg(test)]
mod tests {
    use crate::config::testing::{check_error, check_warning, load, minimal};

    /// A spool that filled such a disk could not be emptied again.
    #[test]
    fn a_spools_disk_keeps_the_room_that_emptying_it_needs() {
        let scaled = minimal(&[("DATABASE_URL", "postgres://h/d"), ("REDIS_URL", "redis://h")]);
        let error = load(&scaled, "[spool]\nmin_free_bytes = 16777215");
        check_error(error, &["spool.min_free_bytes", "my.toml", "16777216"]);
        assert!(load(&scaled, "[spool]\nmin_free_bytes = 16777216").is_ok());
    }

    #[test]
    fn a_bound_of_0_is_warned_of() {
        let key = "spool.max_bytes";
        check_warning(&[], "[spool]\nmax_bytes = 0", key, "with 0");
    }
}

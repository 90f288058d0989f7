//! Checks whether a store can be the target of a copy.

use std::path::{Path, PathBuf};

use crate::backend::BackendError;
use crate::backend::postgres::{ExamineError, Examined, Health, Postgres, Tables};

/// Why a store cannot be the target of a copy.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// It does not answer, or refuses the login.
    #[error("{0}")]
    Examine(#[from] ExamineError),
    /// Its settings cannot be read.
    #[error("{0}")]
    Settings(#[from] BackendError),
    /// It cannot be written.
    #[error("it is a standby, or read-only: name the primary in store.url")]
    ReadOnly,
    /// Its tables are those of an earlier version, or none.
    #[error("its tables lack {0} migrations: run `offhook migrate` with this configuration first")]
    Behind(usize),
    /// Its tables are those of a later version.
    #[error("a later version created its tables: use that version to copy")]
    Ahead,
    /// The role lacks rights.
    #[error("the role in store.url lacks {0}: GRANT it, as the owner of the tables")]
    Forbidden(String),
    /// It would take dead letters from the directory that it gives them to.
    #[error(
        "its spool.directory is the log of the source, {0}: give the new deployment a directory of its own"
    )]
    SameLog(PathBuf),
    /// It forgets what it has committed.
    #[error("{0}: set synchronous_commit = on for the role in store.url")]
    Volatile(&'static str),
}

pub(super) async fn check(postgres: &Postgres) -> Result<(), TargetError> {
    fit(&postgres.examine().await?)?;
    match Health::new(postgres.clone()).durability().await?.breach {
        Some(breach) => Err(TargetError::Volatile(breach)),
        None => Ok(()),
    }
}

/// Whether the target's local log is another directory than the source's. One that is not there yet is another.
pub(super) fn check_log(source: &Path, target: &Path) -> Result<(), TargetError> {
    match (source.canonicalize(), target.canonicalize()) {
        (Ok(source), Ok(target)) if source == target => Err(TargetError::SameLog(source)),
        _ => Ok(()),
    }
}

fn fit(examined: &Examined) -> Result<(), TargetError> {
    match examined.tables {
        _ if examined.read_only => Err(TargetError::ReadOnly),
        Tables::Behind(migrations) => Err(TargetError::Behind(migrations)),
        Tables::Ahead => Err(TargetError::Ahead),
        Tables::UpToDate if examined.forbidden.is_empty() => Ok(()),
        Tables::UpToDate => Err(TargetError::Forbidden(examined.forbidden.join(", "))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;

    #[test]
    fn a_target_that_cannot_take_rows_is_refused_with_what_to_do() {
        let fine = Examined {
            version: 160_000,
            clock: Timestamp::from_micros(0),
            read_only: false,
            tables: Tables::UpToDate,
            may_create: true,
            may_delete: true,
            forbidden: Vec::new(),
        };
        assert!(fit(&fine).is_ok());
        let check = |examined: Examined, part: &str| {
            let error = fit(&examined).expect_err(part).to_string();
            assert!(error.contains(part), "{error}");
        };
        check(Examined { read_only: true, ..fine.clone() }, "primary");
        check(Examined { tables: Tables::Behind(2), ..fine.clone() }, "lack 2 migrations");
        check(Examined { tables: Tables::Ahead, ..fine.clone() }, "a later version");
        let forbidden = vec!["INSERT on events".to_owned()];
        check(Examined { forbidden, ..fine }, "INSERT on events: GRANT");
    }
}

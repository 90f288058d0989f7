//! The migrations that make the tables. Both databases have the same ones under the same names, so that what
//! reads one can read the other.
//!
//! They are listed here instead of found by `sqlx::migrate!`, because that macro would make the compiler build
//! sqlx, and everything below it, a second time for itself.

use std::borrow::Cow;

use sqlx::SqlSafeStr as _;
use sqlx::migrate::{Migration, MigrationType, Migrator};

/// The [`Migrator`] of a directory below `migrations`, its files in their order.
macro_rules! migrations {
    ($directory:literal) => {
        $crate::backend::tables::migrations!(
            $directory,
            "0001_events_and_statuses",
            "0002_open_calls",
            "0003_search",
            "0004_privacy",
            "0005_identity",
            "0006_stored_at",
            "0007_statuses_stored_at",
            "0008_changes",
            "0009_lookups",
            "0010_forwards",
            "0011_copies",
        )
    };
    ($directory:literal, $($name:literal),+ $(,)?) => {
        $crate::backend::tables::migrator(&[$((
            $name,
            include_str!(concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/migrations/",
                $directory,
                "/",
                $name,
                ".sql"
            )),
        )),+])
    };
}
pub(super) use migrations;

/// The migrator for a list of file names, without `.sql`, and their SQL.
pub(super) fn migrator(listed: &[(&'static str, &'static str)]) -> Migrator {
    Migrator::with_migrations(listed.iter().map(|&(name, sql)| migration(name, sql)).collect())
}

/// Reads a file as sqlx does: the number and the description from its name, and from its first line whether it
/// runs outside of a transaction.
fn migration(name: &'static str, sql: &'static str) -> Migration {
    let (version, description) = name.split_once('_').expect("a name is listed with its number");
    let version = version.parse().expect("a number is listed before the name");
    let outside = sql.starts_with("-- no-transaction");
    let (description, sql) = (Cow::Owned(description.replace('_', " ")), sql.into_sql_str());
    Migration::new(version, description, MigrationType::Simple, sql, outside)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the database keeps of each migration, and whether it runs outside of a transaction.
    fn written(migrator: &Migrator) -> Vec<(i64, &str, &[u8], &str, bool)> {
        let all = migrator.iter().map(|one| {
            (one.version, &*one.description, &*one.checksum, one.sql.as_str(), one.no_tx)
        });
        all.collect()
    }

    async fn check(directory: &str, listed: Migrator) {
        let files = format!("{}/migrations/{directory}", env!("CARGO_MANIFEST_DIR"));
        let files = Migrator::new(std::path::PathBuf::from(files)).await.expect("they are there");
        assert!(!written(&files).is_empty());
        assert_eq!(written(&listed), written(&files), "list it in src/backend/tables.rs");
    }

    #[tokio::test]
    async fn every_file_is_listed_as_sqlx_reads_it() {
        check("postgres", migrations!("postgres")).await;
        check("sqlite", migrations!("sqlite")).await;
    }
}

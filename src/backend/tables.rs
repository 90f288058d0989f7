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
            "0012_attempts",
            "0013_outbox",
            "0014_treated",
            "0015_lanes",
            "0016_quiet_hours",
            "0017_calls",
            "0019_follow_ups",
            "0020_routes",
            "0021_open_conferences",
            "0022_emails",
            "0023_sent_emails",
            "0024_campaigns",
            "0025_consents",
            "0026_cancelled",
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

    /// The first eight bytes of each file's checksum, in Postgres and in SQLite. A database remembers the whole one, and
    /// refuses to start with another: add a line here, never change one.
    const RELEASED: [(&str, u64, u64); 25] = [
        ("0001_events_and_statuses", 0xaa019cbd_9e731002, 0xddf24e27_c8df9bc0),
        ("0002_open_calls", 0xb7a4f64d_6002a83f, 0x98186ff7_ee28b9b4),
        ("0003_search", 0x9aff9221_c9fc837e, 0xe08b2829_d8e4b024),
        ("0004_privacy", 0xfdb745dc_ee401daf, 0x2a2627d5_604177fb),
        ("0005_identity", 0xb4e19d39_215507c1, 0x05a4e391_ac3eac99),
        ("0006_stored_at", 0xd7350882_32e12cde, 0xb5d088bd_47a0f524),
        ("0007_statuses_stored_at", 0xefa622ae_09e4d2a8, 0x5300939c_d5665f14),
        ("0008_changes", 0xd3c0c0fa_c84d8b75, 0xb8f8475b_9dead3a6),
        ("0009_lookups", 0x751dd2e9_6d116829, 0xb76a4199_df01a698),
        ("0010_forwards", 0x1c8a5655_fd23bbe3, 0xccd6d071_fbfa270d),
        ("0011_copies", 0x6642255f_32affca8, 0xd3228c90_c760fbee),
        ("0012_attempts", 0x68a6371a_a2e7d106, 0x8312fbed_d1b0d2c3),
        ("0013_outbox", 0x963042e7_3600fad4, 0x5b809d9a_c2f77310),
        ("0014_treated", 0xc78a404d_fabee6d6, 0x9177da01_fae5a853),
        ("0015_lanes", 0x1053d568_dee0ae9c, 0xa4f49472_b6ae1c05),
        ("0016_quiet_hours", 0xb4b8d902_2356d154, 0x6ee8fa48_d8b1d386),
        ("0017_calls", 0x378f0e98_62587317, 0x160180c6_9ec4f160),
        ("0019_follow_ups", 0x82d66fec_6f001658, 0x798352c0_c5f79d1a),
        ("0020_routes", 0x65a95837_371c0fb2, 0x09704d73_af93d839),
        ("0021_open_conferences", 0x55642f88_7f32ad4b, 0xcb2e6ea2_da1d1da6),
        ("0022_emails", 0x8049e0b7_3e587323, 0x328a114a_0d91675f),
        ("0023_sent_emails", 0xd872d953_30135cd6, 0x33f593b2_ecab7c55),
        ("0024_campaigns", 0x077644b0_111c4a2c, 0xea3f7dcd_641852ba),
        ("0025_consents", 0x935f8cd5_191158fa, 0x6c27f7c1_b1490836),
        ("0026_cancelled", 0xe1c708a8_37ef4620, 0xc5d315e4_3422203b),
    ];

    #[test]
    fn no_file_has_changed_since_databases_know_it() {
        let begins = |one: &Migration| {
            u64::from_be_bytes(*one.checksum.first_chunk().expect("a checksum has 48 bytes"))
        };
        let (postgres, sqlite) = (migrations!("postgres"), migrations!("sqlite"));
        let listed: Vec<_> = postgres.iter().zip(sqlite.iter()).collect();
        assert_eq!(listed.len(), RELEASED.len(), "a new migration needs a line in RELEASED");
        for ((postgres, sqlite), (name, in_postgres, in_sqlite)) in listed.into_iter().zip(RELEASED)
        {
            assert_eq!(begins(postgres), in_postgres, "migrations/postgres/{name}.sql");
            assert_eq!(begins(sqlite), in_sqlite, "migrations/sqlite/{name}.sql");
        }
    }
}

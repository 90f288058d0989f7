//! [`Postgres`]: a Postgres of one test's own.

use std::ops::{Deref, DerefMut};
use std::path::Path;

use offhook::lab::servers::{self, Durability};
use sqlx::postgres::PgConnection;

use super::{Certificates, free_port};

/// A Postgres on a socket of its own.
#[derive(Debug)]
pub(crate) struct Postgres(servers::Postgres);

impl Postgres {
    /// One that runs.
    pub(crate) fn start(durability: Durability) -> Self {
        let home = Path::new(env!("CARGO_TARGET_TMPDIR"));
        Self(servers::Postgres::start(durability, home).expect("postgres starts"))
    }

    /// One that speaks TLS on a port of loopback; and how it is asked there.
    pub(crate) fn encrypted(certificates: &Certificates) -> (Self, String) {
        let mut postgres = Self::start(Durability::Unsynced);
        let directory = postgres.directory().to_owned();
        certificates.copy_to(&directory);
        servers::give(&directory).expect("the directory is ours");
        let port = free_port();
        let settings = [
            "listen_addresses=localhost".to_owned(),
            format!("port={port}"),
            "ssl=on".to_owned(),
            format!("ssl_cert_file={}", directory.join("certificate.pem").display()),
            format!("ssl_key_file={}", directory.join("key.pem").display()),
        ];
        let arguments = settings.into_iter().flat_map(|setting| ["-c".to_owned(), setting]);
        postgres.0.tell(arguments.collect()).expect("postgres starts");
        (postgres, format!("postgres://{}@localhost:{port}/postgres", servers::USER))
    }

    /// Starts it, again if need be, on the files that it left.
    pub(crate) fn restart(&mut self) {
        self.0.restart().expect("postgres starts");
    }

    /// Makes a database, and says its URL.
    pub(crate) async fn database(&self, name: &str) -> String {
        self.0.database(name).await.expect("a database of a new name")
    }

    /// Runs a statement in the database that is always there.
    pub(crate) async fn execute(&self, sql: &str) {
        self.0.execute(sql).await.expect("the statement fits what is there");
    }

    /// A connection to the database that is always there.
    pub(crate) async fn connection(&self) -> PgConnection {
        self.0.connection().await.expect("a Postgres that runs takes connections")
    }
}

impl Deref for Postgres {
    type Target = servers::Postgres;

    fn deref(&self) -> &servers::Postgres {
        &self.0
    }
}

impl DerefMut for Postgres {
    fn deref_mut(&mut self) -> &mut servers::Postgres {
        &mut self.0
    }
}

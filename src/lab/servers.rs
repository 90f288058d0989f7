//! Real servers, each private to the code that starts it: in its own directory, on a Unix socket, so
//! that it needs no port, and gone when its owner is, however that ends. The integration tests use
//! them as well.

mod postgres;
mod process;
mod redis;
mod sentinel;

use std::path::PathBuf;

use anyhow::Context as _;

pub use self::postgres::{Durability, Postgres, USER, give, unprivileged};
pub use self::process::{PATIENCE, Process, Signal, guarded, poll, run};
pub use self::redis::{Fsync, Redis};
pub use self::sentinel::Sentinel;

/// A program, and the Debian package that has it.
type Program = (&'static str, &'static str);

/// What a run needs, and a machine may not have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Need {
    /// `redis-server`
    Redis,
    /// `initdb` and `postgres`
    Postgres,
    /// `pgbouncer`
    PgBouncer,
    /// `openssl`, which makes certificates.
    OpenSsl,
    /// A C compiler.
    Cc,
}

impl Need {
    fn programs(self) -> &'static [Program] {
        const SETPRIV: Program = ("setpriv", "util-linux");
        match self {
            Self::Redis => &[("redis-server", "redis-server"), SETPRIV],
            Self::Postgres => &[("initdb", "postgresql"), ("postgres", "postgresql"), SETPRIV],
            Self::PgBouncer => &[("pgbouncer", "pgbouncer"), SETPRIV],
            Self::OpenSsl => &[("openssl", "openssl")],
            Self::Cc => &[("cc", "gcc")],
        }
    }
}

/// The first program that is not there, and its package.
#[must_use]
pub fn missing(needs: &[Need]) -> Option<Program> {
    let programs = needs.iter().flat_map(|need| need.programs());
    programs.copied().find(|(program, _)| process::find(program).is_none())
}

/// A port of loopback that was free just now, for a server that needs one. The system gives none of these to a
/// connection, which would keep a server from its port that is killed and started again.
///
/// # Errors
/// Many of them in a row are taken.
pub fn free_port() -> std::io::Result<u16> {
    /// Below where Linux begins with the ports that it chooses.
    const PORTS: std::ops::Range<u16> = 10_000..32_000;
    const TRIES: usize = 100;
    let mut free = Err(std::io::ErrorKind::AddrInUse.into());
    for _ in 0..TRIES {
        let port = rand::random_range(PORTS);
        free = std::net::TcpListener::bind(("127.0.0.1", port)).map(|_| port);
        if free.is_ok() {
            break;
        }
    }
    free
}

/// Where a program is.
///
/// # Errors
/// Nowhere.
pub fn program(name: &str) -> anyhow::Result<PathBuf> {
    process::find(name).with_context(|| format!("{name} is not installed"))
}

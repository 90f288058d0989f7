//! Real servers, each private to whoever starts it: in a directory of its own, on a Unix socket, so
//! that no port is taken, and gone when its owner is, however that ends. The integration tests use
//! them as well.

mod postgres;
mod process;
mod redis;

use std::path::PathBuf;

use anyhow::Context as _;

pub use self::postgres::{Durability, Postgres};
pub use self::process::{Process, Signal, guarded};
pub use self::redis::{Fsync, Redis};

/// A program, and the Debian package that has it.
type Program = (&'static str, &'static str);

/// What a run needs, and a machine may not have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Need {
    /// `redis-server`
    Redis,
    /// `initdb` and `postgres`
    Postgres,
}

impl Need {
    fn programs(self) -> &'static [Program] {
        const SETPRIV: Program = ("setpriv", "util-linux");
        match self {
            Self::Redis => &[("redis-server", "redis-server"), SETPRIV],
            Self::Postgres => &[("initdb", "postgresql"), ("postgres", "postgresql"), SETPRIV],
        }
    }
}

/// The first program that is not there, and its package.
#[must_use]
pub fn missing(needs: &[Need]) -> Option<Program> {
    let programs = needs.iter().flat_map(|need| need.programs());
    programs.copied().find(|(program, _)| process::find(program).is_none())
}

fn program(name: &str) -> anyhow::Result<PathBuf> {
    process::find(name).with_context(|| format!("{name} is not installed"))
}

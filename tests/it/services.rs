//! Real servers, each private to one test: in a directory of its own, on a Unix socket, so that no
//! port is taken, and gone when the test is, however it ends.

mod postgres;
mod process;
mod redis;

use std::path::PathBuf;

pub(crate) use self::postgres::{Durability, Postgres};
pub(crate) use self::process::{Process, Signal, guarded};
pub(crate) use self::redis::{Fsync, Redis};

/// What a test needs, and a machine may not have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Need {
    /// `redis-server`
    Redis,
    /// `initdb` and `postgres`
    Postgres,
}

impl Need {
    fn programs(self) -> &'static [&'static str] {
        match self {
            Self::Redis => &["redis-server", "setpriv"],
            Self::Postgres => &["initdb", "postgres", "setpriv"],
        }
    }
}

/// Returns from a test that needs what is not there, saying so by the test's name. Where `CI` is
/// `true`, everything has to be there.
macro_rules! needs {
    ($($need:ident),+) => {
        $crate::services::needs!(all &[$($crate::services::Need::$need),+])
    };
    (all $needs:expr) => {
        if let Some(missing) = $crate::services::missing($needs) {
            fn here() {}
            $crate::services::skip(std::any::type_name_of_val(&here), missing);
            return;
        }
    };
}
pub(crate) use needs;

/// The first program that is not there.
pub(crate) fn missing(needs: &[Need]) -> Option<&'static str> {
    let programs = needs.iter().flat_map(|need| need.programs());
    programs.copied().find(|program| process::find(program).is_none())
}

/// Says that a test was skipped; `path` is that of an item inside of it.
#[expect(clippy::disallowed_methods, reason = "no configuration of offhook: how the suite is run")]
pub(crate) fn skip(path: &str, missing: &str) {
    let path = path.strip_suffix("::here").unwrap_or(path).replace("::{{closure}}", "");
    let name = path.split_once("::").map_or(path.as_str(), |(_, name)| name);
    let ci = std::env::var("CI").is_ok_and(|ci| ci == "true");
    assert!(!ci, "{name} would be skipped in CI: no {missing}");
    eprintln!("SKIPPED {name}: no {missing}");
}

/// Where a program is, in a test that said that it needs it.
fn program(name: &str) -> PathBuf {
    process::find(name).unwrap_or_else(|| panic!("{name} is not installed: say `needs!` first"))
}

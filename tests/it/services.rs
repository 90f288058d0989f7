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
    /// `promtool`
    Prometheus,
    /// `docker-compose`, by itself or as the plugin of `docker`
    Compose,
}

impl Need {
    fn programs(self) -> &'static [&'static str] {
        match self {
            Self::Redis => &["redis-server", "setpriv"],
            Self::Postgres => &["initdb", "postgres", "setpriv"],
            Self::Prometheus => &["promtool"],
            Self::Compose => &["docker-compose"],
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

/// As `needs!`, for what cannot be had everywhere: even in CI the test is only skipped.
macro_rules! wants {
    ($need:ident) => {
        if let Some(missing) = $crate::services::missing(&[$crate::services::Need::$need]) {
            fn here() {}
            let name = $crate::services::name(std::any::type_name_of_val(&here));
            eprintln!("SKIPPED {name}: no {missing}");
            return;
        }
    };
}
pub(crate) use wants;

/// The first program that is not there.
pub(crate) fn missing(needs: &[Need]) -> Option<&'static str> {
    let programs = needs.iter().flat_map(|need| need.programs());
    programs.copied().find(|program| process::find(program).is_none())
}

/// The name of a test, by the path of an item inside of it.
pub(crate) fn name(path: &str) -> String {
    let path = path.strip_suffix("::here").unwrap_or(path).replace("::{{closure}}", "");
    path.split_once("::").map_or(path.as_str(), |(_, name)| name).to_owned()
}

/// Says that a test was skipped; `path` is that of an item inside of it.
#[expect(clippy::disallowed_methods, reason = "no configuration of offhook: how the suite is run")]
pub(crate) fn skip(path: &str, missing: &str) {
    let name = name(path);
    let ci = std::env::var("CI").is_ok_and(|ci| ci == "true");
    assert!(!ci, "{name} would be skipped in CI: no {missing}");
    eprintln!("SKIPPED {name}: no {missing}");
}

/// Where a program is, in a test that said that it needs it.
pub(crate) fn program(name: &str) -> PathBuf {
    process::find(name).unwrap_or_else(|| panic!("{name} is not installed: say `needs!` first"))
}

//! The private servers of [`offhook::torture::servers`], for tests: what goes wrong with one fails
//! the test, and a test whose servers are not installed is skipped.

mod postgres;
mod redis;

pub(crate) use offhook::torture::servers::{Durability, Fsync, Need, Process, Signal, guarded};

pub(crate) use self::postgres::Postgres;
pub(crate) use self::redis::Redis;

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
    offhook::torture::servers::missing(needs).map(|(program, _)| program)
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

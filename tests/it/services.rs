//! The private servers of [`offhook::lab::servers`], for tests: what goes wrong with one fails
//! the test, and a test whose servers are not installed is skipped.

mod balancer;
mod browser;
mod certificates;
mod gateway;
mod pgbouncer;
mod postgres;
mod proxy;
mod redis;

use std::path::PathBuf;

pub(crate) use offhook::lab::servers::{
    Durability, Fsync, Need, Process, Sentinel, Signal, guarded, run,
};

pub(crate) use self::balancer::Balancer;
pub(crate) use self::browser::{Browser, Programs};
pub(crate) use self::certificates::Certificates;
pub(crate) use self::gateway::{Gateway, Then};
pub(crate) use self::pgbouncer::PgBouncer;
pub(crate) use self::postgres::Postgres;
pub(crate) use self::proxy::Proxy;
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

/// Where a program is, or returns from the test. One that is `optional` cannot be had everywhere:
/// even where `CI` is `true` the test is only skipped.
macro_rules! tool {
    ($name:literal) => {
        $crate::services::tool!($name, skip)
    };
    (optional $name:literal) => {
        $crate::services::tool!($name, note)
    };
    ($name:literal, $skip:ident) => {
        match $crate::services::find($name) {
            Some(path) => path,
            None => {
                fn here() {}
                $crate::services::$skip(std::any::type_name_of_val(&here), $name);
                return;
            }
        }
    };
}
pub(crate) use tool;

/// Where a program is: in `PATH`, where Debian puts those of servers, or among the plugins of `docker`, which run by
/// themselves, too.
pub(crate) fn find(name: &str) -> Option<PathBuf> {
    const PLUGINS: &str = "/usr/libexec/docker/cli-plugins:/usr/lib/docker/cli-plugins";
    #[expect(clippy::disallowed_methods, reason = "no configuration: where programs are")]
    let path = std::env::var("PATH").unwrap_or_default();
    let path = format!("{path}:/usr/sbin:{PLUGINS}");
    let found = std::env::split_paths(&path).map(|directory| directory.join(name));
    found.into_iter().find(|path| path.is_file())
}

/// The first program that is not there.
pub(crate) fn missing(needs: &[Need]) -> Option<&'static str> {
    offhook::lab::servers::missing(needs).map(|(program, _)| program)
}

/// Says that a test was skipped; `path` is that of an item inside of it.
#[expect(clippy::disallowed_methods, reason = "no configuration of offhook: how the suite is run")]
pub(crate) fn skip(path: &str, missing: &str) {
    let ci = std::env::var("CI").is_ok_and(|ci| ci == "true");
    let name = name(path);
    assert!(!ci, "{name} would be skipped in CI: no {missing}");
    note(path, missing);
}

/// The same where it need not be there.
pub(crate) fn note(path: &str, missing: &str) {
    eprintln!("SKIPPED {}: no {missing}", name(path));
}

/// The name of a test, by the path of an item inside of it.
fn name(path: &str) -> String {
    let path = path.strip_suffix("::here").unwrap_or(path).replace("::{{closure}}", "");
    path.split_once("::").map_or(path.as_str(), |(_, name)| name).to_owned()
}

/// A port of loopback that was free just now.
pub(crate) fn free_port() -> u16 {
    offhook::lab::servers::free_port().expect("a port is free")
}

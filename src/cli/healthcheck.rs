//! `offhook healthcheck`: whether the server of this configuration is ready, for containers.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{anyhow, bail};

use super::output::no_answer;
use super::terminal::outln;
use crate::config::{Config, Role, Sources};
use crate::http::client;

/// Longest wait: Docker's own limit is often 5 s.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(4);

/// Asks `/readyz`.
///
/// # Errors
/// The server does not answer, or is not ready; the error is its answer.
pub(super) async fn run(config: Option<PathBuf>, role: Role) -> anyhow::Result<()> {
    let config = Config::load(&Sources::of_process(config), role)?;
    let url = format!("http://{}/readyz", reachable(config.admin.listen));
    let response = client::new(ANSWER_TIMEOUT)?.get(&url).send().await.map_err(|error| {
        anyhow!("no answer from {url}: {}; start the server, or look at its log", no_answer(&error))
    })?;
    let status = response.status();
    let body = response.text().await.unwrap_or_default();
    if !status.is_success() {
        bail!("not ready: {body}");
    }
    outln!("{body}");
    Ok(())
}

/// An address to connect to: a server that listens on all of them is asked on loopback.
pub(super) fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

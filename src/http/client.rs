//! The HTTP client: what every part that asks another server has in common.

use std::time::Duration;

use reqwest::Certificate;
use thiserror::Error;

/// The client cannot be made: the system's root certificates cannot be read.
#[derive(Debug, Error)]
#[error("the HTTP client cannot be made")]
pub struct Unbuildable(#[source] reqwest::Error);

/// A client whose requests, connection included, take at most `patience`.
///
/// # Errors
/// The system's root certificates cannot be read.
pub(crate) fn new(patience: Duration) -> Result<reqwest::Client, Unbuildable> {
    builder(patience).build().map_err(Unbuildable)
}

/// The same, with a connection for each request.
///
/// The other may open one that it has no use for yet, and send a request over it at the moment that
/// the server closes it for its silence.
///
/// # Errors
/// See [`new`].
pub(crate) fn without_keep_alive(patience: Duration) -> Result<reqwest::Client, Unbuildable> {
    builder(patience).pool_max_idle_per_host(0).build().map_err(Unbuildable)
}

/// What of connections that nothing uses is kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Idle {
    /// How long.
    pub(crate) longest: Duration,
    /// How many.
    pub(crate) most: usize,
}

/// The certificates of authorities, from PEM.
///
/// # Errors
/// There is no certificate, or one that cannot be read.
pub(crate) fn authorities(pem: &[u8]) -> Result<Vec<Certificate>, NoCertificate> {
    let found = Certificate::from_pem_bundle(pem).map_err(|_| NoCertificate)?;
    if found.is_empty() { Err(NoCertificate) } else { Ok(found) }
}

/// What should hold certificates as PEM does not.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[error("no certificate can be read from it: it must hold one or more as PEM")]
pub struct NoCertificate;

/// A client for many requests to one server. It checks the server's certificate against `authorities`, or, if there are
/// none, against those that the system trusts.
///
/// # Errors
/// See [`new`].
pub(crate) fn to_one_server(
    patience: Duration,
    idle: Idle,
    authorities: Option<Vec<Certificate>>,
) -> Result<reqwest::Client, Unbuildable> {
    let builder =
        builder(patience).pool_idle_timeout(idle.longest).pool_max_idle_per_host(idle.most);
    let builder = match authorities {
        Some(authorities) => builder.tls_certs_only(authorities),
        None => builder,
    };
    builder.build().map_err(Unbuildable)
}

/// A connection that has not come about long before the end of the patience never will: where packets vanish, it must be
/// known that nothing was sent, which a request that took too long does not say.
fn builder(patience: Duration) -> reqwest::ClientBuilder {
    const CONNECTS_WITHIN: Duration = Duration::from_secs(10);
    reqwest::Client::builder()
        .timeout(patience)
        .connect_timeout(CONNECTS_WITHIN.min(patience / 2))
        .redirect(reqwest::redirect::Policy::none())
        .user_agent(concat!("offhook/", env!("CARGO_PKG_VERSION")))
}

//! The HTTP client: what every part that asks another server has in common.

use std::time::Duration;

use thiserror::Error;

/// The client cannot be made: the system's root certificates cannot be read.
#[derive(Debug, Error)]
#[error("the HTTP client cannot be made")]
pub(crate) struct Unbuildable(#[source] reqwest::Error);

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
/// As [`new`].
pub(crate) fn without_keep_alive(patience: Duration) -> Result<reqwest::Client, Unbuildable> {
    builder(patience).pool_max_idle_per_host(0).build().map_err(Unbuildable)
}

fn builder(patience: Duration) -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .timeout(patience)
        .redirect(reqwest::redirect::Policy::none())
        .user_agent(concat!("offhook/", env!("CARGO_PKG_VERSION")))
}

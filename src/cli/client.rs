//! The HTTP client of the commands.

use std::time::Duration;

use anyhow::Context;

/// A client whose requests, connection included, take at most `patience`.
///
/// # Errors
/// The system's root certificates cannot be read.
pub(super) fn new(patience: Duration) -> anyhow::Result<reqwest::Client> {
    reqwest::Client::builder()
        .timeout(patience)
        .redirect(reqwest::redirect::Policy::none())
        .user_agent(concat!("offhook/", env!("CARGO_PKG_VERSION")))
        .build()
        .context("the HTTP client cannot be made")
}

//! [`SendDoors`]: what is sent, over HTTP, as the store knows it and as it is configured.

use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::backend::Outbox;

/// What is sent, as people look at it.
#[derive(Clone, Debug)]
pub struct SendDoors {
    /// What is to be sent, and what came of it.
    pub outbox: Outbox,
    /// The senders of this process's configuration in force.
    pub configured: Arc<ArcSwap<Vec<ConfiguredSender>>>,
}

/// A `[[sender]]`, as far as it may be shown.
#[derive(Clone, Debug)]
pub struct ConfiguredSender {
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: &'static str,
    /// The SID of its account.
    pub account: String,
    /// The name of its pace.
    pub pace: String,
    /// Units per second of the pace.
    pub rate: f64,
}

//! Forwarding: what the store has is sent on, signed, to the URLs of `[[forward]]`.
//!
//! [`Config`] is one of them. A [`Filter`] says which changes it takes, a [`Form`] what a change looks like on the
//! wire, and an [`Endpoint`] sends one and says what became of it: a [`Delivery`]. A [`Window`](window::Window) knows
//! which change may be sent when, and again; a [`Runner`] sends them, and remembers how far it came.

pub mod endpoint;
pub mod filter;
pub mod form;
pub mod metrics;
pub mod runner;
pub mod target;
pub mod window;

use std::time::Duration;

pub use self::endpoint::{Delivery, Endpoint, Failure, Unsendable};
pub use self::filter::Filter;
pub use self::form::Form;
pub use self::metrics::{ForwardMetrics, Metrics};
pub use self::runner::{Observer, Runner};
pub use self::target::Target;

/// One `[[forward]]`.
#[derive(Debug, Clone)]
pub struct Config {
    /// What it is called in metrics, commands and the store. No other has this name.
    pub name: String,
    /// The URL to which changes are sent.
    pub target: Target,
    /// What they look like there, and what signs them.
    pub form: Form,
    /// Which of them go there.
    pub filter: Filter,
    /// The certificates of the authorities that the target's is held against, as PEM; `None`: those that the
    /// system trusts.
    pub ca: Option<Vec<u8>>,
    /// Longest time of one request, its connection included.
    pub timeout: Duration,
    /// Most requests at one time. At least 1.
    pub in_flight: u32,
    /// Most changes that wait for another try. With one more the endpoint counts as down. At least 1.
    pub max_waiting: u32,
    /// How long every request must have failed before the forward is disabled.
    pub disable_after: Duration,
    /// How long the store keeps what has not been forwarded, whatever the ages of `[retention]`.
    pub max_age: Duration,
    /// Where a new forward begins.
    pub from: Beginning,
    /// Is another one if anything of this has changed, its secrets and certificates too, which cannot be compared.
    pub fingerprint: u64,
}

/// Where a new forward begins.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Beginning {
    /// With the first change that the store still has.
    Start,
    /// With what is stored from now on.
    #[default]
    End,
}

#[cfg(test)]
mod testing;

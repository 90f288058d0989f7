//! What operators rely on: starting, stopping, reloading, health, metrics, the files that are shipped.

mod copy;
mod encryption;
mod health;
mod log;
pub(crate) mod metrics;
mod reload;
mod resources;
mod shipped_files;
mod shutdown;
mod startup;
#[cfg(feature = "otel")]
pub(crate) mod traces;
mod upgrade;

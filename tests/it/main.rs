//! offhook as a whole, against real servers: one module per contract or promise.

mod fallback;
#[expect(dead_code, unused_imports, reason = "some tests that need it are still to come")]
mod harness;
mod health;
mod kinds;
mod metrics;
mod operations;
mod order;
mod outage;
mod refusals;
#[expect(dead_code, reason = "some tests that need it are still to come")]
mod services;
mod sink_battery;
mod source_battery;
mod spool;
mod strangers;

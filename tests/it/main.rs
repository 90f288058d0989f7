//! offhook as a whole, against real servers: one module per contract or promise.

mod harness;
mod kinds;
mod outage;
mod services;
mod sink_battery;
mod source_battery;
mod spool;

//! offhook as a whole, against real servers: one module per contract or promise.

mod bad_input;
mod bench;
mod broken_disk;
mod encryption;
mod fallback;
mod harness;
mod health;
mod hidden_settings;
mod kinds;
mod metrics;
mod operations;
mod order;
mod outage;
mod pooler;
mod reads;
mod reconnection;
mod refusals;
mod services;
mod shutdown;
mod sink_battery;
mod source_battery;
mod spool;
mod startup;
mod strangers;
mod torture;

//! What is outlasted: servers and disks that are away, broken or unfit, and processes that are killed.

mod broken_disk;
mod hidden_settings;
mod outage;
mod reconnection;
mod torture;
mod unfit_services;

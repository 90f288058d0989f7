//! Campaigns, of values alone: when one stops itself.

pub mod brake;

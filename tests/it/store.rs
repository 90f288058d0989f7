//! What is stored: each event once, one status of each SID, in every deployment.

mod change_feed;
mod connection_pooler;
mod delivery_counts;
mod direct;
mod documented_sql;
mod foreign_groups;
mod forwarding;
mod local_log;
mod order;
mod retention;
mod workers;

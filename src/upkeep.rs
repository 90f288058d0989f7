//! What is done again and again beside the flow of events, so that it keeps flowing: deleting what is old,
//! freeing the stream, looking after the local log, watching durability, health, and calls in progress.

pub(crate) mod calls;
pub(crate) mod durability;
pub(crate) mod health;
pub(crate) mod local_log;
pub mod retention;
pub(crate) mod stream;

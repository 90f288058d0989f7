//! The lab: what tries offhook out, and no part of it. Only the commands and the tests import it.
//!
//! - [`sample`]: callbacks as Twilio would send and sign them; `sender` sends one.
//! - `traffic`: an hour of them, and what must come of it.
//! - [`wire`]: as much of HTTP as it takes to send bytes, right or wrong.
//! - [`twilio`]: a pretend Twilio, which messages are sent through.
//! - [`mod@email`]: the key of a pretend SendGrid.
//! - [`endpoint`]: what is forwarded to, and remembers it.
//! - `load`: the load generator: schedule, lanes, tally; `bench`, what the command of that name sends.
//! - [`servers`]: private servers of Redis and Postgres.
//! - [`spawned`]: an offhook as a process of its own.
//! - [`torture`]: offhook under load and faults, and the proof that nothing was lost.

pub(crate) mod bench;
pub mod email;
pub mod endpoint;
pub(crate) mod load;
pub mod sample;
pub(crate) mod sender;
pub mod servers;
pub mod spawned;
#[cfg(test)]
pub(crate) mod test_client;
pub mod torture;
pub(crate) mod traffic;
pub mod twilio;
pub mod wire;

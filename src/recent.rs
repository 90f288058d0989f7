//! What a process remembers for the people who run it: the last events, and the last requests that it refused.
//! Bounded, in memory, gone with the process. Services write here, and `admin` reads.

pub mod events;
mod reason;
pub mod refusals;

pub use self::reason::Refusal;

//! What SendGrid is asked and answers, what it sends and how it signs, as pure functions. No I/O, no async, no clock.
//!
//! Read in this order: [`keys`] (by which a request may be signed), [`signature`] (a request becomes a signed one),
//! [`kind`] (what an object of one says), [`events`] (a signed request becomes events); and [`mail`] (what sends an
//! email), [`error`] (why that is refused).

pub mod error;
pub mod events;
pub mod keys;
pub(crate) mod kind;
pub mod mail;
pub mod signature;

pub use self::events::ACCOUNT;

//! What SendGrid sends and how it signs, as pure functions. No I/O, no async, no clock.
//!
//! Read in this order: [`keys`] (by which a request may be signed).

pub mod keys;

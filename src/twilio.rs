//! What Twilio sends and how it signs, as pure functions. No I/O, no async, no clock.
//!
//! Read in this order: [`params`] (a form's pairs), [`public_url`] (which URL was signed),
//! [`keyring`] (whose secrets), [`signature`] (an unverified request becomes a verified one),
//! [`privacy`] (what may be kept of one), [`callback`] (a verified request becomes events), [`consent`] (STOP and START in them), [`kind`]
//! (which kinds of events there are), [`details`] (what a store wants to know of an event), [`error`]
//! (why something failed), [`address`] (numbers, and the channels before them), [`twiml`] and [`fallback`] (what the
//! fallback URLs answer), [`rest`] (what is asked of Twilio, and what it answers).

pub mod address;
pub mod answer;
pub mod callback;
pub mod consent;
pub mod details;
pub mod diagnosis;
pub mod error;
pub mod fallback;
pub(crate) mod fields;
pub(crate) mod json;
pub mod keyring;
pub mod kind;
pub mod params;
pub mod privacy;
pub mod public_url;
pub mod rest;
pub mod signature;
pub mod twiml;

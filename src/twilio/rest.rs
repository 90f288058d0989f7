//! Twilio's REST API for messages, calls and what receives them, as values: what a request says ([`NewMessage`],
//! [`NewCall`], [`path`]),
//! what an answer means ([`Answer`]), and what a number is configured with ([`Incoming`]). The client that sends the one
//! and receives the other is elsewhere.
//!
//! **Creating a message or a call cannot be repeated safely**: Twilio has no idempotency key for it. So [`CreateAnswer`]
//! distinguishes what was created, what was certainly not, and [what is unknown](CreateAnswer::Unknown). It goes by
//! Twilio's `code` wherever there is one: the daily limit of an account comes with the HTTP status of a throttle.

mod answer;
mod call;
mod incoming;
mod message;
pub mod path;
mod request;

pub use self::answer::{Answer, CreateAnswer, Doubt, ReadAnswer};
pub use self::call::{MOST_TWIML, NewCall, Spoken, cancel_form, voice_confirm};
pub use self::incoming::{Field, Hook, Incoming, IncomingPage, What, parameter, update_form};
pub use self::message::{Created, Message, Page};
pub use self::request::{NewMessage, SentBy, status_callback};

//! Twilio's REST API for messages, as values: what a request says ([`NewMessage`], [`path`]) and what an answer means
//! ([`Answer`]). The client that sends the one and receives the other is elsewhere.
//!
//! **Creating a message cannot be repeated safely**: Twilio has no idempotency key for it. So [`CreateAnswer`]
//! distinguishes what was created, what was certainly not, and [what is unknown](CreateAnswer::Unknown). It goes by
//! Twilio's `code` wherever there is one: the daily limit of an account comes with the HTTP status of a throttle.

mod answer;
mod message;
pub mod path;
mod request;

pub use self::answer::{Answer, CreateAnswer, Doubt, ReadAnswer};
pub use self::message::{Message, Page};
pub use self::request::{NewMessage, SentBy, status_callback};

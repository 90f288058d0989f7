//! What is received: what becomes an event, what is refused, and what a caller hears.

mod bad_input;
mod balancers;
mod callback_kinds;
mod email;
mod fallback;
mod identity;
mod refusals;

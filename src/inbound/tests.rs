//! The public listener from outside: real sockets before it, a real store behind it.

mod answers;
mod connections;
mod email;
mod fallback;
mod incoming;
mod refusals;
mod request;
mod server;
mod signatures;
mod voice_confirm;

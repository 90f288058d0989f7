//! The sending half: it sends what was asked for, once, at the pace that its senders allow.

pub mod config;

pub use self::config::Config;

//! offhook receives Twilio's callbacks: it verifies them, makes them durable, answers 200 within
//! milliseconds, and keeps one true status per SID.
//!
//! Read it from the bottom up; each floor imports only those below it.
//!
//! 0. Values, without I/O: [`clock`], [`retry`], [`crash_points`] (in no release), [`mod@labels`] (closed sets
//!    of names), [`event`] (what happened, and which status wins), [`twilio`] (how a request is signed, and
//!    what it says), [`sendgrid`] (the same of email events), [`dispatch`] (what may be sent, when, and what came of it).
//! 1. [`pipeline`]: the contract, commit a batch; group commit before it, a pump behind it. Beside it
//!    [`policy`] (what a reload may change), [`recent`] (what a process remembers for people), [`mod@metrics`] (how they
//!    are declared), [`outage`] (what is logged once), [`spans`] (for traces), [`shutdown`] and [`tasks`], and [`http`],
//!    over which services listen.
//! 2. [`backend`]: a local log, a Redis stream, SQLite and Postgres, which all commit batches.
//! 3. Services: [`inbound`] (Twilio's callbacks), [`worker`] (log to store), [`forward`] (store to other URLs),
//!    [`outbound`] (sending), [`upkeep`] (periodic chores), [`admin`] (metrics, health, API, console), [`mod@copy`] (one
//!    store to another).
//! 4. Assembly: [`config`], [`telemetry`], `process` (its limits), [`app`], [`cli`]; [`lab`], which
//!    exercises all of it from outside.

// They panic on a closed pipe: commands print through `cli::terminal`.
#![cfg_attr(not(test), warn(clippy::print_stdout, clippy::print_stderr))]

pub mod admin;
pub mod app;
pub mod backend;
pub mod cli;
pub mod clock;
pub mod config;
pub mod copy;
pub mod crash_points;
pub mod dispatch;
pub mod event;
pub mod forward;
pub mod http;
pub mod inbound;
pub mod lab;
pub mod labels;
pub mod metrics;
pub mod outage;
pub mod outbound;
pub mod pipeline;
pub mod policy;
mod process;
#[cfg(any(test, fuzzing))]
pub mod properties;
pub mod recent;
pub mod retry;
pub mod sendgrid;
pub mod shutdown;
pub mod spans;
pub mod tasks;
pub mod telemetry;
pub mod twilio;
pub mod upkeep;
pub mod worker;

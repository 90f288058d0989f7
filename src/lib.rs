//! offhook receives Twilio's callbacks: it verifies them, makes them durable, answers 200 within
//! milliseconds, and keeps one true status per SID.

pub mod backend;
pub mod clock;
pub mod event;
pub mod pipeline;
pub mod retry;
pub mod twilio;

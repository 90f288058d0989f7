//! The contracts of the pipeline and of the stores, each held against every backend.

mod feed;
mod forwards;
mod interleaved;
mod outbox;
mod reads;
mod sink;
mod source;

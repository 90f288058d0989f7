//! What the two SQL stores share: how a row is read, and the SQL that is made for both, so that they
//! cannot differ.

pub(super) mod batch;
pub(super) mod changes;
pub(super) mod columns;
pub(super) mod counts;
pub(super) mod dialect;
pub(super) mod error;
pub(super) mod forwards;
pub(super) mod outbox;
pub(super) mod page;
pub(super) mod purge;
pub(super) mod rows;
pub(super) mod search;
pub(super) mod session;

//! Whether each message has a final status in the end, although callbacks are lost.

use super::{Acknowledged, Case, Check, Kept, check};
use crate::lab::twilio::{Entry, Ledger};

/// Every check.
pub(in crate::lab::torture) fn judge(
    acknowledged: &[Acknowledged],
    kept: &Kept,
    ledger: &Ledger,
) -> Vec<Check> {
    let case = Case::new(acknowledged, kept, &ledger.messages);
    let unreported = ledger.messages.iter().filter(|entry| entry.reports.is_empty());
    vec![
        check("kept", acknowledged.iter().map(|it| case.is_kept(it))),
        check("settled", unreported.map(|entry| kept.finals.contains_key(&entry.sid))),
        check("final", ledger.messages.iter().map(|entry| has_status_of(kept, entry))),
    ]
}

/// Whether the store has the message's status as the final one.
fn has_status_of(kept: &Kept, entry: &Entry) -> bool {
    kept.finals.get(&entry.sid).is_some_and(|status| *status == entry.status)
}

//! Whether each message has a final status in the end, although callbacks are lost.

use super::{Acknowledged, Case, Check, Kept, check};
use crate::lab::twilio::Ledger;

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
        check("settled", unreported.map(|entry| kept.finals.contains(&entry.sid))),
        check("final", ledger.messages.iter().map(|entry| kept.finals.contains(&entry.sid))),
    ]
}

//! Where a notification stands, by where its attempts do.

use super::{AttemptState, NotificationState, OnUnknown};

/// Where an attempt stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Standing {
    /// Its state.
    pub state: AttemptState,
    /// Why.
    pub reason: Option<String>,
    /// Whether it is going to be looked for.
    pub is_looked_for: bool,
}

/// Where a notification stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Outcome {
    /// Its state.
    pub state: NotificationState,
    /// Why.
    pub reason: Option<String>,
}

/// Where a notification stands whose attempts stand so, in their order. Proof overrides what was inferred: one
/// confirmed attempt is enough, and one that may still arrive keeps it open.
#[must_use]
pub fn of(attempts: &[Standing], on_unknown: OnUnknown) -> Outcome {
    use AttemptState as A;
    use NotificationState as N;
    let find = |state: A| attempts.iter().rev().find(|attempt| attempt.state == state);
    let ends = |state: N, of: &Standing| Outcome { state, reason: of.reason.clone() };
    if let Some(confirmed) = find(A::Confirmed) {
        return ends(N::Confirmed, confirmed);
    }
    let is_open = |attempt: &Standing| match attempt.state {
        A::Due | A::Claimed | A::Writing | A::Accepted => true,
        // Asked to err on the side of sending, it is sent again if no trace is found.
        A::Unknown => on_unknown == OnUnknown::Resend && attempt.is_looked_for,
        _ => false,
    };
    if attempts.iter().any(is_open) {
        return Outcome { state: N::Open, reason: None };
    }
    if let Some(unconfirmed) = find(A::Unconfirmed) {
        return ends(N::Unconfirmed, unconfirmed);
    }
    if let Some(unknown) = find(A::Unknown) {
        // A later attempt that was refused or failed proves nothing about this one.
        return ends(N::Unknown, unknown);
    }
    let Some(last) = attempts.last() else {
        return Outcome { state: N::Open, reason: None };
    };
    let state = match last.state {
        A::Failed => N::Failed,
        A::Refused => N::Refused,
        A::Expired => N::Expired,
        A::Cancelled => N::Cancelled,
        A::Due | A::Claimed | A::Writing | A::Accepted => N::Open,
        A::Confirmed => N::Confirmed,
        A::Unconfirmed => N::Unconfirmed,
        A::Unknown => N::Unknown,
    };
    ends(state, last)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(
        attempts: &[(AttemptState, bool)],
        on_unknown: OnUnknown,
        expected: NotificationState,
    ) {
        let standing = |&(state, is_looked_for): &(AttemptState, bool)| Standing {
            state,
            reason: None,
            is_looked_for,
        };
        let attempts: Vec<_> = attempts.iter().map(standing).collect();
        assert_eq!(of(&attempts, on_unknown).state, expected, "{attempts:?} {on_unknown:?}");
    }

    #[test]
    fn proof_overrides_and_what_may_arrive_keeps_it_open() {
        use AttemptState as A;
        use NotificationState as N;
        use OnUnknown::{Report, Resend};
        check(&[], Report, N::Open);
        check(&[(A::Writing, false)], Report, N::Open);
        check(&[(A::Unknown, true)], Report, N::Unknown);
        check(&[(A::Unknown, true)], Resend, N::Open);
        check(&[(A::Unknown, false)], Resend, N::Unknown);
        check(&[(A::Unknown, false), (A::Due, false)], Resend, N::Open);
        check(&[(A::Unknown, false), (A::Failed, false)], Resend, N::Unknown);
        check(&[(A::Unknown, false), (A::Confirmed, false)], Resend, N::Confirmed);
        check(&[(A::Confirmed, false), (A::Accepted, false)], Resend, N::Confirmed);
        check(&[(A::Unconfirmed, false), (A::Cancelled, false)], Resend, N::Unconfirmed);
        for (state, expected) in [
            (A::Failed, N::Failed),
            (A::Refused, N::Refused),
            (A::Expired, N::Expired),
            (A::Cancelled, N::Cancelled),
        ] {
            check(&[(state, false)], Report, expected);
        }
    }
}

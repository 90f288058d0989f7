//! What the tests of forwarding have in common.

use crate::clock::Timestamp;
use crate::event::{Change, EventKey, Kind, Own, Resource};

/// A call of AC1 that came to this status.
pub(crate) fn change(status: &str) -> Change {
    Change {
        id: 7,
        stored_at: Timestamp::parse_rfc3339("2026-11-24T08:00:00Z").expect("it is a time"),
        account: "AC1".to_owned(),
        key: EventKey::of(&["CA1", status]).expect("it is printable"),
        kind: Kind::Call,
        sid: Some("CA1".to_owned()),
        resource: Some(Resource::Call),
        status: Some(status.to_owned()),
        previous: None,
        current: Some(status.to_owned()),
        moved: true,
        error_code: None,
        own: Own::parse(r#"{"order_id":"A-1"}"#),
    }
}

//! [`Group`]: what goes out in order.

use std::sync::Arc;

/// What goes out in order: the changes of a SID, or one change without a SID.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Group {
    /// The changes of an account's SID.
    Sid {
        /// The account.
        account: Arc<str>,
        /// The SID.
        sid: Arc<str>,
    },
    /// A change without a SID.
    Alone {
        /// The account.
        account: Arc<str>,
        /// The id of the change.
        change: i64,
    },
}

impl Group {
    /// The group of a change.
    #[must_use]
    pub fn of(change: i64, account: &str, sid: Option<&str>) -> Self {
        let account = account.into();
        match sid {
            Some(sid) => Self::Sid { account, sid: sid.into() },
            None => Self::Alone { account, change },
        }
    }

    pub(super) fn account(&self) -> &str {
        match self {
            Self::Sid { account, .. } | Self::Alone { account, .. } => account,
        }
    }

    pub(super) fn sid(&self) -> Option<&str> {
        match self {
            Self::Sid { sid, .. } => Some(sid),
            Self::Alone { .. } => None,
        }
    }
}

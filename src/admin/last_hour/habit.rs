//! [`Habit`]: what usually comes at this time, as the store remembers it, which a restart does not forget.

use std::time::Duration;

use tokio::time::timeout;

use crate::backend::{BackendError, Reads};
use crate::clock::Timestamp;

const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// Longest wait for the store: the page waits for it as well, once.
const PATIENCE: Duration = Duration::from_secs(1);
/// Of fewer, a silence says nothing.
const MANY: u32 = 20;

/// What is stored of this time of the day.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::admin) struct Habit {
    /// Something was received in the last 20 minutes, by any receiver.
    pub(in crate::admin) recent: bool,
    /// Many were received in 15 minutes at this time, both yesterday and a week ago.
    pub(in crate::admin) usual: bool,
}

impl Habit {
    /// As the alert looks at it. `None` if that cannot be known: the store does not answer, or does not
    /// reach back for a week.
    pub(super) async fn of(reader: &Reads, now: Timestamp) -> Option<Self> {
        timeout(PATIENCE, look(reader, now)).await.ok()?.ok()?
    }
}

async fn look(reader: &Reads, now: Timestamp) -> Result<Option<Habit>, BackendError> {
    // The clock of another receiver may be ahead.
    let end = Timestamp::from_micros(now.micros().saturating_add(DAY.as_micros() as i64));
    let recent = reader.received(now.before(20 * MINUTE), end, 1).await? > 0;
    let then = |ago: Duration| (now.before(ago + 15 * MINUTE), now.before(ago));
    let (week_began, week_ended) = then(7 * DAY);
    let start = Timestamp::from_micros(0);
    if reader.received(start, week_began, 1).await? == 0 {
        return Ok(None);
    }
    let (began, ended) = then(DAY);
    let many = |count: u64| count > u64::from(MANY);
    let usual = many(reader.received(began, ended, MANY + 1).await?)
        && many(reader.received(week_began, week_ended, MANY + 1).await?);
    Ok(Some(Habit { recent, usual }))
}

//! Deletes what is known of somebody, or of some time.
//!
//! A request does no more than some seconds' work and says where to go on, so that whoever asks can
//! say how far it is, and nothing goes on that nobody waits for.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};
use tracing::info;

use super::{Problem, ask};
use crate::admin::Admin;
use crate::backend::purge::{Found, Mode, Place, Selection};
use crate::clock::Timestamp;
use crate::twilio::privacy::Privacy;

/// After so long an answer says where to go on.
const SPAN: Duration = Duration::from_secs(2);

/// The body of `POST /api/purge`. Whatever is set of the first four must hold.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct PurgeRequest {
    sid: Option<String>,
    number: Option<String>,
    account: Option<String>,
    before: Option<String>,
    /// Only count.
    dry_run: bool,
    /// Where to go on, as the last answer said it.
    after: Option<String>,
}

impl PurgeRequest {
    fn selection(&self, privacy: &Privacy, now: Timestamp) -> Result<Selection, Problem> {
        let set = |name: &str, value: &Option<String>| match value.as_deref().map(str::trim) {
            Some("") => Err(Problem::bad(format!("`{name}` is empty"))),
            value => Ok(value.map(str::to_owned)),
        };
        let number = set("number", &self.number)?;
        let no_number = || {
            Problem::bad(
                "`number` is not a number (+15550100) or an address (client:name); a masked one belongs to several people",
            )
        };
        let no_time = || {
            Problem::bad(
                "`before` is not a time (2026-11-24T08:00:00Z), a date (2026-11-24) or an age (15m, 2h, 7d)",
            )
        };
        let before = set("before", &self.before)?;
        let before = before.map(|text| ask::when(&text, now).ok_or_else(no_time));
        let addresses = number
            .map(|number| Selection::addresses(&number, privacy).ok_or_else(no_number))
            .transpose()?;
        let selection = Selection {
            sid: set("sid", &self.sid)?,
            addresses: addresses.unwrap_or_default(),
            to_hashes: Vec::new(),
            account: set("account", &self.account)?,
            before: before.transpose()?,
        };
        if selection == Selection::default() {
            return Err(Problem::bad("name a `sid`, a `number`, an `account` or a time `before`"));
        }
        if selection.texts().any(|text| text.contains('\0')) {
            return Err(Problem::bad("a NUL character is in no row"));
        }
        Ok(selection)
    }

    fn place(&self) -> Result<Place, Problem> {
        let unknown = || Problem::bad("`after` is not what an answer gave as `next`");
        let place = self.after.as_deref().map(|after| Place::parse(after).ok_or_else(unknown));
        Ok(place.transpose()?.unwrap_or(Place::START))
    }
}

/// What was deleted, or would be.
#[derive(Debug, Serialize)]
pub(super) struct Purged {
    events: u64,
    statuses: u64,
    dead_letters: u64,
    /// What the spool of this process keeps aside.
    spool: u64,
    /// What is to be sent, and what was.
    notifications: u64,
    /// Those that are being sent at this moment, and stay for now.
    in_writing: u64,
    dry_run: bool,
    /// Whether numbers are stored so that this one is not told from others: then only rows from
    /// before that were looked for.
    masked: bool,
    /// To be said again, so that the time does not move from one request to the next.
    before: Option<Timestamp>,
    /// At the end: how much is still on its way to the store, of all people.
    waiting: Option<Waiting>,
    /// `after` of the next request; null at the end.
    next: Option<String>,
}

#[derive(Debug, Serialize)]
struct Waiting {
    stream: u64,
    spool: u64,
}

/// `POST /api/purge`
pub(super) async fn purge(
    State(admin): State<Arc<Admin>>,
    wanted: Result<Json<PurgeRequest>, JsonRejection>,
) -> Result<Json<Purged>, Problem> {
    let Json(wanted) = wanted?;
    let privacy = admin.privacy.now();
    let masked = wanted.number.is_some() && !privacy.tells_numbers_apart();
    let (mut selection, place) = (wanted.selection(&privacy, admin.clock.now())?, wanted.place()?);
    if let Some(number) = wanted.number.as_deref() {
        selection.to_hashes = admin.sending.hashes(number.trim()).await?;
    }
    let mode = if wanted.dry_run { Mode::Count } else { Mode::Delete };
    let (found, next) = some(&admin, &selection, place, mode).await?;
    let waiting = match next {
        None => {
            let waiting = admin.purge.waiting().await?;
            Some(Waiting { stream: waiting.stream, spool: waiting.spool })
        }
        Some(_) => None,
    };
    let Found { events, statuses, dead_letters, spool, notifications, in_writing } = found;
    if mode == Mode::Delete && found != Found::default() {
        info!(notifications, in_writing, events, statuses, dead_letters, spool, "purged");
    }
    Ok(Json(Purged {
        events,
        statuses,
        dead_letters,
        spool,
        notifications,
        in_writing,
        dry_run: wanted.dry_run,
        masked,
        before: selection.before,
        waiting,
        next: next.map(|place| place.to_string()),
    }))
}

/// Steps for a while, and rests after each for as long as it took, for the sake of others.
async fn some(
    admin: &Admin,
    selection: &Selection,
    place: Place,
    mode: Mode,
) -> Result<(Found, Option<Place>), Problem> {
    let (began, mut found, mut next) = (Instant::now(), Found::default(), Some(place));
    while let Some(place) = next.take_if(|_| began.elapsed() < SPAN) {
        let step = Instant::now();
        let (more, then) = admin.purge.step(selection, place, mode).await?;
        found += more;
        if then.is_none() {
            return Ok((found, None));
        }
        next = then;
        sleep(step.elapsed()).await;
    }
    Ok((found, next))
}

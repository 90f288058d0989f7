//! [`Planner`]: makes the recipients of a campaign out of the rows of its list, and keeps them by the hundred, so that the
//! length of a list does not matter.

use axum::http::StatusCode;

use super::form::{CampaignForm, LIST};
use crate::backend::outbox::{InvalidRow, NewRecipient, RECIPIENTS_AT_ONCE};
use crate::clock::Timestamp;
use crate::dispatch::campaign::list::{BadRow, Form, ListError, ListReader, Read};
use crate::http::problem::Problem;
use crate::outbound::Hashes;
use crate::outbound::api::request::{Common, NotificationAsk, wrong};
use crate::outbound::api::{Api, unavailable};
use crate::outbound::config::Config;

/// Rows that are read before something else has its turn.
const AT_ONCE: usize = 50;
/// Most bytes of texts that are held before they are kept: HTML may be long.
const MOST_BYTES: usize = 4 * 1024 * 1024;

/// What a list came to.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Tally {
    /// Rows that are recipients.
    pub(super) recipients: u64,
    /// Rows whose recipient was there before.
    pub(super) doubles: u64,
    /// Rows that cannot be sent to.
    pub(super) invalid: u64,
}

impl Tally {
    const fn rows(self) -> u64 {
        self.recipients + self.doubles + self.invalid
    }
}

/// Plans one campaign.
pub(super) struct Planner<'a> {
    pub(super) api: &'a Api,
    pub(super) config: &'a Config,
    pub(super) hashes: &'a Hashes,
    /// The campaign's id.
    pub(super) id: &'a str,
    pub(super) common: &'a Common,
    pub(super) now: Timestamp,
    each: NotificationAsk,
    list: ListReader,
    recipients: Vec<NewRecipient>,
    /// Bytes of their texts.
    bytes: usize,
    invalid: Vec<InvalidRow>,
    tally: Tally,
}

impl<'a> Planner<'a> {
    pub(super) fn new(
        (api, config, hashes): (&'a Api, &'a Config, &'a Hashes),
        (id, common, form): (&'a str, &'a Common, Form),
        asked: CampaignForm,
        now: Timestamp,
    ) -> Self {
        let (list, each) = (ListReader::new(form), asked.each);
        let (recipients, invalid) = (Vec::new(), Vec::new());
        let (bytes, tally) = (0, Tally::default());
        Self { api, config, hashes, id, common, now, each, list, recipients, bytes, invalid, tally }
    }

    /// Takes the next bytes of the list.
    ///
    /// # Errors
    /// It is not a list, or the store does not answer.
    pub(super) async fn feed(&mut self, bytes: &[u8]) -> Result<(), Problem> {
        let mut rows = Vec::new();
        self.list.feed(bytes, &mut rows).map_err(not_a_list)?;
        self.take(rows).await
    }

    /// The list has ended.
    ///
    /// # Errors
    /// The same, and that it has too many recipients, or none.
    pub(super) async fn end(mut self) -> Result<Tally, Problem> {
        let mut rows = Vec::new();
        self.list.end(&mut rows).map_err(not_a_list)?;
        self.take(rows).await?;
        self.keep_recipients().await?;
        self.keep_invalid().await?;
        let most = self.config.campaigns.max_recipients;
        if self.tally.recipients > most {
            let problem = format!(
                "the list has {} rows, and a campaign has at most {most} recipients: shorten it, or raise \
                 campaigns.max_recipients",
                self.tally.rows()
            );
            return Err(Problem::new(StatusCode::CONFLICT, problem));
        }
        if self.tally.recipients > 0 {
            return Ok(self.tally);
        }
        let first = self.api.outbox.invalid_rows(self.id, 0, 1).await.map_err(unavailable)?;
        Err(wrong(
            LIST,
            match first.first() {
                Some(InvalidRow { line, reason }) => {
                    format!(
                        "none of its {} rows can be sent to; line {line}: {reason}",
                        self.tally.invalid
                    )
                }
                None => "it has no recipients".to_owned(),
            },
        ))
    }

    async fn take(&mut self, rows: Vec<Read>) -> Result<(), Problem> {
        for (place, row) in rows.into_iter().enumerate() {
            self.row(row);
            if place % AT_ONCE == 0 {
                // Rendering takes a processor, which others wait for.
                tokio::task::yield_now().await;
            }
            if self.recipients.len() == RECIPIENTS_AT_ONCE || self.bytes > MOST_BYTES {
                self.keep_recipients().await?;
            }
            if self.invalid.len() == RECIPIENTS_AT_ONCE {
                self.keep_invalid().await?;
            }
        }
        Ok(())
    }

    fn row(&mut self, row: Read) {
        let invalid = match row {
            Err(BadRow { line, reason }) => InvalidRow { line, reason: reason.to_string() },
            Ok(row) => {
                let line = row.line;
                let planned =
                    self.each.recipient(row, self.common, self.config, self.hashes, self.now);
                match planned {
                    Ok(recipient) => {
                        self.bytes +=
                            recipient.text.len() + recipient.html.as_ref().map_or(0, String::len);
                        return self.recipients.push(recipient);
                    }
                    Err(problem) => InvalidRow { line, reason: problem.detail },
                }
            }
        };
        self.tally.invalid += 1;
        self.invalid.push(invalid);
    }

    async fn keep_recipients(&mut self) -> Result<(), Problem> {
        let recipients = std::mem::take(&mut self.recipients);
        self.bytes = 0;
        let count = recipients.len() as u64;
        // What is too long is only counted from there on: it is refused.
        if count == 0 || self.tally.recipients > self.config.campaigns.max_recipients {
            self.tally.recipients += count;
            return Ok(());
        }
        let added =
            self.api.outbox.add_recipients(self.id, &recipients).await.map_err(unavailable)?;
        let added = added.ok_or_else(gone)?;
        self.tally.recipients += added;
        self.tally.doubles += count.saturating_sub(added);
        Ok(())
    }

    async fn keep_invalid(&mut self) -> Result<(), Problem> {
        let invalid = std::mem::take(&mut self.invalid);
        if invalid.is_empty() || self.tally.recipients > self.config.campaigns.max_recipients {
            return Ok(());
        }
        self.api.outbox.reject_rows(self.id, &invalid).await.map_err(unavailable)
    }
}

fn not_a_list(error: ListError) -> Problem {
    wrong(LIST, error)
}

/// The campaign was cancelled, or forgotten, while its list was read.
pub(super) fn gone() -> Problem {
    Problem::new(StatusCode::CONFLICT, "the campaign was cancelled while its list was read")
}

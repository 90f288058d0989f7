//! What became of each recipient, as a stream of pages: its length does not matter.

use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use csv::WriterBuilder;
use futures_util::stream::try_unfold;
use serde::Serialize;

use crate::backend::outbox::{RecipientOutcome, RecipientResult};
use crate::backend::{BackendError, Outbox};
use crate::clock::Timestamp;
use crate::dispatch::Channel;
use crate::labels::labels;

/// Recipients of one look into the store, and of one piece of the answer.
const PER_PAGE: u32 = 500;

labels! {
    /// How results are written.
    pub(super) enum ResultsForm {
        /// CSV, whose first line names the columns.
        Csv = "csv",
        /// A JSON object a line.
        Ndjson = "ndjson",
    }
}

/// What became of a recipient. The columns of CSV have these names, and this order.
#[derive(Debug, Serialize)]
struct ResultView<'r> {
    line: u64,
    key: Option<&'r str>,
    to: Option<&'r str>,
    outcome: RecipientOutcome,
    reason: Option<&'r str>,
    /// The channel that confirmed it.
    channel: Option<Channel>,
    attempts: u64,
    /// Those of its attempts; in CSV with a blank between two.
    sids: &'r [String],
    sent_at: Option<Timestamp>,
    settled_at: Option<Timestamp>,
    notification: Option<&'r str>,
}

const COLUMNS: [&str; 11] = [
    "line",
    "key",
    "to",
    "outcome",
    "reason",
    "channel",
    "attempts",
    "sids",
    "sent_at",
    "settled_at",
    "notification",
];

impl<'r> ResultView<'r> {
    fn of(result: &'r RecipientResult) -> Self {
        Self {
            line: result.number,
            key: result.key.as_deref(),
            to: result.to.as_deref(),
            outcome: result.outcome,
            reason: result.reason.as_deref(),
            channel: result.channel,
            attempts: result.attempts,
            sids: &result.sids,
            sent_at: result.sent_at,
            settled_at: result.settled_at,
            notification: result.notification.as_deref(),
        }
    }

    fn cells(&self) -> [String; COLUMNS.len()] {
        let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
        let time = |time: Option<Timestamp>| time.map_or_else(String::new, |it| it.to_string());
        [
            self.line.to_string(),
            text(self.key),
            text(self.to),
            self.outcome.as_str().to_owned(),
            text(self.reason),
            text(self.channel.map(Channel::as_str)),
            self.attempts.to_string(),
            self.sids.join(" "),
            time(self.sent_at),
            time(self.settled_at),
            text(self.notification),
        ]
    }
}

/// The results of a campaign.
pub(super) fn answer(outbox: Outbox, id: String, form: ResultsForm) -> Response {
    // Behind which line, or `None` after the last page; and whether the columns are named.
    let begin = Some((0, true));
    let pages = try_unfold(begin, move |place| {
        let (outbox, id) = (outbox.clone(), id.clone());
        async move {
            let Some((after, is_first)) = place else { return Ok::<_, BackendError>(None) };
            let found = outbox.results(&id, after, PER_PAGE).await?;
            let is_whole = found.len() < PER_PAGE as usize;
            let next = found.last().filter(|_| !is_whole).map(|last| (last.number, false));
            Ok(Some((piece(&found, form, is_first), next)))
        }
    });
    let kind = match form {
        ResultsForm::Csv => "text/csv; charset=utf-8",
        ResultsForm::Ndjson => "application/x-ndjson",
    };
    ([(CONTENT_TYPE, kind)], Body::from_stream(pages)).into_response()
}

fn piece(results: &[RecipientResult], form: ResultsForm, is_first: bool) -> Bytes {
    let views = results.iter().map(ResultView::of);
    match form {
        ResultsForm::Ndjson => {
            let line = |view| {
                let line = serde_json::to_string(&view).expect("a result has keys of text");
                line + "\n"
            };
            views.map(line).collect::<String>().into()
        }
        ResultsForm::Csv => {
            let mut writer = WriterBuilder::new().from_writer(Vec::new());
            let columns = is_first.then(|| COLUMNS.map(str::to_owned));
            for cells in columns.into_iter().chain(views.map(|view| view.cells())) {
                writer.write_record(cells).expect("it is written to memory");
            }
            writer.into_inner().expect("it is written to memory").into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result() -> RecipientResult {
        RecipientResult {
            number: 2,
            key: Some("a,\"b\"".to_owned()),
            to: None,
            outcome: RecipientOutcome::Failed,
            reason: Some("30003".to_owned()),
            notification: Some("ntf_1".to_owned()),
            channel: None,
            attempts: 2,
            sids: vec!["SM1".to_owned(), "CA1".to_owned()],
            sent_at: Some(Timestamp::from_micros(0)),
            settled_at: None,
        }
    }

    #[test]
    fn both_forms_say_the_same() {
        let text = |form| String::from_utf8(piece(&[result()], form, true).to_vec()).expect("text");
        let csv = text(ResultsForm::Csv);
        let mut lines = csv.lines();
        assert_eq!(lines.next(), Some(&*COLUMNS.join(",")));
        let line = "2,\"a,\"\"b\"\"\",,failed,30003,,2,SM1 CA1,1970-01-01T00:00:00.000000Z,,ntf_1";
        assert_eq!((lines.next(), lines.next()), (Some(line), None));
        let json: serde_json::Value =
            serde_json::from_str(&text(ResultsForm::Ndjson)).expect("an object");
        let json = json.as_object().expect("an object");
        assert!(
            COLUMNS.iter().all(|column| json.contains_key(*column)) && json.len() == COLUMNS.len()
        );
        assert_eq!(json["outcome"], "failed");
        assert_eq!(json["sids"], serde_json::json!(["SM1", "CA1"]));
    }
}

//! Traces of what is sent: `ask`, a request that is kept; and `send`, an attempt from its slot on, whose parts are `write`,
//! the commit to `writing`, and `request`, the POST. The id of the attempt leads from the one to the other, and from there
//! to the callbacks, whose URL has it.

use tokio::time::Instant;

use crate::event::{AttemptId, TraceContext};
use crate::spans::{Role, Span, Spans};

/// A trace of one attempt, if it is sampled. It ends when it is dropped.
pub(super) struct Trace<'s> {
    spans: &'s Spans,
    name: &'static str,
    role: Role,
    context: Option<TraceContext>,
    attempt: AttemptId,
    sender: Option<String>,
    outcome: &'static str,
    began: Instant,
}

impl<'s> Trace<'s> {
    /// Of a request that asks to send.
    pub(super) fn of_ask(spans: &'s Spans, attempt: AttemptId) -> Self {
        Self::begin(spans, "ask", Role::Server, attempt)
    }

    /// Of an attempt whose slot comes.
    pub(super) fn of_send(spans: &'s Spans, attempt: AttemptId) -> Self {
        Self::begin(spans, "send", Role::Internal, attempt)
    }

    fn begin(spans: &'s Spans, name: &'static str, role: Role, attempt: AttemptId) -> Self {
        let (context, began) = (spans.begin(), Instant::now());
        Self { spans, name, role, context, attempt, sender: None, outcome: "abandoned", began }
    }

    /// What it is sent from.
    pub(super) fn is_of(&mut self, sender: &str) {
        if self.context.is_some() {
            self.sender = Some(sender.to_owned());
        }
    }

    /// How it ends.
    pub(super) fn ends(&mut self, outcome: &'static str) {
        self.outcome = outcome;
    }

    /// A part of it has ended, which began then.
    pub(super) fn part(&self, name: &'static str, role: Role, began: Instant, outcome: &str) {
        let Some(whole) = self.context else { return };
        self.spans.tell(Span {
            name,
            role,
            context: Spans::part(whole),
            parent: Some(whole.span),
            links: Vec::new(),
            took: began.elapsed(),
            attributes: vec![("outcome", outcome.into())],
            error: None,
        });
    }
}

impl Drop for Trace<'_> {
    fn drop(&mut self) {
        let Some(context) = self.context else { return };
        let mut attributes = vec![
            ("attempt", self.attempt.to_string().as_str().into()),
            ("outcome", self.outcome.into()),
        ];
        attributes.extend(self.sender.as_deref().map(|sender| ("sender", sender.into())));
        self.spans.tell(Span {
            name: self.name,
            role: self.role,
            context,
            parent: None,
            links: Vec::new(),
            took: self.began.elapsed(),
            attributes,
            error: None,
        });
    }
}

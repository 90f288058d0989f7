//! [`Report`]: what came of a copy.

use std::path::PathBuf;

use serde::Serialize;

use super::source::StoppedSource;
use crate::backend::copy::{Copied, Origin, Unforwarded};

/// Most rows that are named where many are wrong.
const NAMED: usize = 20;

/// What came of a copy.
#[derive(Clone, Debug)]
pub struct Report {
    /// The source's file.
    pub source: PathBuf,
    /// Events that waited in the source's log, and were stored in its file before anything was copied.
    pub waited: u64,
    /// What was copied, in earlier runs too; `None` if the task was only to check.
    pub copied: Option<Copied>,
    /// Dead letters that this run copied.
    pub dead_letters: u64,
    /// Rows that the target refuses.
    pub refused: Refused,
    /// How the statuses of both sides compare.
    pub statuses: Compared,
    /// How the events of both sides compare.
    pub events: Compared,
    /// How what is sent and suppressed compares.
    pub outbox: Compared,
    /// Whether this run holds the sending of both sides.
    pub is_held: bool,
    /// The end of the source's change feed.
    pub feed: String,
    /// What the source has not forwarded yet.
    pub unforwarded: Vec<Unforwarded>,
    /// Damaged files of the source's log, whose events were not copied.
    pub damaged: u64,
}

/// Rows that the target refuses as data.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Refused {
    /// How many.
    pub rows: u64,
    /// The first of them, and why.
    pub named: Vec<String>,
}

/// How the rows of a table of the source stand in the target.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize)]
pub struct Compared {
    /// Rows of the source.
    pub rows: u64,
    /// Rows that the target does not have.
    pub missing: u64,
    /// Rows of which the target has less, or something else.
    pub differing: u64,
    /// Rows that the target does not have because it keeps none that are so old.
    pub expired: u64,
    /// The first that are missing or differ.
    #[serde(skip)]
    pub named: Vec<String>,
}

impl Report {
    pub(super) fn new(source: &StoppedSource, waited: u64, origin: &Origin) -> Self {
        Self {
            source: source.path.clone(),
            waited,
            copied: None,
            dead_letters: 0,
            refused: Refused::default(),
            statuses: Compared::default(),
            events: Compared::default(),
            outbox: Compared::default(),
            is_held: false,
            feed: origin.feed.to_string(),
            unforwarded: Vec::new(),
            damaged: source.log.damaged(),
        }
    }

    pub(super) fn add(&mut self, more: Copied) {
        *self.copied.get_or_insert_default() += more;
    }

    /// Whether all that the source holds is in the target.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        let compared = [&self.statuses, &self.events, &self.outbox];
        self.refused.rows == 0 && compared.into_iter().all(Compared::is_whole)
    }
}

impl Compared {
    pub(super) fn name(&mut self, row: String) {
        if self.named.len() < NAMED {
            self.named.push(row);
        }
    }

    /// Whether each row is in the target, or too old for it.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.missing + self.differing == 0
    }
}

impl Refused {
    pub(super) fn note(&mut self, name: String, why: &str) {
        self.rows += 1;
        if self.named.len() < NAMED {
            self.named.push(format!("{name}: {why}"));
        }
    }
}

//! Who must not be reached: what counts of an address's entries in the log of suppressions. Of values alone.
//!
//! A recipient says STOP and START; a person enters and lifts. A START lifts what a STOP made, never what a person has
//! entered, nor a complaint or a bounce of an email. What a person lifts is lifted, from every source, until it is said again.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::labels::labels;

labels! {
    /// Where an entry comes from.
    pub enum Source {
        /// A person, by the API, the command line, or the console.
        Hand = "hand",
        /// A list that a person has imported.
        Import = "import",
        /// The text of an incoming message.
        StopWord = "stop_word",
        /// The `OptOutType` of an incoming message.
        OptOutType = "opt_out_type",
        /// Twilio's answer that the recipient has opted out: error 21610.
        OptedOut = "21610",
        /// The recipient of an email unsubscribed.
        Unsubscribe = "unsubscribe",
        /// The recipient of an email called it spam.
        Complaint = "spamreport",
        /// The recipient's mail server knows no such address.
        Bounce = "bounce",
    }
}

impl Source {
    /// Whether the recipient said it and may take it back.
    const fn is_recipient(self) -> bool {
        match self {
            Self::StopWord | Self::OptOutType | Self::OptedOut | Self::Unsubscribe => true,
            // Nothing that a recipient says makes a complaint undone, nor an address exist.
            Self::Hand | Self::Import | Self::Complaint | Self::Bounce => false,
        }
    }

    /// Whether the recipient said it by what was sent to them: that they want no more, or that it is spam.
    #[must_use]
    pub const fn is_told_by_recipient(self) -> bool {
        match self {
            Self::StopWord
            | Self::OptOutType
            | Self::OptedOut
            | Self::Unsubscribe
            | Self::Complaint => true,
            Self::Hand | Self::Import | Self::Bounce => false,
        }
    }
}

/// Within this a STOP wins over a START, whichever came first: they were received by processes whose clocks differ, and
/// one message too few is better than one too many.
pub const STOP_WINS_WITHIN: Duration = Duration::from_secs(2);

/// The latest of the entries of an address that come from one source and say the same.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Latest {
    /// Where they come from; `None` is one that this version does not know, and that a person must have wanted.
    pub source: Option<Source>,
    /// Whether they stop, or lift.
    pub stop: bool,
    /// The greatest place in the log.
    pub id: i64,
    /// The latest time.
    pub at: Timestamp,
}

impl Latest {
    /// Whether the recipient said it.
    #[must_use]
    pub fn is_recipients(&self) -> bool {
        self.source.is_some_and(Source::is_recipient)
    }

    /// Whether this lifts a stop. Persons see the log, so that their order counts; what recipients say may be stored late
    /// and in another order than it was said.
    fn lifts(&self, stop: &Self) -> bool {
        match self.is_recipients() {
            _ if self.stop => false,
            true => stop.is_recipients() && self.at > stop.at.after(STOP_WINS_WITHIN),
            false => self.id > stop.id,
        }
    }
}

/// Which entry stops messages to an address, given the latest of each kind of its entries; if there are several, one that a
/// person has entered before one of the recipient, and of these the last one in the log.
#[must_use]
pub fn in_force(entries: &[Latest]) -> Option<&Latest> {
    let stops = entries.iter().filter(|entry| entry.stop);
    let in_force = stops.filter(|stop| !entries.iter().any(|entry| entry.lifts(stop)));
    in_force.max_by_key(|stop| (!stop.is_recipients(), stop.id))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entry(source: Source, stop: bool, id: i64, seconds: i64) -> Latest {
        let at = Timestamp::from_micros((1_764_000_000 + seconds) * 1_000_000);
        Latest { source: Some(source), stop, id, at }
    }

    /// The entries, and which of them counts.
    fn check(entries: &[Latest], expected: Option<i64>) {
        assert_eq!(in_force(entries).map(|stop| stop.id), expected, "{entries:?}");
    }

    #[test]
    fn a_start_lifts_what_a_stop_made_and_nothing_else() {
        use Source::{
            Bounce, Complaint, Hand, Import, OptOutType, OptedOut, StopWord, Unsubscribe,
        };
        check(&[], None);
        for stop in [StopWord, OptOutType, OptedOut] {
            check(&[entry(stop, true, 1, 0)], Some(1));
            check(&[entry(stop, true, 1, 0), entry(StopWord, false, 2, 10)], None);
            check(&[entry(stop, true, 1, 10), entry(OptOutType, false, 2, 0)], Some(1));
        }
        check(&[entry(Unsubscribe, true, 1, 0), entry(Unsubscribe, false, 2, 10)], None);
        for stop in [Hand, Import, Complaint, Bounce] {
            check(&[entry(stop, true, 1, 0), entry(StopWord, false, 2, 10)], Some(1));
            check(&[entry(stop, true, 1, 0), entry(Unsubscribe, false, 2, 10)], Some(1));
            check(&[entry(stop, true, 1, 0), entry(Hand, false, 2, 0)], None);
        }
        let unknown = Latest { source: None, ..entry(Hand, true, 1, 0) };
        check(&[unknown.clone(), entry(StopWord, false, 2, 10)], Some(1));
        check(&[unknown, entry(Hand, false, 2, 10)], None);
    }

    #[test]
    fn within_2_s_a_stop_wins() {
        let stop = entry(Source::StopWord, true, 1, 0);
        check(&[stop.clone(), entry(Source::StopWord, false, 2, 2)], Some(1));
        check(&[stop.clone(), entry(Source::StopWord, false, 2, 3)], None);
        check(&[entry(Source::StopWord, false, 2, -1), stop], Some(1));
    }

    #[test]
    fn what_a_person_lifts_is_lifted_until_it_is_said_again() {
        let lift = entry(Source::Hand, false, 2, 0);
        check(&[entry(Source::StopWord, true, 1, 0), lift.clone()], None);
        check(&[entry(Source::StopWord, true, 3, 9), lift.clone()], Some(3));
        check(&[entry(Source::Hand, true, 3, 9), lift], Some(3));
    }

    proptest! {
        #[test]
        fn the_latest_entries_of_each_kind_never_let_through_what_all_of_them_stop(
            log in prop::collection::vec((0..Source::ALL.len(), any::<bool>(), 0..20_i64), 0..12),
        ) {
            let all: Vec<Latest> = log.iter().enumerate().map(|(place, (source, stop, at))| {
                entry(Source::ALL[*source], *stop, place as i64, *at)
            }).collect();
            let mut latest: Vec<Latest> = Vec::new();
            for entry in &all {
                match latest.iter_mut().find(|it| (it.source, it.stop) == (entry.source, entry.stop)) {
                    Some(known) => {
                        known.id = known.id.max(entry.id);
                        known.at = known.at.max(entry.at);
                    }
                    None => latest.push(entry.clone()),
                }
            }
            prop_assert!(in_force(&all).is_none() || in_force(&latest).is_some());
        }
    }
}

//! [`Traffic`]: what Twilio sends in an hour of a small business, with duplicates, reordering and
//! forgeries, and what must come of it. Made from a seed, so that a run can be repeated.
//!
//! What is expected is written down while the requests are made up, from what happened to each call
//! and message; it owes nothing to the program's own merging.

mod forgery;
mod lifecycles;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

pub(crate) use self::forgery::Forgery;
use crate::clock::Timestamp;
use crate::event::Resource;
use crate::lab::sample::Callback;

/// How long the hour is.
const HOUR: Duration = Duration::from_secs(3600);

/// How much of it there is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Volume {
    pub(crate) calls: usize,
    pub(crate) messages: usize,
    pub(crate) conferences: usize,
    /// Requests of Event Streams, each with several events.
    pub(crate) event_streams: usize,
    pub(crate) fallbacks: usize,
    /// Of each kind of forgery.
    pub(crate) forgeries: usize,
    /// Percent of callbacks that are sent twice.
    pub(crate) duplicates: u32,
    /// Percent of callbacks that are late.
    pub(crate) late: u32,
}

/// One request.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    /// When it arrives, from the start of the hour.
    pub(crate) at: Duration,
    /// The path below the public URL.
    pub(crate) path: &'static str,
    pub(crate) callback: Callback,
    /// The keys of its events, if it is a status callback of Twilio's.
    pub(crate) keys: Vec<String>,
    /// What is wrong with it, if it is not Twilio's.
    pub(crate) forgery: Option<Forgery>,
}

/// Requests in the order in which they arrive, and what must come of them.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    pub(crate) requests: Vec<Request>,
    pub(crate) expected: Expected,
}

/// What must come of it.
#[derive(Debug, Default)]
pub(crate) struct Expected {
    /// The keys of the events.
    pub(crate) keys: BTreeSet<String>,
    /// How many events have a key of their own each time: fallback requests.
    pub(crate) fallbacks: usize,
    /// How many requests are sent again.
    pub(crate) repeats: usize,
    /// How many events they hold.
    pub(crate) duplicates: usize,
    /// How many requests must be refused, by reason.
    pub(crate) refused: BTreeMap<&'static str, usize>,
    /// Each SID's last status.
    pub(crate) statuses: BTreeMap<String, (Resource, &'static str)>,
    /// The messages of which two statuses were reported that exclude each other.
    pub(crate) contradicted: BTreeSet<String>,
    /// How many callbacks arrive before one of the same SID that happened earlier.
    pub(crate) out_of_order: usize,
}

impl Expected {
    /// Events in the store, in the end.
    pub(crate) fn stored(&self) -> usize {
        self.keys.len() + self.fallbacks
    }
}

impl Traffic {
    /// An hour that starts at `start`, of callbacks to `account`.
    pub(crate) fn hour(seed: u64, account: &str, start: Timestamp, volume: Volume) -> Self {
        let mut writer = Writer {
            rng: StdRng::seed_from_u64(seed),
            account: account.to_owned(),
            start,
            volume,
            arrivals: BTreeMap::new(),
            traffic: Self::default(),
        };
        writer.write();
        let mut traffic = writer.traffic;
        traffic.requests.sort_by_key(|request| request.at);
        traffic.expected.out_of_order =
            writer.arrivals.values().map(|arrivals| overtaken(arrivals)).sum();
        traffic
    }
}

/// How many arrive before one that happened earlier.
fn overtaken(arrivals: &[Duration]) -> usize {
    let earlier = |place: usize| arrivals[..place].iter().any(|at| *at > arrivals[place]);
    (0..arrivals.len()).filter(|&place| earlier(place)).count()
}

struct Writer {
    rng: StdRng,
    account: String,
    start: Timestamp,
    volume: Volume,
    /// Of each SID, when its callbacks arrive, in the order in which they happened.
    arrivals: BTreeMap<String, Vec<Duration>>,
    traffic: Traffic,
}

impl Writer {
    fn write(&mut self) {
        for _ in 0..self.volume.calls {
            self.call();
        }
        for _ in 0..self.volume.messages {
            self.message();
        }
        for _ in 0..self.volume.conferences {
            self.conference();
        }
        for _ in 0..self.volume.event_streams {
            self.event_stream();
        }
        for _ in 0..self.volume.fallbacks {
            self.fallback();
        }
        for forgery in Forgery::ALL {
            for _ in 0..self.volume.forgeries {
                self.forgery(forgery);
            }
        }
    }

    /// A moment of the hour, with room for what follows it.
    fn moment(&mut self) -> Duration {
        HOUR.mul_f64(self.rng.random_range(0.0..0.9))
    }

    fn percent(&mut self, percent: u32) -> bool {
        self.rng.random_range(0..100) < percent
    }

    /// Sends a status callback of `sid` that happened at `at`, perhaps late, perhaps twice.
    fn send(
        &mut self,
        at: Duration,
        sid: &str,
        keys: &[String],
        callback: Callback,
        path: &'static str,
    ) {
        let late = if self.percent(self.volume.late) { self.rng.random_range(5..90) } else { 0 };
        let arrives = at + Duration::from_secs(late);
        self.arrivals.entry(sid.to_owned()).or_default().push(arrives);
        self.push(arrives, path, callback.clone(), keys, None);
        self.traffic.expected.keys.extend(keys.iter().cloned());
        if self.percent(self.volume.duplicates) {
            let again = arrives + Duration::from_secs(self.rng.random_range(0..60));
            self.push(again, path, callback, keys, None);
            self.traffic.expected.repeats += 1;
            self.traffic.expected.duplicates += keys.len();
        }
    }

    fn push(
        &mut self,
        at: Duration,
        path: &'static str,
        callback: Callback,
        keys: &[String],
        forgery: Option<Forgery>,
    ) {
        let keys = keys.to_vec();
        self.traffic.requests.push(Request { at, path, callback, keys, forgery });
    }

    fn ends(&mut self, sid: &str, resource: Resource, status: &'static str) {
        self.traffic.expected.statuses.insert(sid.to_owned(), (resource, status));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VOLUME: Volume = Volume {
        calls: 40,
        messages: 60,
        conferences: 2,
        event_streams: 2,
        fallbacks: 3,
        forgeries: 2,
        duplicates: 10,
        late: 20,
    };

    #[test]
    fn the_same_seed_makes_the_same_hour() {
        let hour = |seed| Traffic::hour(seed, "AC1", Timestamp::from_micros(0), VOLUME);
        let bodies = |traffic: &Traffic| -> Vec<_> {
            traffic.requests.iter().map(|request| request.callback.body()).collect()
        };
        assert_eq!(bodies(&hour(1)), bodies(&hour(1)));
        assert_ne!(bodies(&hour(1)), bodies(&hour(2)));
    }

    #[test]
    fn it_has_duplicates_and_reordering_and_forgeries() {
        let traffic = Traffic::hour(7, "AC1", Timestamp::from_micros(0), VOLUME);
        let expected = &traffic.expected;
        assert!(expected.duplicates > 0 && expected.out_of_order > 0);
        assert_eq!(expected.refused.values().sum::<usize>(), 2 * Forgery::ALL.len());
        assert!(traffic.requests.is_sorted_by_key(|request| request.at));
        assert!(expected.statuses.len() >= 100);
    }

    #[test]
    fn overtaking_is_counted() {
        let seconds = |all: &[u64]| -> Vec<Duration> {
            all.iter().map(|&seconds| Duration::from_secs(seconds)).collect()
        };
        assert_eq!(overtaken(&seconds(&[1, 2, 3])), 0);
        assert_eq!(overtaken(&seconds(&[3, 1, 2])), 2);
    }
}

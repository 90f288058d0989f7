//! [`Supply`]: requests without end, one stretch of traffic after the other, so that no more than
//! one lies in memory.

use std::sync::Arc;

use rand::SeedableRng as _;
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;

use crate::clock::{Clock, Timestamp};
use crate::lab::traffic::{Request, Traffic, Volume};

/// About a thousand requests. All Twilio would sign, so no forgeries; no fallback requests either,
/// which are answered without being durable.
const STRETCH: Volume = Volume {
    calls: 120,
    messages: 140,
    conferences: 2,
    event_streams: 4,
    fallbacks: 0,
    forgeries: 0,
    duplicates: 10,
    late: 20,
};

/// The same for a load that sends each many times.
const SHORT: Volume = Volume { calls: 2, messages: 2, conferences: 0, event_streams: 1, ..STRETCH };

/// Requests without end.
pub(super) struct Supply {
    seed: u64,
    account: &'static str,
    copies: usize,
    stretch: std::vec::IntoIter<Arc<Request>>,
}

impl Supply {
    pub(super) fn new(seed: u64, account: &'static str, copies: usize) -> Self {
        Self { seed, account, copies, stretch: Vec::new().into_iter() }
    }

    pub(super) fn next(&mut self) -> Arc<Request> {
        loop {
            if let Some(request) = self.stretch.next() {
                return request;
            }
            self.stretch = self.write().into_iter();
        }
    }

    /// The next hour of events, which began an hour ago.
    fn write(&mut self) -> Vec<Arc<Request>> {
        let start = Timestamp::from_micros(Clock::System.now().micros() - 3_600_000_000);
        let volume = if self.copies > 1 { SHORT } else { STRETCH };
        let requests = Traffic::hour(self.seed, self.account, start, volume).requests;
        let requests = requests.into_iter().map(Arc::new);
        let mut requests: Vec<_> =
            requests.flat_map(|request| std::iter::repeat_n(request, self.copies)).collect();
        if self.copies > 1 {
            requests.shuffle(&mut StdRng::seed_from_u64(self.seed));
        }
        self.seed = self.seed.wrapping_add(1);
        requests
    }
}

//! [`Gates`]: the gates of [`crate::dispatch::gates`], asked with what the store knows.

use crate::backend::outbox::{Gated, Known};
use crate::clock::Timestamp;
use crate::dispatch::country::Number;
use crate::dispatch::gates::{self, Gate, Rules, Verdict};
use crate::dispatch::quiet_hours::Zone;
use crate::dispatch::recipient::Recipient;

/// What may be sent.
#[derive(Clone, Debug)]
pub struct Gates(Rules);

/// The number of an address, which may have a channel before it.
#[must_use]
pub fn number(to: &str) -> Option<Number> {
    Number::parse(to.rsplit(':').next().unwrap_or(to))
}

impl Gates {
    /// Gates by these rules.
    #[must_use]
    pub fn new(rules: Rules) -> Self {
        Self(rules)
    }

    /// What they say of an attempt that is about to be sent.
    #[must_use]
    pub fn ask(&self, known: &Known, now: Timestamp) -> Gated {
        let Some(to) = Recipient::parse(&known.to) else {
            return Gated::Refuse { gate: Gate::Country.as_str() };
        };
        let zone = known.time_zone.as_deref().and_then(Zone::parse);
        let known = gates::Known {
            to: &to,
            purpose: known.purpose,
            zone: zone.as_ref(),
            deadline: known.deadline,
            suppressed: known.suppressed,
            consented: known.consented,
            recent: &known.recent,
            call: known.calls.as_ref().map(|calls| gates::KnownCalls {
                recent: &calls.recent,
                open: u32::try_from(calls.open).unwrap_or(u32::MAX),
                limit: calls.limit,
            }),
            sent_today: u32::try_from(known.today).unwrap_or(u32::MAX),
            campaign: known.campaign_pause,
            is_over_cap: known.is_over_cap,
            sender: known.sender_pause,
            account: known.account_pause,
            deployment: known.deployment_pause,
        };
        match self.0.ask(&known, now) {
            Verdict::Pass => Gated::Pass,
            Verdict::Hold { gate, until } => Gated::Hold { gate: gate.as_str(), until },
            Verdict::Refuse { gate: Gate::Deadline } => Gated::Expire,
            Verdict::Refuse { gate } => Gated::Refuse { gate: gate.as_str() },
        }
    }
}

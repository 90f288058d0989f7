//! [`Preflight`]: what a campaign would do if it were started now, by what is known of its recipients.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::view::money;
use crate::backend::BackendError;
use crate::backend::outbox::{Campaign, CampaignStep, Gated, Known, PlannedRecipient};
use crate::clock::Timestamp;
use crate::dispatch::Channel;
use crate::dispatch::campaign::estimate::{
    Advice, Bounds, Crowd, Forecast, Hours, Load, is_sequential, leaves,
};
use crate::dispatch::campaign::price::minutes;
use crate::dispatch::gates::{Pause, default_deadline};
use crate::dispatch::pace::Rate;
use crate::dispatch::quiet_hours::{Quiet, QuietHours, Zone};
use crate::dispatch::recipient::Recipient;
use crate::outbound::Gates;
use crate::outbound::api::Api;
use crate::outbound::config::Config;

/// Recipients of one look into the store.
const PER_PAGE: u32 = 1_000;

/// What a campaign would do.
#[derive(Debug, Serialize)]
pub(in crate::outbound::api) struct Preflight {
    id: String,
    /// The number that `start` must name.
    recipients: u64,
    doubles: u64,
    invalid: u64,
    /// How many a gate would hold now, by gate.
    held: BTreeMap<&'static str, u64>,
    /// How many a gate would refuse now, by gate.
    refused: BTreeMap<&'static str, u64>,
    /// Segments of the messages of the first step, to those that no gate refuses.
    segments: u64,
    currency: Option<String>,
    /// What the first step costs, to those that no gate refuses; null if prices are not known.
    cost: Option<String>,
    /// The same, in millionths.
    #[serde(skip)]
    pub(super) cost_micros: Option<u64>,
    /// Most that the campaign may cost.
    cost_cap: Option<String>,
    /// When nothing is sent any more, if it were started now.
    deadline: Timestamp,
    /// When the last message of the first step leaves.
    last_leaves_at: Timestamp,
    /// How many are not reached before the deadline.
    late: u64,
    /// The first step, to those that no gate refuses.
    sender: StepView,
    /// What happens if no step but the last confirms.
    worst_case: WorstCase,
    /// What to look at before the start.
    warnings: Vec<String>,
}

/// What a step takes.
#[derive(Debug, Serialize)]
struct StepView {
    number: usize,
    sender: String,
    channel: Channel,
    recipients: u64,
    units: u64,
    rate_per_second: f64,
    /// How long it takes at its pace, in seconds.
    lasts_s: u64,
    cost: Option<String>,
}

/// Every step for every recipient.
#[derive(Debug, Serialize)]
struct WorstCase {
    calls: u64,
    /// How many hours the calls take.
    call_hours: f64,
    /// With each call as long as it may be; null if prices are not known.
    cost: Option<String>,
    steps: Vec<StepView>,
}

/// What a step takes, added up.
#[derive(Clone, Copy, Default)]
struct Sum {
    units: u64,
    /// `None` once a price is not known.
    micros: Option<u64>,
}

impl Sum {
    const NOTHING: Self = Self { units: 0, micros: Some(0) };

    fn add(&mut self, units: u32, price: Option<u64>) {
        self.units = self.units.saturating_add(units.into());
        self.micros = self.micros.zip(price).map(|(sum, price)| sum.saturating_add(price));
    }
}

/// Looks at each recipient once.
pub(super) struct Survey<'a> {
    config: &'a Config,
    campaign: &'a Campaign,
    gates: Gates,
    now: Timestamp,
    deadline: Timestamp,
    held: BTreeMap<&'static str, u64>,
    refused: BTreeMap<&'static str, u64>,
    crowds: BTreeMap<Hours, Crowd>,
    /// Recipients that no gate refuses.
    reachable: u64,
    /// Those that are never reached, because it is always quiet where they may be.
    never: u64,
    /// For each step, what it takes for all of them.
    steps: Vec<Sum>,
}

impl<'a> Survey<'a> {
    pub(super) fn new(config: &'a Config, campaign: &'a Campaign, now: Timestamp) -> Self {
        let deadline = campaign.deadline;
        Self {
            config,
            campaign,
            gates: Gates::new(config.rules.clone()),
            now,
            deadline: deadline.unwrap_or_else(|| now.after(default_deadline(campaign.purpose))),
            held: BTreeMap::new(),
            refused: BTreeMap::new(),
            crowds: BTreeMap::new(),
            reachable: 0,
            never: 0,
            steps: vec![Sum::NOTHING; campaign.steps.len()],
        }
    }

    /// Looks at all of them.
    ///
    /// # Errors
    /// The store does not answer.
    pub(super) async fn run(mut self, api: &Api) -> Result<Preflight, BackendError> {
        let id = &self.campaign.id;
        let mut after = 0;
        loop {
            let page = api.outbox.planned_page(id, after, PER_PAGE).await?;
            let Some(last) = page.last() else { break };
            after = last.number;
            page.iter().for_each(|recipient| self.take(recipient));
        }
        let sequential = api.outbox.sequential(id).await?;
        Ok(self.preflight(sequential))
    }

    fn take(&mut self, recipient: &PlannedRecipient) {
        // Once it is handed over its address is the notification's.
        let Some(to) = &recipient.to else { return };
        let first = &self.campaign.steps[0];
        let email = recipient.email.as_ref().filter(|_| first.channel == Channel::Email);
        let to = email.unwrap_or(to);
        let known = Known {
            sender: first.sender.clone(),
            to: to.clone(),
            purpose: self.campaign.purpose,
            time_zone: recipient.time_zone.clone(),
            deadline: self.deadline,
            suppressed: recipient.suppressed,
            consented: recipient.consented,
            recent: Vec::new(),
            calls: None,
            today: 0,
            sender_pause: Pause::None,
            account_pause: Pause::None,
            deployment_pause: Pause::None,
            campaign_pause: Pause::None,
            is_over_cap: false,
        };
        match self.gates.ask(&known, self.now) {
            Gated::Refuse { gate } => return *self.refused.entry(gate).or_default() += 1,
            Gated::Expire => return *self.refused.entry("deadline").or_default() += 1,
            Gated::Hold { gate, .. } => *self.held.entry(gate).or_default() += 1,
            Gated::Pass => {}
        }
        self.reachable += 1;
        for (sum, cost) in self.steps.iter_mut().zip(&recipient.costs) {
            sum.add(cost.units, cost.price);
        }
        let units = recipient.costs.first().map_or(1, |cost| cost.units);
        match self.hours(to, recipient.time_zone.as_deref()) {
            Some(hours) => {
                let crowd = self.crowds.entry(hours).or_default();
                crowd.recipients += 1;
                crowd.units += u64::from(units);
            }
            None => self.never += 1,
        }
    }

    /// When it may be reached; `None` for never.
    fn hours(&self, to: &str, zone: Option<&str>) -> Option<Hours> {
        if !QuietHours::hold(self.campaign.purpose) {
            return Some(None);
        }
        let (Some(to), zone) = (Recipient::parse(to), zone.and_then(Zone::parse)) else {
            return Some(None);
        };
        let quiet = |at| self.config.rules.quiet(&to, zone.as_ref(), at);
        match quiet(self.now) {
            None => Some(None),
            Some(Quiet::No { until }) => Some(Some((self.now, until))),
            Some(Quiet::Until(opens)) => match quiet(opens) {
                Some(Quiet::No { until }) => Some(Some((opens, until))),
                _ => Some(Some((opens, opens.after(Duration::from_secs(3600))))),
            },
            Some(Quiet::Always) => None,
        }
    }

    fn load(&self, step: &CampaignStep, sum: Sum) -> Load {
        let config = self.config;
        let sender = config.sender(&step.sender);
        // Of a sender that is gone, which nothing is sent from, any rate will do.
        let slow = Rate::per_second(1.0).expect("it is a rate");
        let rate = sender.map_or(slow, |sender| config.pace(sender).rate);
        let lines = config.lines().limit(&step.account);
        let recipients = self.reachable;
        Load { channel: step.channel, recipients, units: sum.units, rate, lines }
    }

    fn step(&self, place: usize, cost: Option<u64>) -> StepView {
        let (step, sum) = (&self.campaign.steps[place], self.steps[place]);
        let load = self.load(step, sum);
        StepView {
            number: place + 1,
            sender: step.sender.clone(),
            channel: step.channel,
            recipients: load.recipients,
            units: load.units,
            rate_per_second: load.rate.get(),
            lasts_s: load.lasts().as_secs(),
            cost: cost.map(money),
        }
    }

    /// What the step costs with each call as long as it may be.
    fn worst(&self, place: usize) -> Option<u64> {
        let longest = self.campaign.steps[place].call.as_ref();
        let longest =
            longest.map_or(1, |call| minutes(Duration::from_secs(call.time_limit_s.into())));
        self.steps[place].micros.map(|micros| micros.saturating_mul(longest.into()))
    }

    fn preflight(self, sequential: u64) -> Preflight {
        let campaign = self.campaign;
        let first = self.load(&campaign.steps[0], self.steps[0]);
        let bounds = Bounds {
            rate: first.rate,
            per_day: self.config.rules.max_per_day.into(),
            deadline: self.deadline,
        };
        let Forecast { last, late } = leaves(&self.crowds, &bounds, self.now);
        let late = late + self.never;
        let is_priced = campaign.currency.is_some();
        let cost = self.steps[0].micros.filter(|_| is_priced);
        let segments = match first.channel {
            Channel::Message => first.units,
            Channel::Call | Channel::Email => 0,
        };
        let warnings = self.warnings(sequential, late, cost);
        Preflight {
            id: campaign.id.clone(),
            recipients: campaign.recipients,
            doubles: campaign.doubles,
            invalid: campaign.invalid,
            segments,
            currency: campaign.currency.clone(),
            cost: cost.map(money),
            cost_micros: cost,
            cost_cap: campaign.cost_cap.map(money),
            deadline: self.deadline,
            last_leaves_at: last,
            late,
            sender: self.step(0, cost),
            worst_case: self.worst_case(is_priced),
            warnings,
            held: self.held,
            refused: self.refused,
        }
    }

    fn worst_case(&self, is_priced: bool) -> WorstCase {
        let places = 0..self.campaign.steps.len();
        let costs: Vec<Option<u64>> =
            places.map(|place| self.worst(place).filter(|_| is_priced)).collect();
        let total = costs.iter().try_fold(0_u64, |sum, cost| Some(sum.saturating_add((*cost)?)));
        let loads =
            self.campaign.steps.iter().zip(&self.steps).map(|(step, sum)| self.load(step, *sum));
        let calls: Vec<Load> = loads.filter(|load| load.channel == Channel::Call).collect();
        let lasts: Duration = calls.iter().map(Load::lasts).sum();
        WorstCase {
            calls: calls.iter().map(|load| load.recipients).sum(),
            call_hours: (lasts.as_secs_f64() / 360.0).round() / 10.0,
            cost: total.map(money),
            steps: costs.iter().enumerate().map(|(place, cost)| self.step(place, *cost)).collect(),
        }
    }

    fn warnings(&self, sequential: u64, late: u64, cost: Option<u64>) -> Vec<String> {
        let campaign = self.campaign;
        let mut warnings = Vec::new();
        if is_sequential(sequential, campaign.recipients) {
            warnings.push(format!(
                "{sequential} of {} numbers are one more than another of them: such a list may have been made up",
                campaign.recipients
            ));
        }
        if late > 0 {
            warnings.push(format!(
                "{late} recipients are not reached before the deadline: give it a later one, or see held, the rate of \
                 the sender and outbound.max_per_day"
            ));
        }
        if let Some((cost, cap)) = cost.zip(campaign.cost_cap).filter(|(cost, cap)| cost > cap) {
            warnings.push(format!(
                "the first step costs {}, and the campaign may cost {} at most: it cannot be started",
                money(cost),
                money(cap)
            ));
        }
        for (step, sum) in campaign.steps.iter().zip(&self.steps) {
            let load = self.load(step, *sum);
            warnings.extend(load.advice().map(|advice| advise(advice, step, &load)));
        }
        warnings
    }
}

fn advise(advice: Advice, step: &CampaignStep, load: &Load) -> String {
    let (sender, calls) = (&step.sender, load.recipients);
    match advice {
        Advice::CallsPerSecond => format!(
            "if no message is confirmed, {sender} makes {calls} calls at {} per second: ask Twilio for more calls per \
             second before the start, and set account.calls_per_second",
            load.rate.get()
        ),
        Advice::CallsLimit => format!(
            "if no message is confirmed, {sender} makes {calls} calls, of which {} may be open at a time: raise \
             account.calls_limit before the start",
            load.lines
        ),
    }
}

#[cfg(test)]
mod tests;

//! [`Metrics`] of the sending half. What stands in the store, such as what is due, each process that sends shows the same
//! of; what happens, such as a request, is counted by the one in which it happens.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use prometheus::{Gauge, Histogram, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Registry};

use super::config::{Account, Config};
use crate::backend::outbox::{CampaignState, Concluded, HandedOver, HungUp};
use crate::dispatch::campaign::brake::Brake;
use crate::dispatch::decision::Escalation;
use crate::dispatch::gates::Gate;
use crate::dispatch::rejection::Reason;
use crate::dispatch::{Channel, NotificationState, Purpose};
use crate::labels::{Label as _, labels};
use crate::metrics::{Counters, Histograms, metrics, show};

/// Buckets in seconds, from a slot that was met to one that an outage has delayed for minutes.
const LATENESS: &[f64] = &[0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 1.0, 10.0, 60.0, 600.0];
/// Buckets in seconds, from a delivery report that comes at once to a phone that was off for days.
const CONFIRMED: &[f64] =
    &[1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 14_400.0, 86_400.0];
/// Buckets in seconds, up to the time-out of a request.
const REQUESTS: &[f64] = &[0.025, 0.05, 0.1, 0.2, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

labels! {
    /// What came of a request to create a message.
    pub enum Sent {
        /// Twilio has the message.
        Accepted = "accepted",
        /// Too many requests at once: it is made again.
        Throttled = "throttled",
        /// Twilio refused it with a code.
        Rejected = "rejected",
        /// It was refused without a code, by a proxy or the like.
        Foreign = "foreign",
        /// There was no connection: nothing was sent.
        Unsent = "unsent",
        /// It is not known whether Twilio has the message.
        Unknown = "unknown",
    }
}

metrics! {
    /// Metrics of every sender and account.
    #[derive(Clone)]
    pub struct Metrics {
        /// Requests to create a message, by what came of them
        requests: IntCounterVec = "offhook_send_requests_total" by ["account", "answer"],
        /// Time of a request to create a message
        duration: Histogram = "offhook_send_request_duration_seconds" in REQUESTS,
        /// Time from the slot of a message in its pace until its request began
        lateness: Histogram = "offhook_send_lateness_seconds" in LATENESS,
        /// Notifications that were settled, by how
        outcomes: Counters<NotificationState> = "offhook_notifications_total" by ["outcome"],
        /// Time from the request for a notification until it was confirmed, by what confirmed it
        confirmed: Histograms<Channel> = "offhook_notification_confirmed_seconds" by ["channel"] in CONFIRMED,
        /// Errors of messages, by what they mean
        errors: Counters<Reason> = "offhook_send_errors_total" by ["reason"],
        /// Times that a gate held a message
        held: Counters<Gate> = "offhook_send_held_total" by ["gate"],
        /// Times that a gate refused a message
        refused: Counters<Gate> = "offhook_send_refused_total" by ["gate"],
        /// Messages that went in the recipient's quiet hours, because their purpose does not wait
        disturbed: Counters<Purpose> = "offhook_send_in_quiet_hours_total" by ["purpose"],
        /// Messages that wait for their pace, or while Twilio asks for less, without those that are held or paused
        due: IntGauge = "offhook_send_due",
        /// How long the oldest of them has been due, or 0
        oldest_due: Gauge = "offhook_send_oldest_due_age_seconds",
        /// Messages whose request is being made, by account
        writing: IntGaugeVec = "offhook_send_writing" by ["account"],
        /// Messages of which it is not known whether they were sent, and that are looked for
        unknown: IntGauge = "offhook_send_unknown",
        /// 1 while a sender is paused until a person resumes it, itself or by its account or the deployment
        paused: IntGaugeVec = "offhook_sender_paused" by ["sender"],
        /// Events that name an attempt of another account or kind, and prove nothing
        mismatches: IntCounter = "offhook_send_mismatches_total",
        /// Events that name an attempt that is not in the store: it was purged, or is of another deployment
        missing: IntCounter = "offhook_send_missing_attempts_total",
        /// Messages that Twilio has beside the one that a step is for
        duplicates: IntCounter = "offhook_send_duplicates_total",
        /// Steps of routes that have begun after another one, by why
        escalations: Counters<Escalation> = "offhook_send_escalations_total" by ["reason"],
        /// Campaigns by where they stand
        campaigns: IntGaugeVec = "offhook_campaigns" by ["state"],
        /// Recipients of campaigns that were handed over
        handed_over: IntCounter = "offhook_campaign_recipients_total",
        /// Times that a campaign stopped itself, by why
        campaign_stops: Counters<Brake> = "offhook_campaign_stops_total" by ["reason"],
        /// Cancellations of calls that were ringing, by what came of them
        hung_up: Counters<HungUp> = "offhook_send_calls_cancelled_total" by ["outcome"],
        /// Open calls that count towards the limit of an account
        calls: IntGaugeVec = "offhook_send_calls_open" by ["account"],
        /// How many there may be
        calls_limit: IntGaugeVec = "offhook_send_calls_limit" by ["account"],
        /// 1 while nothing is sent because outbound.suppression_key is not the key of the store
        other_key: IntGauge = "offhook_send_other_key",
        /// Times that a pace was set back, because the store's clock had gone back
        clamped: IntCounter = "offhook_send_paces_clamped_total",
        /// Times that the store did not answer
        store_errors: IntCounter = "offhook_send_store_errors_total",
        /// Final statuses that no callback reported, and Twilio said when it was asked
        missed: IntCounter = "offhook_callbacks_missed_total",
        /// Statuses that said nothing final in the end, when Twilio was asked for the last time, by the recipient's country
        never_final: IntCounterVec = "offhook_statuses_never_final_total" by ["country"],
    }
}

/// The metrics of the sending half of one configuration. Cheap to clone; all clones count together.
#[derive(Clone)]
#[expect(missing_docs, reason = "each is described where it is declared")]
pub struct SendMetrics {
    /// By account, in the order of the configuration.
    pub accounts: Vec<AccountMetrics>,
    /// By sender, in the order of the configuration in force.
    pub senders: Arc<ArcSwap<Vec<(String, IntGauge)>>>,
    pub due: IntGauge,
    pub oldest_due: Gauge,
    pub unknown: IntGauge,
    pub mismatches: IntCounter,
    pub missing: IntCounter,
    pub duplicates: IntCounter,
    pub other_key: IntGauge,
    pub clamped: IntCounter,
    pub store_errors: IntCounter,
    pub missed: IntCounter,
    /// By country, of those that may be sent to at start; the last one is of all others.
    never_final: Vec<(String, IntCounter)>,
    paused: IntGaugeVec,
    duration: Histogram,
    lateness: Histogram,
    outcomes: Counters<NotificationState>,
    confirmed: Histograms<Channel>,
    errors: Counters<Reason>,
    held: Counters<Gate>,
    refused: Counters<Gate>,
    disturbed: Counters<Purpose>,
    hung_up: Counters<HungUp>,
    escalations: Counters<Escalation>,
    campaigns: Vec<(CampaignState, IntGauge)>,
    handed_over: IntCounter,
    campaign_stops: Counters<Brake>,
}

/// The metrics of one account.
#[derive(Clone, Debug)]
pub struct AccountMetrics {
    sid: String,
    /// Its name.
    pub name: String,
    /// Requests by [`Sent`], in its order.
    requests: Vec<IntCounter>,
    writing: IntGauge,
    /// Its open calls, each with a permit.
    pub calls: IntGauge,
    /// How many calls it may have open; 0 if no sender calls.
    pub calls_limit: IntGauge,
}

/// What stands in the store.
#[derive(Clone, Default, Debug)]
pub struct Standing {
    /// Messages that neither a gate nor a person holds.
    pub due: u64,
    /// How long the oldest of them has been due.
    pub oldest_due: Duration,
    /// Messages of unknown outcome that are looked for.
    pub unknown: u64,
    /// The SIDs of accounts, each with the messages whose request is being made.
    pub writing: Vec<(String, u64)>,
    /// The SIDs of accounts that call, each with its open calls.
    pub calls: Vec<(String, u64)>,
    /// The names of the senders that are paused until a person resumes them.
    pub paused: Vec<String>,
    /// How many campaigns are in each state; none in one that is not named.
    pub campaigns: BTreeMap<CampaignState, u64>,
}

impl SendMetrics {
    /// Registers every family, with a series for each account and sender.
    ///
    /// # Errors
    /// A name is registered already.
    pub fn register(registry: &Registry, config: &Config) -> prometheus::Result<Self> {
        let metrics = Metrics::register(registry)?;
        let account = |Account { sid, name, .. }: &Account| AccountMetrics {
            sid: sid.clone(),
            name: name.clone(),
            requests: Sent::ALL
                .map(|sent| metrics.requests.with_label_values(&[name, sent.as_str()]))
                .into(),
            writing: metrics.writing.with_label_values(&[name]),
            calls: metrics.calls.with_label_values(&[name]),
            calls_limit: metrics.calls_limit.with_label_values(&[name]),
        };
        let registered = Self {
            accounts: config.accounts.iter().map(account).collect(),
            senders: Arc::default(),
            paused: metrics.paused,
            due: metrics.due,
            oldest_due: metrics.oldest_due,
            unknown: metrics.unknown,
            mismatches: metrics.mismatches,
            missing: metrics.missing,
            duplicates: metrics.duplicates,
            other_key: metrics.other_key,
            clamped: metrics.clamped,
            store_errors: metrics.store_errors,
            missed: metrics.missed,
            never_final: countries(config)
                .map(|country| {
                    let counter = metrics.never_final.with_label_values(&[&country]);
                    (country, counter)
                })
                .collect(),
            duration: metrics.duration,
            lateness: metrics.lateness,
            outcomes: metrics.outcomes,
            confirmed: metrics.confirmed,
            errors: metrics.errors,
            held: metrics.held,
            refused: metrics.refused,
            disturbed: metrics.disturbed,
            hung_up: metrics.hung_up,
            escalations: metrics.escalations,
            campaigns: CampaignState::ALL
                .map(|state| (state, metrics.campaigns.with_label_values(&[state.as_str()])))
                .into(),
            handed_over: metrics.handed_over,
            campaign_stops: metrics.campaign_stops,
        };
        registered.show_senders(config);
        Ok(registered)
    }

    /// From now on there is a series for each sender of this configuration, and for no other.
    pub fn show_senders(&self, config: &Config) {
        for account in &self.accounts {
            let limit = config.accounts.iter().find(|of| of.sid == account.sid);
            let calls =
                config.senders.iter().any(|it| it.call.is_some() && it.account == account.sid);
            account.calls_limit.set(limit.filter(|_| calls).map_or(0, |of| of.calls_limit.into()));
        }
        let series = |name: &str| (name.to_owned(), self.paused.with_label_values(&[name]));
        let senders = config.senders.iter().map(|sender| series(&sender.name)).collect();
        for (name, _) in self.senders.swap(Arc::new(senders)).iter() {
            if config.sender(name).is_none() {
                // It had one.
                let _ = self.paused.remove_label_values(&[name]);
            }
        }
    }

    /// A request of this account ended so, after so long.
    pub fn requested(&self, account: &str, sent: Sent, took: Duration) {
        self.duration.observe(took.as_secs_f64());
        let of = self.accounts.iter().find(|of| of.sid == account);
        if let Some(of) = of {
            of.of(sent).inc();
        }
    }

    /// A request began so long after its slot.
    pub fn began(&self, late: Duration) {
        self.lateness.observe(late.as_secs_f64());
    }

    /// Twilio never said how something to this country ended; `None` if the country is not known.
    pub fn never_final(&self, country: Option<&str>) {
        let of = self.never_final.iter().find(|(name, _)| Some(name.as_str()) == country);
        if let Some((_, counter)) = of.or(self.never_final.last()) {
            counter.inc();
        }
    }

    /// Notifications went on so.
    pub fn concluded(&self, concluded: &Concluded) {
        concluded.outcomes.iter().for_each(|state| self.settled(*state));
        concluded.begun.iter().for_each(|why| self.escalations.of(*why).inc());
        for (channel, took) in &concluded.confirmed {
            self.confirmed.of(*channel).observe(took.as_secs_f64());
        }
    }

    /// Counts steps that have begun for this reason.
    #[must_use]
    pub fn escalated(&self, why: Escalation) -> IntCounter {
        self.escalations.of(why).clone()
    }

    /// A notification was settled.
    pub fn settled(&self, state: NotificationState) {
        self.outcomes.of(state).inc();
    }

    /// A message met an error.
    pub fn failed(&self, reason: Reason) {
        self.errors.of(reason).inc();
    }

    /// A gate held a message.
    pub fn held(&self, gate: Gate) {
        self.held.of(gate).inc();
    }

    /// A message went in the recipient's quiet hours.
    pub fn disturbed(&self, purpose: Purpose) {
        self.disturbed.of(purpose).inc();
    }

    /// A gate refused a message.
    pub fn refused(&self, gate: Gate) {
        self.refused.of(gate).inc();
    }

    /// Recipients of a campaign were handed over, or gates held or refused them.
    pub fn handed_over(&self, came: &HandedOver) {
        self.handed_over.inc_by(came.handed_over);
        for (counted, gates) in [(&self.held, &came.held), (&self.refused, &came.refused)] {
            for (gate, many) in gates {
                if let Some(gate) = Gate::parse(gate) {
                    counted.of(gate).inc_by(*many);
                }
            }
        }
    }

    /// The gauge of the campaigns in a state.
    #[must_use]
    pub fn campaigns(&self, state: CampaignState) -> IntGauge {
        self.campaigns[state.place()].1.clone()
    }

    /// A campaign has stopped itself.
    pub fn campaign_stopped(&self, why: Brake) {
        self.campaign_stops.of(why).inc();
    }

    /// A call was to be cancelled.
    pub fn hung_up(&self, came: HungUp) {
        self.hung_up.of(came).inc();
    }

    /// Shows what stands in the store. An account and a sender that are not named stand at 0.
    pub fn stands(&self, standing: &Standing) {
        show(&self.due, standing.due);
        self.oldest_due.set(standing.oldest_due.as_secs_f64());
        show(&self.unknown, standing.unknown);
        for account in &self.accounts {
            let writing = standing.writing.iter().find(|(sid, _)| *sid == account.sid);
            show(&account.writing, writing.map_or(0, |(_, many)| *many));
            let calls = standing.calls.iter().find(|(sid, _)| *sid == account.sid);
            show(&account.calls, calls.map_or(0, |(_, many)| *many));
        }
        for (name, paused) in self.senders.load().iter() {
            paused.set(standing.paused.contains(name).into());
        }
        for (state, campaigns) in &self.campaigns {
            show(campaigns, standing.campaigns.get(state).copied().unwrap_or_default());
        }
    }
}

/// The values of the label `country`.
fn countries(config: &Config) -> impl Iterator<Item = String> {
    let allowed = config.rules.countries.iter().map(|country| country.as_str().to_owned());
    allowed.chain(std::iter::once("other".to_owned()))
}

impl AccountMetrics {
    /// The requests that ended so.
    #[must_use]
    pub fn of(&self, sent: Sent) -> &IntCounter {
        &self.requests[sent.place()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outbound::config::testing;

    #[test]
    fn each_answer_is_counted_under_its_own_name_and_only_that_of_a_known_account() {
        let registry = Registry::new();
        let metrics = SendMetrics::register(&registry, &testing::config()).expect("new names");
        for sent in Sent::ALL {
            metrics.requested("AC1", sent, Duration::from_millis(100));
        }
        metrics.requested("AC9", Sent::Accepted, Duration::from_millis(100));
        assert_eq!(Sent::ALL.map(|sent| metrics.accounts[0].of(sent).get()), [1; 6]);
        assert_eq!(metrics.duration.get_sample_count(), 7);
    }

    #[test]
    fn a_confirmation_is_timed_by_its_channel() {
        let metrics = SendMetrics::register(&Registry::new(), &testing::config());
        let metrics = metrics.expect("new names");
        metrics.concluded(&Concluded {
            outcomes: vec![NotificationState::Confirmed],
            confirmed: vec![(Channel::Call, Duration::from_secs(40))],
            begun: Vec::new(),
        });
        let of = |channel| metrics.confirmed.of(channel);
        let sums = [of(Channel::Call).get_sample_sum(), of(Channel::Message).get_sample_sum()];
        assert_eq!(sums, [40.0, 0.0]);
        assert_eq!(metrics.outcomes.of(NotificationState::Confirmed).get(), 1);
    }

    #[test]
    fn what_does_not_stand_any_more_is_0() {
        let registry = Registry::new();
        let metrics = SendMetrics::register(&registry, &testing::config()).expect("new names");
        let standing = Standing {
            due: 3,
            oldest_due: Duration::from_secs(2),
            unknown: 1,
            writing: vec![("AC1".to_owned(), 4)],
            calls: vec![("AC1".to_owned(), 2)],
            paused: vec!["alerts".to_owned()],
            campaigns: BTreeMap::from([(CampaignState::Stopped, 5)]),
        };
        metrics.stands(&standing);
        let seen = || {
            let (paused, account) = (&metrics.senders.load()[0].1, &metrics.accounts[0]);
            let stopped = metrics.campaigns(CampaignState::Stopped);
            let others = [account.writing.get(), account.calls.get(), stopped.get()];
            [&[metrics.due.get(), metrics.unknown.get(), paused.get()][..], &others].concat()
        };
        assert_eq!(seen(), [3, 1, 1, 4, 2, 5]);
        metrics.stands(&Standing::default());
        assert_eq!(seen(), [0; 6]);
    }

    #[test]
    fn a_sender_that_a_reload_brings_has_a_series_and_one_that_is_gone_has_none() {
        let (registry, mut config) = (Registry::new(), testing::config());
        let metrics = SendMetrics::register(&registry, &config).expect("new names");
        config.senders[0].name = "shop".to_owned();
        metrics.show_senders(&config);
        let families = registry.gather();
        let mut paused = families.iter().filter(|it| it.name() == "offhook_sender_paused");
        let series = paused.next().expect("it is registered").get_metric();
        assert_eq!(series.len(), 1);
        assert_eq!(series[0].get_label()[0].value(), "shop");
    }
}

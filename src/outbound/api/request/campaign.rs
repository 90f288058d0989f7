//! What a campaign asks for: what is the same for all its recipients, and each of them with everything frozen.

use super::{NotificationAsk, Plan, PlannedStep, Texts, named, purpose, wrong};
use crate::backend::outbox::{CampaignStep, NewRecipient, StepCost};
use crate::clock::Timestamp;
use crate::dispatch::campaign::list::Row;
use crate::dispatch::campaign::price::Prices;
use crate::dispatch::country::Country;
use crate::dispatch::{Channel, OnUnknown, Purpose};
use crate::event::AttemptId;
use crate::http::problem::Problem;
use crate::outbound::Hashes;
use crate::outbound::config::{Config, Sender};
use crate::outbound::gate::number;

/// What all recipients of a campaign have in common.
pub(in crate::outbound::api) struct Common {
    pub(in crate::outbound::api) purpose: Purpose,
    pub(in crate::outbound::api) on_unknown: OnUnknown,
    /// `None` if it is counted from the start.
    pub(in crate::outbound::api) deadline: Option<Timestamp>,
    /// At least one.
    pub(in crate::outbound::api) steps: Vec<CampaignStep>,
}

impl Common {
    /// The channels by which recipients are reached.
    pub(in crate::outbound::api) fn channels(&self) -> impl Iterator<Item = Channel> {
        self.steps.iter().map(|step| step.channel)
    }

    fn mails(&self) -> bool {
        self.channels().any(|channel| channel == Channel::Email)
    }

    fn only_mails(&self) -> bool {
        self.channels().all(|channel| channel == Channel::Email)
    }
}

impl NotificationAsk {
    /// What is asked for all recipients alike, as far as it is known without one.
    pub(in crate::outbound::api) fn common(
        &self,
        config: &Config,
        now: Timestamp,
    ) -> Result<Common, Problem> {
        let purpose = match purpose(config, &self.purpose)? {
            purpose @ (Purpose::Transactional | Purpose::Marketing) => purpose,
            Purpose::Alert | Purpose::Otp => {
                let problem =
                    "a campaign is transactional or marketing: ask for the others one by one";
                return Err(wrong("purpose", problem));
            }
        };
        let on_unknown = match self.on_unknown.as_deref() {
            Some(name) => named("on_unknown", name)?,
            None => purpose.on_unknown(),
        };
        let deadline = self.deadline.is_some().then(|| self.deadline(purpose, now)).transpose()?;
        let texts = Texts::of_templates(self)?;
        let steps = self.steps(config, purpose, AttemptId::new(0), &texts)?;
        let steps: Vec<CampaignStep> = steps.iter().map(PlannedStep::frozen).collect();
        let channels: Vec<Channel> = steps.iter().map(|step| step.channel).collect();
        texts.check(&channels)?;
        Ok(Common { purpose, on_unknown, deadline, steps })
    }

    /// This for a row of a list: its recipient, with everything frozen that is sent.
    ///
    /// # Errors
    /// What is wrong with the row, without what is in it.
    pub(in crate::outbound::api) fn recipient(
        &mut self,
        row: Row,
        common: &Common,
        config: &Config,
        hashes: &Hashes,
        now: Timestamp,
    ) -> Result<NewRecipient, Problem> {
        let Row { line, to, email, time_zone, key, values } = row;
        // A list may be made for several campaigns: what this one does not need is left alone.
        (self.to, self.email) = match (email, common.mails(), common.only_mails()) {
            (Some(email), _, true) => (email, None),
            (email, true, false) => (to, email),
            (_, _, _) => (to, None),
        };
        (self.time_zone, self.values) = (time_zone, Some(values));
        let plan = self.plan_for(common.purpose, config, now)?;
        let recipient = plan.recipient(hashes, &config.campaigns.prices);
        Ok(NewRecipient { number: line, key, time_zone: self.time_zone.take(), ..recipient })
    }
}

impl PlannedStep<'_> {
    fn frozen(&self) -> CampaignStep {
        CampaignStep {
            sender: self.sender.name.clone(),
            account: self.sender.account.clone(),
            pace: self.sender.pace.clone(),
            channel: self.sender.channel(),
            call: self.call.clone(),
            wait: self.wait,
            prefix: self.sender.address(""),
        }
    }
}

impl Plan<'_> {
    /// A recipient of a campaign, whose row says the rest.
    fn recipient(self, hashes: &Hashes, prices: &Prices) -> NewRecipient {
        // The steps that send no email share its number, whichever comes first.
        let mut senders = self.steps.iter().map(|step| step.sender);
        let first = senders.clone().next().expect("a route has a step, and a sender is one");
        let by_number = senders.find(|sender| sender.channel() != Channel::Email).unwrap_or(first);
        let to = self.reached.to().to_owned();
        let country = number(&to).and_then(|number| number.country());
        let costs =
            self.steps.iter().map(|step| cost(step.sender, &self.texts.text, prices, country));
        NewRecipient {
            number: 0,
            key: None,
            costs: costs.collect(),
            to_hash: hashes.address(&self.reached.by(by_number)),
            to,
            email: self.reached.second().map(str::to_owned),
            email_hash: self.reached.second().map(|email| hashes.address(email)),
            time_zone: None,
            text: self.texts.text,
            subject: self.texts.subject,
            html: self.texts.html,
        }
    }
}

/// What a step takes; of a call, the price is of one minute.
fn cost(sender: &Sender, text: &str, prices: &Prices, country: Option<Country>) -> StepCost {
    let units = sender.kind.units(text);
    let price = prices.of(sender.channel(), country, units);
    StepCost { units, price: price.map(|price| price.micros()) }
}

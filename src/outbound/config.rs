//! What the sending half is configured with. There is a configuration only if there is a `[[sender]]`.

use std::time::Duration;

use secrecy::SecretString;

use crate::dispatch::call::{CallPlan, Lines};
use crate::dispatch::campaign::price::{Price, Prices};
use crate::dispatch::follow_up::Times;
use crate::dispatch::gates::Rules;
use crate::dispatch::pace::{Rate, SenderKind};
use crate::dispatch::recipient::Mailbox;
use crate::dispatch::{Channel, Confirm};

/// Everything that sending needs.
#[derive(Debug, Clone)]
pub struct Config {
    /// The base of Twilio's REST API, without a slash at its end.
    pub api_url: String,
    /// The URL that Twilio is given for status callbacks, without a query and a fragment.
    pub callback_url: String,
    /// The URL that Twilio is given for the keys that callees press, without a query and a fragment.
    pub confirm_url: String,
    /// How emails are sent; `None` if no sender does.
    pub mail: Option<MailApi>,
    /// What is sent from, in the order of the configuration; at least one.
    pub senders: Vec<Sender>,
    /// The routes by which a notification may go, in the order of the configuration.
    pub routes: Vec<Route>,
    /// The accounts that the senders belong to, each once.
    pub accounts: Vec<Account>,
    /// What senders are paced by, each once.
    pub paces: Vec<Pace>,
    /// What the gates allow.
    pub rules: Rules,
    /// What a campaign may do at most.
    pub campaigns: Campaigns,
    /// Who may ask to send.
    pub tokens: Vec<Token>,
    /// Keys the hashes of suppressed addresses; every process that sends needs the same.
    pub suppression_key: Option<SecretString>,
    /// Most requests of an account at a time, in all processes together.
    pub max_in_flight: u32,
    /// When an attempt that a process has claimed, and not begun to send, is due again.
    pub claim_lease: Duration,
    /// When the outcome of an attempt that a process was sending is unknown. Longer than `timeout`.
    pub writing_lease: Duration,
    /// Longest time of a request to the API.
    pub timeout: Duration,
    /// When a status that says nothing final is asked for at Twilio.
    pub follow_up: Times,
    /// How long a call that offhook has not made counts as open before its final callback is presumed lost.
    pub calls_max_age: Duration,
    /// When an attempt is looked up at Twilio, counted from when its outcome became unknown; ascending, at least one.
    pub looks: Vec<Duration>,
}

/// What one mistake can do at most, and what sending costs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Campaigns {
    /// Most recipients of a campaign.
    pub max_recipients: u64,
    /// The currency of all prices, as people read it.
    pub currency: String,
    /// Most that a campaign may cost, unless it asks for less.
    pub max_cost: Option<Price>,
    /// What sending costs, as far as it is known.
    pub prices: Prices,
}

/// SendGrid's API, and what is concluded from its silence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailApi {
    /// Its base, without a slash at its end.
    pub url: String,
    /// How long after it was sent an email of unknown outcome is waited for: without any event by then, it counts as not
    /// sent.
    pub silence: Duration,
}

/// An account that is charged.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Account {
    /// Its SID.
    pub sid: String,
    /// Its name in metrics, where a SID must not be.
    pub name: String,
    /// How many open calls it may have.
    pub calls_limit: u32,
}

/// What is sent from and paid for.
#[derive(Debug, Clone)]
pub struct Sender {
    /// Its name in requests, commands, metrics and the store.
    pub name: String,
    /// What Twilio is given.
    pub origin: Origin,
    /// What it is.
    pub kind: SenderKind,
    /// The SID of its account.
    pub account: String,
    /// What its requests are authenticated with.
    pub credentials: Credentials,
    /// The name of its pace.
    pub pace: String,
    /// How it calls; `None` if it sends messages or emails.
    pub call: Option<CallPlan>,
}

/// What Twilio is given as the sender.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A number, a short code, a name, or an address with its channel: `whatsapp:+15550100`.
    From(String),
    /// The SID of a Messaging Service, which chooses a number.
    MessagingService(String),
    /// An email address, which SendGrid is given.
    Mailbox(Mailbox),
}

/// Senders by which a recipient is reached, one after the other, until one is confirmed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Its name in requests, commands and the store.
    pub name: String,
    /// Its steps, in their order; at least one.
    pub steps: Vec<RouteStep>,
    /// Whether an alert calls a recipient who has said STOP all the same.
    pub despite_stop: bool,
}

/// A step of a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteStep {
    /// The name of its sender.
    pub sender: String,
    /// How long it is waited for after it was sent; `None` for a call, which ends by itself.
    pub wait: Option<Duration>,
    /// What confirms its call, if not what the sender says.
    pub confirm: Option<Confirm>,
}

/// The user and password of requests to the API.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// The SID of an API key, or of an account; of SendGrid's, [`crate::sendgrid::ACCOUNT`].
    pub user: String,
    /// The key's secret, or the account's auth token; SendGrid's API key.
    pub password: SecretString,
}

/// What several senders may share.
#[derive(Debug, Clone, PartialEq)]
pub struct Pace {
    /// The name of the sender that has it to itself, or the one that several senders give.
    pub name: String,
    /// How fast it is.
    pub rate: Rate,
}

/// A token that may ask to send, and nothing else.
#[derive(Debug, Clone)]
pub struct Token {
    /// Its name in the log.
    pub id: String,
    /// The token.
    pub token: SecretString,
}

impl Config {
    /// This, with the senders, paces, rules, limits of campaigns and tokens of another one; `None` if that sends for other accounts, by
    /// which the store recognizes the deployment.
    pub(super) fn reloaded(&self, next: &Self) -> Option<Self> {
        let sids = |config: &Self| -> Vec<String> {
            config.accounts.iter().map(|account| account.sid.clone()).collect()
        };
        let limited = self.accounts.iter().zip(&next.accounts);
        let accounts =
            limited.map(|(of, next)| Account { calls_limit: next.calls_limit, ..of.clone() });
        (sids(self) == sids(next)).then(|| Self {
            accounts: accounts.collect(),
            senders: next.senders.clone(),
            routes: next.routes.clone(),
            paces: next.paces.clone(),
            rules: next.rules.clone(),
            campaigns: next.campaigns.clone(),
            tokens: next.tokens.clone(),
            ..self.clone()
        })
    }

    /// The sender of this name.
    #[must_use]
    pub fn sender(&self, name: &str) -> Option<&Sender> {
        self.senders.iter().find(|sender| sender.name == name)
    }

    /// The route of this name.
    #[must_use]
    pub fn route(&self, name: &str) -> Option<&Route> {
        self.routes.iter().find(|route| route.name == name)
    }

    /// How many calls each account may have open.
    #[must_use]
    pub fn lines(&self) -> Lines {
        let limit = |account: &Account| (account.sid.clone(), account.calls_limit);
        let limits = self.accounts.iter().map(limit).collect();
        Lines { limits, max_age: self.calls_max_age }
    }

    /// When what is unknown is looked for the first time.
    #[must_use]
    pub fn first_look(&self) -> Duration {
        self.looks.first().copied().unwrap_or(Duration::from_secs(60))
    }

    /// How long an email of unknown outcome is waited for.
    #[must_use]
    pub fn silence(&self) -> Duration {
        self.mail.as_ref().map_or(Duration::from_secs(600), |mail| mail.silence)
    }

    /// The pace of a sender.
    ///
    /// # Panics
    /// It is not a sender of this configuration.
    #[must_use]
    pub fn pace(&self, sender: &Sender) -> &Pace {
        let pace = self.paces.iter().find(|pace| pace.name == sender.pace);
        pace.expect("each sender's pace is among the paces")
    }
}

impl Sender {
    /// How it reaches a recipient.
    #[must_use]
    pub const fn channel(&self) -> Channel {
        match (&self.call, self.kind) {
            (Some(_), _) => Channel::Call,
            (None, SenderKind::Email) => Channel::Email,
            (None, _) => Channel::Message,
        }
    }

    /// A number as this sender reaches it: on its channel. An address on its channel stays as it is.
    #[must_use]
    pub fn address(&self, number: &str) -> String {
        const WHATSAPP: &str = "whatsapp:";
        match self.kind {
            SenderKind::Whatsapp if number.starts_with(WHATSAPP) => number.to_owned(),
            SenderKind::Whatsapp => format!("{WHATSAPP}{number}"),
            SenderKind::LongCode
            | SenderKind::TollFree
            | SenderKind::ShortCode
            | SenderKind::Voice
            | SenderKind::Email
            | SenderKind::Other => number.to_owned(),
        }
    }
}

#[cfg(test)]
pub(crate) mod testing {
    use super::*;
    use crate::dispatch::gates::{
        MAX_CALLS_PER_RECIPIENT_HOUR, MAX_PER_DAY, MAX_PER_RECIPIENT_HOUR,
    };

    /// One sender, `alerts`, of the account `AC1`, whose name is `main`.
    pub(crate) fn config() -> Config {
        let rules = Rules {
            countries: Vec::new(),
            only_to: Vec::new(),
            max_per_recipient_hour: MAX_PER_RECIPIENT_HOUR,
            max_calls_per_recipient_hour: MAX_CALLS_PER_RECIPIENT_HOUR,
            max_per_day: MAX_PER_DAY,
            quiet_hours: None,
        };
        let credentials = Credentials { user: "AC1".to_owned(), password: "t0ken".into() };
        Config {
            api_url: "http://127.0.0.1:1".to_owned(),
            callback_url: "http://127.0.0.1:2/status".to_owned(),
            confirm_url: "http://127.0.0.1:2/voice-confirm".to_owned(),
            mail: None,
            senders: vec![Sender {
                name: "alerts".to_owned(),
                origin: Origin::From("+12125550100".to_owned()),
                kind: SenderKind::LongCode,
                account: "AC1".to_owned(),
                credentials,
                pace: "alerts".to_owned(),
                call: None,
            }],
            routes: Vec::new(),
            accounts: vec![Account {
                sid: "AC1".to_owned(),
                name: "main".to_owned(),
                calls_limit: 1,
            }],
            paces: vec![Pace {
                name: "alerts".to_owned(),
                rate: Rate::per_second(1.0).expect("it is a rate"),
            }],
            rules,
            campaigns: Campaigns {
                max_recipients: 1_000,
                currency: "USD".to_owned(),
                max_cost: None,
                prices: Prices::default(),
            },
            tokens: Vec::new(),
            suppression_key: None,
            max_in_flight: 10,
            claim_lease: Duration::from_secs(2),
            writing_lease: Duration::from_secs(45),
            timeout: Duration::from_secs(30),
            follow_up: Times::default(),
            calls_max_age: Duration::from_secs(14_400),
            looks: vec![Duration::from_secs(60)],
        }
    }
}

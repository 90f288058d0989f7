//! [`Watch`]: reads periodically what stands in the store, and shows it in the metrics. Each process that sends shows
//! the same.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::InForce;
use super::config::Config;
use super::metrics::{SendMetrics, Standing};
use crate::backend::outbox::{CampaignState, SenderState, SendingState};
use crate::backend::{BackendError, Outbox};
use crate::clock::{Clock, Timestamp};
use crate::outage::Outage;

/// The interval of the looks: shorter than that of scrapes. The store answers from indexes of what is open.
const EVERY: Duration = Duration::from_secs(5);

/// Looks at the store, and shows what it has.
#[derive(Clone)]
pub struct Watch {
    /// The store.
    pub outbox: Outbox,
    /// What is sent from.
    pub config: InForce,
    /// Where it is shown. While the store does not answer, what was shown last stays.
    pub metrics: SendMetrics,
    /// What the age of what is due is measured by.
    pub clock: Clock,
}

impl Watch {
    /// Runs until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let outage = Outage::default();
        let mut stranded = BTreeSet::new();
        loop {
            match self.look().await {
                Ok((state, campaigns)) => {
                    let now = strands(&state, &self.config.now());
                    for sender in now.difference(&stranded) {
                        warn!(
                            sender,
                            "messages wait for a sender that is not configured: they expire at their deadlines; \
                             configure it again, or cancel them"
                        );
                    }
                    stranded = now;
                    let standing = Standing::of(&state, &self.config.now(), self.clock.now());
                    self.metrics.stands(&Standing { campaigns, ..standing });
                    if let Some(over) = outage.ends() {
                        let (failures, lasted_s) = (over.failures, over.seconds());
                        info!(failures, lasted_s, "the outbox can be read again");
                    }
                }
                Err(error) => {
                    self.metrics.store_errors.inc();
                    if outage.begins() {
                        warn!(error = %error, "the outbox cannot be read: what is shown of it is old");
                    } else {
                        debug!(error = %error, "the outbox cannot be read");
                    }
                }
            }
            if stop.run_until_cancelled(tokio::time::sleep(EVERY)).await.is_none() {
                return;
            }
        }
    }
}

impl Watch {
    async fn look(&self) -> Result<(SendingState, BTreeMap<CampaignState, u64>), BackendError> {
        Ok((self.outbox.sending().await?, self.outbox.campaigns_by_state().await?))
    }
}

/// The senders that have messages to be sent, and are not configured.
fn strands(state: &SendingState, config: &Config) -> BTreeSet<String> {
    let gone = |sender: &&SenderState| sender.due > 0 && config.sender(&sender.name).is_none();
    state.senders.iter().filter(gone).map(|sender| sender.name.clone()).collect()
}

impl Standing {
    /// What stands in the store at this time.
    fn of(state: &SendingState, config: &Config, now: Timestamp) -> Self {
        let account_of = |sender: &str| config.sender(sender).map(|sender| &*sender.account);
        let account = |sender: &str| {
            let sid = account_of(sender)?;
            state.accounts.iter().find(|account| account.account == sid)
        };
        let is_paused = |sender: &SenderState| {
            let of_account = account(&sender.name).is_some_and(|account| account.paused.is_some());
            state.held.is_some() || sender.paused.is_some() || of_account
        };
        let calls = state.accounts.iter().map(|account| (account.account.clone(), account.calls));
        let mut standing = Self { calls: calls.collect(), ..Self::default() };
        for sender in &state.senders {
            standing.unknown += sender.sought;
            if let Some(sid) = account_of(&sender.name) {
                match standing.writing.iter_mut().find(|(known, _)| known == sid) {
                    Some((_, writing)) => *writing += sender.writing,
                    None => standing.writing.push((sid.to_owned(), sender.writing)),
                }
            }
            // A cooldown is no operator's decision, so it counts: Twilio may stop an account every day.
            if is_paused(sender) {
                continue;
            }
            standing.due += sender.due.saturating_sub(sender.held);
            let age = sender.oldest_due.map_or(Duration::ZERO, |oldest| now.since(oldest));
            standing.oldest_due = standing.oldest_due.max(age);
        }
        // One that the store does not know yet is held by what holds all, too.
        let known = |name: &str| state.senders.iter().find(|sender| sender.name == name);
        let paused = config.senders.iter().filter(|sender| {
            let unknown = SenderState { name: sender.name.clone(), ..SenderState::default() };
            is_paused(known(&sender.name).unwrap_or(&unknown))
        });
        standing.paused = paused.map(|sender| sender.name.clone()).collect();
        standing
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::outbox::AccountState;
    use crate::outbound::config::testing;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000)
    }

    fn alerts() -> SenderState {
        SenderState {
            name: "alerts".to_owned(),
            due: 5,
            held: 2,
            writing: 3,
            sought: 1,
            unknown: 4,
            oldest_due: Some(at(30)),
            ..SenderState::default()
        }
    }

    fn senders(sender: SenderState) -> SendingState {
        SendingState { senders: vec![sender], ..SendingState::default() }
    }

    fn account() -> AccountState {
        AccountState {
            account: "AC1".to_owned(),
            paused: None,
            paused_at: None,
            cooldown_until: None,
            calls: 0,
        }
    }

    fn standing(state: &SendingState) -> Standing {
        Standing::of(state, &testing::config(), at(100))
    }

    #[test]
    fn what_waits_for_a_sender_that_is_gone_is_found() {
        let check = |sender: SenderState, expected: &[&str]| {
            let found = strands(&senders(sender), &testing::config());
            assert!(found.iter().eq(expected), "{found:?}");
        };
        check(alerts(), &[]);
        check(SenderState { name: "gone".to_owned(), ..alerts() }, &["gone"]);
        check(SenderState { name: "gone".to_owned(), due: 0, ..alerts() }, &[]);
    }

    #[test]
    fn what_is_held_does_not_count_as_due() {
        let found = standing(&senders(alerts()));
        assert_eq!((found.due, found.oldest_due, found.unknown), (3, Duration::from_secs(70), 1));
        assert_eq!(found.writing, [("AC1".to_owned(), 3)]);
        assert_eq!(found.paused, [""; 0]);
    }

    #[test]
    fn what_is_paused_is_not_due() {
        let check = |state: SendingState| {
            let found = standing(&state);
            assert_eq!((found.due, found.oldest_due), (0, Duration::ZERO), "{state:?}");
            assert_eq!(found.paused, ["alerts"], "{state:?}");
        };
        let paused = Some("operator".to_owned());
        check(senders(SenderState { paused: paused.clone(), ..alerts() }));
        check(SendingState { held: paused.clone(), ..senders(alerts()) });
        check(SendingState { held: paused.clone(), ..SendingState::default() });
        let accounts = vec![AccountState { paused, ..account() }];
        check(SendingState { accounts, ..senders(alerts()) });
    }

    #[test]
    fn what_cools_down_is_due_so_that_a_person_hears_of_it() {
        let check = |state: SendingState| {
            let found = standing(&state);
            assert_eq!((found.due, found.oldest_due), (3, Duration::from_secs(70)), "{state:?}");
            assert_eq!(found.paused, [""; 0], "{state:?}");
        };
        let cooldown_until = Some(at(101));
        check(senders(SenderState { cooldown_until, ..alerts() }));
        let accounts = vec![AccountState { cooldown_until, ..account() }];
        check(SendingState { accounts, ..senders(alerts()) });
    }
}

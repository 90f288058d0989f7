//! [`InForce`]: the configuration of what sends, which a reload replaces.

use std::sync::Arc;

use tokio::sync::watch;

use super::config::Config;

/// The configuration in force. Cheap to clone; all clones are one.
#[derive(Clone, Debug)]
pub struct InForce(Arc<watch::Sender<Arc<Config>>>);

impl InForce {
    /// Puts a configuration into force at the start.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self(Arc::new(watch::Sender::new(Arc::new(config))))
    }

    /// What is in force now.
    #[must_use]
    pub fn now(&self) -> Arc<Config> {
        Arc::clone(&self.0.borrow())
    }

    /// What is in force, and each change of it.
    pub(super) fn changes(&self) -> watch::Receiver<Arc<Config>> {
        self.0.subscribe()
    }

    /// Puts into force what a reload may change. Returns whether it may: not if it sends for other accounts.
    #[must_use]
    pub fn replace(&self, next: &Config) -> bool {
        let reloaded = self.now().reloaded(next);
        let may = reloaded.is_some();
        if let Some(config) = reloaded {
            self.0.send_replace(Arc::new(config));
        }
        may
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::outbound::config::{Token, testing};

    #[test]
    fn a_reload_takes_senders_rules_and_tokens_and_nothing_else() {
        let in_force = InForce::new(testing::config());
        let mut next = testing::config();
        next.senders[0].credentials.password = "another".into();
        next.rules.max_per_day = 7;
        next.tokens = vec![Token { id: "shop".to_owned(), token: "t".into() }];
        next.suppression_key = Some("another".into());
        next.timeout = Duration::from_secs(7);
        assert!(in_force.replace(&next));
        let now = in_force.now();
        assert_eq!((now.rules.max_per_day, now.tokens.len()), (7, 1));
        assert!(now.suppression_key.is_none() && now.timeout == Duration::from_secs(30));

        next.accounts[0].sid = "AC2".to_owned();
        next.rules.max_per_day = 8;
        assert!(!in_force.replace(&next));
        assert_eq!(in_force.now().rules.max_per_day, 7);
    }
}

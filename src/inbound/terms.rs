//! [`Terms`]: what the public listener goes by and a reload may change, as one value.

use std::sync::Arc;

use arc_swap::ArcSwap;

use super::{Fallback, Metrics};
use crate::twilio::keyring::Keyring;
use crate::twilio::privacy::Privacy;

/// Whose signatures hold, what is answered, and what is kept. Never changed, only replaced as a
/// whole, so that a request goes by the same terms from its beginning to its end.
pub struct Terms {
    /// Whose signatures hold.
    pub keyring: Arc<Keyring>,
    /// What the fallback URLs answer.
    pub fallback: Fallback,
    /// What of a callback may be kept.
    pub privacy: Arc<Privacy>,
}

/// The terms in force. They can be replaced while requests are answered: reading them takes no
/// lock.
pub struct TermsInForce {
    terms: ArcSwap<Terms>,
    metrics: Arc<Metrics>,
}

impl TermsInForce {
    /// In force from the start. Their secrets have their series in `metrics` from then on.
    #[must_use]
    pub fn new(terms: Terms, metrics: Arc<Metrics>) -> Self {
        metrics.show_secrets(&terms.keyring);
        Self { terms: ArcSwap::from_pointee(terms), metrics }
    }

    /// Those that a request which begins now goes by.
    #[must_use]
    pub fn now(&self) -> Arc<Terms> {
        self.terms.load_full()
    }

    /// Replaces them for every request that begins from now on.
    pub fn replace(&self, terms: Terms) {
        let terms = Arc::new(terms);
        // A new secret has its series before it can match, an old one until it no longer does.
        self.metrics.show_secrets(&terms.keyring);
        self.terms.store(Arc::clone(&terms));
        self.metrics.forget_secrets_but(&terms.keyring);
    }
}

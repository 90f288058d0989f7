//! [`Policy`]: what a reload may change, as one value, and [`PolicyInForce`], in which it is swapped as a whole. Each
//! service holds its [`Part`] of that.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use arc_swap::access::{Access as _, Map};

use crate::sendgrid::keys::VerificationKeys;
use crate::twilio::consent::Listening;
use crate::twilio::fallback::{Fallback, VoiceConfirm};
use crate::twilio::keyring::Keyring;
use crate::twilio::privacy::Privacy;
use crate::twilio::twiml::Twiml;

/// What a reload may change. Never changed itself, only replaced.
pub struct Policy {
    /// The policy of the public listener.
    pub inbound: Arc<InboundPolicy>,
    /// What may be kept of personal data, and so in which form a search must look for it.
    pub privacy: Arc<Privacy>,
}

/// The policy of a request, from its beginning to its end.
pub struct InboundPolicy {
    /// The accounts and secrets whose signatures are accepted.
    pub keyring: Arc<Keyring>,
    /// The keys by which email events may be signed.
    pub email_keys: Arc<VerificationKeys>,
    /// What the fallback URLs answer.
    pub fallback: Fallback,
    /// What a callee hears after pressing a key.
    pub voice_confirm: VoiceConfirm,
    /// What incoming messages are answered.
    pub incoming: Twiml,
    /// Whether what recipients say in them is heeded.
    pub listening: Listening,
    /// What of a callback may be kept.
    pub privacy: Arc<Privacy>,
}

impl Policy {
    /// The policy of every service, of which the public listener's has all.
    #[must_use]
    pub fn new(inbound: InboundPolicy) -> Self {
        let privacy = Arc::clone(&inbound.privacy);
        Self { inbound: Arc::new(inbound), privacy }
    }
}

/// The policy in force. Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct PolicyInForce(Arc<ArcSwap<Policy>>);

/// Selects a part of the policy.
type Projection<T> = fn(&Policy) -> &Arc<T>;

/// What one service sees of the policy in force. Reading it takes no lock.
pub struct Part<T>(Map<Arc<ArcSwap<Policy>>, Policy, Projection<T>>);

impl PolicyInForce {
    /// Puts a policy into force at the start.
    #[must_use]
    pub fn new(policy: Policy) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(policy)))
    }

    /// Replaces all of it, in one step, for everything that begins from now on.
    pub fn replace(&self, policy: Policy) {
        self.0.store(Arc::new(policy));
    }

    /// What the public listener sees.
    #[must_use]
    pub fn inbound(&self) -> Part<InboundPolicy> {
        self.part(|policy| &policy.inbound)
    }

    /// What those see who search.
    #[must_use]
    pub fn privacy(&self) -> Part<Privacy> {
        self.part(|policy| &policy.privacy)
    }

    fn part<T>(&self, part: Projection<T>) -> Part<T> {
        Part(Map::new(Arc::clone(&self.0), part))
    }
}

impl<T> Part<T> {
    /// The part that is in force now.
    #[must_use]
    pub fn now(&self) -> Arc<T> {
        Arc::clone(&self.0.load())
    }
}

/// Without what it holds: nothing prints a secret.
impl<T> fmt::Debug for Part<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Part").finish_non_exhaustive()
    }
}

#[cfg(test)]
pub(crate) mod testing {
    use super::*;
    use crate::twilio::keyring::Account;

    /// A policy whose parts are distinguishable from those of all others.
    pub(crate) fn policy(number: u32) -> Policy {
        let token = secrecy::SecretString::from("t0ken");
        let account = Account::new(format!("AC{number}"), number.to_string(), &[token], &[]);
        let keyring = Keyring::new(vec![account]).expect("it has a secret");
        let fallback = Fallback { voice: Twiml::EMPTY, sms: Twiml::EMPTY, numbers: [].into() };
        of(Arc::new(keyring), fallback, Arc::default())
    }

    /// A policy of these parts, and of the defaults of the others.
    pub(crate) fn of(keyring: Arc<Keyring>, fallback: Fallback, privacy: Arc<Privacy>) -> Policy {
        let (incoming, listening) = (Twiml::EMPTY, Listening::Deaf);
        let voice_confirm = VoiceConfirm::default();
        Policy::new(InboundPolicy {
            keyring,
            email_keys: Arc::default(),
            fallback,
            voice_confirm,
            incoming,
            listening,
            privacy,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::testing::{of, policy};
    use super::*;

    #[test]
    fn a_reload_is_seen_at_once_and_by_every_service() {
        let in_force = PolicyInForce::new(policy(1));
        let (inbound, privacy) = (in_force.inbound(), in_force.privacy());
        let before = inbound.now();
        in_force.replace(policy(2));
        let after = inbound.now();
        assert_eq!(after.keyring.accounts()[0].sid(), "AC2");
        assert!(Arc::ptr_eq(&after.privacy, &privacy.now()));
        assert_eq!(before.keyring.accounts()[0].sid(), "AC1", "what has begun goes on by it");
        assert!(!Arc::ptr_eq(&before.privacy, &after.privacy));
    }

    #[test]
    fn no_reader_sees_parts_of_two_policies() {
        const RELOADS: u32 = 2_000;
        let (first, second) = (policy(1), policy(2));
        let pairs = [&first, &second]
            .map(|policy| (Arc::clone(&policy.inbound.keyring), Arc::clone(&policy.privacy)));
        let again = |place: usize| {
            let (keyring, privacy) = &pairs[place];
            of(Arc::clone(keyring), first.inbound.fallback.clone(), Arc::clone(privacy))
        };
        let in_force = PolicyInForce::new(again(0));
        let (inbound, done) = (in_force.inbound(), AtomicBool::new(false));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                (0..RELOADS).for_each(|turn| in_force.replace(again(turn as usize % 2)));
                done.store(true, Ordering::Release);
            });
            while !done.load(Ordering::Acquire) {
                let now = inbound.now();
                let is_one = |(keyring, privacy): &(Arc<Keyring>, Arc<Privacy>)| {
                    Arc::ptr_eq(keyring, &now.keyring) && Arc::ptr_eq(privacy, &now.privacy)
                };
                assert!(pairs.iter().any(is_one));
            }
        });
    }
}

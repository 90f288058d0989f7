//! Which deployment the store sends for: a copy of a production database must not start to send.

use std::fmt;

use secrecy::SecretString;
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use super::{Config, SendMetrics};
use crate::backend::outbox::{Identity, new_secret};
use crate::backend::{BackendError, Outbox};
use crate::event::consent::{AddressKey, keyed, secret};
use crate::event::key::Secret;
use crate::outage::Outage;
use crate::retry::Backoff;

/// Why everything is held until a person has adopted the deployment.
pub const ADOPT: &str = "adopt";

/// Keyed hashes of addresses and requests. A hash of an address is the same in every process of a deployment.
#[derive(Clone)]
pub struct Hashes {
    addresses: AddressKey,
    requests: Secret,
}

/// Without the keys.
impl fmt::Debug for Hashes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hashes").finish_non_exhaustive()
    }
}

impl Hashes {
    /// The hashes of a deployment, by the keys that its store and its configuration have.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn of(config: &Config, outbox: &Outbox) -> Result<(Self, Identity), BackendError> {
        let identity = outbox.identity(&new_secret()).await?;
        let own = SecretString::from(identity.secret.clone());
        let addresses = AddressKey::new(config.suppression_key.as_ref().unwrap_or(&own));
        Ok((Self { addresses, requests: secret(&own) }, identity))
    }

    /// The hash of an address.
    #[must_use]
    pub fn address(&self, to: &str) -> String {
        self.addresses.address(to)
    }

    /// The hash of each address at which a number is reached.
    #[must_use]
    pub fn addresses(&self, number: &str) -> [String; 2] {
        self.addresses.addresses(number)
    }

    /// The hash of a request.
    #[must_use]
    pub fn request(&self, parts: &[&str]) -> String {
        keyed(&self.requests, parts)
    }

    /// What tells whether another key is configured.
    fn check(&self) -> String {
        self.addresses.check()
    }

    /// Whether the store's hashes of addresses were made with this key, or there are none.
    #[must_use]
    pub fn fits(&self, identity: &Identity) -> bool {
        identity.suppression.as_ref().is_none_or(|known| *known == self.check())
    }

    /// What the deployment is: where callbacks come back to, and for which accounts it sends. SendGrid's has no SID by
    /// which it would be known, so that it may be added later.
    fn deployment(&self, config: &Config) -> String {
        let mut parts = vec!["deployment", &config.callback_url];
        let sids = config.accounts.iter().map(|account| account.sid.as_str());
        parts.extend(sids.filter(|sid| *sid != crate::sendgrid::ACCOUNT));
        keyed(&self.requests, &parts)
    }
}

/// What the store knows of a deployment, compared with the configuration.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Recognized {
    /// It is the same, or the first one.
    Same,
    /// The store sends for another one.
    Other,
    /// The key of addresses is another one: what is suppressed would not be found.
    OtherKey,
}

/// Compares the configuration with what the store remembers. The first deployment of a store is adopted, and another one
/// holds everything.
///
/// # Errors
/// The store does not answer.
pub async fn compare(config: &Config, outbox: &Outbox) -> Result<Recognized, BackendError> {
    let (hashes, identity) = Hashes::of(config, outbox).await?;
    let (check, deployment) = (hashes.check(), hashes.deployment(config));
    match (&identity.suppression, &identity.identity) {
        _ if !hashes.fits(&identity) => Ok(Recognized::OtherKey),
        (_, Some(known)) if *known != deployment => {
            // Also if a person holds it already: to resume it is not to adopt it.
            outbox.hold_all(Some(ADOPT)).await?;
            Ok(Recognized::Other)
        }
        (Some(_), Some(_)) => Ok(Recognized::Same),
        _ => {
            outbox.adopt(&deployment, &check).await?;
            Ok(Recognized::Same)
        }
    }
}

/// Makes the configuration the deployment that the store sends for, and returns whether that lets it send: not if a
/// person holds everything besides. The key of `hashes` must be the store's: by another one, none of the suppressions
/// would be found.
///
/// # Errors
/// The store does not answer.
pub async fn adopt(
    config: &Config,
    hashes: &Hashes,
    outbox: &Outbox,
) -> Result<bool, BackendError> {
    outbox.adopt(&hashes.deployment(config), &hashes.check()).await
}

/// Whether this process may send, as soon as the store answers. False after `stop`, or with another key.
pub(super) async fn recognize(
    config: &Config,
    outbox: &Outbox,
    metrics: &SendMetrics,
    stop: &CancellationToken,
) -> bool {
    let (mut backoff, outage) = (Backoff::default(), Outage::default());
    while !stop.is_cancelled() {
        match compare(config, outbox).await {
            Ok(Recognized::Same) => return true,
            Ok(Recognized::Other) => {
                warn!(
                    "the store sends for another public_url or other accounts: nothing is sent until \
                     `offhook senders adopt`"
                );
                return true;
            }
            Ok(Recognized::OtherKey) => {
                error!(
                    "outbound.suppression_key is not the one that this store's hashes were made with: nothing is sent; \
                     configure that one"
                );
                metrics.other_key.set(1);
                stop.cancelled().await;
                return false;
            }
            Err(error) => {
                if outage.begins() {
                    warn!(error = %error, "the outbox cannot be read: nothing is sent until it can");
                }
                backoff.wait(stop).await;
            }
        }
    }
    false
}

#[cfg(test)]
pub(crate) mod testing {
    use super::*;

    /// Those of one store.
    pub(crate) fn hashes() -> Hashes {
        let own = SecretString::from("secret");
        Hashes { addresses: AddressKey::new(&own), requests: secret(&own) }
    }
}

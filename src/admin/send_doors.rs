//! [`SendDoors`]: what is sent, over HTTP, as the store knows it and as it is configured.

use std::sync::Arc;

use arc_swap::ArcSwap;

use secrecy::SecretString;

use crate::backend::outbox::new_secret;
use crate::backend::{BackendError, Outbox};
use crate::event::consent::{AddressKey, mailbox};

/// What is sent, as people look at it.
#[derive(Clone, Debug)]
pub struct SendDoors {
    /// What is to be sent, and what came of it.
    pub outbox: Outbox,
    /// The senders of this process's configuration in force.
    pub configured: Arc<ArcSwap<Vec<ConfiguredSender>>>,
    /// The configured key of the hashes of addresses; without one it is the store's.
    pub address_key: Option<AddressKey>,
}

impl SendDoors {
    /// The keyed hashes of a number or of an email address, as notifications have them; none where nothing is sent.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn hashes(&self, number: &str) -> Result<Vec<String>, BackendError> {
        if self.configured.load().is_empty() {
            return Ok(Vec::new());
        }
        let key = match &self.address_key {
            Some(key) => key.clone(),
            None => {
                let identity = self.outbox.identity(&new_secret()).await?;
                AddressKey::new(&SecretString::from(identity.secret))
            }
        };
        Ok(match mailbox(number) {
            Some(mailbox) => vec![key.address(&mailbox)],
            None => key.addresses(number).into(),
        })
    }
}

/// A `[[sender]]`, as far as it may be shown.
#[derive(Clone, Debug)]
pub struct ConfiguredSender {
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: &'static str,
    /// The SID of its account.
    pub account: String,
    /// The name of its pace.
    pub pace: String,
    /// Units per second of the pace.
    pub rate: f64,
    /// How many calls its account may have open, if it calls.
    pub calls_limit: Option<u32>,
}

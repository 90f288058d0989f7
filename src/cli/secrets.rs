//! The secret that a command signs or verifies with: the one that it was given, or the configuration's.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use clap::Args;
use secrecy::SecretString;

use crate::config::{Config, Role, Sources, variable};
use crate::twilio::keyring::{Account, Keyring, Secret};

/// The account of a token when neither the command line nor the request names one.
const ANY_ACCOUNT: &str = "AC00000000000000000000000000000000";

/// An account's token. Without one, the configuration's accounts are taken.
#[derive(Debug, Args)]
pub(super) struct Given {
    /// The account's auth token, better set in the environment, which other users cannot list; default: that of the
    /// configuration [env: TWILIO_AUTH_TOKEN]
    #[arg(long, value_name = "TOKEN")]
    auth_token: Option<SecretString>,
    /// The account's SID; default: the first account of the configuration [env: TWILIO_ACCOUNT_SID]
    #[arg(long, value_name = "SID")]
    account: Option<String>,
}

impl Given {
    fn auth_token(&self) -> Option<SecretString> {
        let set = || variable("TWILIO_AUTH_TOKEN").map(SecretString::from);
        self.auth_token.clone().or_else(set)
    }

    fn account(&self) -> Option<String> {
        self.account.clone().or_else(|| variable("TWILIO_ACCOUNT_SID"))
    }

    /// The account's SID and the secret to sign with.
    ///
    /// # Errors
    /// A token was given without its account, or none was and the configuration has none either.
    pub(super) fn signer(&self, config: Option<PathBuf>) -> anyhow::Result<(String, Secret)> {
        let account = self.account();
        if let Some(token) = self.auth_token() {
            let account = account
                .context("the auth token is given without its account: add --account SID")?;
            return Ok((account, Secret::auth_token(&token)));
        }
        let keyring = load(config)?.keyring;
        let is_wanted = |sid: &str| account.as_deref().is_none_or(|wanted| wanted == sid);
        let mut wanted = keyring.accounts().iter().filter(|known| is_wanted(known.sid()));
        let account = wanted.next().ok_or_else(|| {
            let sid = account.as_deref().unwrap_or_default();
            anyhow::anyhow!("the configuration has no account {sid}: add --auth-token, or use one of its accounts")
        })?;
        let token = account.auth_token().ok_or_else(|| {
            anyhow::anyhow!(
                "account {} has no auth token to sign with: add --auth-token",
                account.sid()
            )
        })?;
        Ok((account.sid().to_owned(), token.clone()))
    }

    /// The secrets to verify with. A token that was given stands for the account that the request `names`.
    ///
    /// # Errors
    /// As [`signer`](Given::signer).
    pub(super) fn keyring(
        &self,
        config: Option<PathBuf>,
        names: Option<&str>,
    ) -> anyhow::Result<Arc<Keyring>> {
        match self.auth_token() {
            Some(token) => {
                let given = self.account();
                let named = given.as_deref().or(names).unwrap_or(ANY_ACCOUNT);
                let tokens = std::slice::from_ref(&token);
                let account = Account::new(named.to_owned(), "given".to_owned(), tokens, &[]);
                Ok(Arc::new(Keyring::new(vec![account])?))
            }
            None => Ok(load(config)?.keyring),
        }
    }
}

fn load(config: Option<PathBuf>) -> anyhow::Result<Config> {
    Config::load(&Sources::of_process(config), Role::All)
        .context("there is no --auth-token, and the configuration cannot be read")
}

//! Whose secret a command signs or verifies with: the one that it was given, or the configuration's.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use clap::Args;
use secrecy::SecretString;

use crate::config::{Config, Role, Sources};
use crate::twilio::keyring::{Account, Keyring, Secret};

/// The account of a token when neither the command line nor the request says which.
const ANY_ACCOUNT: &str = "AC00000000000000000000000000000000";

/// An account's token. Without one, the configuration's accounts are taken.
#[derive(Debug, Args)]
pub(super) struct Given {
    /// The account's auth token; better set in the environment, which other users cannot list.
    #[arg(long, env = "TWILIO_AUTH_TOKEN", hide_env_values = true, value_name = "TOKEN")]
    auth_token: Option<SecretString>,
    /// The account's SID.
    #[arg(long, env = "TWILIO_ACCOUNT_SID", value_name = "SID")]
    account: Option<String>,
}

impl Given {
    /// The account's SID and the secret to sign with.
    ///
    /// # Errors
    /// A token was given without its account, or none was and the configuration has none either.
    pub(super) fn signer(&self, config: Option<PathBuf>) -> anyhow::Result<(String, Secret)> {
        if let Some(token) = &self.auth_token {
            let account = self.account.clone();
            let account = account.context("whose token is it? say --account too")?;
            return Ok((account, Secret::auth_token(token)));
        }
        let keyring = load(config)?.keyring;
        let mut wanted = keyring.accounts().iter().filter(|known| self.is_wanted(known.sid()));
        let account = wanted.next().ok_or_else(|| {
            let sid = self.account.as_deref().unwrap_or_default();
            anyhow::anyhow!("the configuration has no account {sid}: give its token, too")
        })?;
        let token = account.auth_token().ok_or_else(|| {
            anyhow::anyhow!("account {} has no auth token to sign with", account.sid())
        })?;
        Ok((account.sid().to_owned(), token.clone()))
    }

    /// The secrets to verify with. A token that was given stands for whatever account the request
    /// `names`.
    ///
    /// # Errors
    /// As [`signer`](Given::signer).
    pub(super) fn keyring(
        &self,
        config: Option<PathBuf>,
        names: Option<&str>,
    ) -> anyhow::Result<Arc<Keyring>> {
        match &self.auth_token {
            Some(token) => {
                let named = self.account.as_deref().or(names).unwrap_or(ANY_ACCOUNT);
                let tokens = std::slice::from_ref(token);
                let account = Account::new(named.to_owned(), "given".to_owned(), tokens, &[]);
                Ok(Arc::new(Keyring::new(vec![account])?))
            }
            None => Ok(load(config)?.keyring),
        }
    }

    fn is_wanted(&self, sid: &str) -> bool {
        self.account.as_deref().is_none_or(|wanted| wanted == sid)
    }
}

fn load(config: Option<PathBuf>) -> anyhow::Result<Config> {
    Config::load(&Sources::of_process(config), Role::All)
        .context("no --auth-token was given, and the configuration does not help")
}

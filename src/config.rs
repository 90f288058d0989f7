//! Configuration: read at start and at each reload, into values that cannot be half right.
//!
//! [`layers`] finds out what was set and where ([`Origin`]); [`sections`] has, section by section, what it looks
//! like, what is checked of it, and what is warned of; [`deployment`] has what the sections mean together.

mod api;
mod deployment;
pub mod layers;
mod origin;
mod restart_only;
mod secrets;
mod sections;
mod urls;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use self::api::{Access, Api, ApiAccount};
pub use self::deployment::{Deployment, Role, Scaled, StoreUrl, log_beside};
use self::layers::Loaded;
pub use self::layers::{Sources, variable};
pub use self::origin::Origin;
pub use self::restart_only::RestartOnly;
pub use self::sections::calls::Calls;
pub use self::sections::log::{Log, LogFormat, lets_errors_through};
pub use self::sections::spool::LocalLog;
pub use self::sections::traces::Traces;
use self::sections::{
    account, calls, fallback, incoming_message, log, privacy, public_url, retention as ages, spool,
    stream, traces, worker,
};
use crate::clock::Clock;
use crate::sendgrid::keys::VerificationKeys;
use crate::twilio::consent::Listening;
use crate::twilio::fallback::{Fallback, VoiceConfirm};
use crate::twilio::keyring::Keyring;
use crate::twilio::privacy::Privacy;
use crate::twilio::public_url::PublicUrl;
use crate::twilio::twiml::Twiml;
use crate::upkeep::retention;
use crate::{admin, forward, inbound, outbound};

/// Every key and its default.
pub const DEFAULTS: &str = include_str!("../config/offhook.toml");

/// What is wrong with the configuration. The text names the key, where it was set, and the fix.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key} ({origin}): {problem}")]
pub struct ConfigError {
    /// The key, dotted.
    pub key: String,
    /// Where it was set, or that it was not.
    pub origin: Origin,
    /// What is wrong, and the fix.
    pub problem: String,
}

/// The whole configuration, checked.
#[derive(Debug, Clone)]
pub struct Config {
    /// The base of every URL that was given to Twilio.
    pub public_url: PublicUrl,
    /// The accounts whose callbacks are accepted.
    pub keyring: Arc<Keyring>,
    /// The public listener.
    pub inbound: inbound::Config,
    /// What the fallback URLs answer.
    pub fallback: Fallback,
    /// What incoming messages are answered.
    pub incoming: Twiml,
    /// Whether what recipients say in them is heeded.
    pub listening: Listening,
    /// What a callee hears after pressing a key.
    pub voice_confirm: VoiceConfirm,
    /// The keys that email events may be signed with.
    pub email_keys: Arc<VerificationKeys>,
    /// What of a callback may be kept.
    pub privacy: Arc<Privacy>,
    /// Where changes are sent on to.
    pub forwards: Vec<forward::Config>,
    /// What sends, and how; `None` unless a sender is configured.
    pub outbound: Option<outbound::Config>,
    /// The private listener.
    pub admin: admin::Config,
    /// Where events go.
    pub deployment: Deployment,
    /// Whether to bring the tables up to date at start.
    pub migrate: bool,
    /// Whether each commit to Postgres notifies the clients that listen for changes.
    pub notify: bool,
    /// Which calls are in progress, and how many may be.
    pub calls: Calls,
    /// How old what is stored may become.
    pub retention: retention::Config,
    /// The log.
    pub log: Log,
    /// Where traces go, if they are taken.
    pub traces: Option<Traces>,
    /// Where the time comes from: the machine, unless a torture says otherwise.
    pub clock: Clock,
    /// What a reload cannot change.
    pub restart_only: RestartOnly,
    /// What can be read, and most likely is not meant.
    pub warnings: Vec<ConfigError>,
}

impl Config {
    /// Reads every layer and checks the whole.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn load(sources: &Sources, role: Role) -> Result<Self, ConfigError> {
        Self::resolve(&layers::load(sources)?, role)
    }

    fn resolve(loaded: &Loaded, role: Role) -> Result<Self, ConfigError> {
        let log = log::resolve(loaded)?;
        let inbound = sections::inbound::resolve(loaded)?;
        let (keyring, mut of_accounts) = account::resolve(loaded)?;
        let privacy = privacy::resolve(loaded)?;
        let forwards = sections::forward::resolve(loaded, &keyring, &privacy)?;
        let public_url = public_url::resolve(loaded)?;
        let admin = sections::admin::resolve(loaded)?;
        let around = sections::outbound::Surroundings {
            keyring: &keyring,
            public_url: &public_url,
            inbound: &inbound,
            admin: &admin,
        };
        let (outbound, of_sending) = sections::outbound::resolve(loaded, &around)?;
        of_accounts.extend(of_sending);
        let (listening, warning) =
            sections::outbound::listening(loaded, outbound.as_ref(), privacy.treatments())?;
        of_accounts.extend(warning);
        let config = Self {
            keyring: Arc::new(keyring),
            public_url,
            inbound,
            fallback: fallback::resolve(loaded)?,
            incoming: incoming_message::resolve(loaded)?,
            listening,
            voice_confirm: sections::outbound::voice_confirm(loaded)?,
            email_keys: Arc::new(sections::sendgrid::verification_keys(loaded)?),
            privacy: Arc::new(privacy),
            forwards,
            outbound,
            admin,
            deployment: deployment::resolve(loaded, role)?,
            migrate: loaded.raw.store.migrate,
            notify: loaded.raw.store.notify,
            calls: calls::resolve(&loaded.raw.calls),
            retention: ages::resolve(loaded)?,
            log,
            traces: traces::resolve(loaded)?,
            clock: Clock::System,
            restart_only: loaded.restart_only.clone(),
            warnings: of_accounts,
        };
        let warnings = config.warnings(loaded);
        Ok(Self { warnings, ..config })
    }

    /// What can be read, and most likely is not meant, in the order of the file: `check` and `doctor` print it, and
    /// the start of `serve` logs it.
    fn warnings(&self, loaded: &Loaded) -> Vec<ConfigError> {
        let mut found = Vec::new();
        found.extend(public_url::warning(loaded, &self.public_url));
        found.extend(self.warnings.iter().cloned());
        found.extend(sections::inbound::warnings(loaded, &self.public_url));
        found.extend(sections::sendgrid::warnings(loaded));
        found.extend(sections::admin::warnings(loaded, &self.admin));
        found.extend(deployment::warning(loaded, &self.deployment));
        found.extend(sections::store::warning(loaded));
        found.extend(stream::warning(loaded));
        found.extend(spool::warning(loaded));
        found.extend(worker::warnings(loaded));
        found.extend(calls::warning(loaded));
        found.extend(sections::forward::warnings(loaded, &self.forwards));
        found.extend(log::warning(loaded));
        found
    }

    /// Embedded mode in `directory`, with one account, whose public listener is at `inbound`: what
    /// the demo runs. `file` has the rest.
    ///
    /// # Errors
    /// The name of the directory is not UTF-8.
    pub fn demo(
        directory: &Path,
        account: &str,
        token: &str,
        inbound: SocketAddr,
        file: Option<PathBuf>,
    ) -> Result<Self, ConfigError> {
        let path = directory.join("offhook.db");
        let sources = Sources {
            file,
            environment: [
                ("TWILIO_ACCOUNT_SID".to_owned(), account.to_owned()),
                ("TWILIO_AUTH_TOKEN".to_owned(), token.to_owned()),
                ("OFFHOOK_PUBLIC_URL".to_owned(), format!("http://{inbound}")),
                ("OFFHOOK_INBOUND__LISTEN".to_owned(), inbound.to_string()),
                ("OFFHOOK_ADMIN__LISTEN".to_owned(), "127.0.0.1:0".to_owned()),
                ("OFFHOOK_STORE__URL".to_owned(), format!("sqlite:{}", path.display())),
            ]
            .into(),
        };
        Self::load(&sources, Role::All)
    }
}

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

//! [`Connector`]: makes connections to one Redis.

use std::sync::Arc;
use std::time::Duration;

use redis::{Cmd, FromRedisValue, cmd};

use super::address::Address;
use super::conn::Conn;
use super::error::{ConnError, Why};
use super::health::RedisHealth;
use crate::backend::{BackendError, DurabilityReport};

/// Longest wait of a probe.
const PROBE: Duration = Duration::from_secs(2);

/// Makes connections to one Redis, and knows what was found out about it. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Connector(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    address: Address,
    health: RedisHealth,
}

impl Connector {
    /// A connector from a `redis://`, `rediss://` or `redis+unix://` URL, or of `redis+sentinel://` or
    /// `rediss+sentinel://`, whose hosts are Sentinels.
    ///
    /// # Errors
    /// The URL is not valid. Its text, which may hold a password, is not in the error.
    pub fn new(url: &str) -> Result<Self, BackendError> {
        Self::with_ca(url, None)
    }

    /// The same, where certificates must be of an authority of one's own, given as PEM.
    ///
    /// # Errors
    /// The same; or the URL does not use TLS, or the text is not PEM.
    pub fn with_ca(url: &str, ca: Option<&[u8]>) -> Result<Self, BackendError> {
        let address =
            Address::new(url, ca).map_err(|error| BackendError(without_detail(&error)))?;
        Ok(Self(Arc::new(Shared { address, health: RedisHealth::default() })))
    }

    /// A connection of its own, made when first used, on which every answer comes within
    /// `patience`.
    #[must_use]
    pub fn conn(&self, patience: Duration) -> Conn {
        Conn::new(self.clone(), patience)
    }

    /// The same for appending events. Behind Sentinels they are asked again whether it still leads to the
    /// primary when it was silent for [`FRESH`](super::address::FRESH).
    #[must_use]
    pub(super) fn appending(&self, patience: Duration) -> Conn {
        self.conn(patience).appending()
    }

    pub(super) fn address(&self) -> &Address {
        &self.0.address
    }

    /// What was found out about this Redis.
    #[must_use]
    pub fn health(&self) -> &RedisHealth {
        &self.0.health
    }

    /// Whether Redis answers, and took all that was tried last.
    ///
    /// # Errors
    /// Redis does not answer in time, or refuses something that is needed.
    pub async fn check(&self) -> Result<(), BackendError> {
        let pong = self.conn(PROBE).query::<String>(&cmd("PING")).await;
        pong.map_err(|error| BackendError(error.to_string()))?;
        self.health().outcome().map_err(|failure| BackendError(failure.to_string()))
    }

    /// What a commit means with its settings. Where `CONFIG` is hidden, as by managed services, `INFO`
    /// says a part of it, and whether Redis syncs is unknown.
    pub async fn durability(&self) -> Result<DurabilityReport, BackendError> {
        let mut conn = self.conn(PROBE);
        let mut settings = Vec::with_capacity(3);
        for name in ["appendonly", "appendfsync", "maxmemory-policy"] {
            let pairs = told::<Vec<String>>(&mut conn, cmd("CONFIG").arg("GET").arg(name)).await?;
            settings.push(pairs.into_iter().nth(1));
        }
        if settings.iter().all(Option::is_none) {
            let info: String = told(&mut conn, &cmd("INFO")).await?;
            let line = |name| info.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
            let append_only = line("aof_enabled:").map(|on| if on == "1" { "yes" } else { "no" });
            return Ok(DurabilityReport::of_redis(append_only, None, line("maxmemory_policy:")));
        }
        let setting = |place: usize| settings[place].as_deref();
        Ok(DurabilityReport::of_redis(setting(0), setting(1), setting(2)))
    }
}

/// What is wrong with a URL, without the detail of the error, which quotes a part of the URL.
fn without_detail(error: &redis::RedisError) -> String {
    let text = error.to_string();
    let detail = error.detail().map(|detail| format!(": {detail}"));
    detail.and_then(|detail| text.strip_suffix(&detail)).unwrap_or(&text).to_owned()
}

/// What Redis reports, or nothing if it refuses to.
async fn told<T: FromRedisValue + Default>(
    conn: &mut Conn,
    question: &Cmd,
) -> Result<T, BackendError> {
    match conn.query(question).await {
        Ok(answer) => Ok(answer),
        // *Still loading* is not an answer; *forbidden* and *unknown* are.
        Err(ConnError::Refused { why, .. }) if why != Why::Loading => Ok(T::default()),
        Err(error) => Err(BackendError(error.to_string())),
    }
}

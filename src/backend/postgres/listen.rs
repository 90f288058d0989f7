//! [`Listen`]: hears from Postgres that the feed has grown.

use std::str::FromStr as _;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgListener, PgPoolOptions};
use sqlx::{ConnectOptions as _, Executor as _};
use tokio::time::timeout;

use super::{CONNECT, session};
use crate::backend::BackendError;

/// What is notified of each transaction that adds to the feed.
pub(super) const CHANNEL: &str = "offhook_changes";
/// How long a connection may be silent before it is asked whether it is still there: one that a firewall has
/// forgotten is silent for ever.
const SILENT: Duration = Duration::from_secs(10);

/// Listens on a connection of its own. A pooler hands the connection on after each transaction, and nothing is ever
/// heard, so one is refused.
#[derive(Clone, Debug)]
pub struct Listen(Box<PgConnectOptions>);

/// A connection that listens.
#[derive(Debug)]
pub struct Listening(PgListener);

impl Listen {
    /// On a `postgres://` URL.
    ///
    /// # Errors
    /// The URL is not valid. Its own text, which may hold a password, is not in the error.
    pub fn new(url: &str) -> Result<Self, BackendError> {
        let options = PgConnectOptions::from_str(url).map_err(BackendError::from)?;
        let options = options.application_name("offhook").extra_float_digits(None);
        Ok(Self(Box::new(session::signed(options.disable_statement_logging()))))
    }

    /// Connects, and listens.
    ///
    /// # Errors
    /// Postgres does not answer, or a pooler does.
    pub async fn begin(&self) -> Result<Listening, BackendError> {
        let late = |_| BackendError("no answer in time".to_owned());
        timeout(CONNECT, self.connect()).await.map_err(late)?
    }

    async fn connect(&self) -> Result<Listening, BackendError> {
        let pooled = || BackendError("a pooler stands before it".to_owned());
        let options = PgPoolOptions::new().max_connections(1).acquire_timeout(CONNECT);
        let pool = options.connect_lazy_with(PgConnectOptions::clone(&self.0));
        let connected = PgListener::connect_with(&pool).await;
        let mut listener = connected.map_err(|error| match session::refuses_the_sign(&error) {
            true => pooled(),
            false => error.into(),
        })?;
        // A lost connection is an end: what was not heard meanwhile must be looked for.
        listener.eager_reconnect(false);
        let session = sqlx::Acquire::acquire(&mut listener).await?;
        if !session::is_direct(session).await? {
            return Err(pooled());
        }
        listener.listen(CHANNEL).await?;
        Ok(Listening(listener))
    }
}

impl Listening {
    /// Waits until the feed has grown.
    ///
    /// # Errors
    /// The connection is lost: what grows from now on is not heard.
    pub async fn heard(&mut self) -> Result<(), BackendError> {
        loop {
            match timeout(SILENT, self.0.try_recv()).await {
                Ok(Ok(Some(_))) => {
                    // Those of a burst are one.
                    while self.0.next_buffered().is_some() {}
                    return Ok(());
                }
                Ok(Ok(None)) => return Err(BackendError("the connection is lost".to_owned())),
                Ok(Err(error)) => return Err(error.into()),
                Err(_) => {
                    let asked = timeout(CONNECT, self.0.execute("SELECT 1")).await;
                    asked.map_err(|_| BackendError("it is silent".to_owned()))??;
                }
            }
        }
    }
}

//! What somebody who knows Redis looks at before it is trusted with events.

use std::time::Duration;

use redis::{Script, Value, cmd};

use super::Names;
use super::conn::{ConnError, Connector};
use crate::backend::BackendError;
use crate::clock::Timestamp;

/// Longest answer.
const PATIENCE: Duration = Duration::from_secs(3);

/// What was found.
#[derive(Clone, Debug)]
pub struct Examined {
    /// As Redis says it: `7.2.4`. Valkey says with which Redis it agrees.
    pub version: String,
    /// Its clock, unless that is hidden.
    pub clock: Option<Timestamp>,
    /// `maxmemory`; 0 is none, `None` is hidden.
    pub max_memory: Option<u64>,
    /// Commands that offhook needs and that are refused, each with the answer.
    pub refused: Vec<String>,
}

impl Connector {
    /// Looks, and tries on a key of its own every command that offhook needs: what an ACL forbids is
    /// found in no other way that an ACL would not forbid, too.
    ///
    /// # Errors
    /// Redis does not answer in time.
    pub async fn examine(&self, names: &Names) -> Result<Examined, BackendError> {
        let mut conn = self.conn(PATIENCE);
        let info: Option<String> = hidden(conn.query(cmd("INFO").arg("server")).await)?;
        let memory: Option<Vec<String>> =
            hidden(conn.query(cmd("CONFIG").arg("GET").arg("maxmemory")).await)?;
        let time: Option<(i64, i64)> = hidden(conn.query(&cmd("TIME")).await)?;
        let version = info.as_deref().unwrap_or_default().lines();
        let version = version.filter_map(|line| line.strip_prefix("redis_version:")).next();
        Ok(Examined {
            version: version.unwrap_or("unknown").trim().to_owned(),
            clock: time.map(|(seconds, micros)| {
                Timestamp::from_micros(seconds.saturating_mul(1_000_000).saturating_add(micros))
            }),
            max_memory: memory.and_then(|pair| pair.get(1)?.parse().ok()),
            refused: self.try_commands(names).await?,
        })
    }

    async fn try_commands(&self, names: &Names) -> Result<Vec<String>, BackendError> {
        let key = format!("{}:doctor", names.stream);
        let (group, mark) = ("doctor", format!("{key}:done"));
        let command = |words: &[&str]| {
            let mut command = cmd(words[0]);
            words[1..].iter().for_each(|word| {
                command.arg(*word);
            });
            command
        };
        let tries = [
            command(&["XADD", &key, "*", "a", "b"]),
            command(&["XGROUP", "CREATE", &key, group, "0"]),
            command(&["XREADGROUP", "GROUP", group, "c", "COUNT", "1", "STREAMS", &key, ">"]),
            command(&["XPENDING", &key, group]),
            command(&["XCLAIM", &key, group, "c", "0", "0-1"]),
            command(&["XACK", &key, group, "0-1"]),
            command(&["XINFO", "GROUPS", &key]),
            command(&["XRANGE", &key, "-", "+", "COUNT", "1"]),
            command(&["XLEN", &key]),
            command(&["XDEL", &key, "0-1"]),
            command(&["XTRIM", &key, "MAXLEN", "0"]),
            command(&["SET", &mark, "1", "NX", "EX", "1"]),
            command(&["MGET", &mark]),
        ];
        let mut conn = self.conn(PATIENCE);
        let mut refused = Vec::new();
        let mut note = |name: String, answer: Result<Value, ConnError>| match answer {
            Ok(_) => Ok(()),
            // A group that an earlier examination left is as good.
            Err(ConnError::Refused(text)) if text.contains("BUSYGROUP") => Ok(()),
            Err(ConnError::Away(text)) => Err(BackendError(text)),
            Err(error) => {
                refused.push(format!("{name}: {error}"));
                Ok(())
            }
        };
        for command in tries {
            let name = command.args_iter().next().map_or_else(String::new, |name| match name {
                redis::Arg::Simple(name) => String::from_utf8_lossy(name).into_owned(),
                _ => String::new(),
            });
            note(name, conn.query(&command).await)?;
        }
        let script = Script::new("return 1");
        note("EVALSHA".to_owned(), conn.script(&script, &[&key], &[]).await)?;
        // offhook deletes no key, so it need not be allowed to.
        let _: Result<Value, ConnError> = conn.query(cmd("DEL").arg(&key)).await;
        Ok(refused)
    }
}

/// Managed services hide some of what a Redis knows about itself.
fn hidden<T>(answer: Result<T, ConnError>) -> Result<Option<T>, BackendError> {
    match answer {
        Ok(value) => Ok(Some(value)),
        Err(ConnError::Refused(_)) => Ok(None),
        Err(error) => Err(BackendError(error.to_string())),
    }
}

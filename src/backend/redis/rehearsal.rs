//! [`Rehearsal`]: does what receivers and workers do with Redis, in the form in which they do it, on keys of
//! its own beside the stream. A Redis that answers `PING` may still refuse all of it: the stream's key has
//! another type, a replica is missing, its disk is full, a command is forbidden, or offered in another
//! form by what stands in for Redis.

use std::time::Duration;

use redis::{Cmd, Script, Value, cmd};

use super::Names;
use super::conn::Conn;
use super::connector::Connector;
use super::error::{ConnError, Why};
use super::health::RedisHealth;

/// Longest answer.
const REHEARSAL_TIMEOUT: Duration = Duration::from_secs(3);
/// The oldest Redis whose streams and scripts do what is needed. Valkey says that it is a 7.2.
const OLDEST: u32 = 7;
/// The rehearsal's own group and consumer.
const GROUP: &str = "probe";
/// Above this share of `maxmemory` in percent, marks are given up: the room is for events.
const MARKS_UP_TO: u64 = 50;

/// Why Redis cannot be used.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Failure {
    /// Redis does not answer.
    #[error("{0}")]
    Away(String),
    /// offhook cannot work with this kind of Redis under any settings.
    #[error("{0}")]
    Unsupported(String),
    /// Redis refuses something that is needed.
    #[error("{what}: {why}")]
    Refused {
        /// The command.
        what: &'static str,
        /// The answer of Redis.
        why: String,
    },
}

/// What a process does with Redis.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RedisDuties {
    /// Appends events.
    pub appends: bool,
    /// Reads and acks them.
    pub works: bool,
}

/// Tries what a process of these duties does.
#[derive(Debug)]
pub struct Rehearsal {
    connector: Connector,
    conn: Conn,
    names: Names,
    duties: RedisDuties,
}

impl Rehearsal {
    /// On a connection of its own.
    #[must_use]
    pub fn new(connector: &Connector, names: Names, duties: RedisDuties) -> Self {
        let conn = connector.conn(REHEARSAL_TIMEOUT);
        Self { connector: connector.clone(), conn, names, duties }
    }

    /// What has been found out about this Redis.
    #[must_use]
    pub fn health(&self) -> &RedisHealth {
        self.connector.health()
    }

    /// Tries everything.
    ///
    /// # Errors
    /// The first thing that does not work.
    pub async fn run(&mut self) -> Result<(), Failure> {
        self.connector.supported(&mut self.conn).await?;
        // First, since a Redis that is full refuses some of what follows. One that hides it takes marks.
        let info = self.conn.query::<String>(cmd("INFO").arg("memory")).await;
        self.connector.health().give_up_marks(info.is_ok_and(|info| is_half_full(&info)));
        for step in steps(&self.names, self.duties) {
            self.conn.rehearse(&step).await.map_err(|error| failure(step.what, error))?;
        }
        Ok(())
    }
}

impl Connector {
    /// Whether offhook can work with this Redis, as far as Redis reveals it.
    ///
    /// # Errors
    /// offhook cannot work with it, or it does not answer.
    pub async fn is_supported(&self) -> Result<(), Failure> {
        self.supported(&mut self.conn(REHEARSAL_TIMEOUT)).await
    }

    async fn supported(&self, conn: &mut Conn) -> Result<(), Failure> {
        match conn.query::<String>(cmd("INFO").arg("server")).await {
            Ok(info) => unsupported(&info).map_or(Ok(()), |why| Err(Failure::Unsupported(why))),
            // Hidden: then the scripts of the rehearsal tell.
            Err(ConnError::Refused { why, .. }) if why != Why::Loading => Ok(()),
            Err(error) => Err(Failure::Away(error.to_string())),
        }
    }

    /// Everything that is needed and refused, each with the answer.
    pub(super) async fn refused(&self, names: &Names) -> Result<Vec<String>, ConnError> {
        let mut conn = self.conn(REHEARSAL_TIMEOUT);
        let mut refused = Vec::new();
        let mut steps = steps(names, RedisDuties { appends: true, works: true });
        // Only who purges a dead letter does that.
        let delete = CommandForm::Command(command(&["XDEL", &names.dead(), "0-1"]));
        steps.push(RehearsalStep { what: "XDEL", form: delete, adds: false });
        for step in steps {
            match conn.rehearse(&step).await {
                Ok(()) => {}
                Err(ConnError::Away(text)) => return Err(ConnError::Away(text)),
                Err(error) => refused.push(format!("{}: {error}", step.what)),
            }
        }
        Ok(refused)
    }
}

fn failure(what: &'static str, error: ConnError) -> Failure {
    match error {
        ConnError::Away(text) => Failure::Away(text),
        // It is about to be there.
        ConnError::Refused { why: Why::Loading, text } => Failure::Away(text),
        // What a script of a newer Redis begins with.
        ConnError::Refused { why: Why::OldScripts, .. } => Failure::Unsupported(format!(
            "its scripts are those of a Redis before {OLDEST}.0; {NEEDED}"
        )),
        error => Failure::Refused { what, why: error.to_string() },
    }
}

const NEEDED: &str = "offhook needs Redis 7.0 or later, or Valkey";

/// Why offhook cannot work with this Redis, by the server section of `INFO`.
fn unsupported(info: &str) -> Option<String> {
    let line = |name| info.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    if line("redis_mode:") == Some("sentinel") {
        let fix = "with Sentinels the URL is redis+sentinel://host:port/name";
        return Some(format!("it is a Sentinel, which keeps no streams; {fix}"));
    }
    let version = line("redis_version:")?;
    let major: u32 = version.split('.').next()?.parse().ok()?;
    (major < OLDEST).then(|| format!("it is version {version}; {NEEDED}"))
}

/// Whether more than half of the memory is used, by the memory section of `INFO`.
fn is_half_full(info: &str) -> bool {
    let number = |name| -> Option<u64> {
        info.lines().find_map(|line| line.strip_prefix(name))?.trim().parse().ok()
    };
    match (number("used_memory:"), number("maxmemory:")) {
        (Some(used), Some(most)) if most > 0 => used / MARKS_UP_TO >= most / 100,
        _ => false,
    }
}

/// One thing that is tried.
struct RehearsalStep {
    what: &'static str,
    form: CommandForm,
    /// Whether a Redis without room may refuse it: what frees room must go on.
    adds: bool,
}

enum CommandForm {
    Command(Cmd),
    Transaction(Vec<Cmd>),
    Script { text: &'static str, keys: Vec<String>, args: Vec<String> },
}

impl Conn {
    async fn rehearse(&mut self, step: &RehearsalStep) -> Result<(), ConnError> {
        let answer = match &step.form {
            CommandForm::Command(command) => self.query::<Value>(command).await,
            CommandForm::Transaction(commands) => {
                self.transaction(commands).await.map(|()| Value::Okay)
            }
            CommandForm::Script { text, keys, args } => {
                let (keys, args): (Vec<&str>, Vec<&str>) =
                    (keys.iter().map(|s| &**s).collect(), args.iter().map(|s| &**s).collect());
                self.script::<Value>(&Script::new(text), &keys, &args).await
            }
        };
        match answer {
            Ok(_) => Ok(()),
            // The group of the last rehearsal.
            Err(ConnError::Refused { why: Why::GroupExists, .. }) => Ok(()),
            Err(ConnError::Full(_)) if !step.adds => Ok(()),
            Err(error) => Err(error),
        }
    }
}

fn command(words: &[&str]) -> Cmd {
    let mut command = cmd(words[0]);
    for word in &words[1..] {
        command.arg(*word);
    }
    command
}

/// What is tried, in an order in which each finds what it needs. Nothing touches the stream itself but what
/// only looks at it.
fn steps(names: &Names, duties: RedisDuties) -> Vec<RehearsalStep> {
    let (probe, stream, dead) = (names.probe(), names.stream.as_str(), names.dead());
    let mark = format!("{probe}:mark");
    let plain = |what, words: &[&str]| RehearsalStep {
        what,
        form: CommandForm::Command(command(words)),
        adds: false,
    };
    let script = |what, text, keys: &[&str], args: &[&str]| {
        let owned = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect();
        RehearsalStep {
            what,
            form: CommandForm::Script { text, keys: owned(keys), args: owned(args) },
            adds: false,
        }
    };
    let append = ["XADD", &probe, "MAXLEN", "1", "*", "probe", "1"];
    let mut steps = vec![
        // Of another type it answers WRONGTYPE.
        plain("XLEN of the stream", &["XLEN", stream]),
        RehearsalStep { adds: duties.appends, ..plain("XADD", &append) },
    ];
    if duties.works {
        let finish = vec![
            command(&["SET", &mark, "1", "NX", "EX", "60"]),
            command(&["XACK", &probe, GROUP, "0-1"]),
        ];
        let read = ["XREADGROUP", "GROUP", GROUP, GROUP, "COUNT", "1", "NOACK", "BLOCK", "1"];
        let read = [&read[..], &["STREAMS", &probe, ">"]].concat();
        let age = u32::MAX.to_string();
        steps.extend([
            script("EVALSHA (join)", include_str!("join.lua"), &[&probe], &[GROUP]),
            plain("XREADGROUP BLOCK", &read),
            script(
                "EVALSHA (claim)",
                include_str!("claim.lua"),
                &[&probe],
                &[GROUP, GROUP, &age, "1"],
            ),
            plain("XCLAIM", &["XCLAIM", &probe, GROUP, GROUP, "0", "0-1", "JUSTID"]),
            plain("MGET of marks", &["MGET", &mark, &format!("{mark}:other")]),
            RehearsalStep {
                what: "MULTI with SET and XACK",
                form: CommandForm::Transaction(finish),
                adds: false,
            },
            script(
                "EVALSHA (dead letter)",
                include_str!("dead_letter.lua"),
                &[&probe, &format!("{probe}:dead")],
                &[GROUP, "0-1", "1", "none"],
            ),
            script("EVALSHA (stream and dead letters)", BOTH, &[stream, &dead], &[]),
            script("EVALSHA (trim)", include_str!("trim.lua"), &[&probe], &[]),
            plain("XINFO GROUPS", &["XINFO", "GROUPS", &probe]),
            plain("XPENDING", &["XPENDING", &probe, GROUP]),
            plain("XRANGE", &["XRANGE", &probe, "-", "+", "COUNT", "1"]),
        ]);
    }
    steps
}

/// Both keys at once, as for a dead letter: a cluster whose slots they share in allows it.
const BOTH: &str = "#!lua flags=allow-oom\n\
    return redis.call('XLEN', KEYS[1]) + redis.call('XLEN', KEYS[2])";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn which_redis_is_supported() {
        let of = |version| unsupported(&format!("# Server\r\nredis_version:{version}\r\n"));
        assert_eq!(of("7.0.15"), None);
        assert_eq!(of("8.2.3"), None);
        assert!(of("6.2.14").is_some_and(|why| why.contains("6.2.14") && why.contains("7.0")));
        assert_eq!(unsupported(""), None, "one that hides it may be any");
        let sentinel = unsupported("redis_version:7.0.15\r\nredis_mode:sentinel\r\n");
        assert!(sentinel.is_some_and(|why| why.contains("redis+sentinel://")));
        assert_eq!(unsupported("redis_version:7.0.15\r\nredis_mode:cluster\r\n"), None);
    }

    #[test]
    fn marks_are_given_up_when_half_of_the_memory_is_used() {
        let full = |used: u64, most: u64| {
            is_half_full(&format!("used_memory:{used}\r\nmaxmemory:{most}\r\n"))
        };
        assert!(!full(400_000, 1_000_000));
        assert!(full(500_000, 1_000_000));
        assert!(!full(500_000, 0), "there is no limit");
        assert!(!is_half_full(""));
    }
}

//! [`ConnError`]: why a command failed, with a variant for each reaction of a caller.

use redis::RedisError;

use crate::backend::certificate;

/// Why a server refuses a command, as far as anything hangs on it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Why {
    /// Redis still reads its files after a start.
    Loading,
    /// The consumer group is there already.
    GroupExists,
    /// The keys lie on several nodes of a cluster.
    CrossSlot,
    /// There is no stream of that name.
    NoStream,
    /// Redis does not read scripts in the form of 7.0.
    OldScripts,
    /// Something else.
    Other,
}

impl Why {
    /// Classifies an answer by its code, or, for errors without a code of their own, by its words. Nothing else reads
    /// those words.
    fn of(code: &str, text: &str) -> Self {
        match code {
            "LOADING" => Self::Loading,
            "BUSYGROUP" => Self::GroupExists,
            "CROSSSLOT" => Self::CrossSlot,
            // What stands in for Redis may wrap the error of a script's command in one of its own.
            _ if text.contains("BUSYGROUP") => Self::GroupExists,
            _ if text.to_ascii_lowercase().contains("no such key") => Self::NoStream,
            // The first line of our scripts.
            _ if text.contains("near '#'") => Self::OldScripts,
            _ => Self::Other,
        }
    }
}

/// A command failed.
#[derive(Debug, thiserror::Error)]
pub enum ConnError {
    /// There is no connection, or no answer in time. The command may have been executed.
    #[error("{0}")]
    Away(String),
    /// The server said no.
    #[error("{text}")]
    Refused {
        /// Why, as far as anything hangs on it.
        why: Why,
        /// The server's own words.
        text: String,
    },
    /// The server has no memory left (`OOM`, by `maxmemory` with `noeviction`).
    #[error("{0}")]
    Full(String),
    /// The consumer group is gone, and the stream perhaps with it.
    #[error("{0}")]
    NoGroup(String),
    /// The key is on another node of a cluster. Nothing was carried out; the next connection leads there.
    #[error("{0}")]
    Moved(String),
}

impl From<RedisError> for ConnError {
    fn from(error: RedisError) -> Self {
        let text = error.to_string();
        // Of a pipeline, each command may have failed; nearly always for the reason of the first.
        let first = error.into_server_errors().and_then(|errors| Some(errors.first()?.1.clone()));
        let Some(first) = first else {
            return Self::Away(match certificate::explain(&text) {
                Some(meaning) => format!("{meaning} ({text})"),
                None => text,
            });
        };
        // In the server's own words, which name keys and commands, no values.
        let text = match first.details() {
            Some(details) => format!("{} {details}", first.code()),
            None => first.code().to_owned(),
        };
        match first.code() {
            "OOM" => Self::Full(text),
            "NOGROUP" => Self::NoGroup(text),
            "MOVED" => Self::Moved(text),
            code => Self::Refused { why: Why::of(code, &text), text },
        }
    }
}

#[cfg(test)]
mod tests {
    use redis::{ErrorKind, RedisError};

    use super::*;

    #[test]
    fn a_refusal_is_known_by_its_code() {
        let check = |code: &str, words: &str, expected: Why| {
            let text = format!("{code} {words}");
            assert_eq!(Why::of(code, &text), expected, "{text}");
        };
        check("LOADING", "Redis is loading the dataset in memory", Why::Loading);
        check("BUSYGROUP", "Consumer Group name already exists", Why::GroupExists);
        check("ERR", "Error running script: -BUSYGROUP Consumer Group name", Why::GroupExists);
        check("CROSSSLOT", "Keys in request don't hash to the same slot", Why::CrossSlot);
        check("ERR", "no such key", Why::NoStream);
        check("ERR", "The XGROUP subcommand needs the key: No such key", Why::NoStream);
        check("ERR", "Error compiling script: unexpected symbol near '#'", Why::OldScripts);
        check("NOPERM", "this user has no permissions", Why::Other);
    }

    #[test]
    fn an_error_that_no_server_sent_is_one_of_the_connection() {
        let error = RedisError::from((ErrorKind::Io, "broken pipe"));
        assert!(matches!(ConnError::from(error), ConnError::Away(_)));
    }
}

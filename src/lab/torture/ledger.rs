//! [`Ledger`]: what was sent and what was answered, written as it happens to a file outside of the
//! server's process. [`LedgerSummary`]: what is in it in the end.

use std::collections::HashSet;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// What was answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum AnswerClass {
    /// 2xx: the event must reach the store.
    Acked,
    /// 503: it may, since a part of a batch may have been committed.
    Refused,
    /// None: it may.
    Unknown,
}

impl AnswerClass {
    fn word(self) -> &'static str {
        match self {
            Self::Acked => "acked",
            Self::Refused => "refused",
            Self::Unknown => "unknown",
        }
    }
}

/// Where it is written down.
#[derive(Debug)]
pub(super) struct Ledger {
    path: PathBuf,
    file: Mutex<File>,
}

impl Ledger {
    pub(super) fn create(path: PathBuf) -> std::io::Result<Self> {
        Ok(Self { file: Mutex::new(File::create(&path)?), path })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Before it is sent.
    pub(super) fn sends(&self, keys: &[String]) -> std::io::Result<()> {
        self.write("sent", keys)
    }

    pub(super) fn answered(&self, answer: AnswerClass, keys: &[String]) -> std::io::Result<()> {
        self.write(answer.word(), keys)
    }

    /// In one write, so that no two lines mix.
    fn write(&self, word: &str, keys: &[String]) -> std::io::Result<()> {
        let lines: String = keys.iter().map(|key| format!("{word} {key}\n")).collect();
        let mut file = self.file.lock().expect("nobody panics while writing");
        file.write_all(lines.as_bytes())
    }
}

/// What a ledger says in the end.
#[derive(Debug, Default)]
pub(super) struct LedgerSummary {
    /// Every key that was sent.
    pub(super) sent: HashSet<String>,
    /// Those of which at least one callback was acked.
    pub(super) acked: HashSet<String>,
}

impl LedgerSummary {
    pub(super) fn read(path: &Path) -> std::io::Result<Self> {
        let mut summary = Self::default();
        for line in BufReader::new(File::open(path)?).lines() {
            let line = line?;
            match line.split_once(' ') {
                Some(("sent", key)) => _ = summary.sent.insert(key.to_owned()),
                Some(("acked", key)) => _ = summary.acked.insert(key.to_owned()),
                _ => {}
            }
        }
        Ok(summary)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_ack_of_several_answers_is_enough() {
        let directory = tempfile::tempdir().unwrap();
        let ledger = Ledger::create(directory.path().join("ledger")).unwrap();
        let keys = ["CA1-ringing".to_owned(), "CA1-completed".to_owned()];
        ledger.sends(&keys).unwrap();
        ledger.answered(AnswerClass::Unknown, &keys).unwrap();
        ledger.answered(AnswerClass::Acked, &keys[..1]).unwrap();
        ledger.answered(AnswerClass::Refused, &keys).unwrap();
        let summary = LedgerSummary::read(ledger.path()).unwrap();
        assert_eq!(summary.sent.len(), 2);
        assert_eq!(summary.acked, HashSet::from(["CA1-ringing".to_owned()]));
    }
}

//! [`SettledFile`]: how far everything is settled, for the next process. It is not synced: an older one,
//! or none, costs only that events are handed out again.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use super::files::{self, Files};
use super::state::RecordPlace;

const LENGTH: usize = 24;
/// An arbitrary value that distinguishes what was written here from what a broken disk returns.
const SEAL: u64 = 0x6f66_6668_6f6f_6b31;

/// The file that says it.
#[derive(Debug)]
pub(super) struct SettledFile(File);

impl SettledFile {
    /// Opens it; with what it says, if that can be read.
    pub(super) fn open(files: &Files) -> io::Result<(Self, RecordPlace)> {
        let mut options = files::options();
        options.read(true).write(true).create(true).truncate(false);
        let file = options.open(files.directory().join("settled"))?;
        let mut bytes = [0; LENGTH];
        let read = file.read_exact_at(&mut bytes, 0);
        let place = read.ok().and_then(|()| parse(&bytes)).unwrap_or_default();
        Ok((Self(file), place))
    }

    pub(super) fn write(&self, place: RecordPlace) -> io::Result<()> {
        let RecordPlace { number, offset } = place;
        let words = [number, offset, number ^ offset ^ SEAL];
        self.0.write_all_at(words.map(u64::to_le_bytes).as_flattened(), 0)
    }
}

fn parse(bytes: &[u8; LENGTH]) -> Option<RecordPlace> {
    let word =
        |at: usize| u64::from_le_bytes(bytes[at * 8..at * 8 + 8].try_into().expect("three words"));
    let (number, offset) = (word(0), word(1));
    (word(2) == number ^ offset ^ SEAL).then_some(RecordPlace { number, offset })
}

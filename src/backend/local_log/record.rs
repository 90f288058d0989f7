//! How an event lies in a file: a header, and the event's named fields.
//!
//! The checksum covers the number of the file too. So a file that is used again holds nothing of its
//! former life that could be read, and a record never counts in a file that it was not written to.

use bytes::Bytes;
use crc::{CRC_32_ISCSI, Crc, Table};

use crate::event::{Batch, codec};

/// Sixteen bytes at a time: two cycles a byte.
static CRC: Crc<u32, Table<16>> = Crc::<u32, Table<16>>::new(&CRC_32_ISCSI);
/// Begins a record. No form and no JSON holds these bytes, so nothing that a client sends looks like
/// a record where one is damaged.
const MAGIC: [u8; 4] = [0xf5, 0x00, 0xff, b'R'];
/// `MAGIC`, length of the payload, start of the record's batch in its file, checksum.
const HEADER: usize = 16;

/// The named fields of an event, or of what should be one.
pub(super) type Fields = Vec<(Bytes, Bytes)>;

/// Records, before it is known where they go.
#[derive(Debug, Default)]
pub(super) struct Frames {
    bytes: Vec<u8>,
    starts: Vec<usize>,
}

impl Frames {
    /// The records of a batch.
    pub(super) fn of(batch: &Batch) -> Self {
        let mut frames = Self::default();
        frames.bytes.reserve(batch.events().iter().map(|event| event.size() + HEADER).sum());
        for event in batch.events() {
            frames.begin();
            codec::encode(event, |name, value| frames.field(name.as_bytes(), value));
        }
        frames
    }

    /// Adds a record of these fields.
    pub(super) fn push(&mut self, fields: &[(Bytes, Bytes)]) {
        self.begin();
        fields.iter().for_each(|(name, value)| self.field(name, value));
    }

    fn begin(&mut self) {
        self.starts.push(self.bytes.len());
        self.bytes.extend_from_slice(&[0; HEADER]);
    }

    fn field(&mut self, name: &[u8], value: &[u8]) {
        // Names are short and fixed, and a body has at most the length that a request may have.
        let length = u8::try_from(name.len()).unwrap_or(u8::MAX);
        self.bytes.push(length);
        self.bytes.extend_from_slice(&name[..usize::from(length)]);
        let length = u32::try_from(value.len()).unwrap_or(u32::MAX);
        self.bytes.extend_from_slice(&length.to_le_bytes());
        self.bytes.extend_from_slice(&value[..length as usize]);
    }

    /// How many records.
    pub(super) fn count(&self) -> u64 {
        self.starts.len() as u64
    }

    /// Their bytes.
    pub(super) fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// What is to be written at `at` of the file of this number.
    pub(super) fn seal(&mut self, number: u64, at: u64) -> &[u8] {
        let ends = self.starts.iter().skip(1).copied().chain([self.bytes.len()]);
        for (start, end) in self.starts.iter().copied().zip(ends) {
            let (header, payload) = self.bytes[start..end].split_at_mut(HEADER);
            let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
            header[..4].copy_from_slice(&MAGIC);
            header[4..8].copy_from_slice(&length.to_le_bytes());
            // A file ends long before 4 GiB.
            header[8..12].copy_from_slice(&u32::try_from(at).unwrap_or(u32::MAX).to_le_bytes());
            let sum = checksum(number, &header[..12], payload);
            header[12..].copy_from_slice(&sum.to_le_bytes());
        }
        &self.bytes
    }
}

fn checksum(number: u64, header: &[u8], payload: &[u8]) -> u32 {
    let mut digest = CRC.digest();
    digest.update(&number.to_le_bytes());
    digest.update(header);
    digest.update(payload);
    digest.finalize()
}

/// A record that was read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Record<'b> {
    /// The start of its batch in the file.
    pub(super) batch: u64,
    /// The length of the record, header included.
    pub(super) length: usize,
    payload: &'b [u8],
}

/// What lies at the start of some bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Look<'b> {
    /// A record.
    Record(Record<'b>),
    /// The beginning of what may be a record of this length.
    Cut(usize),
    /// No record.
    Nothing,
}

/// Looks for a record of the file of this number.
pub(super) fn look(bytes: &[u8], number: u64) -> Look<'_> {
    let Some((header, rest)) = bytes.split_at_checked(HEADER) else { return Look::Cut(HEADER) };
    if header[..4] != MAGIC {
        return Look::Nothing;
    }
    let word = |at: usize| {
        u32::from_le_bytes(header[at..at + 4].try_into().expect("a header has 16 bytes"))
    };
    let length = word(4) as usize;
    let Some(payload) = rest.get(..length) else { return Look::Cut(HEADER + length) };
    if checksum(number, &header[..12], payload) != word(12) {
        return Look::Nothing;
    }
    Look::Record(Record { batch: u64::from(word(8)), length: HEADER + length, payload })
}

/// The next place, behind the first byte, where a record may begin.
pub(super) fn next_magic(bytes: &[u8]) -> Option<usize> {
    memchr::memmem::find(bytes.get(1..)?, &MAGIC).map(|at| at + 1)
}

impl Record<'_> {
    /// The fields of the record, from a copy: an event that is kept must not keep a whole file in memory.
    pub(super) fn fields(&self) -> Fields {
        let payload = Bytes::copy_from_slice(self.payload);
        let (mut rest, mut fields) = (&payload[..], Vec::with_capacity(codec::FIELDS.len() + 1));
        while let Some((name, value, next)) = field(rest) {
            fields.push((payload.slice_ref(name), payload.slice_ref(value)));
            rest = next;
        }
        fields
    }
}

fn field(bytes: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let (&length, rest) = bytes.split_first()?;
    let (name, rest) = rest.split_at_checked(usize::from(length))?;
    let (length, rest) = rest.split_at_checked(4)?;
    let length = u32::from_le_bytes(length.try_into().expect("four bytes")) as usize;
    let (value, rest) = rest.split_at_checked(length)?;
    Some((name, value, rest))
}

/// What a whole file holds.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Scanned {
    /// Records.
    pub(super) records: u64,
    /// Their bytes.
    pub(super) bytes: u64,
    /// The end of the last record.
    pub(super) end: u64,
    /// Bytes between records that belong to no record, where records must have been.
    pub(super) damaged: u64,
}

/// Returns the records of a file with their places, and skips anything between them.
///
/// What lies before a later batch was synced before that was begun, so it is damaged if it is no
/// record. What lies at the end, or within the last batch, may have been torn by a crash: that batch
/// was never acknowledged.
pub(super) fn scan<'b>(
    bytes: &'b [u8],
    number: u64,
    mut take: impl FnMut(u64, &Record<'b>),
) -> Scanned {
    let (mut found, mut at, mut gap) = (Scanned::default(), 0, None);
    // What is not a record and lies before the last one: where it began, and its bytes.
    let mut perhaps_torn = (0, 0);
    while at < bytes.len() {
        if let Look::Record(record) = look(&bytes[at..], number) {
            if let Some(gap) = gap.take() {
                perhaps_torn = (gap as u64, perhaps_torn.1 + (at - gap) as u64);
            }
            if record.batch > perhaps_torn.0 {
                found.damaged += std::mem::take(&mut perhaps_torn.1);
            }
            take(at as u64, &record);
            found.records += 1;
            found.bytes += record.length as u64;
            at += record.length;
            found.end = at as u64;
        } else {
            gap.get_or_insert(at);
            let Some(skip) = next_magic(&bytes[at..]) else { break };
            at += skip;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(texts: &[&str]) -> Frames {
        let mut frames = Frames::default();
        for text in texts {
            let value = Bytes::copy_from_slice(text.as_bytes());
            frames.push(&[(Bytes::from_static(b"key"), value)]);
        }
        frames
    }

    fn file(batches: &[&[&str]]) -> Vec<u8> {
        let mut file = Vec::new();
        for batch in batches {
            let at = file.len() as u64;
            file.extend_from_slice(frames(batch).seal(7, at));
        }
        file
    }

    fn read(file: &[u8], number: u64) -> (Vec<String>, Scanned) {
        let mut texts = Vec::new();
        let found = scan(file, number, |_, record| {
            let (_, value) = &record.fields()[0];
            texts.push(String::from_utf8_lossy(value).into_owned());
        });
        (texts, found)
    }

    #[test]
    fn what_is_written_is_read_and_only_in_its_own_file() {
        let file = file(&[&["a", "b"], &["c"]]);
        let (texts, found) = read(&file, 7);
        assert_eq!(texts, ["a", "b", "c"]);
        assert_eq!((found.records, found.end, found.damaged), (3, file.len() as u64, 0));
        assert_eq!(read(&file, 8).1.records, 0);
    }

    #[test]
    fn a_torn_last_batch_is_no_damage_wherever_it_was_torn() {
        let whole = file(&[&["first"], &["second", "third", "fourth"]]);
        let second = file(&[&["first"]]).len();
        for torn in second..whole.len() {
            let mut cut = whole[..torn].to_vec();
            cut.resize(whole.len() + 100, 0);
            let (texts, found) = read(&cut, 7);
            assert_eq!((texts[0].as_str(), found.damaged), ("first", 0), "cut at {torn}");
            // Pages of one write may reach the disk in any order.
            let mut hole = whole.clone();
            hole[second..torn].fill(0);
            assert_eq!(read(&hole, 7).1.damaged, 0, "a hole up to {torn}");
        }
    }

    #[test]
    fn what_is_spoilt_before_a_later_batch_is_damage_and_costs_only_its_own_record() {
        let whole = file(&[&["first", "second"], &["third"], &["fourth"]]);
        let last = whole.len() - file(&[&["fourth"]]).len();
        for at in 0..last {
            let mut spoilt = whole.clone();
            spoilt[at] ^= 0x55;
            let (texts, found) = read(&spoilt, 7);
            assert_eq!(texts.len(), 3, "byte {at}: {texts:?}");
            assert!(found.damaged > 0, "byte {at}");
        }
    }

    #[test]
    fn no_bytes_make_it_panic() {
        let whole = file(&[&["first", "second"]]);
        for at in 0..whole.len() {
            for value in [0, 0x7f, 0xff] {
                let mut odd = whole.clone();
                odd[at] = value;
                read(&odd[at.min(20)..], 7);
            }
        }
    }
}

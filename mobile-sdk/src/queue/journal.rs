//! An append-only file of records, each with a mark, its length and a checksum. What was
//! appended and flushed is read back after a kill at any instant; of a damaged file every
//! whole record is salvaged, and the number of damaged places is told.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

/// What the file begins with; another version would have another number.
const MAGIC: [u8; 8] = *b"TTQUEUE1";

/// What each record begins with. Its first and last byte never occur in UTF-8, hence not
/// in JSON: behind a damaged place the next record is found by it.
const MARK: [u8; 4] = [0xf5, b'T', b'Q', 0xfa];

/// Mark, length and checksum.
const HEAD_BYTES: usize = 12;

/// The longest record. An item's text is bounded far below; a longer length is damage.
const MAX_RECORD_BYTES: usize = 64 << 10;

/// An open journal, positioned at its end.
pub(super) struct Journal {
    path: PathBuf,
    file: File,
    num_bytes: u64,
}

/// What was read of a journal.
pub(super) struct Reading<T> {
    /// The records, in their order.
    pub(super) records: Vec<T>,
    /// Places where something was written that cannot be read. A last record that was cut
    /// off is none: it was never acknowledged.
    pub(super) num_damaged: u32,
}

impl Journal {
    /// Opens a journal, or makes an empty one, and reads it. A record that was cut off at
    /// the end is removed. If places are damaged, the caller rewrites the file.
    pub(super) fn open<T: DeserializeOwned>(path: &Path) -> io::Result<(Self, Reading<T>)> {
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let (reading, end) = read(&bytes);
        let mut journal = Self {
            path: path.into(),
            file,
            num_bytes: end as u64,
        };
        if bytes.len() < MAGIC.len() && MAGIC.starts_with(&bytes) {
            journal.file.seek(SeekFrom::Start(0))?;
            journal.file.write_all(&MAGIC)?;
            journal.num_bytes = MAGIC.len() as u64;
            journal.file.set_len(journal.num_bytes)?;
            journal.file.sync_all()?;
            sync_folder(path)?;
        } else if end < bytes.len() {
            journal.file.set_len(end as u64)?;
            journal.file.sync_all()?;
        }
        Ok((journal, reading))
    }

    /// How long the file is.
    pub(super) fn num_bytes(&self) -> u64 {
        self.num_bytes
    }

    /// Appends a record and flushes it: once this returns, the record stays. After an error
    /// it is as if nothing had been asked.
    pub(super) fn append(&mut self, record: &impl Serialize) -> io::Result<()> {
        let framed = frame(record)?;
        let written = self
            .file
            .seek(SeekFrom::Start(self.num_bytes))
            .and_then(|_| self.file.write_all(&framed))
            .and_then(|()| self.file.sync_data());
        if let Err(error) = written {
            // What is left of it here is written over by the next record, and cut off by
            // the next start.
            let _ = self.file.set_len(self.num_bytes);
            return Err(error);
        }
        self.num_bytes += framed.len() as u64;
        Ok(())
    }

    /// Puts a new file with these records in this one's place, whole or not at all.
    pub(super) fn rewrite<'a, T: Serialize + 'a>(
        &mut self,
        records: impl Iterator<Item = T>,
    ) -> io::Result<()> {
        let path = self.path.with_extension("new");
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(&path)?;
        let mut bytes = MAGIC.to_vec();
        for record in records {
            bytes.extend(frame(&record)?);
        }
        file.write_all(&bytes)?;
        file.sync_all()?;
        std::fs::rename(&path, &self.path)?;
        sync_folder(&self.path)?;
        self.file = file;
        self.num_bytes = bytes.len() as u64;
        Ok(())
    }
}

/// Flushes the entry of a file in its folder.
pub(super) fn sync_folder(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

fn frame(record: &impl Serialize) -> io::Result<Vec<u8>> {
    let payload = serde_json::to_vec(record)?;
    if payload.len() > MAX_RECORD_BYTES {
        let words = format!("a record of {} bytes is too long", payload.len());
        return Err(io::Error::new(io::ErrorKind::InvalidInput, words));
    }
    let mut framed = Vec::with_capacity(HEAD_BYTES + payload.len());
    framed.extend(MARK);
    framed.extend((payload.len() as u32).to_le_bytes());
    framed.extend(crc32fast::hash(&payload).to_le_bytes());
    framed.extend(payload);
    Ok(framed)
}

/// Reads all whole records; with them, where the last of them ends.
fn read<T: DeserializeOwned>(bytes: &[u8]) -> (Reading<T>, usize) {
    let mut reading = Reading {
        records: Vec::new(),
        num_damaged: 0,
    };
    let mut at = MAGIC.len();
    if !bytes.starts_with(&MAGIC) {
        if MAGIC.starts_with(bytes) {
            return (reading, 0); // new, or killed while it was made
        }
        reading.num_damaged = 1;
        at = 0;
    }
    let mut end = at;
    while at < bytes.len() {
        if let Some((payload, next)) = record_at(bytes, at) {
            match serde_json::from_slice(payload) {
                Ok(record) => reading.records.push(record),
                Err(_) => reading.num_damaged += 1,
            }
            (at, end) = (next, next);
            continue;
        }
        let next = (at + 1..bytes.len()).find(|at| record_at(bytes, *at).is_some());
        match next {
            Some(next) => {
                reading.num_damaged += 1;
                at = next;
            }
            None => {
                reading.num_damaged += u32::from(!is_cut_off(&bytes[at..]));
                break;
            }
        }
    }
    (reading, end)
}

/// A whole record: its payload, and where the next one begins.
fn record_at(bytes: &[u8], at: usize) -> Option<(&[u8], usize)> {
    let rest = bytes[at..].strip_prefix(&MARK)?;
    let length = u32::from_le_bytes(*rest.first_chunk()?) as usize;
    let checksum = u32::from_le_bytes(*rest.get(4..)?.first_chunk()?);
    let payload = rest.get(8..)?.get(..length)?;
    (length <= MAX_RECORD_BYTES && crc32fast::hash(payload) == checksum)
        .then_some((payload, at + HEAD_BYTES + length))
}

/// Whether the end of a file is one record of which the end is missing: cut short, or with
/// zeros where a file system had not yet written.
fn is_cut_off(tail: &[u8]) -> bool {
    let content = tail.len() - tail.iter().rev().take_while(|byte| **byte == 0).count();
    let tail = &tail[..content];
    if tail.len() < HEAD_BYTES {
        return MARK.starts_with(&tail[..tail.len().min(MARK.len())]);
    }
    let length = u32::from_le_bytes([tail[4], tail[5], tail[6], tail[7]]) as usize;
    tail.starts_with(&MARK) && length <= MAX_RECORD_BYTES && tail.len() < HEAD_BYTES + length
}

#[cfg(test)]
mod tests {
    use super::*;

    fn journal_of(records: &[&str]) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("queue");
        let (mut journal, reading) = Journal::open::<String>(&path).unwrap();
        assert!(reading.records.is_empty());
        for record in records {
            journal.append(record).unwrap();
        }
        (folder, path)
    }

    fn opened(path: &Path) -> (Vec<String>, u32) {
        let (_, reading) = Journal::open::<String>(path).unwrap();
        (reading.records, reading.num_damaged)
    }

    #[test]
    fn a_file_cut_at_any_length_keeps_the_whole_records_before_the_cut_and_counts_no_damage() {
        let (_folder, path) = journal_of(&["one", "two", "three"]);
        let whole = std::fs::read(&path).unwrap();
        let mut counts = [0; 4];
        for length in 0..=whole.len() {
            std::fs::write(&path, &whole[..length]).unwrap();
            let (records, num_damaged) = opened(&path);
            assert_eq!(num_damaged, 0, "cut at {length}");
            assert_eq!(records, ["one", "two", "three"][..records.len()]);
            counts[records.len()] += 1;
            // And it goes on from there.
            let (mut journal, _) = Journal::open::<String>(&path).unwrap();
            journal.append(&"next").unwrap();
            let (after, num_damaged) = opened(&path);
            assert_eq!((after.len(), num_damaged), (records.len() + 1, 0));
        }
        assert!(counts.iter().all(|count| *count > 0), "{counts:?}");
    }

    #[test]
    fn every_flipped_byte_costs_one_record_at_most_and_is_told() {
        let (_folder, path) = journal_of(&["one", "two", "three"]);
        let whole = std::fs::read(&path).unwrap();
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x55;
            std::fs::write(&path, &bytes).unwrap();
            let (records, num_damaged) = opened(&path);
            assert!(records.len() >= 2, "byte {at}: {records:?}");
            let is_cut_like = records.len() == 2 && records[1] == "two";
            assert!(num_damaged > 0 || is_cut_like, "byte {at}: {records:?}");
        }
    }

    #[test]
    fn zeros_at_the_end_are_no_damage_and_a_file_of_something_else_is() {
        let (_folder, path) = journal_of(&["one"]);
        let mut bytes = std::fs::read(&path).unwrap();
        bytes.extend([0; 4096]);
        std::fs::write(&path, &bytes).unwrap();
        assert_eq!(opened(&path), (vec!["one".to_owned()], 0));
        std::fs::write(&path, [7; 5000]).unwrap();
        let (records, num_damaged) = opened(&path);
        assert!(records.is_empty() && num_damaged > 0);
    }

    #[test]
    fn a_rewritten_journal_has_just_these_records() {
        let (_folder, path) = journal_of(&["one", "two", "three"]);
        let (mut journal, _) = Journal::open::<String>(&path).unwrap();
        journal.rewrite(["two"].into_iter()).unwrap();
        journal.append(&"four").unwrap();
        assert_eq!(
            opened(&path),
            (vec!["two".to_owned(), "four".to_owned()], 0)
        );
    }
}

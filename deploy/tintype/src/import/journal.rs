//! The journal of an import: one line of JSON for each thing that becomes of a
//! file, only ever appended. Read at the start, it tells a second run what is
//! done; read at the end, it is the report. The last line about a file holds.
//!
//! Losing its tail costs nothing: what is sent again carries the same idempotency
//! key and gets the same capture.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{BufRead as _, BufReader, BufWriter, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use schemas::http::Capture;
use schemas::{CaptureId, Label, Reason, Status};
use serde::{Deserialize, Serialize};

use super::walk::FileKey;
use crate::cli::{Exit, Failure};

/// Whose journal it is: the first line.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// The dataset's id.
    pub dataset: String,
    /// The folder.
    pub folder: String,
}

/// What became of a file: every other line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// The file's key, 32 hex digits.
    pub key: String,
    /// Where it lies in the folder.
    pub path: String,
    /// Its label; absent if its folder's name is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<Label>,
    /// The capture, if the server took it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capture: Option<CaptureId>,
    /// Where it stands, `rejected` at the door included; absent if it could not be sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<Status>,
    /// Why it is not accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// The same for a person; or why the file could not be sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The capture that it is a duplicate of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub twin_id: Option<CaptureId>,
    /// Bits of `phash` that differ from the twin's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phash_distance: Option<u32>,
    /// Bits of `pdq` that differ from the twin's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pdq_distance: Option<u32>,
}

impl Line {
    /// A file of which nothing is known yet.
    pub fn new(key: FileKey, path: &str, label: Option<&Label>) -> Self {
        Self {
            key: format!("{:032x}", key.0),
            path: path.into(),
            label: label.cloned(),
            capture: None,
            status: None,
            reason: None,
            detail: None,
            hint: None,
            twin_id: None,
            phash_distance: None,
            pdq_distance: None,
        }
    }

    /// With what the server has told.
    pub fn judged(self, capture: &Capture) -> Self {
        Self {
            capture: Some(capture.id),
            status: Some(capture.status),
            reason: capture.reason,
            detail: capture.detail.clone(),
            twin_id: capture.twin_id,
            phash_distance: capture.phash_distance,
            pdq_distance: capture.pdq_distance,
            ..self
        }
    }

    fn file_key(&self) -> Option<FileKey> {
        u128::from_str_radix(&self.key, 16).ok().map(FileKey)
    }
}

/// What is remembered of a file between its lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    /// The capture, if the server has it.
    pub capture: Option<CaptureId>,
    /// Where it stands; `None` if the file could not be sent.
    pub status: Option<Status>,
    /// Why it is not accepted.
    pub reason: Option<Reason>,
    /// The run came upon the file: it is still in the folder.
    seen: bool,
    /// Where its last line begins.
    offset: u64,
}

/// An open journal, locked against a second import.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    out: BufWriter<File>,
    end: u64,
    known: HashMap<FileKey, Known>,
}

impl Journal {
    /// Opens the journal at `path`, or begins it; blocking.
    ///
    /// # Errors
    /// It cannot be read or written, another import holds it, or it is the journal
    /// of another dataset or folder.
    pub fn open(path: &Path, header: &Header) -> anyhow::Result<Self> {
        let what = || format!("opening the journal {}", path.display());
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).with_context(what)?;
        }
        // Appending, so that reading the report back never moves where lines go.
        let mut options = OpenOptions::new();
        let options = options.read(true).append(true).create(true);
        let file = options.open(path).with_context(what)?;
        if let Err(error) = file.try_lock() {
            return Err(match error {
                std::fs::TryLockError::WouldBlock => held(path).into(),
                std::fs::TryLockError::Error(error) => anyhow::Error::from(error).context(what()),
            });
        }
        let mut known = HashMap::new();
        let mut entries = Entries::begin(&file).with_context(what)?;
        for entry in entries.by_ref() {
            let (offset, text) = entry.with_context(what)?;
            if offset == 0 {
                check_header(&text, header, path)?;
            } else if let Ok(line) = serde_json::from_str::<Line>(&text)
                && let Some(key) = line.file_key()
            {
                known.insert(key, Known::of(&line, offset, false));
            }
        }
        let first_line = serde_json::to_string(header)?;
        let end = entries.offset;
        if end == 0 && !first_line.as_bytes().starts_with(&entries.rest) {
            check_header("", header, path)?;
        }
        // A line that a kill cut short is not there.
        file.set_len(end).with_context(what)?;
        let mut journal = Self {
            path: path.to_owned(),
            out: BufWriter::new(file),
            end,
            known,
        };
        if end == 0 {
            journal.append(first_line)?;
        }
        Ok(journal)
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What is known of a file that the walk has come upon, which is noted.
    pub fn come_upon(&mut self, key: FileKey) -> Option<Known> {
        let known = self.known.get_mut(&key)?;
        known.seen = true;
        Some(*known)
    }

    /// Notes what became of a file. It is on disk after the next flush.
    ///
    /// # Errors
    /// The disk is full or gone.
    pub fn note(&mut self, key: FileKey, line: &Line) -> anyhow::Result<()> {
        self.known.insert(key, Known::of(line, self.end, true));
        self.append(serde_json::to_string(line)?)
    }

    /// Hands all lines to the operating system, where they outlive this process.
    ///
    /// # Errors
    /// The disk is full or gone.
    pub fn flush(&mut self) -> anyhow::Result<()> {
        let done = self.out.flush();
        done.with_context(|| format!("writing the journal {}", self.path.display()))
    }

    /// The last line of each file that the run came upon, in the order of the
    /// journal; blocking, and never more than one line in memory.
    ///
    /// # Errors
    /// The journal cannot be read back.
    pub fn lines(&mut self) -> anyhow::Result<impl Iterator<Item = anyhow::Result<Line>>> {
        self.flush()?;
        let known = &self.known;
        let entries = Entries::begin(self.out.get_ref())?;
        Ok(entries.skip(1).filter_map(move |entry| {
            let (offset, text) = match entry {
                Ok(entry) => entry,
                Err(error) => return Some(Err(error.into())),
            };
            // A damaged line counted as absent when the journal was opened.
            let line: Line = serde_json::from_str(&text).ok()?;
            let known = known.get(&line.file_key()?)?;
            (known.seen && known.offset == offset).then_some(Ok(line))
        }))
    }

    fn append(&mut self, mut text: String) -> anyhow::Result<()> {
        text.push('\n');
        let written = self.out.write_all(text.as_bytes());
        written.with_context(|| format!("writing the journal {}", self.path.display()))?;
        self.end += text.len() as u64;
        Ok(())
    }
}

impl Known {
    fn of(line: &Line, offset: u64, seen: bool) -> Self {
        Self {
            capture: line.capture,
            status: line.status,
            reason: line.reason,
            seen,
            offset,
        }
    }
}

/// The longest line, 1 MiB. A path has 4 KiB; larger would read a film that was
/// named as the journal into memory.
const MAX_LINE_BYTES: u64 = 1 << 20;

/// The whole lines of a journal, each with the place where it begins.
struct Entries {
    reader: BufReader<File>,
    /// Where the next line begins.
    offset: u64,
    /// What follows the last whole line.
    rest: Vec<u8>,
}

impl Entries {
    fn begin(file: &File) -> std::io::Result<Self> {
        let mut file = file.try_clone()?;
        file.seek(SeekFrom::Start(0))?;
        Ok(Self {
            reader: BufReader::new(file),
            offset: 0,
            rest: Vec::new(),
        })
    }
}

impl Iterator for Entries {
    type Item = std::io::Result<(u64, String)>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut bytes = Vec::new();
        let mut limited = self.reader.by_ref().take(MAX_LINE_BYTES);
        let num_bytes = match limited.read_until(b'\n', &mut bytes) {
            Ok(num_bytes) => num_bytes as u64,
            Err(error) => return Some(Err(error)),
        };
        if bytes.pop_if(|last| *last == b'\n').is_none() {
            let endless = num_bytes == MAX_LINE_BYTES;
            self.rest = bytes;
            return endless.then(|| Err(std::io::Error::other("it has a line without end")));
        }
        let offset = self.offset;
        self.offset += num_bytes;
        Some(Ok((offset, String::from_utf8_lossy(&bytes).into_owned())))
    }
}

fn check_header(text: &str, wanted: &Header, path: &Path) -> anyhow::Result<()> {
    let other = match serde_json::from_str::<Header>(text) {
        Ok(header) if header == *wanted => return Ok(()),
        Ok(header) => format!(
            "is of the import of {} into {}",
            header.folder, header.dataset
        ),
        Err(_) => "is no journal of an import".into(),
    };
    let message = format!("{} {other}", path.display());
    Err(Failure::usage(message, "name another file with --journal").into())
}

fn held(path: &Path) -> Failure {
    let message = format!(
        "another import of this folder is running: it holds {}",
        path.display()
    );
    Failure::new(Exit::Failed, "import_running", message)
        .hint("wait for it, or stop it with Ctrl-C; nothing is sent twice")
}

#[cfg(test)]
mod tests;

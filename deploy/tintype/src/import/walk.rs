//! Walks a folder of photos: a path comes in, every file in it goes out, one at a
//! time, with its label and what tells it from other files. Nothing is held but the
//! open folders from the top down, however many files there are.

use std::collections::VecDeque;
use std::fs::{self, DirEntry, ReadDir};
use std::path::{Component, Path, PathBuf};
use std::time::UNIX_EPOCH;

use schemas::{InvalidLabel, Label, Sha256};
use serde::Serialize;

/// Entries of a folder that are read at once, to go through them by name. Larger
/// holds more of a huge folder in memory; smaller leaves ordinary ones unsorted, and
/// with them which of two copies comes first.
const SORTED_AT_ONCE: usize = 4096;

/// How deep folders may be nested. Deeper uses up open files; no camera does it.
const MAX_DEPTH: usize = 64;

/// What the walk passed over, for the person to know.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Skipped {
    /// Files and folders whose name begins with a dot.
    pub hidden: u64,
    /// Links to folders, and links that lead out of the folder or nowhere.
    pub links: u64,
    /// Pipes, sockets and devices.
    pub special: u64,
}

/// A file to import.
#[derive(Debug)]
pub struct Found {
    /// Where it lies.
    pub path: PathBuf,
    /// Where it lies in the folder, with `/` between the names; not for opening.
    pub relative: String,
    /// The name of its first folder, as a label.
    pub label: Result<Label, InvalidLabel>,
    /// Tells it from every other file, and from itself after a change.
    pub key: FileKey,
}

/// What the walk comes upon.
#[derive(Debug)]
pub enum Step {
    /// A file.
    File(Found),
    /// A file or folder that cannot be read.
    Unreadable {
        /// Where it lies in the folder.
        relative: String,
        /// Tells it from every other file.
        key: FileKey,
        /// Why.
        error: std::io::Error,
    },
}

/// The first half of a SHA-256 over dataset, path in the folder, size and time of
/// change: 16 bytes a file is what an import remembers of a million.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileKey(pub u128);

impl FileKey {
    fn of(dataset: &str, relative: &[u8], num_bytes: u64, changed_ns: i128) -> Self {
        let mut text = Vec::with_capacity(dataset.len() + relative.len() + 32);
        for part in [dataset.as_bytes(), relative] {
            text.extend_from_slice(&(part.len() as u64).to_be_bytes());
            text.extend_from_slice(part);
        }
        text.extend_from_slice(&num_bytes.to_be_bytes());
        text.extend_from_slice(&changed_ns.to_be_bytes());
        let mut half = [0; 16];
        half.copy_from_slice(&Sha256::of(&text).as_bytes()[..16]);
        Self(u128::from_be_bytes(half))
    }
}

/// The files of a folder, lazily; blocking.
pub struct Walk {
    root: PathBuf,
    dataset: String,
    unsorted: Label,
    open: Vec<Folder>,
    ready: VecDeque<Step>,
    skipped: Skipped,
}

impl Walk {
    /// Begins at `root`. Files that lie in no class folder get the label `unsorted`.
    ///
    /// # Errors
    /// `root` is no folder that can be read.
    pub fn begin(root: &Path, dataset: &str, unsorted: Label) -> std::io::Result<Self> {
        let root = fs::canonicalize(root)?;
        let open = vec![Folder::open(&root)?];
        Ok(Self {
            root,
            dataset: dataset.into(),
            unsorted,
            open,
            ready: VecDeque::new(),
            skipped: Skipped::default(),
        })
    }

    /// What has been passed over so far.
    pub fn skipped(&self) -> Skipped {
        self.skipped
    }

    fn enter(&mut self, entry: &DirEntry) {
        let name = entry.file_name();
        if name.as_encoded_bytes().starts_with(b".") {
            self.skipped.hidden += 1;
            return;
        }
        let path = entry.path();
        match entry.file_type() {
            Err(error) => self.unreadable(&path, error),
            Ok(kind) if kind.is_dir() => self.enter_folder(&path),
            Ok(kind) if kind.is_symlink() => self.enter_link(path),
            Ok(kind) if kind.is_file() => self.enter_file(path),
            Ok(_) => self.skipped.special += 1,
        }
    }

    fn enter_folder(&mut self, path: &Path) {
        if self.open.len() >= MAX_DEPTH {
            let error = std::io::Error::other(format!("folders are nested over {MAX_DEPTH} deep"));
            return self.unreadable(path, error);
        }
        match Folder::open(path) {
            Ok(folder) => self.open.push(folder),
            Err(error) => self.unreadable(path, error),
        }
    }

    /// A link to a file in the same folder is that file under another name; a link
    /// to a folder may run in a circle, and one that leads out may reveal what the
    /// person did not mean to send.
    fn enter_link(&mut self, path: PathBuf) {
        match fs::canonicalize(&path) {
            Ok(target) if target.starts_with(&self.root) && target.is_file() => {
                self.enter_file(path);
            }
            _ => self.skipped.links += 1,
        }
    }

    fn enter_file(&mut self, path: PathBuf) {
        let found = fs::metadata(&path).and_then(|facts| {
            let changed = facts.modified()?;
            let changed_ns = match changed.duration_since(UNIX_EPOCH) {
                Ok(after) => after.as_nanos() as i128,
                Err(before) => -(before.duration().as_nanos() as i128),
            };
            Ok((facts.len(), changed_ns))
        });
        match found {
            Err(error) => self.unreadable(&path, error),
            Ok((num_bytes, changed_ns)) => {
                let inner = path.strip_prefix(&self.root).unwrap_or(&path);
                let relative = inner.as_os_str().as_encoded_bytes();
                let found = Found {
                    key: FileKey::of(&self.dataset, relative, num_bytes, changed_ns),
                    relative: text_of(inner),
                    label: label_of(inner, &self.unsorted),
                    path,
                };
                self.ready.push_back(Step::File(found));
            }
        }
    }

    fn unreadable(&mut self, path: &Path, error: std::io::Error) {
        let inner = path.strip_prefix(&self.root).unwrap_or(path);
        let name = inner.as_os_str().as_encoded_bytes();
        self.ready.push_back(Step::Unreadable {
            relative: text_of(inner),
            // No file is that large: readable, it is another one.
            key: FileKey::of(&self.dataset, name, u64::MAX, 0),
            error,
        });
    }
}

impl Iterator for Walk {
    type Item = Step;

    fn next(&mut self) -> Option<Step> {
        loop {
            if let Some(step) = self.ready.pop_front() {
                return Some(step);
            }
            match self.open.last_mut()?.next() {
                None => drop(self.open.pop()),
                Some(Ok(entry)) => self.enter(&entry),
                Some(Err(error)) => {
                    // The rest of this folder is out of reach; say so, go on above.
                    if let Some(folder) = self.open.pop() {
                        self.unreadable(&folder.path, error);
                    }
                }
            }
        }
    }
}

/// A folder that is being read, by name as far as memory allows.
struct Folder {
    path: PathBuf,
    entries: ReadDir,
    sorted: std::vec::IntoIter<DirEntry>,
    failed: Option<std::io::Error>,
}

impl Folder {
    fn open(path: &Path) -> std::io::Result<Self> {
        Ok(Self {
            path: path.into(),
            entries: fs::read_dir(path)?,
            sorted: Vec::new().into_iter(),
            failed: None,
        })
    }
}

impl Iterator for Folder {
    type Item = std::io::Result<DirEntry>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.sorted.len() == 0 && self.failed.is_none() {
            let mut some = Vec::new();
            for entry in self.entries.by_ref().take(SORTED_AT_ONCE) {
                match entry {
                    Ok(entry) => some.push(entry),
                    Err(error) => {
                        self.failed = Some(error);
                        break;
                    }
                }
            }
            some.sort_by_key(DirEntry::file_name);
            self.sorted = some.into_iter();
        }
        match self.sorted.next() {
            Some(entry) => Some(Ok(entry)),
            None => self.failed.take().map(Err),
        }
    }
}

/// The label of a file: the name of the first folder on the way to it.
fn label_of(inner: &Path, unsorted: &Label) -> Result<Label, InvalidLabel> {
    let mut names = inner.components().filter_map(|part| match part {
        Component::Normal(name) => Some(name),
        _ => None,
    });
    match (names.next(), names.next()) {
        (Some(folder), Some(_)) => folder.to_string_lossy().parse(),
        _ => Ok(unsorted.clone()),
    }
}

fn text_of(path: &Path) -> String {
    let names = path.components().map(|part| part.as_os_str());
    let names: Vec<_> = names.map(|name| name.to_string_lossy()).collect();
    names.join("/")
}

#[cfg(test)]
mod tests;

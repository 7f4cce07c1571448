//! Originals in a local folder: pieces of a photo come in, and when this returns,
//! file and folder entry are on the disk, whole or not at all.
//!
//! A file is written and synced in `incoming/`, linked to its name, which fails if
//! the name is taken, and then its folder is synced. `object_store` does the same
//! without syncing: after a power cut its files may be empty.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tracing::{info, warn};
use uuid::Uuid;

/// Where files are until they are whole.
const INCOMING: &str = "incoming";
/// Unfinished files older than this belong to a process that is gone. Shorter could
/// take a slow writer's file away.
const ABANDONED_AFTER: Duration = Duration::from_secs(3600);
/// How many folders are remembered as durable. More take memory for what a few
/// `fsync` re-establish; fewer repeat those for each photo.
const MAX_REMEMBERED_FOLDERS: usize = 1 << 16;

/// The folder that holds the originals.
#[derive(Debug)]
pub(crate) struct LocalOriginals {
    root: PathBuf,
    /// Folders whose entries, up to the root, are known to be on the disk.
    durable: Mutex<HashSet<PathBuf>>,
}

impl LocalOriginals {
    /// Opens the folder, and clears away what a killed process left unfinished.
    pub(crate) fn open(root: PathBuf) -> io::Result<Self> {
        let incoming = root.join(INCOMING);
        fs::create_dir_all(&incoming)?;
        let mut removed = 0;
        for entry in fs::read_dir(&incoming)? {
            let entry = entry?;
            let age = entry.metadata()?.modified()?.elapsed().unwrap_or_default();
            if age > ABANDONED_AFTER {
                fs::remove_file(entry.path())?;
                removed += 1;
            }
        }
        if removed > 0 {
            info!(
                removed,
                "unfinished uploads of an earlier run were cleared away"
            );
        }
        Ok(Self {
            root,
            durable: Mutex::default(),
        })
    }

    /// Stores a photo under `key`; one that is there already is made durable too, and
    /// replaced if its length shows that it is not the one its hash says.
    pub(crate) fn put(&self, key: &str, pieces: &[Bytes], num_bytes: u64) -> io::Result<()> {
        let target = self.root.join(key);
        let folder = target.parent().unwrap_or(&self.root);
        self.ensure_folder(folder)?;
        if fs::metadata(&target).is_ok_and(|there| there.len() == num_bytes) {
            File::open(&target)?.sync_all()?;
            return sync_folder(folder);
        }
        let staged = self.stage(pieces)?;
        match fs::hard_link(&staged.0, &target) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                if fs::metadata(&target)?.len() != num_bytes {
                    warn!(
                        original = key,
                        "a stored original is not what its hash says; it is replaced"
                    );
                    fs::rename(&staged.0, &target)?;
                }
            }
            Err(error) => {
                // Whoever removed the folder under us removed what was known of it.
                self.durable().remove(folder);
                return Err(error);
            }
        }
        sync_folder(folder)
    }

    /// Writes a byte to the disk and takes it away again.
    pub(crate) fn probe(&self) -> io::Result<()> {
        let originals = self.root.join("originals");
        self.ensure_folder(&originals)?;
        self.stage(&[Bytes::from_static(b"1")]).map(drop)
    }

    fn stage(&self, pieces: &[Bytes]) -> io::Result<Staged> {
        let path = self.root.join(INCOMING).join(Uuid::now_v7().to_string());
        let mut file = File::options().write(true).create_new(true).open(&path)?;
        let staged = Staged(path);
        for piece in pieces {
            file.write_all(piece)?;
        }
        file.sync_all()?;
        Ok(staged)
    }

    /// Makes the folder and syncs every entry on the way to it, once.
    fn ensure_folder(&self, folder: &Path) -> io::Result<()> {
        if self.durable().contains(folder) && folder.is_dir() {
            return Ok(());
        }
        fs::create_dir_all(folder)?;
        for above in folder.ancestors().skip(1) {
            if !above.starts_with(&self.root) {
                break;
            }
            sync_folder(above)?;
        }
        let mut durable = self.durable();
        if durable.len() >= MAX_REMEMBERED_FOLDERS {
            durable.clear();
        }
        durable.insert(folder.to_owned());
        Ok(())
    }

    fn durable(&self) -> std::sync::MutexGuard<'_, HashSet<PathBuf>> {
        self.durable.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An unfinished file; removed when dropped, whatever became of it.
struct Staged(PathBuf);

impl Drop for Staged {
    fn drop(&mut self) {
        // Renamed away, or removed at the next start.
        let _ = fs::remove_file(&self.0);
    }
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

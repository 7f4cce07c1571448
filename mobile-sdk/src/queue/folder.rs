//! The queue's folder: the lock, the journal, and for each waiting photo its file and its
//! ticket. A file is whole under its name or not there at all.

use std::fs::{File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use uuid::Uuid;

use super::item::Ticket;
use super::journal::sync_folder;
use crate::TintypeError;

/// The folder, held against others for as long as this lives.
pub(super) struct Folder {
    root: PathBuf,
    _lock: File,
}

impl Folder {
    pub(super) fn open(root: &Path) -> Result<Self, TintypeError> {
        let photos = root.join("photos");
        std::fs::create_dir_all(&photos)
            .map_err(|error| TintypeError::io("making the folder", &photos, &error))?;
        let path = root.join("lock");
        let lock = File::create(&path)
            .map_err(|error| TintypeError::io("making the lock", &path, &error))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let detail = format!(
                    "the queue in {} is open already; an app has one, and shares it",
                    root.display()
                );
                return Err(TintypeError::AlreadyOpen { detail });
            }
            Err(TryLockError::Error(error)) => {
                return Err(TintypeError::io("locking", &path, &error));
            }
        }
        Ok(Self {
            root: root.into(),
            _lock: lock,
        })
    }

    pub(super) fn journal(&self) -> PathBuf {
        self.root.join("queue")
    }

    pub(super) fn photo(&self, id: Uuid) -> PathBuf {
        self.root.join("photos").join(id.to_string())
    }

    fn ticket(&self, id: Uuid) -> PathBuf {
        self.photo(id).with_extension("json")
    }

    /// Writes a photo and its ticket. After an error neither is there.
    pub(super) fn store(&self, ticket: &Ticket, photo: &[u8]) -> Result<(), TintypeError> {
        let json = serde_json::to_vec(ticket).unwrap_or_default();
        let path = self.photo(ticket.id);
        let stored = write_whole(&self.ticket(ticket.id), &json)
            .and_then(|()| write_whole(&path, photo))
            .and_then(|()| sync_folder(&path));
        stored.map_err(|error| {
            self.remove(ticket.id);
            TintypeError::io("storing the photo", &path, &error)
        })
    }

    /// Removes what is there of a photo. What cannot be removed now goes at the next start.
    pub(super) fn remove(&self, id: Uuid) {
        for path in [self.photo(id), self.ticket(id)] {
            let _ = std::fs::remove_file(&path);
            let _ = std::fs::remove_file(path.with_extension("part"));
        }
    }

    /// The ids of all photos whose file is there. Remains of a kill are swept away.
    pub(super) fn list(&self) -> Result<Vec<Uuid>, TintypeError> {
        let folder = self.root.join("photos");
        let failed = |error: io::Error| TintypeError::io("reading the folder", &folder, &error);
        let mut ids = Vec::new();
        for entry in std::fs::read_dir(&folder).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            let name = path.file_name().and_then(|name| name.to_str());
            let Some(name) = name else { continue };
            match name.parse() {
                Ok(id) => ids.push(id),
                Err(_) => {
                    let stem = path.file_stem().and_then(|stem| stem.to_str());
                    let id: Option<Uuid> = stem.and_then(|stem| stem.parse().ok());
                    let is_lone = id.is_some_and(|id| !self.photo(id).exists());
                    if name.ends_with(".part") || is_lone {
                        let _ = std::fs::remove_file(&path);
                    }
                }
            }
        }
        Ok(ids)
    }

    /// The ticket beside a photo, if it can be read.
    pub(super) fn read_ticket(&self, id: Uuid) -> Option<Ticket> {
        let json = std::fs::read(self.ticket(id)).ok()?;
        let ticket: Ticket = serde_json::from_slice(&json).ok()?;
        (ticket.id == id).then_some(ticket)
    }

    /// Sets a photo aside whose ticket cannot be read; where it is then.
    pub(super) fn set_aside(&self, id: Uuid) -> Option<PathBuf> {
        let folder = self.root.join("salvaged");
        std::fs::create_dir_all(&folder).ok()?;
        let path = folder.join(id.to_string());
        std::fs::rename(self.photo(id), &path).ok()?;
        self.remove(id);
        Some(path)
    }

    /// Keeps a damaged journal for whoever wants to look at it: the last one only.
    pub(super) fn keep_damaged(&self) {
        let _ = std::fs::copy(self.journal(), self.root.join("queue.damaged"));
    }
}

/// Writes a file under another name, flushes it, and gives it its own.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let part = path.with_extension("part");
    let mut file = File::create(&part)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&part, path)
}

//! The data folder of `tintype up`: who may use it, and where things lie in it.

use std::fs::{File, TryLockError};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

/// The folder, held by this process until it is dropped.
pub struct DataFolder {
    root: PathBuf,
    _lock: File,
}

impl DataFolder {
    /// Makes the folder if it is not there, and takes it for this process alone. The
    /// system gives the lock back however the process ends.
    pub fn take(folder: &Path) -> anyhow::Result<Self> {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("cannot make the data folder {}", folder.display()))?;
        let root = folder
            .canonicalize()
            .with_context(|| format!("cannot open the data folder {}", folder.display()))?;
        let path = root.join("lock");
        let mut lock = File::options()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&path)
            .with_context(|| format!("cannot write in the data folder {}", root.display()))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let holder = std::fs::read_to_string(&path).unwrap_or_default();
                let holder = match holder.trim() {
                    "" => String::new(),
                    pid => format!(" (process {pid})"),
                };
                bail!(
                    "another tintype{holder} is running on {}; stop it first, or choose another folder with --data",
                    root.display()
                );
            }
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("cannot lock {}", path.display()));
            }
        }
        // Who holds it, for the message above.
        lock.set_len(0)
            .and_then(|()| writeln!(lock, "{}", std::process::id()))
            .context("cannot write the lock")?;
        for part in ["objects", "broker"] {
            let part = root.join(part);
            std::fs::create_dir_all(&part)
                .with_context(|| format!("cannot make {}", part.display()))?;
        }
        Ok(Self { root, _lock: lock })
    }

    /// The folder itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Originals and tables.
    pub fn objects(&self) -> PathBuf {
        self.root.join("objects")
    }

    /// The embedded broker's database.
    pub fn broker(&self) -> PathBuf {
        self.root.join("broker").join("broker.db")
    }

    /// Photos of the training that runs; of no use to the next process.
    pub fn scratch(&self) -> PathBuf {
        self.root.join("scratch")
    }

    /// Pretrained weights that were fetched.
    pub fn weights(&self) -> PathBuf {
        self.root.join("weights")
    }

    /// A GPU's kernels and the timings that chose them.
    pub fn kernels(&self) -> PathBuf {
        self.root.join("kernels")
    }

    /// The catalog's database.
    pub fn catalog(&self) -> PathBuf {
        self.root.join("catalog.db")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_has_one_user_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let first = DataFolder::take(folder.path()).unwrap();
        let refused = DataFolder::take(folder.path()).err().unwrap().to_string();
        assert!(refused.contains("another tintype"), "{refused}");
        drop(first);
        DataFolder::take(folder.path()).unwrap();
    }
}

//! Brings what SQLite has committed onto the disk. In: nothing; when it returns, every
//! transaction that was committed before the call is safe from a power cut.
//!
//! Tansu opens its database with `synchronous=NORMAL`: commits go to the write-ahead log,
//! which is synced before it is copied into the database and at no other time. Syncing that
//! log after a commit is what `synchronous=FULL` does. Callers share one sync: who comes
//! while one runs waits for the next one, which serves all that wait.

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::Mutex;

/// The log of one database.
#[derive(Debug, Clone)]
pub(super) struct Flush {
    log: Arc<PathBuf>,
    /// How many have asked, ...
    asked: Arc<std::sync::atomic::AtomicU64>,
    /// ... and how many of those are served.
    served: Arc<Mutex<u64>>,
}

impl Flush {
    pub(super) fn of(database: &std::path::Path) -> Self {
        let mut log = database.as_os_str().to_owned();
        log.push("-wal");
        Self {
            log: Arc::new(log.into()),
            asked: Arc::default(),
            served: Arc::default(),
        }
    }

    /// Syncs the log, unless somebody who came later has.
    pub(super) async fn all(&self) -> io::Result<()> {
        use std::sync::atomic::Ordering;

        let mine = self.asked.fetch_add(1, Ordering::SeqCst) + 1;
        let mut served = self.served.lock().await;
        if *served >= mine {
            return Ok(());
        }
        let up_to = self.asked.load(Ordering::SeqCst);
        let log = self.log.clone();
        // No lock of SQLite's is on this file, so closing it lets go of none.
        let synced = tokio::task::spawn_blocking(move || match File::open(&*log) {
            Ok(file) => file.sync_data(),
            // Without a log everything is in the database, synced.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        });
        synced
            .await
            .unwrap_or_else(|error| Err(io::Error::other(error)))?;
        *served = up_to;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn many_at_once_share_a_sync_and_a_missing_log_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let flush = Flush::of(&folder.path().join("a.db"));
        flush.all().await.unwrap();
        std::fs::write(folder.path().join("a.db-wal"), b"x").unwrap();
        let all = (0..50).map(|_| flush.all());
        let done = futures::future::join_all(all).await;
        assert!(done.iter().all(Result::is_ok));
        assert_eq!(*flush.served.lock().await, 51);
    }
}

//! The open catalog: the file, the short memory in front of it, and the signal that
//! wakes those who follow events. What it can do stands in the modules beside this
//! one, by subject.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures::future::BoxFuture;
use schemas::http::Dataset;
use sqlx::AnyConnection;
use tokio::sync::{Semaphore, watch};

use crate::cache::Cache;
use crate::database::{Change, Database};
use crate::error::Doing;
use crate::{CatalogError, Principal};

/// How long a key is believed without asking. Keys revoked in this process stop at
/// once; longer would let those revoked by another process live on.
const KEY_MAX_AGE: Duration = Duration::from_secs(3);
/// Keys remembered: above what one installation has in use at a time.
const MAX_CACHED_KEYS: usize = 10_000;
/// How long a dataset's labels and policy are believed without asking.
const DATASET_MAX_AGE: Duration = Duration::from_secs(2);
/// Labels remembered, over all datasets; at 256 bytes each this is 13 MB.
const MAX_CACHED_LABELS: usize = 50_000;

/// The open catalog; its clones are the same one.
#[derive(Clone)]
pub struct Catalog {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) database: Database,
    pub(crate) caches: Arc<Caches>,
    /// One at a time: statistics read a whole dataset's index, and must leave the
    /// other readers to the uploads.
    pub(crate) statistics_turn: Semaphore,
    clock: Clock,
}

pub(crate) struct Caches {
    /// By the token's hash.
    pub(crate) keys: Cache<String, Principal>,
    /// By owner and name or id.
    pub(crate) datasets: Cache<(String, String), Dataset>,
    /// Counts the commits that brought events.
    pub(crate) events: watch::Sender<u64>,
    /// Counts the commits that may have ended somebody's access.
    pub(crate) access: watch::Sender<u64>,
}

/// Where the time comes from; tests bring their own.
pub(crate) type Clock = Box<dyn Fn() -> DateTime<Utc> + Send + Sync>;

impl Catalog {
    /// Opens the catalog at `sqlite://` and a path (creates the file if it is absent), or,
    /// with the feature `postgres`, at `postgres://user:password@host/database`, which many
    /// processes may share; brings its tables up to date. [`crate::sqlite_url`] makes the
    /// address of a path.
    ///
    /// # Errors
    /// The address is none, the file cannot be opened, or a newer version has written it.
    pub async fn open(url: &str) -> Result<Self, CatalogError> {
        Self::open_with_clock(url, Box::new(Utc::now)).await
    }

    pub(crate) async fn open_with_clock(url: &str, clock: Clock) -> Result<Self, CatalogError> {
        let caches = Arc::new(Caches {
            keys: Cache::new(KEY_MAX_AGE, MAX_CACHED_KEYS),
            datasets: Cache::new(DATASET_MAX_AGE, MAX_CACHED_LABELS),
            events: watch::Sender::new(0),
            access: watch::Sender::new(0),
        });
        let on_commit = {
            let caches = caches.clone();
            Box::new(move |change| caches.forget(change))
        };
        Ok(Self {
            inner: Arc::new(Inner {
                database: Database::open(url, on_commit).await?,
                caches,
                statistics_turn: Semaphore::new(1),
                clock,
            }),
        })
    }

    /// Finishes the writes that wait and closes the file; later calls fail with
    /// [`CatalogError::Closed`].
    pub async fn close(&self) {
        self.inner.database.close().await;
    }

    /// Writes a row and reads it back, as a readiness probe.
    ///
    /// # Errors
    /// Whatever an upload would meet now: a full, stuck or lost disk.
    pub async fn check(&self) -> Result<(), CatalogError> {
        let now_us = self.now_us();
        let change = Change::None;
        let probe = self.write("check", change, move |db| {
            Box::pin(async move {
                sqlx::query(
                    "INSERT INTO probes (id, probed_at_us) VALUES (1, $1) \
                     ON CONFLICT (id) DO UPDATE SET probed_at_us = excluded.probed_at_us",
                )
                .bind(now_us)
                .execute(&mut *db)
                .await
                .doing(|| "writing a probe".into())
            })
        });
        probe.await?;
        let read = sqlx::query_scalar::<_, i64>("SELECT probed_at_us FROM probes WHERE id = 1");
        let read_us = self.read("check", read.fetch_one(self.readers())).await?;
        // Another probe may have been faster; an older row is none of ours.
        if read_us < now_us {
            return Err(CatalogError::Damaged {
                what: "probe",
                id: "1".into(),
                fault: "what was written is not what is read".into(),
            });
        }
        Ok(())
    }

    /// See [`Database::read`].
    pub(crate) async fn read<T>(
        &self,
        query: &'static str,
        read: impl Future<Output = Result<T, sqlx::Error>>,
    ) -> Result<T, CatalogError> {
        self.inner.database.read(query, read).await
    }

    /// The connections that read.
    pub(crate) fn readers(&self) -> &sqlx::AnyPool {
        self.inner.database.readers()
    }

    /// See [`Database::write`].
    pub(crate) async fn write<T, F>(
        &self,
        query: &'static str,
        change: Change,
        work: F,
    ) -> Result<T, CatalogError>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut AnyConnection) -> BoxFuture<'c, Result<T, CatalogError>>
            + Send
            + 'static,
    {
        self.inner.database.write(query, change, work).await
    }

    pub(crate) fn now(&self) -> DateTime<Utc> {
        (self.inner.clock)()
    }

    pub(crate) fn now_us(&self) -> i64 {
        self.now().timestamp_micros()
    }
}

impl Caches {
    fn forget(&self, change: Change) {
        match change {
            Change::None => {}
            Change::Events => count(&self.events),
            Change::Keys => {
                self.keys.clear();
                count(&self.access);
            }
            Change::Datasets => {
                self.datasets.clear();
                count(&self.access);
            }
        }
    }
}

fn count(commits: &watch::Sender<u64>) {
    commits.send_modify(|commits| *commits += 1);
}

/// The time in a row; one beyond the calendar, which no version writes, is 1970.
pub(crate) fn time(us: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_micros(us).unwrap_or_default()
}

/// Microseconds before `now_us` by `duration`.
pub(crate) fn before(now_us: i64, duration: Duration) -> i64 {
    let delta = TimeDelta::from_std(duration).unwrap_or(TimeDelta::MAX);
    now_us.saturating_sub(delta.num_microseconds().unwrap_or(i64::MAX))
}

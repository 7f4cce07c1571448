//! The database: a SQLite file or a PostgreSQL server, with a few connections that read
//! and one that writes.
//!
//! In come statements; out come rows, or an error within [`MAX_WAIT`], also when the
//! disk is stuck or full. A write that has answered is on the disk. What differs between
//! the two databases stands in `database/engine.rs`, and nowhere else.

use std::borrow::Cow;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use sqlx::any::AnyPoolOptions;
use sqlx::migrate::MigrateError;
use sqlx::{AnyConnection, AnyPool};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::error::Doing;
use crate::{CatalogError, metrics as names};

mod engine;
use engine::Engine;

mod writer;
use writer::{Job, Task, Writer};

/// The longest that a call waits for the database. Longer, and callers of a stuck
/// disk pile up; shorter, and a slow disk's honest flush becomes an error.
const MAX_WAIT: Duration = Duration::from_secs(10);

/// Writes that may wait. More only lengthens the wait that [`MAX_WAIT`] cuts anyway;
/// far fewer, and a burst of uploads meets a closed door.
const MAX_QUEUED_WRITES: usize = 1024;

/// What a write has made stale in this process's memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    /// Nothing that is remembered.
    None,
    /// Keys.
    Keys,
    /// Datasets, their labels or their policies.
    Datasets,
    /// New events are there to be told.
    Events,
}

/// Called after each commit, before its callers are answered.
pub(crate) type OnCommit = Box<dyn Fn(Change) + Send + Sync>;

/// The open file.
pub(crate) struct Database {
    readers: AnyPool,
    writes: Mutex<Option<mpsc::Sender<Box<dyn Job>>>>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl Database {
    /// Opens the file, creates it if absent, and brings its tables up to date.
    pub(crate) async fn open(url: &str, on_commit: OnCommit) -> Result<Self, CatalogError> {
        sqlx::any::install_default_drivers();
        let engine = Engine::of(url)?;
        let mut connection = in_time("opening", engine.connect_writer()).await?;
        migrate(&mut connection, &engine).await?;
        let readers = AnyPoolOptions::new()
            .max_connections(engine.num_readers())
            .acquire_timeout(MAX_WAIT)
            .idle_timeout(None)
            .max_lifetime(None)
            .test_before_acquire(engine.is_shared())
            .after_connect(move |connection, _| Box::pin(engine::prepare_reader(connection)))
            .connect(engine.url())
            .await
            .doing(|| format!("opening {}", engine.shown()))?;
        let (writes, queue) = mpsc::channel(MAX_QUEUED_WRITES);
        let writer = Writer::new(engine, connection, on_commit);
        Ok(Self {
            readers,
            writes: Mutex::new(Some(writes)),
            writer: Mutex::new(Some(tokio::spawn(writer.run(queue)))),
        })
    }

    /// The connections that read.
    pub(crate) fn readers(&self) -> &AnyPool {
        &self.readers
    }

    /// Waits for a read; `query` names it in errors and in the metrics.
    pub(crate) async fn read<T>(
        &self,
        query: &'static str,
        read: impl Future<Output = Result<T, sqlx::Error>>,
    ) -> Result<T, CatalogError> {
        let begun_at = Instant::now();
        let answer = in_time(query, async {
            failpoints::before("sql.read", query)
                .await
                .map_err(injected)?;
            let answer = read.await.doing(|| query.into())?;
            failpoints::after("sql.read", query)
                .await
                .map_err(injected)?;
            Ok(answer)
        })
        .await;
        metrics::histogram!(names::QUERY_SECONDS, "query" => query).record(begun_at.elapsed());
        match answer {
            Err(CatalogError::Database { source, .. })
                if matches!(*source, sqlx::Error::PoolClosed) =>
            {
                Err(CatalogError::Closed)
            }
            answer => answer,
        }
    }

    /// Queues a write and waits until it is durable. Writes that wait together share
    /// one commit; one that fails is undone alone. A write that was queued is carried
    /// out even if its caller goes away.
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
        let begun_at = Instant::now();
        let writes = lock(&self.writes).clone().ok_or(CatalogError::Closed)?;
        let (task, answer) = Task::new(change, work);
        let written = in_time(query, async {
            failpoints::before("sql.write", query)
                .await
                .map_err(injected)?;
            let closed = |_| CatalogError::Closed;
            writes.send(Box::new(task)).await.map_err(closed)?;
            drop(writes);
            let written = answer.await.map_err(|_| CatalogError::Closed)??;
            failpoints::after("sql.write", query)
                .await
                .map_err(injected)?;
            Ok(written)
        });
        let written = written.await;
        metrics::histogram!(names::WRITE_SECONDS, "query" => query).record(begun_at.elapsed());
        written
    }

    /// Carries out what is queued, then closes the file. Later calls fail.
    pub(crate) async fn close(&self) {
        drop(lock(&self.writes).take());
        self.readers.close().await;
        let writer = lock(&self.writer).take();
        if let Some(writer) = writer
            && let Err(error) = writer.await
        {
            tracing::error!(%error, "the catalog's writer did not end well");
        }
    }
}

/// The address of a catalog in this file, whatever signs its path has.
pub fn sqlite_url(path: &Path) -> String {
    use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
    const KEPT: &AsciiSet = &NON_ALPHANUMERIC
        .remove(b'/')
        .remove(b'.')
        .remove(b'-')
        .remove(b'_');
    format!(
        "sqlite://{}",
        utf8_percent_encode(&path.to_string_lossy(), KEPT)
    )
}

/// Brings the tables up to date, however long that takes on a large database. Of many
/// processes that start together one does it, under the database's own lock, and the
/// others wait and find it done.
async fn migrate(connection: &mut AnyConnection, engine: &Engine) -> Result<(), CatalogError> {
    let migrated = sqlx::migrate!().run(connection).await;
    migrated.map_err(|source| match source {
        MigrateError::VersionMissing(version) => CatalogError::Address {
            url: engine.shown(),
            fault: format!("a newer version of this program has written it (tables {version})"),
        },
        source => CatalogError::Migration {
            source: Arc::new(source),
        },
    })
}

/// The work's answer, or an error when [`MAX_WAIT`] is over.
async fn in_time<T>(
    doing: impl Into<Cow<'static, str>>,
    work: impl Future<Output = Result<T, CatalogError>>,
) -> Result<T, CatalogError> {
    tokio::time::timeout(MAX_WAIT, work)
        .await
        .unwrap_or_else(|_| {
            Err(CatalogError::Timeout {
                doing: doing.into().into_owned(),
                seconds: MAX_WAIT.as_secs(),
            })
        })
}

/// What a test ordered looks like a lost connection.
fn injected(injected: failpoints::Injected) -> CatalogError {
    CatalogError::Database {
        doing: injected.to_string(),
        source: Arc::new(sqlx::Error::WorkerCrashed),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;

//! The one connection that writes. Writes come in by a bounded queue, those that wait
//! together go into one commit, and each caller is answered after it: a flush of the
//! disk serves many, and nobody meets SQLite's `database is locked`.

use std::time::Duration;

use futures::future::BoxFuture;
use sqlx::AnyConnection;
use sqlx::Connection;
use tokio::sync::{mpsc, oneshot};

use super::{Change, Engine, OnCommit};
use crate::error::Doing;
use crate::{CatalogError, metrics as names};

/// Writes in one commit. More delays the first of them for the sake of the last, and
/// lets one failed commit fail more of them; fewer costs more flushes under load.
const MAX_WRITES_PER_COMMIT: usize = 128;

/// How long a commit may take on a server: beyond the wait for other processes' lock, and for
/// what they do under it. Shorter gives up honest commits; longer lets a dead connection
/// hold up every write of the process.
const SILENT_FOR: Duration = Duration::from_secs(20);

/// How long a server may take to part.
const CLOSE_WITHIN: Duration = Duration::from_secs(1);

/// A queued write.
pub(super) trait Job: Send {
    /// Does the work inside the transaction and keeps its result; the answer tells
    /// whether the work is to be kept.
    fn run<'c>(&'c mut self, connection: &'c mut AnyConnection) -> BoxFuture<'c, bool>;

    /// What the work makes stale.
    fn change(&self) -> Change;

    /// Answers the caller.
    fn answer(self: Box<Self>, commit: Result<(), CatalogError>);
}

/// A write with the type of its result.
pub(super) struct Task<T, F> {
    change: Change,
    work: Option<F>,
    result: Option<Result<T, CatalogError>>,
    caller: oneshot::Sender<Result<T, CatalogError>>,
}

impl<T, F> Task<T, F> {
    /// A write, and where its result will come.
    pub(super) fn new(
        change: Change,
        work: F,
    ) -> (Self, oneshot::Receiver<Result<T, CatalogError>>) {
        let (caller, answer) = oneshot::channel();
        let task = Self {
            change,
            work: Some(work),
            result: None,
            caller,
        };
        (task, answer)
    }
}

impl<T, F> Job for Task<T, F>
where
    T: Send,
    F: for<'c> FnOnce(&'c mut AnyConnection) -> BoxFuture<'c, Result<T, CatalogError>> + Send,
{
    fn run<'c>(&'c mut self, connection: &'c mut AnyConnection) -> BoxFuture<'c, bool> {
        Box::pin(async move {
            if let Some(work) = self.work.take() {
                self.result = Some(work(connection).await);
            }
            matches!(self.result, Some(Ok(_)))
        })
    }

    fn change(&self) -> Change {
        self.change
    }

    fn answer(self: Box<Self>, commit: Result<(), CatalogError>) {
        let result = match (commit, self.result) {
            // Its own failure tells the caller more than that of the commit.
            (_, Some(Err(error))) | (Err(error), _) => Err(error),
            (Ok(()), Some(result)) => result,
            (Ok(()), None) => Err(CatalogError::Closed),
        };
        // A caller that has gone away asks for no answer.
        let _ = self.caller.send(result);
    }
}

/// The task that owns the connection.
pub(super) struct Writer {
    engine: Engine,
    /// Absent after a failure, until the next write opens a new one: after a full
    /// disk SQLite may have ended the transaction by itself, and the connection's
    /// own count of transactions is wrong from then on.
    connection: Option<AnyConnection>,
    on_commit: OnCommit,
}

impl Writer {
    pub(super) fn new(engine: Engine, connection: AnyConnection, on_commit: OnCommit) -> Self {
        Self {
            engine,
            connection: Some(connection),
            on_commit,
        }
    }

    /// Writes until the queue is closed and empty.
    pub(super) async fn run(mut self, mut queue: mpsc::Receiver<Box<dyn Job>>) {
        let mut jobs = Vec::with_capacity(MAX_WRITES_PER_COMMIT);
        while queue.recv_many(&mut jobs, MAX_WRITES_PER_COMMIT).await > 0 {
            metrics::histogram!(names::COMMIT_WRITES).record(jobs.len() as f64);
            let commit = self.commit_in_time(&mut jobs).await;
            if commit.is_ok() {
                for job in &jobs {
                    (self.on_commit)(job.change());
                }
            } else {
                metrics::counter!(names::COMMIT_FAILURES).increment(1);
                self.discard().await;
            }
            for job in jobs.drain(..) {
                job.answer(commit.clone());
            }
        }
        self.discard().await;
    }

    /// A server that went silent in the middle (it lost its power, or the way to it is cut)
    /// says nothing for ever: its connection is given up, and the next commit opens a new one.
    /// A file of ours has no such way between, and its commit is waited for.
    async fn commit_in_time(&mut self, jobs: &mut [Box<dyn Job>]) -> Result<(), CatalogError> {
        if !self.engine.is_shared() {
            return self.commit(jobs).await;
        }
        let commit = tokio::time::timeout(SILENT_FOR, self.commit(jobs)).await;
        commit.unwrap_or_else(|_| {
            Err(CatalogError::Timeout {
                doing: "committing writes".into(),
                seconds: SILENT_FOR.as_secs(),
            })
        })
    }

    async fn commit(&mut self, jobs: &mut [Box<dyn Job>]) -> Result<(), CatalogError> {
        let connection = match &mut self.connection {
            Some(connection) => connection,
            absent => absent.insert(self.engine.connect_writer().await?),
        };
        let begun = connection.begin_with(self.engine.begin()).await;
        let mut transaction = begun.doing(|| "beginning a commit".into())?;
        let excluded = self.engine.exclude_others(&mut transaction).await;
        excluded.doing(|| "waiting for other processes' commits".into())?;
        for job in jobs.iter_mut() {
            // A savepoint each: one refused write takes none of the others with it.
            let savepoint = transaction.begin().await;
            let mut savepoint = savepoint.doing(|| "beginning a write".into())?;
            if job.run(&mut savepoint).await {
                savepoint.commit().await
            } else {
                savepoint.rollback().await
            }
            .doing(|| "ending a write".into())?;
        }
        let injected = super::injected;
        failpoints::before("sql.commit", "catalog")
            .await
            .map_err(injected)?;
        let committed = transaction.commit().await;
        committed.doing(|| "committing writes".into())?;
        failpoints::after("sql.commit", "catalog")
            .await
            .map_err(injected)
    }

    /// Closes the connection; SQLite then folds its log into the file.
    async fn discard(&mut self) {
        let Some(connection) = self.connection.take() else {
            return;
        };
        let closed = match self.engine.is_shared() {
            // It may be silent; what is dropped is closed as well.
            true => tokio::time::timeout(CLOSE_WITHIN, connection.close()).await,
            false => Ok(connection.close().await),
        };
        if let Ok(Err(error)) = closed {
            tracing::debug!(%error, "the catalog's writing connection did not close cleanly");
        }
    }
}

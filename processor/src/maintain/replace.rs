//! One file in the place of some, by one commit that takes those out and puts it in. The
//! position of the organizer (`txn`) is not touched.
//!
//! The commit is built on the version that was read. When an append comes in between, it fails,
//! the table is read again, and if all the files are still there, it is tried again; so is the
//! append that met it. Every retry begins with a read: a commit whose answer was lost is
//! found by the new file's name.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use deltalake_core::kernel::transaction::{CommitBuilder, CommitProperties, TransactionError};
use deltalake_core::kernel::{Action, Add, Remove};
use deltalake_core::protocol::DeltaOperation;
use deltalake_core::{DeltaResult, DeltaTable, DeltaTableError};

use super::table::{DataFile, Open};
use crate::error::ProcessorError;
use crate::organize::delta::{self, FileEntry};
use crate::organize::put::put_new;
use crate::organize::shard::ShardFile;

/// How often a commit is tried against appends, each time after a read. An append comes every
/// few seconds at most, so that the second try nearly always meets none.
const MAX_TRIES: u32 = 8;

/// What the names of new files begin with whose rows are as they were, ...
const MERGED: &str = "merged-";
/// ... and of those that have, or were merged of files that have, other values.
const CHANGED: &str = "changed-";

/// Whether a file of a table has only rows that were there before, as they were.
pub(crate) fn is_merged(name: &str) -> bool {
    name.starts_with(MERGED)
}

/// Whether a file of a table has rows that were there before with other values: who knew these
/// must read them anew.
pub(crate) fn is_changed(name: &str) -> bool {
    name.starts_with(CHANGED)
}

/// What the new file holds, beside what the old ones held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rows {
    /// The same: readers of changes need not look.
    Same,
    /// The same photos with other values.
    Changed,
}

/// Puts `file` in the place of `group`; whether it stands there now. Until the commit it is
/// nothing, and if it never comes the vacuum removes it.
pub(super) async fn replace(
    table: &mut Open,
    group: &[DataFile],
    file: ShardFile,
    rows: Rows,
) -> Result<bool, ProcessorError> {
    // The youngest of its rows' ages is its own: what counts days from then never counts too few.
    let made_at_ms = group.iter().map(|file| file.made_at_ms).max();
    let made_at_ms = made_at_ms.unwrap_or_else(|| chrono::Utc::now().timestamp_millis());
    let ShardFile {
        bytes,
        num_rows,
        labels,
    } = file;
    let has_changed = rows == Rows::Changed || group.iter().any(|file| is_changed(&file.path));
    let prefix = if has_changed { CHANGED } else { MERGED };
    let entry = FileEntry {
        path: format!("{prefix}{}.parquet", uuid::Uuid::now_v7().simple()),
        num_bytes: bytes.len(),
        num_rows,
        labels,
    };
    put_new(table.root.store(), &table.key, &entry.path, bytes).await?;
    let new = NewFile {
        entry,
        made_at_ms,
        rows,
    };
    commit(table, group, &new).await
}

/// The file that stands for a group.
struct NewFile {
    entry: FileEntry,
    /// When its youngest rows were written.
    made_at_ms: i64,
    rows: Rows,
}

async fn commit(
    table: &mut Open,
    group: &[DataFile],
    new: &NewFile,
) -> Result<bool, ProcessorError> {
    let mut tries = 0;
    loop {
        tries += 1;
        let failure = try_commit(&table.table, group, new).await.err();
        table.reload().await?;
        let named: HashSet<String> = table.files()?.into_iter().map(|file| file.path).collect();
        if named.contains(&new.entry.path) {
            return Ok(true);
        }
        let Some(failure) = failure else {
            // Committed, and replaced in turn by somebody else since.
            return Ok(true);
        };
        if !group.iter().all(|file| named.contains(&file.path)) {
            tracing::info!(table = %table.key, "another process has replaced these files; ours is left to the vacuum");
            return Ok(false);
        }
        if tries >= MAX_TRIES && lost_race(&failure) {
            tracing::info!(table = %table.key, "photos come faster than this commit; the next round tries again");
            return Ok(false);
        }
        if tries >= MAX_TRIES {
            let doing = format!("replacing files of {}", table.key);
            return Err(ProcessorError::delta(doing)(failure));
        }
        tracing::debug!(error = %failure, table = %table.key, tries, "a replacement met another commit; trying again");
        tokio::time::sleep(Duration::from_millis(20 << tries.min(6))).await;
    }
}

/// Whether nothing was wrong but that another commit was quicker.
fn lost_race(failure: &DeltaTableError) -> bool {
    let DeltaTableError::Transaction { source } = failure else {
        return false;
    };
    matches!(source, TransactionError::MaxCommitAttempts(_))
}

/// One try on the version read last; if the table has moved on, nothing is written.
async fn try_commit(table: &DeltaTable, group: &[DataFile], new: &NewFile) -> DeltaResult<()> {
    let now_ms = chrono::Utc::now().timestamp_millis();
    let data_change = new.rows == Rows::Changed;
    let removals = group.iter().map(|file| removal(file, now_ms, data_change));
    let mut actions: Vec<Action> = removals.collect();
    actions.push(Action::Add(Add {
        modification_time: new.made_at_ms,
        data_change,
        ..delta::add(&new.entry)
    }));
    let properties = CommitProperties::default()
        .with_max_retries(0)
        .with_cleanup_expired_logs(Some(false))
        .with_create_checkpoint(false);
    let operation = match new.rows {
        Rows::Same => DeltaOperation::Optimize {
            predicate: None,
            target_size: i64::try_from(new.entry.num_bytes).unwrap_or(i64::MAX),
        },
        Rows::Changed => DeltaOperation::Update { predicate: None },
    };
    CommitBuilder::from(properties)
        .with_actions(actions)
        .build(Some(table.snapshot()?), table.log_store(), operation)
        .await?;
    Ok(())
}

fn removal(file: &DataFile, now_ms: i64, data_change: bool) -> Action {
    Action::Remove(Remove {
        path: file.path.clone(),
        data_change,
        deletion_timestamp: Some(now_ms),
        extended_file_metadata: Some(true),
        partition_values: Some(HashMap::new()),
        size: i64::try_from(file.num_bytes).ok(),
        tags: None,
        deletion_vector: None,
        base_row_id: None,
        default_row_commit_version: None,
    })
}

//! Merges small files by one commit each, which takes the small ones out and puts the large
//! one in. The rows are the same before and after (`dataChange` is false), and the position of
//! the organizer (`txn`) is not touched.
//!
//! The commit is built on the version that was read. When an append comes in between, it fails,
//! the table is read again, and if all small files are still there, it is tried again; so is the
//! append that met a merge. Every retry begins with a read: a commit whose answer was lost is
//! found by the large file's name.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use deltalake_core::kernel::transaction::{CommitBuilder, CommitProperties, TransactionError};
use deltalake_core::kernel::{Action, Add, Remove};
use deltalake_core::protocol::DeltaOperation;
use deltalake_core::{DeltaResult, DeltaTable, DeltaTableError};
use tokio_util::sync::CancellationToken;

use super::plan::{MergePolicy, plan};
use super::report::TableReport;
use super::table::{DataFile, Kind, Open};
use super::{Mode, merge};
use crate::error::ProcessorError;
use crate::organize::delta::{self, FileEntry};
use crate::organize::put::put_new;
use crate::organize::shard::ShardFile;

/// How often a commit is tried against appends, each time after a read. An append comes every
/// few seconds at most, so that the second try nearly always meets none.
const MAX_TRIES: u32 = 8;

/// What the names of merged files begin with.
pub(super) const PREFIX: &str = "merged-";

/// Whether a file of a table has rows that were there before, as they were.
pub(crate) fn is_merged(name: &str) -> bool {
    name.starts_with(PREFIX)
}

/// Merges what is worth it.
pub(super) async fn compact(
    table: &mut Open,
    kind: Kind,
    policy: &MergePolicy,
    mode: Mode,
    stop: &CancellationToken,
    report: &mut TableReport,
) -> Result<(), ProcessorError> {
    for group in plan(&table.files()?, policy) {
        if stop.is_cancelled() {
            return Ok(());
        }
        let num_bytes: u64 = group.iter().map(|file| file.num_bytes).sum();
        let is_done = match mode {
            Mode::Look => true,
            Mode::Act => merge_group(table, kind, &group).await?,
        };
        if is_done {
            report.files_merged += group.len() as u64;
            report.bytes_merged += num_bytes;
            report.files_written += 1;
        }
    }
    Ok(())
}

/// Whether the group is one file now.
async fn merge_group(
    table: &mut Open,
    kind: Kind,
    group: &[DataFile],
) -> Result<bool, ProcessorError> {
    let Some(file) = merge::merge(table, kind, group).await? else {
        return Ok(false);
    };
    // The youngest of its rows' ages is its own: what counts days from then never counts too few.
    let made_at_ms = group.iter().map(|file| file.made_at_ms).max();
    let made_at_ms = made_at_ms.unwrap_or_else(|| chrono::Utc::now().timestamp_millis());
    let ShardFile {
        bytes,
        num_rows,
        labels,
    } = file;
    let file = FileEntry {
        path: format!("{PREFIX}{}.parquet", uuid::Uuid::now_v7().simple()),
        num_bytes: bytes.len(),
        num_rows,
        labels,
    };
    put_new(table.root.store(), &table.key, &file.path, bytes).await?;
    commit(table, group, &Merged { file, made_at_ms }).await
}

/// The file that stands for a group.
struct Merged {
    file: FileEntry,
    /// When its youngest rows were written.
    made_at_ms: i64,
}

async fn commit(
    table: &mut Open,
    group: &[DataFile],
    merged: &Merged,
) -> Result<bool, ProcessorError> {
    let mut tries = 0;
    loop {
        tries += 1;
        let failure = try_commit(&table.table, group, merged).await.err();
        table.reload().await?;
        let named: HashSet<String> = table.files()?.into_iter().map(|file| file.path).collect();
        if named.contains(&merged.file.path) {
            return Ok(true);
        }
        let Some(failure) = failure else {
            // Committed, and merged further by somebody else since.
            return Ok(true);
        };
        if !group.iter().all(|file| named.contains(&file.path)) {
            tracing::info!(table = %table.key, "another process has merged these files; ours is left to the vacuum");
            return Ok(false);
        }
        if tries >= MAX_TRIES && lost_race(&failure) {
            tracing::info!(table = %table.key, "photos come faster than this merge; the next round tries again");
            return Ok(false);
        }
        if tries >= MAX_TRIES {
            let doing = format!("committing merged files to {}", table.key);
            return Err(ProcessorError::delta(doing)(failure));
        }
        tracing::debug!(error = %failure, table = %table.key, tries, "a merge met another commit; trying again");
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
async fn try_commit(table: &DeltaTable, group: &[DataFile], merged: &Merged) -> DeltaResult<()> {
    let now_ms = chrono::Utc::now().timestamp_millis();
    let mut actions: Vec<Action> = group.iter().map(|file| removal(file, now_ms)).collect();
    actions.push(Action::Add(addition(merged)));
    let properties = CommitProperties::default()
        .with_max_retries(0)
        .with_cleanup_expired_logs(Some(false))
        .with_create_checkpoint(false);
    let operation = DeltaOperation::Optimize {
        predicate: None,
        target_size: i64::try_from(merged.file.num_bytes).unwrap_or(i64::MAX),
    };
    CommitBuilder::from(properties)
        .with_actions(actions)
        .build(Some(table.snapshot()?), table.log_store(), operation)
        .await?;
    Ok(())
}

fn removal(file: &DataFile, now_ms: i64) -> Action {
    Action::Remove(Remove {
        path: file.path.clone(),
        data_change: false,
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

fn addition(merged: &Merged) -> Add {
    Add {
        modification_time: merged.made_at_ms,
        data_change: false,
        ..delta::add(&merged.file)
    }
}

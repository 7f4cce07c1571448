//! The Delta log: a checkpoint now and then, so that a reader need not replay every commit,
//! and the end of entries that a checkpoint stands for and that are older than a month.
//!
//! The entry of the organizer's last commit always stays: after a crash it says which file
//! the table of rejections still lacks (`organize/delta.rs`).

use std::time::Duration;

use deltalake_core::protocol::checkpoints::{cleanup_expired_logs_for, create_checkpoint};
use deltalake_core::table::config::TablePropertiesExt as _;
use object_store::ObjectStoreExt as _;
use object_store::path::Path;

use super::report::TableReport;
use super::table::Open;
use super::vacuum::Kept;
use crate::error::ProcessorError;
use crate::organize::delta::COMMIT_ENTRY;

/// Commits since the last checkpoint that make a new one worth it: as many small objects are
/// read by everybody who opens the table.
const CHECKPOINT_EVERY: u64 = 20;

/// How far back the organizer's last commit is looked for. Only merges and added columns
/// can stand behind it.
const MAX_LOOKED_AT: u64 = 1_000;

/// The organizer's last commit to a table.
struct LastCommit {
    version: u64,
    /// The file of rejections that it names, if any.
    rejections: Option<String>,
}

/// The file that the newest commit to `photos` promises to `rejections`.
pub(super) async fn unfollowed(photos: &Open) -> Result<Vec<String>, ProcessorError> {
    let last = last_commit(photos).await?;
    Ok(last.and_then(|last| last.rejections).into_iter().collect())
}

/// Writes a checkpoint if there are enough commits since the last one, and removes what it
/// makes superfluous.
pub(super) async fn tidy(
    table: &mut Open,
    kept: &Kept,
    report: &mut TableReport,
) -> Result<(), ProcessorError> {
    let doing = || ProcessorError::delta(format!("tidying the log of {}", table.key));
    let version = table.version();
    if version >= last_checkpoint(table).await? + CHECKPOINT_EVERY {
        create_checkpoint(&table.table, None)
            .await
            .map_err(doing())?;
        report.checkpoints += 1;
    }
    let Some(last) = last_commit(table).await? else {
        return Ok(());
    };
    let pinned = kept.pinned.iter().filter_map(|v| u64::try_from(*v).ok());
    let keep_from = pinned.fold(version.min(last.version), u64::min);
    let snapshot = table.table.snapshot().map_err(doing())?;
    let age: Duration = snapshot.table_config().log_retention_duration();
    let age = i64::try_from(age.as_millis()).unwrap_or(i64::MAX);
    let cutoff_ms = chrono::Utc::now().timestamp_millis().saturating_sub(age);
    let log_store = table.table.log_store();
    let removed = cleanup_expired_logs_for(keep_from, log_store.as_ref(), cutoff_ms, None).await;
    report.log_files_removed += removed.map_err(doing())? as u64;
    Ok(())
}

/// The version of the newest checkpoint; 0 before the first.
async fn last_checkpoint(table: &Open) -> Result<u64, ProcessorError> {
    let key = Path::from(format!("{}/_delta_log/_last_checkpoint", table.key));
    let doing = || ProcessorError::store(format!("reading {key}"));
    let hint = match table.root.store().get(&key).await {
        Ok(found) => found.bytes().await.map_err(doing())?,
        Err(object_store::Error::NotFound { .. }) => return Ok(0),
        Err(error) => return Err(doing()(error)),
    };
    // One that cannot be read is written anew.
    let hint: Option<serde_json::Value> = serde_json::from_slice(&hint).ok();
    Ok(hint
        .and_then(|hint| hint.get("version")?.as_u64())
        .unwrap_or(0))
}

async fn last_commit(table: &Open) -> Result<Option<LastCommit>, ProcessorError> {
    let log = table.table.log_store();
    let newest = table.version();
    for version in (newest.saturating_sub(MAX_LOOKED_AT)..=newest).rev() {
        let doing = ProcessorError::delta(format!("reading version {version} of {}", table.key));
        let Some(bytes) = log.read_commit_entry(version).await.map_err(doing)? else {
            return Ok(None);
        };
        let actions: Vec<serde_json::Value> = bytes
            .split(|&byte| byte == b'\n')
            .filter_map(|line| serde_json::from_slice(line).ok())
            .collect();
        if actions.iter().any(|action| action.get("txn").is_some()) {
            let entry = actions
                .iter()
                .find_map(|action| action.get("commitInfo")?.get(COMMIT_ENTRY));
            let rejections = entry.and_then(|entry| entry.get("rejections")?.get("path")?.as_str());
            return Ok(Some(LastCommit {
                version,
                rejections: rejections.map(str::to_owned),
            }));
        }
    }
    Ok(None)
}

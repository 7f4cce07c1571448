//! Removes files of ours that no version within the retention names: those that a merge took
//! out, and those of writers that were killed before their commit.
//!
//! What stays: all that the newest version names; what was taken out within the retention; what
//! a pinned version names, however old; what a commit to `photos` has promised to
//! `rejections`; whatever is younger than the retention; and every file whose name is none
//! of ours.

use std::collections::HashSet;
use std::time::Duration;

use deltalake_core::kernel::transaction::CommitProperties;
use deltalake_core::table::config::TablePropertiesExt as _;
use futures::TryStreamExt as _;
use object_store::path::Path;
use object_store::{ObjectStore as _, ObjectStoreExt as _};
use schemas::topics;

use super::report::TableReport;
use super::table::Open;
use super::{Mode, replace};
use crate::error::ProcessorError;

/// The table's own word for the retention, which readers and other writers heed as well.
const RETENTION_PROPERTY: &str = "delta.deletedFileRetentionDuration";

/// What must stay whatever its age.
pub(super) struct Kept {
    /// All files of these versions.
    pub(super) pinned: Vec<i64>,
    /// These files.
    pub(super) names: Vec<String>,
}

/// Removes what nobody needs.
pub(super) async fn vacuum(
    table: &mut Open,
    retention: Duration,
    kept: &Kept,
    mode: Mode,
    report: &mut TableReport,
) -> Result<(), ProcessorError> {
    if mode == Mode::Act {
        announce(table, retention).await?;
    }
    let retention = chrono::TimeDelta::from_std(retention).unwrap_or(chrono::TimeDelta::MAX);
    let cutoff = chrono::Utc::now() - retention;
    // Listed before the version is read, so that what is committed meanwhile is known.
    let old = old_files(table, cutoff).await?;
    if old.is_empty() {
        return Ok(());
    }
    table.reload().await?;
    let needed = needed(table, cutoff.timestamp_millis(), kept).await?;
    let store = table.root.store().clone();
    for (name, num_bytes) in old {
        if needed.contains(&name) {
            continue;
        }
        if mode == Mode::Act {
            let key = Path::from(format!("{}/{name}", table.key));
            match store.delete(&key).await {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => {
                    return Err(ProcessorError::store(format!("removing {key}"))(error));
                }
            }
            tracing::debug!(%key, "a file that no version names is removed");
        }
        report.files_removed += 1;
        report.bytes_removed += num_bytes;
    }
    Ok(())
}

/// Tells the table of a retention above its own: a checkpoint forgets what was taken out
/// before the table's retention, and a file of which nothing is known would seem to be nobody's.
async fn announce(table: &mut Open, retention: Duration) -> Result<(), ProcessorError> {
    let doing = || ProcessorError::delta(format!("setting the retention of {}", table.key));
    let snapshot = table.table.snapshot().map_err(doing())?;
    if snapshot.table_config().deleted_file_retention_duration() >= retention {
        return Ok(());
    }
    let hours = retention.as_secs().div_ceil(3600);
    let wanted = [(
        RETENTION_PROPERTY.to_owned(),
        format!("interval {hours} hours"),
    )];
    let properties = CommitProperties::default()
        .with_max_retries(0)
        .with_cleanup_expired_logs(Some(false));
    let set = table
        .table
        .clone()
        .set_tbl_properties()
        .with_properties(wanted.into())
        .with_commit_properties(properties)
        .await;
    // Against an append that came first it is lost; then nothing is removed in this round.
    set.map_err(doing())?;
    table.reload().await
}

/// Data files of ours that are older than the retention, with their lengths.
async fn old_files(
    table: &Open,
    cutoff: chrono::DateTime<chrono::Utc>,
) -> Result<Vec<(String, u64)>, ProcessorError> {
    let doing = || ProcessorError::store(format!("listing {}", table.key));
    let folder = Path::from(table.key.to_string());
    let mut listed = table.root.store().list(Some(&folder));
    let mut old = Vec::new();
    while let Some(object) = listed.try_next().await.map_err(doing())? {
        let name: Vec<_> = object
            .location
            .prefix_match(&folder)
            .into_iter()
            .flatten()
            .collect();
        // Not in a folder of the table, such as its log.
        let [name] = &name[..] else { continue };
        if object.last_modified < cutoff && is_ours(name.as_ref()) {
            old.push((name.as_ref().to_owned(), object.size));
        }
    }
    Ok(old)
}

fn is_ours(name: &str) -> bool {
    let written = name
        .strip_prefix(topics::PREPARED)
        .is_some_and(|rest| rest.starts_with('-'));
    (written || replace::is_changed(name) || replace::is_merged(name)) && name.ends_with(".parquet")
}

/// The names of all files that must stay.
async fn needed(
    table: &Open,
    cutoff_ms: i64,
    kept: &Kept,
) -> Result<HashSet<String>, ProcessorError> {
    let doing = || ProcessorError::delta(format!("reading {}", table.key));
    let mut needed: HashSet<String> = kept.names.iter().cloned().collect();
    needed.extend(table.files()?.into_iter().map(|file| file.path));
    let snapshot = table.table.snapshot().map_err(doing())?;
    let log_store = table.table.log_store();
    let mut removed = snapshot.all_tombstones(log_store.as_ref());
    while let Some(file) = removed.try_next().await.map_err(doing())? {
        // Without a time it may have been a moment ago.
        if file.deletion_timestamp().is_none_or(|at| at >= cutoff_ms) {
            needed.insert(file.path().into_owned());
        }
    }
    for version in &kept.pinned {
        let Ok(version) = u64::try_from(*version) else {
            continue;
        };
        if version >= table.version() {
            continue;
        }
        let mut pinned = Open {
            key: table.key.clone(),
            root: table.root.clone(),
            table: table.table.clone(),
        };
        let reading = format!("reading version {version} of {}", table.key);
        let loaded = pinned.table.load_version(version).await;
        loaded.map_err(ProcessorError::delta(reading))?;
        needed.extend(pinned.files()?.into_iter().map(|file| file.path));
    }
    Ok(needed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_ours_by_its_name() {
        for (name, expected) in [
            ("prepared-0-000000000000-000000000009-0190.parquet", true),
            ("merged-0190.parquet", true),
            ("part-00000-0190.snappy.parquet", false),
            ("prepared.parquet", false),
            ("merged-0190.parquet.bak", false),
            ("deletion_vector_0190.bin", false),
        ] {
            assert_eq!(is_ours(name), expected, "{name}");
        }
    }
}

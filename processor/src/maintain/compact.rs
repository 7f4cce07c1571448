//! Merges small files by one commit each (`replace.rs`). The rows are the same before and after.

use tokio_util::sync::CancellationToken;

use super::plan::{MergePolicy, plan};
use super::replace::{Rows, replace};
use super::report::TableReport;
use super::table::{DataFile, Kind, Open};
use super::{Mode, merge};
use crate::error::ProcessorError;

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
    match merge::merge(table, kind, group).await? {
        Some(file) => replace(table, group, file, Rows::Same).await,
        None => Ok(false),
    }
}

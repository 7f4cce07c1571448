//! What a round did, or would do, for people and for `--json`.

use std::collections::BTreeMap;

use serde::Serialize;

/// A whole round.
#[derive(Debug, Default, Clone, Serialize)]
pub struct Report {
    /// Datasets, by id.
    pub datasets: Vec<DatasetReport>,
    /// Datasets on which something failed, and what.
    pub failures: BTreeMap<String, String>,
    /// Rows of the catalog.
    pub catalog: CatalogReport,
    /// How long it took.
    pub seconds: f64,
}

/// One dataset.
#[derive(Debug, Default, Clone, Serialize)]
pub struct DatasetReport {
    /// Its id.
    pub dataset: String,
    /// The table of accepted photos.
    pub photos: TableReport,
    /// The table of everything else.
    pub rejections: TableReport,
    /// Originals that the policy no longer wants.
    pub originals_removed: u64,
}

/// One table.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct TableReport {
    /// Small files that became part of larger ones.
    pub files_merged: u64,
    /// The larger ones.
    pub files_written: u64,
    /// Bytes of the small ones.
    pub bytes_merged: u64,
    /// Files that no version within the retention names.
    pub files_removed: u64,
    /// Their bytes.
    pub bytes_removed: u64,
    /// Checkpoints written.
    pub checkpoints: u64,
    /// Entries of the log that a checkpoint stands for.
    pub log_files_removed: u64,
}

/// Rows that were removed because of their age.
#[derive(Debug, Default, Clone, Copy, Serialize)]
pub struct CatalogReport {
    /// Verdicts `duplicate` and `rejected`.
    pub verdicts_removed: u64,
    /// Live events.
    pub events_removed: u64,
    /// Answers to requests with an `Idempotency-Key`.
    pub answers_removed: u64,
}

impl Report {
    /// All tables together.
    pub fn total(&self) -> TableReport {
        let tables = self
            .datasets
            .iter()
            .flat_map(|d| [&d.photos, &d.rejections]);
        tables.fold(TableReport::default(), |sum, table| TableReport {
            files_merged: sum.files_merged + table.files_merged,
            files_written: sum.files_written + table.files_written,
            bytes_merged: sum.bytes_merged + table.bytes_merged,
            files_removed: sum.files_removed + table.files_removed,
            bytes_removed: sum.bytes_removed + table.bytes_removed,
            checkpoints: sum.checkpoints + table.checkpoints,
            log_files_removed: sum.log_files_removed + table.log_files_removed,
        })
    }

    /// Originals of all datasets.
    pub fn originals_removed(&self) -> u64 {
        self.datasets.iter().map(|d| d.originals_removed).sum()
    }
}

//! A table as maintenance sees it: opened, never made, and its files with what a merge
//! must know of them.

use deltalake_core::{DeltaTable, DeltaTableBuilder};
use schemas::{ObjectKey, table};

use crate::error::ProcessorError;
use crate::objects::ObjectRoot;

/// Which columns a table has, and in which order its rows stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Sorted by label; within one, in the order they came.
    Photos,
    /// In the order they came.
    Rejections,
}

impl Kind {
    /// The columns that this version writes.
    pub(super) fn schema(self) -> arrow::datatypes::SchemaRef {
        match self {
            Self::Photos => table::photos(),
            Self::Rejections => table::rejections(),
        }
    }
}

/// An open table.
pub(super) struct Open {
    /// Its key, for messages and for the names of its files.
    pub(super) key: ObjectKey,
    /// Where everything lies.
    pub(super) root: ObjectRoot,
    /// The table at the version read last.
    pub(super) table: DeltaTable,
}

/// A data file that the newest version names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct DataFile {
    /// Its name within the table.
    pub(super) path: String,
    /// Its length.
    pub(super) num_bytes: u64,
    /// Its rows, if the log tells.
    pub(super) num_rows: Option<usize>,
    /// When it was made, in ms since 1970.
    pub(super) made_at_ms: i64,
    /// Somebody has marked rows of it as deleted.
    pub(super) has_deleted_rows: bool,
}

/// Opens the table; none if there is none.
pub(super) async fn open(
    root: &ObjectRoot,
    key: &ObjectKey,
) -> Result<Option<Open>, ProcessorError> {
    let url = root.table_url(key);
    let doing = || ProcessorError::delta(format!("opening {key}"));
    let mut table = DeltaTableBuilder::from_url(url.clone())
        .and_then(|builder| builder.with_storage_backend(root.outer(), url).build())
        .map_err(doing())?;
    if !table.verify_deltatable_existence().await.map_err(doing())? {
        return Ok(None);
    }
    table.load().await.map_err(doing())?;
    Ok(Some(Open {
        key: key.clone(),
        root: root.clone(),
        table,
    }))
}

impl Open {
    /// Reads the newest version.
    pub(super) async fn reload(&mut self) -> Result<(), ProcessorError> {
        let doing = ProcessorError::delta(format!("reading {}", self.key));
        self.table.update_state().await.map_err(doing)
    }

    /// The files of the version read last, the oldest first.
    pub(super) fn files(&self) -> Result<Vec<DataFile>, ProcessorError> {
        let doing = ProcessorError::delta(format!("reading {}", self.key));
        let snapshot = self.table.snapshot().map_err(doing)?;
        let mut files: Vec<DataFile> = snapshot
            .log_data()
            .into_iter()
            .map(|file| DataFile {
                path: file.path().into_owned(),
                num_bytes: u64::try_from(file.size()).unwrap_or_default(),
                num_rows: file.num_records(),
                made_at_ms: file.modification_time(),
                has_deleted_rows: file.deletion_vector_descriptor().is_some(),
            })
            .collect();
        files.sort_by(|a, b| (a.made_at_ms, &a.path).cmp(&(b.made_at_ms, &b.path)));
        Ok(files)
    }

    /// The version read last.
    pub(super) fn version(&self) -> u64 {
        self.table.version().unwrap_or_default()
    }
}

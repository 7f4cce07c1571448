//! The exactly-once commit. In goes a batch of judged records, out comes the version of
//! the photos table that holds them; afterwards every record up to the batch's last
//! offset is in the tables once, however often this is tried and wherever it dies.
//!
//! 1. The files are written under names of their own: until a commit names them they
//!    are nothing.
//! 2. ONE commit to the photos table adds the shard, names the file of rejections, and
//!    moves `txn(prepared/{partition})` to the last offset. This is the only truth.
//! 3. The rejections table follows: its own commit adds that file with the same `txn`.
//!    Dying in between is repaired on the next load, before anything new is committed.
//!
//! Every retry begins with a read: the `txn` in the table says whether a commit whose
//! answer was lost is there, and whether another worker has taken over.

use std::collections::HashMap;
use std::sync::Arc;

use deltalake_core::kernel::engine::arrow_conversion::TryIntoKernel as _;
use deltalake_core::kernel::transaction::{CommitBuilder, CommitProperties};
use deltalake_core::kernel::{Action, Add, Transaction};
use deltalake_core::protocol::{DeltaOperation, SaveMode};
use deltalake_core::{DeltaTable, DeltaTableError};
use schemas::{DatasetId, ObjectKey, planted, table};
use serde::{Deserialize, Serialize};

use super::put::{MAX_TRIES, pause, put_new};
use super::shard::ShardFile;
use crate::error::ProcessorError;
use crate::objects::ObjectRoot;

mod open;

use open::open_or_create;
pub(crate) use open::with_photo_columns;

/// The name of our own entry in a commit's `commitInfo`.
pub(crate) const COMMIT_ENTRY: &str = "tintype";

/// What a commit to `photos` says about the rejections that belong to it.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct CommitEntry {
    /// Its own, so that it is told from another worker's commit up to the same offset.
    #[serde(default)]
    id: String,
    rejections: Option<FileEntry>,
}

impl CommitEntry {
    fn new(rejections: Option<FileEntry>) -> Self {
        let id = uuid::Uuid::now_v7().simple().to_string();
        Self { id, rejections }
    }
}

/// A data file, as a commit names it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct FileEntry {
    pub(crate) path: String,
    pub(crate) num_bytes: usize,
    pub(crate) num_rows: usize,
    pub(crate) labels: (String, String),
}

/// The two tables of one dataset, as this partition's owner writes them.
pub struct Tables {
    dataset: DatasetId,
    /// `prepared/{partition}@{incarnation}`: under this name the tables keep our position.
    app_id: String,
    partition: i32,
    root: ObjectRoot,
    photos: DeltaTable,
    rejections: DeltaTable,
    /// The last offset that the photos table has, -1 before the first.
    position: i64,
}

impl Tables {
    /// Opens the tables, made empty if they are not there, and finishes what a process
    /// that died between the two commits left open.
    ///
    /// # Errors
    /// The store or a table cannot be read or written.
    pub async fn open(
        root: &ObjectRoot,
        dataset: &DatasetId,
        partition: i32,
        incarnation: &str,
    ) -> Result<Self, ProcessorError> {
        let photos = ObjectKey::PhotosTable {
            dataset: dataset.clone(),
        };
        let rejections = ObjectKey::RejectionsTable {
            dataset: dataset.clone(),
        };
        let mut tables = Self {
            dataset: dataset.clone(),
            app_id: app_id(partition, incarnation),
            partition,
            root: root.clone(),
            photos: open_or_create(root, &photos, table::photos().as_ref().try_into_kernel())
                .await?,
            rejections: open_or_create(
                root,
                &rejections,
                table::rejections().as_ref().try_into_kernel(),
            )
            .await?,
            position: -1,
        };
        tables.position = tables.committed(&tables.photos).await?;
        tables.follow_up().await?;
        Ok(tables)
    }

    /// Goes on under another name, since the offsets of the stream have turned out to be
    /// given a second time: those that the tables remember say nothing about new records.
    pub fn begin_anew(&mut self) {
        self.app_id = app_id(self.partition, &uuid::Uuid::now_v7().simple().to_string());
        self.position = -1;
    }

    /// The last offset that the tables have; -1 before the first.
    pub fn position(&self) -> i64 {
        self.position
    }

    /// The table of accepted photos.
    pub fn photos(&self) -> &DeltaTable {
        &self.photos
    }

    /// The table of everything else.
    pub fn rejections(&self) -> &DeltaTable {
        &self.rejections
    }

    /// Paths of the data files of both tables.
    pub fn files(&self) -> Vec<String> {
        let tables = [&self.photos, &self.rejections];
        let snapshots = tables.into_iter().filter_map(|table| table.snapshot().ok());
        snapshots
            .flat_map(|snapshot| snapshot.log_data().into_iter())
            .map(|file| file.object_store_path().to_string())
            .collect()
    }

    /// The version that the photos table is at.
    pub fn version(&self) -> i64 {
        self.photos
            .version()
            .and_then(|version| i64::try_from(version).ok())
            .unwrap_or(-1)
    }

    /// Commits the files of a batch whose records stand at `offsets`, first and last, and
    /// tells the version of the photos table that holds them.
    ///
    /// # Errors
    /// The store fails on and on, or another worker is further than we are. Either way the
    /// caller drops its state and begins anew from what the table says.
    pub async fn commit(
        &mut self,
        offsets: (i64, i64),
        photos: Option<ShardFile>,
        rejections: Option<ShardFile>,
    ) -> Result<i64, ProcessorError> {
        let mut actions = Vec::new();
        if let Some(file) = photos {
            let table = ObjectKey::PhotosTable {
                dataset: self.dataset.clone(),
            };
            actions.push(Action::Add(add(&self
                .write_file(&table, offsets, file)
                .await?)));
        }
        let mut entry = CommitEntry::new(None);
        if let Some(file) = rejections {
            let table = ObjectKey::RejectionsTable {
                dataset: self.dataset.clone(),
            };
            entry.rejections = Some(self.write_file(&table, offsets, file).await?);
        }
        let version = self.commit_photos(offsets.1, actions, &entry).await?;
        if let Some(file) = &entry.rejections {
            self.commit_rejections(offsets.1, file).await?;
        }
        Ok(version)
    }

    /// What a process leaves that dies between its two commits.
    #[cfg(test)]
    pub(crate) async fn commit_photos_only(&mut self, offsets: (i64, i64), file: ShardFile) {
        let table = ObjectKey::RejectionsTable {
            dataset: self.dataset.clone(),
        };
        let file = self.write_file(&table, offsets, file).await.unwrap();
        let entry = CommitEntry::new(Some(file));
        let committed = self.commit_photos(offsets.1, Vec::new(), &entry).await;
        committed.unwrap();
    }

    async fn write_file(
        &self,
        table: &ObjectKey,
        (first, last): (i64, i64),
        file: ShardFile,
    ) -> Result<FileEntry, ProcessorError> {
        let path = format!(
            "{}-{}-{first:012}-{last:012}-{}.parquet",
            schemas::topics::PREPARED,
            self.partition,
            uuid::Uuid::now_v7().simple()
        );
        let entry = FileEntry {
            path: path.clone(),
            num_bytes: file.bytes.len(),
            num_rows: file.num_rows,
            labels: file.labels,
        };
        put_new(self.root.store(), table, &path, file.bytes).await?;
        Ok(entry)
    }

    /// The one commit that counts.
    async fn commit_photos(
        &mut self,
        last: i64,
        actions: Vec<Action>,
        entry: &CommitEntry,
    ) -> Result<i64, ProcessorError> {
        let before = self.position;
        let mut tries = 0;
        loop {
            tries += 1;
            let seen = self.photos.version();
            let info = serde_json::to_value(entry).unwrap_or_default();
            let failure =
                match commit(&self.photos, &self.app_id, last, actions.clone(), info).await {
                    Ok(version) => {
                        reload(&mut self.photos, "photos", &self.dataset).await?;
                        self.position = last;
                        return Ok(version);
                    }
                    Err(error) => error,
                };
            // Did it arrive all the same? Has somebody else gone on?
            reload(&mut self.photos, "photos", &self.dataset).await?;
            let position = self.committed(&self.photos).await?;
            if planted::is("blind-retry") || planted::is("late-fence") && position != last {
                continue;
            }
            if position == last {
                let found = self.entry_at(last).await?;
                if found.is_none_or(|(_, found)| found.id != entry.id) {
                    return Err(ProcessorError::Fenced {
                        dataset: self.dataset.to_string(),
                        what: format!("both wanted {last}"),
                    });
                }
                tracing::info!(dataset = %self.dataset, last, "a commit whose answer was lost is there");
                self.position = last;
                return Ok(self.version());
            }
            if position != before {
                return Err(ProcessorError::Fenced {
                    dataset: self.dataset.to_string(),
                    what: format!("ours was {before}, wanted {last}, the table has {position}"),
                });
            }
            if let Some(other) = self.committed_by_another(seen).await? {
                return Err(ProcessorError::Fenced {
                    dataset: self.dataset.to_string(),
                    what: format!("{other} has rows that ours were not judged against"),
                });
            }
            if tries >= MAX_TRIES {
                return Err(ProcessorError::delta(format!(
                    "committing to photos of {}",
                    self.dataset
                ))(failure));
            }
            tracing::warn!(error = %failure, dataset = %self.dataset, tries, "a commit failed; trying again");
            pause(tries).await;
        }
    }

    /// Who has committed records since version `seen` under another name than ours, as
    /// the owner of another partition does when partitions were added and the dataset moved, or
    /// who went on under a name of its own (`begin_anew`).
    async fn committed_by_another(
        &self,
        seen: Option<u64>,
    ) -> Result<Option<String>, ProcessorError> {
        let first = seen.map_or(0, |seen| seen + 1);
        for version in first..=self.photos.version().unwrap_or(0) {
            for action in self.actions(version).await?.unwrap_or_default() {
                let name = action["txn"]["appId"].as_str().unwrap_or_default();
                if name.starts_with(schemas::topics::PREPARED) && name != self.app_id {
                    return Ok(Some(name.to_owned()));
                }
            }
        }
        Ok(None)
    }

    async fn commit_rejections(
        &mut self,
        last: i64,
        file: &FileEntry,
    ) -> Result<(), ProcessorError> {
        let mut tries = 0;
        while self.committed(&self.rejections).await? < last {
            tries += 1;
            let actions = vec![Action::Add(add(file))];
            let result = commit(
                &self.rejections,
                &self.app_id,
                last,
                actions,
                serde_json::Value::Null,
            )
            .await;
            reload(&mut self.rejections, "rejections", &self.dataset).await?;
            if let Err(error) = result {
                if tries >= MAX_TRIES {
                    return Err(ProcessorError::delta(format!(
                        "committing to rejections of {}",
                        self.dataset
                    ))(error));
                }
                tracing::warn!(%error, dataset = %self.dataset, tries, "a commit failed; reading and trying again");
                pause(tries).await;
            }
        }
        Ok(())
    }

    /// Brings the rejections table to where the photos table says it should be. Only the
    /// last of our commits can be unfollowed: the next one waits for this.
    async fn follow_up(&mut self) -> Result<(), ProcessorError> {
        if self.position < 0 || self.committed(&self.rejections).await? >= self.position {
            return Ok(());
        }
        if let Some((version, entry)) = self.entry_at(self.position).await?
            && let Some(file) = entry.rejections
        {
            tracing::info!(dataset = %self.dataset, version, "finishing a commit that a crash cut in two");
            self.commit_rejections(self.position, &file).await?;
        }
        Ok(())
    }

    /// The commit to photos that moved our name to `position`, if the log still has it.
    async fn entry_at(&self, position: i64) -> Result<Option<(u64, CommitEntry)>, ProcessorError> {
        for version in (0..=self.photos.version().unwrap_or(0)).rev() {
            let Some(lines) = self.actions(version).await? else {
                break;
            };
            let ours = lines.iter().any(|line| {
                line["txn"]["appId"] == self.app_id.as_str() && line["txn"]["version"] == position
            });
            if ours {
                let entry = lines
                    .iter()
                    .find_map(|line| line["commitInfo"].get(COMMIT_ENTRY))
                    .cloned();
                let entry = entry.and_then(|entry| serde_json::from_value(entry).ok());
                return Ok(entry.map(|entry| (version, entry)));
            }
        }
        Ok(None)
    }

    /// What a version of photos says, line by line; none if the log has it no more.
    async fn actions(
        &self,
        version: u64,
    ) -> Result<Option<Vec<serde_json::Value>>, ProcessorError> {
        let doing = format!("reading version {version} of photos of {}", self.dataset);
        let read = self.photos.log_store().read_commit_entry(version).await;
        let bytes = read.map_err(ProcessorError::delta(doing))?;
        Ok(bytes.map(|bytes| {
            bytes
                .split(|&byte| byte == b'\n')
                .filter_map(|line| serde_json::from_slice(line).ok())
                .collect()
        }))
    }

    async fn committed(&self, table: &DeltaTable) -> Result<i64, ProcessorError> {
        let doing = || ProcessorError::delta(format!("reading the position of {}", self.dataset));
        let snapshot = table.snapshot().map_err(doing())?;
        let log = table.log_store();
        Ok(snapshot
            .transaction_version(log.as_ref(), &self.app_id)
            .await
            .map_err(doing())?
            .unwrap_or(-1))
    }
}

/// Offsets belong to an incarnation of the topics; a broker that has only one gives no name.
fn app_id(partition: i32, incarnation: &str) -> String {
    let at = if incarnation.is_empty() { "" } else { "@" };
    format!("{}/{partition}{at}{incarnation}", schemas::topics::PREPARED)
}

async fn reload(
    table: &mut DeltaTable,
    name: &str,
    dataset: &DatasetId,
) -> Result<(), ProcessorError> {
    table
        .update_state()
        .await
        .map_err(ProcessorError::delta(format!(
            "reading {name} of {dataset}"
        )))
}

/// One try, built on the state that `table` was last read at: if the table has moved on
/// since, it fails and nothing is written.
async fn commit(
    table: &DeltaTable,
    app_id: &str,
    last: i64,
    actions: Vec<Action>,
    info: serde_json::Value,
) -> Result<i64, DeltaTableError> {
    let properties = CommitProperties::default()
        .with_max_retries(0)
        .with_cleanup_expired_logs(Some(false))
        .with_application_transaction(Transaction::new_with_last_update(
            app_id,
            last,
            Some(chrono::Utc::now().timestamp_millis()),
        ))
        .with_metadata(if info.is_null() {
            None
        } else {
            Some((COMMIT_ENTRY.to_owned(), info))
        });
    let operation = DeltaOperation::Write {
        mode: SaveMode::Append,
        partition_by: None,
        predicate: None,
    };
    let snapshot = table.snapshot()?;
    let done = CommitBuilder::from(properties)
        .with_actions(actions)
        .build(Some(snapshot), table.log_store(), operation)
        .await?;
    Ok(i64::try_from(done.version()).unwrap_or(i64::MAX))
}

/// A new file as a commit adds it, with what readers prune by.
pub(crate) fn add(file: &FileEntry) -> Add {
    let stats = serde_json::json!({
        "numRecords": file.num_rows,
        "minValues": {"label": file.labels.0},
        "maxValues": {"label": file.labels.1},
        "nullCount": {"label": 0},
    });
    Add {
        path: file.path.clone(),
        partition_values: HashMap::new(),
        size: i64::try_from(file.num_bytes).unwrap_or(i64::MAX),
        modification_time: chrono::Utc::now().timestamp_millis(),
        data_change: true,
        stats: Some(stats.to_string()),
        tags: None,
        deletion_vector: None,
        base_row_id: None,
        default_row_commit_version: None,
        clustering_provider: None,
    }
}

/// Shared by the loader: the store that a table's file paths are relative to.
pub(super) fn table_store(table: &DeltaTable) -> Arc<dyn object_store::ObjectStore> {
    table.object_store()
}

#[cfg(test)]
mod tests;

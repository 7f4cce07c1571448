//! Gives the rows of `photos` the embeddings of another model, as if they came in today: each
//! is computed from the row's own JPEG, as the stage "prepare" does it. Every other value stays.
//!
//! Files with such rows are written anew, small ones together, and each new file is put in
//! by one commit (`replace.rs`). What is committed is done: whoever starts again reads which
//! model the rows name, and goes on with those that name another one. Photos that come in
//! meanwhile are not touched, nor are files that a newer version wrote.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use arrow::array::{
    Array as _, ArrayRef, AsArray as _, BinaryArray, Float32Builder, ListArray, ListBuilder,
    RecordBatch, StringArray,
};
use arrow::datatypes::Float32Type;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use parquet::arrow::ProjectionMask;
use schemas::{DatasetId, ObjectKey};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::replace::{Rows, replace};
use super::table::{self, DataFile, Kind, Open};
use super::{MaintainSettings, Mode, Round, in_turn, merge, plan};
use crate::error::ProcessorError;
use crate::organize::delta;
use crate::prepare::Embedder;

/// Files that are looked into at once: a few small ranges of each.
const FILES_AHEAD: usize = 8;

/// What became of a table's embeddings.
#[derive(Debug, Default, Clone, PartialEq, Serialize)]
pub struct ReembedReport {
    /// The dataset's id.
    pub dataset: String,
    /// What embeds now, as the column `embedding_model` names it.
    pub model: String,
    /// Photos of the table.
    pub photos: u64,
    /// Those that had no embedding of this model; nothing but a look counts them only.
    pub due: u64,
    /// Those of them that have one now.
    pub embedded: u64,
    /// Those whose picture cannot be read: they stay as they are.
    pub unreadable: u64,
    /// Those whose file could not be replaced, or that were not come to.
    pub left: u64,
    /// The new files.
    pub files_written: u64,
    /// How long it took.
    pub seconds: f64,
}

/// Embeds every photo of `dataset` that has no embedding of `embedder`'s model, in the turn of
/// maintenance, unless another process has it. `progress` is told how many of how many are
/// done. With [`Mode::Look`] they are only counted, and no turn is taken.
///
/// # Errors
/// The catalog, the store or the table fails; what is committed by then stays.
pub async fn reembed(
    settings: &MaintainSettings,
    dataset: &DatasetId,
    embedder: &Arc<Embedder>,
    mode: Mode,
    progress: &(dyn Fn(u64, u64) + Send + Sync),
    shutdown: &CancellationToken,
) -> Result<Round<ReembedReport>, ProcessorError> {
    let stop = shutdown.child_token();
    let work = Work {
        settings,
        embedder,
        progress,
        stop: &stop,
    };
    let work = work.table(dataset, mode);
    match mode {
        Mode::Look => work.await.map(Round::Done),
        Mode::Act => in_turn(settings, Duration::ZERO, false, &stop, work).await,
    }
}

struct Work<'a> {
    settings: &'a MaintainSettings,
    embedder: &'a Arc<Embedder>,
    progress: &'a (dyn Fn(u64, u64) + Send + Sync),
    stop: &'a CancellationToken,
}

impl Work<'_> {
    async fn table(
        &self,
        dataset: &DatasetId,
        mode: Mode,
    ) -> Result<ReembedReport, ProcessorError> {
        let began = Instant::now();
        let mut report = ReembedReport {
            dataset: dataset.to_string(),
            model: self.embedder.model().to_string(),
            ..ReembedReport::default()
        };
        let key = ObjectKey::PhotosTable {
            dataset: dataset.clone(),
        };
        let Some(mut table) = table::open(&self.settings.objects, &key).await? else {
            // Nothing was accepted yet.
            return Ok(report);
        };
        let mut due = Vec::new();
        for (file, of) in due_files(&table, &report.model).await? {
            report.photos += of.rows;
            report.due += of.due;
            if of.due > 0 {
                due.push(file);
            }
        }
        if mode == Mode::Act && !due.is_empty() {
            (self.progress)(0, report.due);
            table.table = delta::with_photo_columns(table.table, &key).await?;
            for group in plan::fill(&due, &self.settings.merge) {
                if self.stop.is_cancelled() {
                    break;
                }
                self.group(&mut table, &group, &mut report).await?;
            }
            report.left = report
                .due
                .saturating_sub(report.embedded + report.unreadable);
        }
        report.seconds = began.elapsed().as_secs_f64();
        Ok(report)
    }

    /// Writes a group of files anew. Nothing of it counts before its commit.
    async fn group(
        &self,
        table: &mut Open,
        group: &[DataFile],
        report: &mut ReembedReport,
    ) -> Result<(), ProcessorError> {
        if group.iter().any(|file| file.has_deleted_rows) {
            return Ok(());
        }
        let Some(mut chunks) = merge::rows(table, Kind::Photos, group).await? else {
            return Ok(());
        };
        let (mut embedded, mut unreadable) = (0, 0);
        for chunk in &mut chunks {
            if self.stop.is_cancelled() {
                return Ok(());
            }
            let (rows, embedder) = (chunk.clone(), Arc::clone(self.embedder));
            let done = tokio::task::spawn_blocking(move || embed(&rows, &embedder)).await;
            let damaged = |what: String| ProcessorError::Table {
                table: table.key.to_string(),
                what,
            };
            let done = done.map_err(|error| damaged(format!("embedding its photos: {error}")))?;
            let done = done.ok_or_else(|| damaged("its columns are not ours".into()))?;
            *chunk = done.rows;
            embedded += done.embedded;
            unreadable += done.unreadable;
            let so_far = report.embedded + report.unreadable + embedded + unreadable;
            (self.progress)(so_far, report.due);
        }
        if embedded > 0 {
            let file = merge::file(table, Kind::Photos, chunks).await?;
            if !replace(table, group, file, Rows::Changed).await? {
                return Ok(());
            }
            report.files_written += 1;
        }
        report.embedded += embedded;
        report.unreadable += unreadable;
        Ok(())
    }
}

/// What a file holds.
#[derive(Default)]
struct Count {
    rows: u64,
    due: u64,
}

/// Every file, with how many of its rows name another model or none.
async fn due_files(table: &Open, model: &str) -> Result<Vec<(DataFile, Count)>, ProcessorError> {
    let files = stream::iter(table.files()?).map(|file| async move {
        let count = count(table, &file, model).await?;
        Ok((file, count))
    });
    files.buffered(FILES_AHEAD).try_collect().await
}

async fn count(table: &Open, file: &DataFile, model: &str) -> Result<Count, ProcessorError> {
    let doing = || ProcessorError::parquet(format!("reading {} of {}", file.path, table.key));
    let builder = merge::open(table, file).await?;
    let rows = builder.metadata().file_metadata().num_rows();
    let rows = u64::try_from(rows).unwrap_or_default();
    let mask = ProjectionMask::columns(builder.parquet_schema(), ["embedding_model"]);
    let mut names = builder.with_projection(mask).build().map_err(doing())?;
    let mut current = 0;
    while let Some(batch) = names.try_next().await.map_err(doing())? {
        // Files that are older than the column have none.
        let column = batch.column_by_name("embedding_model");
        if let Some(names) = column.and_then(|names| names.as_string_opt::<i32>()) {
            current += names.iter().filter(|name| *name == Some(model)).count() as u64;
        }
    }
    Ok(Count {
        rows,
        due: rows - current,
    })
}

/// Rows with their new embeddings.
struct Embedded {
    rows: RecordBatch,
    embedded: u64,
    unreadable: u64,
}

/// Computes what is due, on all cores; none if the columns are not those of photos.
fn embed(rows: &RecordBatch, embedder: &Embedder) -> Option<Embedded> {
    let image = rows.column_by_name("image")?.as_struct_opt()?;
    let jpegs = image.column_by_name("bytes")?.as_binary_opt::<i32>()?;
    let old = Old {
        embeddings: rows.column_by_name("embedding")?.as_list_opt()?,
        models: rows.column_by_name("embedding_model")?.as_string_opt()?,
    };
    let model = embedder.model().to_string();
    let due: Vec<usize> = (0..rows.num_rows())
        .filter(|&row| old.model(row) != Some(&model))
        .collect();
    let mut new = vec![None; rows.num_rows()];
    let (mut embedded, mut unreadable) = (0, 0);
    for (row, found) in on_all_cores(&due, jpegs, embedder) {
        match found {
            Ok(features) => {
                new[row] = Some(features);
                embedded += 1;
            }
            Err(fault) => {
                tracing::warn!(fault, "a photo cannot be embedded and stays as it is");
                unreadable += 1;
            }
        }
    }
    let rows = with_embeddings(rows, &old, &new, &model)?;
    Some(Embedded {
        rows,
        embedded,
        unreadable,
    })
}

/// What the rows hold so far.
struct Old<'a> {
    embeddings: &'a ListArray,
    models: &'a StringArray,
}

impl Old<'_> {
    /// What the row's embedding was computed by, if it has one.
    fn model(&self, row: usize) -> Option<&str> {
        let has_one = self.embeddings.is_valid(row) && self.models.is_valid(row);
        has_one.then(|| self.models.value(row))
    }
}

type Found = Result<Vec<f32>, String>;

fn on_all_cores(due: &[usize], jpegs: &BinaryArray, embedder: &Embedder) -> Vec<(usize, Found)> {
    let num_threads = std::thread::available_parallelism().map_or(1, usize::from);
    let next = AtomicUsize::new(0);
    let work = || {
        let mut found = Vec::new();
        while let Some(&row) = due.get(next.fetch_add(1, Ordering::Relaxed)) {
            found.push((row, embedder.try_embed(jpegs.value(row))));
        }
        found
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..num_threads).map(|_| scope.spawn(work)).collect();
        let found = threads.into_iter().flat_map(|thread| {
            let found = thread.join();
            found.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        });
        found.collect()
    })
}

fn with_embeddings(
    rows: &RecordBatch,
    old: &Old<'_>,
    new: &[Option<Vec<f32>>],
    model: &str,
) -> Option<RecordBatch> {
    let item = schemas::table::embedding_item();
    let mut embeddings = ListBuilder::new(Float32Builder::new()).with_field(item);
    for (row, new) in new.iter().enumerate() {
        match new {
            Some(features) => embeddings.values().append_slice(features),
            None if old.embeddings.is_valid(row) => {
                let kept = old.embeddings.value(row);
                let kept = kept.as_primitive_opt::<Float32Type>()?;
                embeddings.values().append_slice(kept.values());
            }
            None => {}
        }
        embeddings.append(new.is_some() || old.embeddings.is_valid(row));
    }
    let models = new.iter().enumerate().map(|(row, new)| match new {
        Some(_) => Some(model),
        None => old.models.is_valid(row).then(|| old.models.value(row)),
    });
    let models: StringArray = models.collect();
    let schema = rows.schema();
    let mut columns = rows.columns().to_vec();
    columns[schema.index_of("embedding").ok()?] = Arc::new(embeddings.finish()) as ArrayRef;
    columns[schema.index_of("embedding_model").ok()?] = Arc::new(models);
    RecordBatch::try_new(schema, columns).ok()
}

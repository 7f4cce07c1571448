//! The index of a dataset, rebuilt from its tables' own columns, and the outcomes of the
//! rows that may not have been told before the process died.

use std::pin::pin;

use arrow::array::{
    Array as _, AsArray as _, BooleanArray, Float32Array, Int64Array, ListArray, RecordBatch,
    StringArray,
};
use arrow::datatypes::{Float32Type, Int32Type, Int64Type, TimestampMicrosecondType};
use deltalake_core::DeltaTable;
use deltalake_core::logstore::parquet_reader::ParquetObjectReader;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use object_store::path::Path;
use parquet::arrow::ProjectionMask;
use parquet::arrow::async_reader::ParquetRecordBatchStreamBuilder;
use schemas::events::{CaptureDecided, Scores};
use schemas::{CaptureId, Sha256, Status};

use super::clusters::Place;
use super::delta::{Tables, table_store};
use super::fingerprints::{Fingerprints, Pdq};
use super::index::Index;
use super::sketch::Sketch;
use super::snapshot::Snapshot;
use crate::error::ProcessorError;
use crate::maintain::is_merged;

/// Rows read at a time: 5 MB of embeddings. More only takes memory.
const BATCH_ROWS: usize = 1024;

/// Files whose first rows are fetched ahead. A table of small files is read as fast as the
/// store answers many at once; more holds so many times 5 MB.
const FILES_AHEAD: usize = 8;

/// What stands in the tables.
#[derive(Default)]
pub struct Loaded {
    /// Everything that was judged.
    pub index: Index,
    /// The outcomes of rows at or past the offset that was asked for.
    pub outcomes: Vec<CaptureDecided>,
    /// How many rows were read for it.
    pub num_read: usize,
    /// How many of these were known before they were read.
    num_known: usize,
}

/// Reads both tables, or what a snapshot does not have of them. Rows of `partition` from
/// offset `tell_from` on come back as outcomes too: their records are about to be read again,
/// and nobody else can tell them. The snapshot must not have any of these.
///
/// # Errors
/// A file cannot be read, or is not ours.
pub async fn load(
    tables: &Tables,
    partition: i32,
    tell_from: i64,
    snapshot: Option<Snapshot>,
) -> Result<Loaded, ProcessorError> {
    let from = (partition, tell_from);
    if let Some(snapshot) = snapshot {
        let said = format!("{snapshot:?}");
        let (loaded, is_whole) = load_onto(tables, from, snapshot).await?;
        if is_whole {
            return Ok(loaded);
        }
        tracing::info!(
            snapshot = said,
            "rows were changed or removed since the index was kept; reading all"
        );
    }
    let (loaded, _) = load_onto(tables, from, Snapshot::default()).await?;
    Ok(loaded)
}

/// Adds to a snapshot the rows that it does not have; and whether those that it has are as they
/// were, and all still there.
async fn load_onto(
    tables: &Tables,
    (partition, tell_from): (i32, i64),
    snapshot: Snapshot,
) -> Result<(Loaded, bool), ProcessorError> {
    let is_warm = !snapshot.files.is_empty();
    let mut loaded = Loaded {
        index: snapshot.index,
        ..Loaded::default()
    };
    let version = tables.version();
    let mut num_rows = Some(0);
    for (table, columns, take_rows) in [
        (tables.photos(), PHOTO_COLUMNS, photos as TakeRows),
        (tables.rejections(), REJECTION_COLUMNS, rejections),
    ] {
        let files = files(table)?;
        num_rows = files
            .iter()
            .fold(num_rows, |sum, file| Some(sum? + file.num_rows?));
        let (mut merged, mut new) = (Vec::new(), Vec::new());
        for file in files {
            let is_known = snapshot.files.contains(file.path.as_ref())
                || is_warm && has_known_rows_only(table, &file, &loaded.index).await?;
            match is_known {
                true => {}
                false if is_merged(file.path.as_ref()) => merged.push(file),
                false => new.push(file),
            }
        }
        let mut take =
            |rows: &RecordBatch| take_rows(rows, version, partition, tell_from, &mut loaded);
        read(table, merged, columns, &mut take).await?;
        let num_known = loaded.num_known;
        let mut take =
            |rows: &RecordBatch| take_rows(rows, version, partition, tell_from, &mut loaded);
        read(table, new, columns, &mut take).await?;
        // A row comes in once. One that comes again has been changed.
        if is_warm && loaded.num_known > num_known {
            return Ok((loaded, false));
        }
    }
    // Each id has one row: as many as are known are the same ones.
    let is_whole = num_rows == Some(loaded.index.len());
    Ok((loaded, is_whole))
}

type TakeRows = fn(&RecordBatch, i64, i32, i64, &mut Loaded) -> Option<()>;

/// Whether a file is nothing but rows that the index has, merged: told by their ids alone.
async fn has_known_rows_only(
    table: &DeltaTable,
    file: &DataFile,
    index: &Index,
) -> Result<bool, ProcessorError> {
    if !is_merged(file.path.as_ref()) {
        return Ok(false);
    }
    let mut is_known = true;
    read(table, vec![file.clone()], &["id"], |rows| {
        let ids = rows.column_by_name("id")?.as_string_opt::<i32>()?;
        for row in 0..rows.num_rows() {
            is_known &= index.knows(ids.value(row).parse().ok()?);
        }
        Some(())
    })
    .await?;
    Ok(is_known)
}

/// A data file, as the log has it.
#[derive(Clone)]
struct DataFile {
    path: Path,
    num_bytes: u64,
    num_rows: Option<usize>,
}

fn files(table: &DeltaTable) -> Result<Vec<DataFile>, ProcessorError> {
    let doing = || ProcessorError::delta(format!("reading {}", table.table_url()));
    let snapshot = table.snapshot().map_err(doing())?;
    let files = snapshot.log_data().into_iter().map(|file| DataFile {
        path: file.object_store_path(),
        num_bytes: u64::try_from(file.size()).unwrap_or_default(),
        num_rows: file.num_records(),
    });
    Ok(files.collect())
}

impl Loaded {
    /// Counts a row that was read.
    fn is_new(&mut self, id: CaptureId) -> bool {
        let is_known = self.index.knows(id);
        self.num_read += 1;
        self.num_known += usize::from(is_known);
        !is_known
    }
}

const PHOTO_COLUMNS: &[&str] = &[
    "id",
    "label",
    "original.sha256",
    "received_at",
    "phash",
    "pdq",
    "pdq_quality",
    "pixel_sha256",
    "group_id",
    "split",
    "dark_score",
    "light_score",
    "blurry_score",
    "low_information_score",
    "odd_aspect_ratio_score",
    "odd_size_score",
    "grayscale_score",
    "kafka.partition",
    "kafka.offset",
    "embedding",
    "embedding_model",
    "cluster_id",
    "outlier",
    "cluster_fit",
    "cluster_distance",
];

const REJECTION_COLUMNS: &[&str] = &[
    "id",
    "label",
    "status",
    "reason",
    "detail",
    "twin_id",
    "original.sha256",
    "received_at",
    "kafka.partition",
    "kafka.offset",
];

async fn read(
    table: &DeltaTable,
    files: Vec<DataFile>,
    columns: &[&str],
    mut take: impl FnMut(&RecordBatch) -> Option<()>,
) -> Result<(), ProcessorError> {
    let name = table.table_url().to_string();
    let store = table_store(table);
    let (store, name_) = (&store, &name);
    let opened = stream::iter(files).map(|file| async move {
        let path = file.path;
        let doing = || ProcessorError::parquet(format!("reading {path} of {name_}"));
        let reader =
            ParquetObjectReader::new(store.clone(), path.clone()).with_file_size(file.num_bytes);
        let builder = ParquetRecordBatchStreamBuilder::new(reader)
            .await
            .map_err(doing())?;
        let mask = ProjectionMask::columns(builder.parquet_schema(), columns.iter().copied());
        let mut batches = builder
            .with_projection(mask)
            .with_batch_size(BATCH_ROWS)
            .build()
            .map_err(doing())?;
        let first = batches.try_next().await.map_err(doing())?;
        Ok::<_, ProcessorError>((path, first, batches))
    });
    // In the table's order: of two that are equally near, the first one is the twin.
    let mut opened = pin!(opened.buffered(FILES_AHEAD));
    while let Some((path, mut rows, mut batches)) = opened.try_next().await? {
        while let Some(some) = rows {
            take(&some).ok_or_else(|| ProcessorError::Table {
                table: name.clone(),
                what: format!("{path} has not the columns that it should have"),
            })?;
            let next = batches.try_next().await;
            let doing = ProcessorError::parquet(format!("reading {path} of {name}"));
            rows = next.map_err(doing)?;
        }
    }
    Ok(())
}

fn photos(
    rows: &RecordBatch,
    version: i64,
    partition: i32,
    tell_from: i64,
    loaded: &mut Loaded,
) -> Option<()> {
    let facts = Facts::of(rows)?;
    let phash = rows
        .column_by_name("phash")?
        .as_primitive_opt::<Int64Type>()?;
    let pdq = rows.column_by_name("pdq")?.as_binary_opt::<i32>()?;
    let pdq_quality = rows
        .column_by_name("pdq_quality")?
        .as_primitive_opt::<Int32Type>()?;
    let pixels = rows
        .column_by_name("pixel_sha256")?
        .as_string_opt::<i32>()?;
    let group = rows.column_by_name("group_id")?.as_string_opt::<i32>()?;
    let split = rows.column_by_name("split")?.as_string_opt::<i32>()?;
    let embeddings = Embeddings::of(rows);
    let places = Places::of(rows);
    for row in 0..rows.num_rows() {
        let id: CaptureId = facts.id.value(row).parse().ok()?;
        if !loaded.is_new(id) {
            continue;
        }
        let mut sketch = None;
        if let Some((model, embedding)) = embeddings.as_ref().and_then(|of| of.row(row)) {
            sketch = Sketch::of(model, embedding.values());
            let label = facts.label.value(row);
            let place = places.as_ref().and_then(|places| places.row(row));
            let (clusters, features) = (&mut loaded.index.clusters, embedding.values());
            clusters.add(model, id, features, place.as_ref());
            loaded.index.looks.add(model, id, label, embedding.values());
        }
        let prints = Fingerprints {
            sha256: facts.sha256.value(row).parse().ok()?,
            pixel_sha256: pixels.value(row).parse().ok()?,
            phash: phash.value(row).cast_unsigned(),
            pdq: Pdq::from_bytes(pdq.value(row))?,
            pdq_quality: pdq_quality.value(row).try_into().ok()?,
            turned: None,
            sketch,
        };
        loaded
            .index
            .add_photo(id, group.value(row).parse().ok()?, &prints);
        if facts.must_be_told(row, partition, tell_from) {
            let score = |name: &str| {
                Some(
                    rows.column_by_name(name)?
                        .as_primitive_opt::<Float32Type>()?
                        .value(row),
                )
            };
            let place = places.as_ref().and_then(|places| places.row(row));
            loaded.outcomes.push(CaptureDecided {
                cluster_id: place.map(|place| place.cluster),
                cluster_distance: place.map(|place| place.distance),
                outlier: place.map(|place| place.is_outlier),
                status: Status::Accepted.to_string(),
                group_id: Some(group.value(row).to_owned()),
                split: Some(split.value(row).to_owned()),
                scores: Some(Scores {
                    dark: score("dark_score")?,
                    light: score("light_score")?,
                    blurry: score("blurry_score")?,
                    low_information: score("low_information_score")?,
                    odd_aspect_ratio: score("odd_aspect_ratio_score")?,
                    odd_size: score("odd_size_score")?,
                    grayscale: score("grayscale_score")?,
                }),
                table_version: Some(version),
                ..facts.outcome(row)?
            });
        }
    }
    Some(())
}

fn rejections(
    rows: &RecordBatch,
    version: i64,
    partition: i32,
    tell_from: i64,
    loaded: &mut Loaded,
) -> Option<()> {
    let facts = Facts::of(rows)?;
    let text = |name: &str, row: usize| {
        let column = rows.column_by_name(name)?.as_string_opt::<i32>()?;
        (!column.is_null(row)).then(|| column.value(row).to_owned())
    };
    for row in 0..rows.num_rows() {
        let id: CaptureId = facts.id.value(row).parse().ok()?;
        if !loaded.is_new(id) {
            continue;
        }
        loaded.index.add_judged(id);
        if facts.must_be_told(row, partition, tell_from) {
            loaded.outcomes.push(CaptureDecided {
                status: text("status", row)?,
                reason: text("reason", row),
                detail: text("detail", row),
                twin_id: text("twin_id", row),
                table_version: Some(version),
                ..facts.outcome(row)?
            });
        }
    }
    Some(())
}

/// The embeddings of some rows. Shards older than they are have no such columns.
struct Embeddings<'a> {
    lists: &'a ListArray,
    models: &'a StringArray,
}

impl<'a> Embeddings<'a> {
    fn of(rows: &'a RecordBatch) -> Option<Self> {
        Some(Self {
            lists: rows.column_by_name("embedding")?.as_list_opt()?,
            models: rows.column_by_name("embedding_model")?.as_string_opt()?,
        })
    }

    fn row(&self, row: usize) -> Option<(&'a str, Float32Array)> {
        if self.lists.is_null(row) || self.models.is_null(row) {
            return None;
        }
        let list = self.lists.value(row);
        let values = list.as_primitive_opt::<Float32Type>()?.clone();
        Some((self.models.value(row), values))
    }
}

/// What kinds of photo the rows say they are. Shards older than kinds have no such columns.
struct Places<'a> {
    ids: &'a Int64Array,
    distances: &'a Float32Array,
    outliers: &'a BooleanArray,
    fits: &'a Int64Array,
}

impl<'a> Places<'a> {
    fn of(rows: &'a RecordBatch) -> Option<Self> {
        Some(Self {
            ids: rows.column_by_name("cluster_id")?.as_primitive_opt()?,
            distances: rows
                .column_by_name("cluster_distance")?
                .as_primitive_opt()?,
            outliers: rows.column_by_name("outlier")?.as_boolean_opt()?,
            fits: rows.column_by_name("cluster_fit")?.as_primitive_opt()?,
        })
    }

    fn row(&self, row: usize) -> Option<Place> {
        let is_known = self.ids.is_valid(row) && self.fits.is_valid(row);
        is_known.then(|| Place {
            cluster: self.ids.value(row),
            distance: self.distances.value(row),
            is_outlier: self.outliers.value(row),
            fitted_at: u64::try_from(self.fits.value(row)).unwrap_or_default(),
        })
    }
}

/// The columns that both tables have.
struct Facts<'a> {
    id: &'a arrow::array::StringArray,
    label: &'a arrow::array::StringArray,
    sha256: &'a arrow::array::StringArray,
    received_at: &'a arrow::array::TimestampMicrosecondArray,
    partition: &'a arrow::array::Int32Array,
    offset: &'a arrow::array::Int64Array,
}

impl<'a> Facts<'a> {
    fn of(rows: &'a RecordBatch) -> Option<Self> {
        let kafka = rows.column_by_name("kafka")?.as_struct_opt()?;
        let original = rows.column_by_name("original")?.as_struct_opt()?;
        Some(Self {
            id: rows.column_by_name("id")?.as_string_opt()?,
            label: rows.column_by_name("label")?.as_string_opt()?,
            sha256: original.column_by_name("sha256")?.as_string_opt()?,
            received_at: rows
                .column_by_name("received_at")?
                .as_primitive_opt::<TimestampMicrosecondType>()?,
            partition: kafka.column_by_name("partition")?.as_primitive_opt()?,
            offset: kafka.column_by_name("offset")?.as_primitive_opt()?,
        })
    }

    fn must_be_told(&self, row: usize, partition: i32, tell_from: i64) -> bool {
        self.partition.value(row) == partition && self.offset.value(row) >= tell_from
    }

    fn outcome(&self, row: usize) -> Option<CaptureDecided> {
        let sha256: Sha256 = self.sha256.value(row).parse().ok()?;
        Some(CaptureDecided {
            capture_id: self.id.value(row).to_owned(),
            label: self.label.value(row).to_owned(),
            sha256: sha256.as_bytes().to_vec(),
            received_at_us: self.received_at.value(row),
            decided_at_us: chrono::Utc::now().timestamp_micros(),
            ..CaptureDecided::default()
        })
    }
}

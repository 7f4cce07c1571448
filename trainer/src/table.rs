//! The photos table at one version, as a training reads it.
//!
//! A table and a version come in; out come the list of its photos, in the order of their
//! ids whatever shards they lie in, and a file with their JPEGs, one behind the other.
//! The file is what makes any order of reading cheap: an epoch's order is a permutation,
//! and Parquet is made to be read from front to back.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array as _, AsArray as _, Float32Array, RecordBatch};
use arrow::datatypes::Float32Type;
use deltalake_core::logstore::parquet_reader::ParquetObjectReader;
use deltalake_core::{DeltaTable, DeltaTableBuilder};
use futures::TryStreamExt as _;
use object_store::ObjectStore;
use parquet::arrow::ProjectionMask;
use parquet::arrow::async_reader::ParquetRecordBatchStreamBuilder;
use schemas::training::{TrainingMode, TrainingSpec};
use schemas::{CaptureId, DatasetId, ObjectKey, Split};
use url::Url;

use crate::error::TrainerError;
use crate::spec::MAX_CLASSES;

/// Rows read at a time: some 64 of 40 KB. Larger only takes memory.
const BATCH_ROWS: usize = 64;

/// Photos of a training; at about 80 bytes each in memory, 10 million are 0.8 GB. Their
/// JPEGs lie on disk.
const MAX_PHOTOS: usize = 10_000_000;

const COLUMNS: [&str; 5] = ["id", "label", "image.bytes", "group_id", "split"];

/// What `mode: head` reads beside them. Shards older than the second have no such column.
const EMBEDDING_COLUMNS: [&str; 2] = ["embedding", "embedding_model"];

/// The object store: our own folder in it, and the way in which Delta wants it.
#[derive(Clone)]
pub struct Stores {
    /// Rooted at our own folder.
    pub objects: Arc<dyn ObjectStore>,
    /// Rooted at the bucket, or at `/` of the file system.
    pub bucket: Arc<dyn ObjectStore>,
    /// The address of our folder, ending in `/`.
    pub url: Url,
}

/// One photo of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Photo {
    /// Its id.
    pub id: CaptureId,
    /// Its near-duplicate group.
    pub group: CaptureId,
    /// Its class: a place in [`Photos::labels`].
    pub class: u32,
    /// Its part of the data.
    pub split: Split,
    offset: u64,
    num_bytes: u32,
    /// Numbers of its embedding, which lie behind its JPEG; 0 without one.
    num_features: u32,
    /// What computed it: a place in [`Photos::models`].
    model: u32,
}

/// The photos of one version of a table.
pub struct Photos {
    /// The version.
    pub version: i64,
    /// The classes, sorted by name.
    pub labels: Vec<String>,
    /// What computed their embeddings.
    models: Vec<String>,
    photos: Vec<Photo>,
    spool: File,
}

impl Photos {
    /// Reads the table at the version that the spec pins, or the newest. The JPEGs, and for
    /// `mode: head` the embeddings, are spooled to a file in `scratch` that goes with the
    /// value.
    ///
    /// # Errors
    /// There is no such table or version, a class of the spec is not in it, it has fewer
    /// than two classes, a class has no photo to learn from, or reading fails.
    pub async fn read(
        stores: &Stores,
        dataset: &DatasetId,
        spec: &TrainingSpec,
        scratch: &Path,
    ) -> Result<Self, TrainerError> {
        let table = open(stores, dataset, spec.table_version).await?;
        let version = table
            .version()
            .and_then(|version| i64::try_from(version).ok())
            .unwrap_or_default();
        let spool = tempfile::tempfile_in(scratch).map_err(TrainerError::io(format!(
            "spooling to {}",
            scratch.display()
        )))?;
        let mut reading = Reading {
            spool: BufWriter::new(spool),
            offset: 0,
            rows: Vec::new(),
            labels: Vec::new(),
            models: Vec::new(),
            wants_embeddings: spec.mode == TrainingMode::Head,
            wanted: spec.classes.iter().map(|label| label.to_string()).collect(),
        };
        read_files(&table, &mut reading).await?;
        reading.finish(version)
    }

    /// The photos, by id.
    pub fn all(&self) -> &[Photo] {
        &self.photos
    }

    /// The places of a split's photos in [`Self::all`].
    pub fn of_split(&self, split: Split) -> Vec<usize> {
        let of_split = |i: &usize| self.photos[*i].split == split;
        (0..self.photos.len()).filter(of_split).collect()
    }

    /// A photo's JPEG.
    ///
    /// # Errors
    /// The spool file cannot be read.
    pub fn jpeg(&self, photo: &Photo) -> Result<Vec<u8>, TrainerError> {
        let mut bytes = vec![0; photo.num_bytes as usize];
        self.read_spool(photo, &mut bytes, photo.offset)?;
        Ok(bytes)
    }

    /// Puts a photo's embedding into `out`, if the table holds one by this model, and says
    /// whether it does.
    ///
    /// # Errors
    /// The spool file cannot be read.
    pub fn embedding(
        &self,
        photo: &Photo,
        model: &str,
        out: &mut [f32],
    ) -> Result<bool, TrainerError> {
        let is_by = self
            .models
            .get(photo.model as usize)
            .is_some_and(|known| known == model);
        if photo.num_features as usize != out.len() || !is_by {
            return Ok(false);
        }
        let mut bytes = vec![0; out.len() * 4];
        self.read_spool(photo, &mut bytes, photo.offset + u64::from(photo.num_bytes))?;
        for (out, bytes) in out.iter_mut().zip(bytes.as_chunks().0) {
            *out = f32::from_le_bytes(*bytes);
        }
        Ok(true)
    }

    fn read_spool(&self, photo: &Photo, bytes: &mut [u8], offset: u64) -> Result<(), TrainerError> {
        self.spool
            .read_exact_at(bytes, offset)
            .map_err(TrainerError::io(format!("reading photo {}", photo.id)))
    }
}

async fn open(
    stores: &Stores,
    dataset: &DatasetId,
    version: Option<i64>,
) -> Result<DeltaTable, TrainerError> {
    let key = ObjectKey::PhotosTable {
        dataset: dataset.clone(),
    };
    let mut url = stores.url.clone();
    url.set_path(&format!("{}{key}/", stores.url.path()));
    let doing = || TrainerError::delta(format!("opening {key}"));
    let mut table = DeltaTableBuilder::from_url(url.clone())
        .and_then(|builder| {
            builder
                .with_storage_backend(stores.bucket.clone(), url)
                .build()
        })
        .map_err(doing())?;
    if !table.verify_deltatable_existence().await.map_err(doing())? {
        return Err(
            TrainerError::refused("no_photos", "the dataset has no accepted photos yet")
                .hint("upload photos first; `tintype status` shows what became of them"),
        );
    }
    table.load().await.map_err(doing())?;
    let Some(wanted) = version else {
        return Ok(table);
    };
    let newest = table.version().unwrap_or_default();
    match u64::try_from(wanted) {
        Ok(wanted) if wanted <= newest => table
            .load_version(wanted)
            .await
            .map_err(TrainerError::delta(format!("opening {key} at {wanted}")))?,
        _ => {
            let detail = format!("the table has no version {wanted}; the newest is {newest}");
            return Err(TrainerError::refused("unknown_table_version", detail)
                .hint("leave table_version out to train on the newest"));
        }
    }
    Ok(table)
}

async fn read_files(table: &DeltaTable, reading: &mut Reading) -> Result<(), TrainerError> {
    let name = table.table_url().to_string();
    let snapshot = table
        .snapshot()
        .map_err(TrainerError::delta(format!("reading {name}")))?;
    let files: Vec<_> = snapshot
        .log_data()
        .into_iter()
        .map(|file| (file.object_store_path(), file.size()))
        .collect();
    for (path, size) in files {
        let doing = || TrainerError::parquet(format!("reading {path} of {name}"));
        let reader = ParquetObjectReader::new(table.object_store(), path.clone())
            .with_file_size(u64::try_from(size).unwrap_or_default());
        let builder = ParquetRecordBatchStreamBuilder::new(reader)
            .await
            .map_err(doing())?;
        let embedding: &[&str] = match reading.wants_embeddings {
            true => &EMBEDDING_COLUMNS,
            false => &[],
        };
        let columns = COLUMNS.iter().chain(embedding).copied();
        let mask = ProjectionMask::columns(builder.parquet_schema(), columns);
        let mut rows = builder
            .with_projection(mask)
            .with_batch_size(BATCH_ROWS)
            .build()
            .map_err(doing())?;
        while let Some(rows) = rows.try_next().await.map_err(doing())? {
            reading.take(&rows).map_err(|fault| match fault {
                Fault::Shape => TrainerError::Damaged {
                    what: format!("{path} of {name}"),
                    fault: "it has not the columns that it should have".into(),
                },
                Fault::Error(error) => error,
            })?;
        }
    }
    Ok(())
}

/// What has been read so far.
struct Reading {
    spool: BufWriter<File>,
    offset: u64,
    rows: Vec<Photo>,
    /// In the order in which they were met; `Photo::class` points here until the end.
    labels: Vec<String>,
    models: Vec<String>,
    wants_embeddings: bool,
    /// Only these; all, if empty.
    wanted: Vec<String>,
}

enum Fault {
    Shape,
    Error(TrainerError),
}

impl Reading {
    fn take(&mut self, rows: &RecordBatch) -> Result<(), Fault> {
        let columns = Columns::of(rows).ok_or(Fault::Shape)?;
        let embeddings = Embeddings::of(rows);
        for row in 0..rows.num_rows() {
            let label = columns.label.value(row);
            if !self.wanted.is_empty() && !self.wanted.iter().any(|wanted| wanted == label) {
                continue;
            }
            let class = self.class(label).map_err(Fault::Error)?;
            let jpeg = columns.bytes.value(row);
            let spooled = |error| Fault::Error(TrainerError::io("spooling photos")(error));
            self.spool.write_all(jpeg).map_err(spooled)?;
            let embedding = embeddings.as_ref().and_then(|columns| columns.of_row(row));
            let (mut num_features, mut model) = (0, 0);
            if let Some((name, features)) = embedding {
                for value in features.values() {
                    self.spool
                        .write_all(&value.to_le_bytes())
                        .map_err(spooled)?;
                }
                num_features = u32::try_from(features.len()).map_err(|_| Fault::Shape)?;
                model = self.model(name);
            }
            let photo = Photo {
                id: columns.id.value(row).parse().map_err(|_| Fault::Shape)?,
                group: columns.group.value(row).parse().map_err(|_| Fault::Shape)?,
                class,
                split: Split::from_name(columns.split.value(row)).ok_or(Fault::Shape)?,
                offset: self.offset,
                num_bytes: u32::try_from(jpeg.len()).map_err(|_| Fault::Shape)?,
                num_features,
                model,
            };
            self.offset += jpeg.len() as u64 + u64::from(num_features) * 4;
            if self.rows.len() >= MAX_PHOTOS {
                let detail = format!("the table has more than {MAX_PHOTOS} photos");
                return Err(Fault::Error(
                    TrainerError::refused("too_many_photos", detail)
                        .hint("choose some of its labels with classes"),
                ));
            }
            self.rows.push(photo);
        }
        Ok(())
    }

    /// The place of a model's name. There are as many as there were changes of backbone.
    fn model(&mut self, name: &str) -> u32 {
        let known = self.models.iter().position(|known| known == name);
        known.unwrap_or_else(|| {
            self.models.push(name.to_owned());
            self.models.len() - 1
        }) as u32
    }

    fn class(&mut self, label: &str) -> Result<u32, TrainerError> {
        // Rows are sorted by label within a shard: the last one is mostly the one.
        let known = self.labels.iter().rposition(|known| known == label);
        let class = match known {
            Some(class) => class,
            None => {
                if self.labels.len() >= MAX_CLASSES {
                    let detail = format!("the table has more than {MAX_CLASSES} labels");
                    return Err(TrainerError::refused("too_many_classes", detail)
                        .hint("choose some of them with classes"));
                }
                self.labels.push(label.to_owned());
                self.labels.len() - 1
            }
        };
        Ok(u32::try_from(class).unwrap_or(u32::MAX))
    }

    fn finish(mut self, version: i64) -> Result<Photos, TrainerError> {
        let mut missing = self
            .wanted
            .iter()
            .filter(|label| !self.labels.contains(label));
        if let Some(missing) = missing.next() {
            let detail = format!("no accepted photo has the label {missing:?}");
            let near = catalog::nearest(missing, self.labels.iter().map(String::as_str));
            let error = TrainerError::refused("unknown_class", detail);
            return Err(match near.as_slice() {
                [] => error,
                near => error.hint(format!("did you mean {}?", near.join(" or "))),
            });
        }
        if self.labels.len() < 2 {
            let detail = match self.labels.first() {
                None => "the dataset has no accepted photos yet".into(),
                Some(label) => format!("every accepted photo has the label {label:?}"),
            };
            return Err(TrainerError::refused("too_few_classes", detail)
                .hint("a classifier needs photos of at least two labels"));
        }
        let mut labels = self.labels.clone();
        labels.sort();
        let places: Vec<u32> = self
            .labels
            .iter()
            .map(|label| labels.binary_search(label).unwrap_or_default() as u32)
            .collect();
        for photo in &mut self.rows {
            photo.class = places[photo.class as usize];
        }
        self.rows.sort_unstable_by_key(|photo| photo.id);
        for (class, label) in labels.iter().enumerate() {
            let learnable =
                |photo: &Photo| photo.class as usize == class && photo.split == Split::Train;
            if !self.rows.iter().any(learnable) {
                let detail = format!(
                    "no photo of {label:?} is in the training part of the data (four in five are)"
                );
                return Err(TrainerError::refused("too_few_photos", detail)
                    .hint("upload more photos of it, or leave it out with classes"));
            }
        }
        let spool = self
            .spool
            .into_inner()
            .map_err(|error| TrainerError::io("spooling photos")(error.into_error()))?;
        Ok(Photos {
            version,
            labels,
            models: self.models,
            photos: self.rows,
            spool,
        })
    }
}

struct Columns<'a> {
    id: &'a arrow::array::StringArray,
    label: &'a arrow::array::StringArray,
    bytes: &'a arrow::array::BinaryArray,
    group: &'a arrow::array::StringArray,
    split: &'a arrow::array::StringArray,
}

impl<'a> Columns<'a> {
    fn of(rows: &'a RecordBatch) -> Option<Self> {
        let image = rows.column_by_name("image")?.as_struct_opt()?;
        let columns = Self {
            id: rows.column_by_name("id")?.as_string_opt()?,
            label: rows.column_by_name("label")?.as_string_opt()?,
            bytes: image.column_by_name("bytes")?.as_binary_opt()?,
            group: rows.column_by_name("group_id")?.as_string_opt()?,
            split: rows.column_by_name("split")?.as_string_opt()?,
        };
        let is_whole = columns.bytes.null_count() == 0 && columns.label.null_count() == 0;
        is_whole.then_some(columns)
    }
}

/// The embeddings of some rows, where their shard has the columns.
struct Embeddings<'a> {
    lists: &'a arrow::array::ListArray,
    models: &'a arrow::array::StringArray,
}

impl<'a> Embeddings<'a> {
    fn of(rows: &'a RecordBatch) -> Option<Self> {
        Some(Self {
            lists: rows.column_by_name("embedding")?.as_list_opt()?,
            models: rows.column_by_name("embedding_model")?.as_string_opt()?,
        })
    }

    fn of_row(&self, row: usize) -> Option<(&'a str, Float32Array)> {
        if self.lists.is_null(row) || self.models.is_null(row) {
            return None;
        }
        let list = self.lists.value(row);
        let values = list.as_primitive_opt::<Float32Type>()?;
        (values.null_count() == 0).then(|| (self.models.value(row), values.clone()))
    }
}

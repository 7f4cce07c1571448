//! Rows come in, one Parquet file goes out, with the columns of `schemas::table`.
//!
//! Pictures are stored as they are: PLAIN, no dictionary, no statistics, uncompressed
//! (they are compressed already), at most 16 rows a page, so that one photo is one small
//! range of the file. Rows are sorted by label and
//! kind; bloom filters help find an id or a hash.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryBuilder, BooleanArray, Float32Array, Float32Builder, Int32Array, Int64Array,
    ListBuilder, RecordBatch, StringArray, StringBuilder, StructArray, StructBuilder,
    TimestampMicrosecondArray,
};
use arrow::datatypes::{Fields, SchemaRef};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;
use schemas::events::{CaptureReceived, Original, Scores};
use schemas::{DatasetId, ObjectKey, Sha256, table};

use super::batch::{AcceptedRow, DeclinedRow};
use super::clusters::Place;
use crate::error::ProcessorError;

/// Rows that are turned into Arrow at a time: bounds the second copy of the pictures.
const CHUNK_ROWS: usize = 64;

/// A file to add to a table.
pub struct ShardFile {
    /// The Parquet file.
    pub bytes: Vec<u8>,
    /// How many rows it has.
    pub num_rows: usize,
    /// Its first and its last label.
    pub labels: (String, String),
}

/// The shard of these photos, sorted by label, then by kind of photo; of one kind, in the
/// order they came.
///
/// # Errors
/// Arrow or Parquet refuses: our own fault.
pub fn photos(
    dataset: &DatasetId,
    partition: i32,
    mut rows: Vec<AcceptedRow>,
) -> Result<ShardFile, ProcessorError> {
    let cluster = |row: &AcceptedRow| row.place.map(|place| place.cluster);
    rows.sort_by(|a, b| {
        let (label, cluster_a) = (&a.capture.label, cluster(a));
        (label, cluster_a, a.offset).cmp(&(&b.capture.label, cluster(b), b.offset))
    });
    let labels = ends(rows.iter().map(|row| &row.capture.label));
    let num_rows = rows.len();
    let bytes = write(table::photos(), num_rows, rows, |chunk| {
        photo_columns(dataset, partition, chunk)
    })?;
    Ok(ShardFile {
        bytes,
        num_rows,
        labels,
    })
}

/// The file of these rejections, in the order they came.
///
/// # Errors
/// Arrow or Parquet refuses: our own fault.
pub fn rejections(
    dataset: &DatasetId,
    partition: i32,
    rows: Vec<DeclinedRow>,
) -> Result<ShardFile, ProcessorError> {
    let labels = rows.iter().map(|row| &row.capture.label);
    let labels = (
        labels.clone().min().cloned().unwrap_or_default(),
        labels.max().cloned().unwrap_or_default(),
    );
    let num_rows = rows.len();
    let bytes = write(table::rejections(), num_rows, rows, |chunk| {
        rejection_columns(dataset, partition, chunk)
    })?;
    Ok(ShardFile {
        bytes,
        num_rows,
        labels,
    })
}

fn ends<'a>(mut labels: impl DoubleEndedIterator<Item = &'a String>) -> (String, String) {
    let first = labels.next().cloned().unwrap_or_default();
    let last = labels.next_back().cloned().unwrap_or_else(|| first.clone());
    (first, last)
}

fn write<R>(
    schema: SchemaRef,
    num_rows: usize,
    rows: Vec<R>,
    columns: impl Fn(&[R]) -> Vec<ArrayRef>,
) -> Result<Vec<u8>, ProcessorError> {
    let doing = || ProcessorError::parquet("writing a shard");
    let mut writer = ArrowWriter::try_new(Vec::new(), schema.clone(), Some(properties(num_rows)))
        .map_err(doing())?;
    let mut rows = rows.into_iter();
    loop {
        // Each chunk's rows are freed before the next one is copied.
        let chunk: Vec<R> = rows.by_ref().take(CHUNK_ROWS).collect();
        if chunk.is_empty() {
            break;
        }
        let batch = RecordBatch::try_new(schema.clone(), columns(&chunk))
            .map_err(|error| ProcessorError::parquet("building a shard")(error.into()))?;
        writer.write(&batch).map_err(doing())?;
    }
    writer.into_inner().map_err(doing())
}

/// How every file of ours is written.
pub(crate) fn properties(num_rows: usize) -> WriterProperties {
    let column =
        |names: &[&str]| ColumnPath::new(names.iter().map(|&name| name.to_owned()).collect());
    let picture = column(&["image", "bytes"]);
    let embedding = column(&["embedding", "list", "element"]);
    let zstd = Compression::ZSTD(ZstdLevel::try_new(3).unwrap_or_default());
    let mut properties = WriterProperties::builder()
        .set_created_by(concat!("tintype ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_compression(zstd)
        .set_data_page_row_count_limit(16)
        // Page limits are looked at once per this many values.
        .set_write_batch_size(16)
        .set_max_row_group_bytes(Some(128 << 20))
        .set_column_compression(picture.clone(), Compression::UNCOMPRESSED)
        .set_column_dictionary_enabled(picture.clone(), false)
        .set_column_encoding(picture.clone(), Encoding::PLAIN)
        .set_column_statistics_enabled(picture, EnabledStatistics::None)
        .set_column_dictionary_enabled(embedding.clone(), false)
        .set_column_statistics_enabled(embedding, EnabledStatistics::None);
    for name in [
        &["image", "path"][..],
        &["id"],
        &["original", "key"],
        &["original", "sha256"],
        &["pixel_sha256"],
        &["pdq"],
    ] {
        properties = properties.set_column_dictionary_enabled(column(name), false);
    }
    for name in [&["id"][..], &["original", "sha256"]] {
        properties = properties
            .set_column_bloom_filter_enabled(column(name), true)
            .set_column_bloom_filter_fpp(column(name), 0.01)
            .set_column_bloom_filter_max_ndv(column(name), num_rows as u64);
    }
    properties.build()
}

fn photo_columns(dataset: &DatasetId, partition: i32, rows: &[AcceptedRow]) -> Vec<ArrayRef> {
    let score = |pick: fn(&Scores) -> f32| -> ArrayRef {
        let scores = rows
            .iter()
            .map(|row| pick(&row.photo.scores.unwrap_or_default()));
        Arc::new(Float32Array::from_iter_values(scores))
    };
    let originals = rows
        .iter()
        .map(|row| (&row.capture, row.photo.original.as_ref()))
        .collect::<Vec<_>>();
    let captured = rows
        .iter()
        .map(|row| row.photo.captured_at_us.or(row.capture.captured_at_us));
    vec![
        texts(rows.iter().map(|row| row.id.to_string())),
        texts(rows.iter().map(|row| row.capture.label.as_str())),
        images(rows),
        ints(rows.iter().map(|row| row.photo.width)),
        ints(rows.iter().map(|row| row.photo.height)),
        original_column(dataset, &originals),
        Arc::new(TimestampMicrosecondArray::from_iter(captured).with_timezone("UTC")),
        times(rows.iter().map(|row| row.capture.received_at_us)),
        optional_texts(
            rows.iter()
                .map(|row| Some(row.capture.device.as_str()).filter(|device| !device.is_empty())),
        ),
        metadata(rows),
        score(|s| s.dark),
        score(|s| s.light),
        score(|s| s.blurry),
        score(|s| s.low_information),
        score(|s| s.odd_aspect_ratio),
        score(|s| s.odd_size),
        score(|s| s.grayscale),
        Arc::new(Int64Array::from_iter_values(
            rows.iter().map(|row| row.photo.phash.cast_signed()),
        )),
        binaries(rows.iter().map(|row| row.photo.pdq.as_slice())),
        ints(rows.iter().map(|row| row.photo.pdq_quality)),
        texts(rows.iter().map(|row| hex(&row.photo.pixel_sha256))),
        embeddings(rows),
        Arc::new(
            rows.iter()
                .map(|row| row.label_score)
                .collect::<Float32Array>(),
        ),
        texts(rows.iter().map(|row| row.group.to_string())),
        clusters(rows),
        texts(rows.iter().map(|row| row.split.as_str())),
        texts(rows.iter().map(|row| row.pipeline_version.as_str())),
        positions(partition, rows.iter().map(|row| row.offset)),
        optional_texts(
            rows.iter().map(|row| {
                Some(row.photo.embedding_model.as_str()).filter(|name| !name.is_empty())
            }),
        ),
        Arc::new(
            places(rows)
                .map(|place| place.map(|place| place.distance))
                .collect::<Float32Array>(),
        ),
        Arc::new(
            places(rows)
                .map(|place| place.map(|place| place.is_outlier))
                .collect::<BooleanArray>(),
        ),
        Arc::new(
            places(rows)
                .map(|place| place.and_then(|place| i64::try_from(place.fitted_at).ok()))
                .collect::<Int64Array>(),
        ),
    ]
}

fn rejection_columns(dataset: &DatasetId, partition: i32, rows: &[DeclinedRow]) -> Vec<ArrayRef> {
    let originals = rows
        .iter()
        .map(|row| (&row.capture, row.original.as_ref()))
        .collect::<Vec<_>>();
    vec![
        texts(rows.iter().map(|row| row.id.to_string())),
        texts(rows.iter().map(|row| row.capture.label.as_str())),
        texts(rows.iter().map(|row| row.status.as_str())),
        texts(rows.iter().map(|row| row.reason.as_str())),
        optional_texts(rows.iter().map(|row| Some(row.detail.as_str()))),
        optional_texts(rows.iter().map(|row| row.twin.map(|twin| twin.to_string()))),
        original_column(dataset, &originals),
        times(rows.iter().map(|row| row.capture.received_at_us)),
        positions(partition, rows.iter().map(|row| row.offset)),
    ]
}

fn texts<S: AsRef<str>>(values: impl Iterator<Item = S>) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(values))
}

fn optional_texts<S: AsRef<str>>(values: impl Iterator<Item = Option<S>>) -> ArrayRef {
    Arc::new(values.collect::<StringArray>())
}

fn ints(values: impl Iterator<Item = u32>) -> ArrayRef {
    // Sides of pictures and counts of bits: all far below 2^31.
    Arc::new(Int32Array::from_iter_values(
        values.map(|value| i32::try_from(value).unwrap_or(i32::MAX)),
    ))
}

fn times(values: impl Iterator<Item = i64>) -> ArrayRef {
    Arc::new(TimestampMicrosecondArray::from_iter_values(values).with_timezone("UTC"))
}

fn binaries<'a>(values: impl Iterator<Item = &'a [u8]>) -> ArrayRef {
    let mut builder = BinaryBuilder::new();
    values.for_each(|value| builder.append_value(value));
    Arc::new(builder.finish())
}

fn structs(fields: Fields, columns: Vec<ArrayRef>) -> ArrayRef {
    Arc::new(StructArray::new(fields, columns, None))
}

fn hex(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(bytes)
}

fn images(rows: &[AcceptedRow]) -> ArrayRef {
    let bytes = binaries(rows.iter().map(|row| &row.photo.jpeg[..]));
    structs(
        table::image_fields(),
        vec![
            bytes,
            texts(rows.iter().map(|row| format!("{}.jpg", row.id))),
        ],
    )
}

fn original_column(
    dataset: &DatasetId,
    originals: &[(&CaptureReceived, Option<&Original>)],
) -> ArrayRef {
    let keys = originals.iter().map(|(capture, _)| {
        Sha256::try_from(capture.sha256.as_slice())
            .map(|sha256| {
                ObjectKey::Original {
                    dataset: dataset.clone(),
                    sha256,
                }
                .to_string()
            })
            .unwrap_or_default()
    });
    let side = |pick: fn(&Original) -> u32| -> ArrayRef {
        let sides = originals
            .iter()
            .map(|(_, original)| original.map(pick).and_then(|side| i32::try_from(side).ok()));
        Arc::new(
            sides
                .map(|side| side.filter(|&side| side > 0))
                .collect::<Int32Array>(),
        )
    };
    let formats = originals.iter().map(|(_, o)| {
        o.map(|o| o.format.as_str())
            .filter(|format| !format.is_empty())
    });
    let sizes = originals
        .iter()
        .map(|(capture, _)| i64::try_from(capture.num_bytes).unwrap_or(i64::MAX));
    structs(
        table::original_fields(),
        vec![
            texts(keys),
            texts(originals.iter().map(|(capture, _)| hex(&capture.sha256))),
            Arc::new(Int64Array::from_iter_values(sizes)),
            optional_texts(formats),
            side(|original| original.width),
            side(|original| original.height),
        ],
    )
}

/// The client's metadata, and beside it what the camera wrote, under `camera.`.
fn metadata(rows: &[AcceptedRow]) -> ArrayRef {
    let mut builder = ListBuilder::new(StructBuilder::from_fields(
        table::metadata_fields(),
        rows.len(),
    ))
    .with_field(table::metadata_item());
    for row in rows {
        let told = row
            .capture
            .metadata
            .iter()
            .map(|(key, value)| (key.clone(), value));
        let read = row
            .photo
            .camera
            .iter()
            .map(|(key, value)| (format!("camera.{key}"), value));
        for (key, value) in told.chain(read) {
            let entry = builder.values();
            for (field, text) in [key.as_str(), value.as_str()].into_iter().enumerate() {
                entry
                    .field_builder::<StringBuilder>(field)
                    .expect("both fields of an entry are strings")
                    .append_value(text);
            }
            entry.append(true);
        }
        builder.append(true);
    }
    Arc::new(builder.finish())
}

fn embeddings(rows: &[AcceptedRow]) -> ArrayRef {
    let mut builder = ListBuilder::new(Float32Builder::new()).with_field(table::embedding_item());
    for row in rows {
        builder.values().append_slice(&row.photo.embedding);
        builder.append(!row.photo.embedding.is_empty());
    }
    Arc::new(builder.finish())
}

fn places(rows: &[AcceptedRow]) -> impl Iterator<Item = Option<Place>> {
    rows.iter().map(|row| row.place)
}

fn clusters(rows: &[AcceptedRow]) -> ArrayRef {
    let ids = places(rows).map(|place| place.map(|place| place.cluster));
    Arc::new(ids.collect::<Int64Array>())
}

fn positions(partition: i32, offsets: impl ExactSizeIterator<Item = i64>) -> ArrayRef {
    let partitions = Int32Array::from(vec![partition; offsets.len()]);
    structs(
        table::kafka_fields(),
        vec![
            Arc::new(partitions),
            Arc::new(Int64Array::from_iter_values(offsets)),
        ],
    )
}

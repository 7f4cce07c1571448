//! The rows of some files come in, one Parquet file with all of them goes out: every value
//! as it was, photos sorted by label and kind again, written as the organizer writes its shards.
//!
//! The file is read back and compared with its rows before anybody is told of it.

use std::sync::Arc;

use arrow::array::{Array as _, AsArray as _, RecordBatch, new_null_array};
use arrow::compute::interleave_record_batch;
use arrow::datatypes::{Int64Type, SchemaRef};
use deltalake_core::logstore::parquet_reader::ParquetObjectReader;
use futures::TryStreamExt as _;
use object_store::path::Path;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::arrow::async_reader::ParquetRecordBatchStreamBuilder;

use super::table::{DataFile, Kind, Open};
use crate::error::ProcessorError;
use crate::organize::shard::{ShardFile, properties};

/// Rows at a time: some 64 of 40 KB. Larger only takes memory.
const CHUNK_ROWS: usize = 64;

/// Merges `files`, which stand in the order of their commits; none if one of them has
/// columns that this version does not know, or knows otherwise: a newer version's files are
/// its own to merge.
///
/// # Errors
/// A file cannot be read, has not the rows that the log says, or the new file is not what
/// went into it.
pub(super) async fn merge(
    table: &Open,
    kind: Kind,
    files: &[DataFile],
) -> Result<Option<ShardFile>, ProcessorError> {
    match rows(table, kind, files).await? {
        Some(chunks) => file(table, kind, chunks).await.map(Some),
        None => Ok(None),
    }
}

/// All rows of `files`, some at a time, with the columns of today; none as for [`merge`].
pub(super) async fn rows(
    table: &Open,
    kind: Kind,
    files: &[DataFile],
) -> Result<Option<Vec<RecordBatch>>, ProcessorError> {
    let schema = kind.schema();
    let mut chunks = Vec::new();
    for file in files {
        match read(table, file, &schema).await? {
            Some(mut rows) => chunks.append(&mut rows),
            None => return Ok(None),
        }
    }
    Ok(Some(chunks))
}

/// One file of all these rows.
pub(super) async fn file(
    table: &Open,
    kind: Kind,
    chunks: Vec<RecordBatch>,
) -> Result<ShardFile, ProcessorError> {
    let name = table.key.to_string();
    let written =
        tokio::task::spawn_blocking(move || write(&name, kind, &kind.schema(), &chunks)).await;
    written.map_err(|error| ProcessorError::Table {
        table: table.key.to_string(),
        what: format!("merging files: {error}"),
    })?
}

/// Opens a file of the table for reading.
pub(super) async fn open(
    table: &Open,
    file: &DataFile,
) -> Result<ParquetRecordBatchStreamBuilder<ParquetObjectReader>, ProcessorError> {
    let doing = ProcessorError::parquet(format!("reading {} of {}", file.path, table.key));
    let path = Path::from(file.path.as_str());
    let reader =
        ParquetObjectReader::new(table.table.object_store(), path).with_file_size(file.num_bytes);
    ParquetRecordBatchStreamBuilder::new(reader)
        .await
        .map_err(doing)
}

async fn read(
    table: &Open,
    file: &DataFile,
    schema: &SchemaRef,
) -> Result<Option<Vec<RecordBatch>>, ProcessorError> {
    let doing = || ProcessorError::parquet(format!("reading {} of {}", file.path, table.key));
    let builder = open(table, file).await?;
    let known = |name: &str| schema.field_with_name(name).is_ok();
    if let Some(column) = builder.schema().fields().iter().find(|f| !known(f.name())) {
        tracing::debug!(
            file = file.path,
            column = column.name(),
            "a file of a newer version is not merged"
        );
        return Ok(None);
    }
    let mut stream = builder
        .with_batch_size(CHUNK_ROWS)
        .build()
        .map_err(doing())?;
    let mut chunks = Vec::new();
    let mut num_rows = 0;
    while let Some(rows) = stream.try_next().await.map_err(doing())? {
        num_rows += rows.num_rows();
        match conform(&rows, schema) {
            Some(rows) => chunks.push(rows),
            None => return Ok(None),
        }
    }
    if file.num_rows.is_some_and(|expected| expected != num_rows) {
        return Err(ProcessorError::Table {
            table: table.key.to_string(),
            what: format!(
                "{} has {num_rows} rows, and {} in the log",
                file.path,
                file.num_rows.unwrap_or_default()
            ),
        });
    }
    Ok(Some(chunks))
}

/// The rows with all columns of today: those that came later are null in older files.
fn conform(rows: &RecordBatch, schema: &SchemaRef) -> Option<RecordBatch> {
    let columns = schema
        .fields()
        .iter()
        .map(|field| match rows.column_by_name(field.name()) {
            Some(column) if column.data_type() == field.data_type() => Some(column.clone()),
            Some(_) => None,
            None if field.is_nullable() => Some(new_null_array(field.data_type(), rows.num_rows())),
            None => None,
        });
    let columns = columns.collect::<Option<Vec<_>>>()?;
    RecordBatch::try_new(schema.clone(), columns).ok()
}

fn write(
    table: &str,
    kind: Kind,
    schema: &SchemaRef,
    chunks: &[RecordBatch],
) -> Result<ShardFile, ProcessorError> {
    let doing = || ProcessorError::parquet(format!("merging files of {table}"));
    let damaged = |what: &str| ProcessorError::Table {
        table: table.to_owned(),
        what: what.to_owned(),
    };
    let order = order(kind, chunks).ok_or_else(|| damaged("its labels are no texts"))?;
    let sources: Vec<&RecordBatch> = chunks.iter().collect();
    let in_order = |places: &[(usize, usize)]| {
        interleave_record_batch(&sources, places).map_err(|error| doing()(error.into()))
    };
    let mut writer =
        ArrowWriter::try_new(Vec::new(), schema.clone(), Some(properties(order.len())))
            .map_err(doing())?;
    for places in order.chunks(CHUNK_ROWS) {
        writer.write(&in_order(places)?).map_err(doing())?;
    }
    let bytes = bytes::Bytes::from(writer.into_inner().map_err(doing())?);
    // The old files go some day, and then this one is all there is.
    let written = ParquetRecordBatchReaderBuilder::try_new(bytes.clone())
        .and_then(|builder| builder.with_batch_size(CHUNK_ROWS).build())
        .map_err(doing())?;
    let mut places = order.chunks(CHUNK_ROWS);
    for rows in written {
        let rows = rows.map_err(|error| doing()(error.into()))?;
        let expected = places.next().map(&in_order).transpose()?;
        if expected.is_none_or(|expected| expected.columns() != rows.columns()) {
            return Err(damaged("a merged file is not what went into it"));
        }
    }
    if places.next().is_some() {
        return Err(damaged("a merged file lacks rows"));
    }
    let labels = ends(chunks).ok_or_else(|| damaged("its labels are no texts"))?;
    Ok(ShardFile {
        bytes: bytes.into(),
        num_rows: order.len(),
        labels,
    })
}

/// Chunk and row of each row, in the order in which they are written. Of one label and kind, the rows
/// stay as they came: a file's own are in that order, and the files are.
fn order(kind: Kind, chunks: &[RecordBatch]) -> Option<Vec<(usize, usize)>> {
    let places = chunks.iter().enumerate();
    let mut order: Vec<_> = places
        .flat_map(|(chunk, rows)| (0..rows.num_rows()).map(move |row| (chunk, row)))
        .collect();
    if kind == Kind::Photos {
        let labels = chunks.iter().map(|rows| {
            let column = rows.column_by_name("label")?;
            Some(column.as_string_opt::<i32>()?.clone())
        });
        let labels = labels.collect::<Option<Vec<_>>>()?;
        // None before there were kinds of photo: a column of nulls.
        let clusters = chunks.iter().map(|rows| {
            let column = rows.column_by_name("cluster_id")?;
            Some(column.as_primitive_opt::<Int64Type>()?.clone())
        });
        let clusters = clusters.collect::<Option<Vec<_>>>()?;
        let key = |(chunk, row): (usize, usize)| {
            let cluster = &clusters[chunk];
            (
                labels[chunk].value(row),
                cluster.is_valid(row).then(|| cluster.value(row)),
            )
        };
        order.sort_by(|a, b| key(*a).cmp(&key(*b)));
    }
    Some(order)
}

/// The first and the last label.
fn ends(chunks: &[RecordBatch]) -> Option<(String, String)> {
    let (mut first, mut last) = (None::<String>, None::<String>);
    for rows in chunks {
        let labels = Arc::clone(rows.column_by_name("label")?);
        for label in labels.as_string_opt::<i32>()?.iter().flatten() {
            if first.as_deref().is_none_or(|first| label < first) {
                first = Some(label.to_owned());
            }
            if last.as_deref().is_none_or(|last| label > last) {
                last = Some(label.to_owned());
            }
        }
    }
    Some((first.unwrap_or_default(), last.unwrap_or_default()))
}

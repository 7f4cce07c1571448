//! The query that the demo shows, and its answer: the photos table comes in as it
//! lies on disk, and what DuckDB makes of the query goes out. The rows are read
//! from the shards that the Delta log names, so the answer is the table's own, not
//! the importer's.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use arrow::array::AsArray as _;
use arrow::datatypes::Float32Type;
use deltalake_core::DeltaTableBuilder;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use schemas::Split;
use serde::Serialize;
use url::Url;

use crate::cli::{Column, Table};

/// A photos table as it lies on disk.
#[derive(Debug)]
pub struct PhotosTable {
    /// Its folder.
    pub folder: PathBuf,
    /// The version that was read.
    pub version: u64,
    /// Its shards, and the bytes of each.
    pub shards: Vec<(PathBuf, u64)>,
    /// The query's answer.
    pub answer: Vec<Row>,
}

/// A row of the answer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// The label.
    pub label: String,
    /// Its photos.
    pub photos: u64,
    /// Those to learn from.
    pub train: u64,
    /// Their sharpness on average: CleanVision's `blurry_score`.
    pub sharpness: f64,
}

/// What the query sums up of one label.
#[derive(Default)]
struct Sums {
    photos: u64,
    train: u64,
    sharpness: f64,
}

impl PhotosTable {
    /// Reads the table in `folder`; `None` if there is none yet.
    ///
    /// # Errors
    /// The log or a shard cannot be read.
    pub async fn read(folder: &Path) -> anyhow::Result<Option<Self>> {
        if !folder.join("_delta_log").is_dir() {
            return Ok(None);
        }
        let what = || format!("reading the table {}", folder.display());
        let url = Url::from_directory_path(folder)
            .map_err(|()| anyhow::anyhow!("{} is no absolute path", folder.display()))?;
        let builder = DeltaTableBuilder::from_url(url).with_context(what)?;
        let table = builder.load().await.with_context(what)?;
        let version = table.version().unwrap_or_default();
        let files = table.get_files_by_partitions(&[]).await;
        let files = files.with_context(what)?;
        let folder = folder.to_owned();
        tokio::task::spawn_blocking(move || {
            let mut shards = Vec::new();
            let mut sums = BTreeMap::new();
            for file in files {
                let path = folder.join(file.as_ref());
                let what = || format!("reading the shard {}", path.display());
                let num_bytes = sum_up(&path, &mut sums).with_context(what)?;
                shards.push((path, num_bytes));
            }
            let answer = sums.into_iter().map(|(label, sums)| sums.row(label));
            Ok(Some(Self {
                folder,
                version: version as u64,
                shards,
                answer: answer.collect(),
            }))
        })
        .await?
    }

    /// The query, over the table as DuckDB's Delta extension reads it.
    pub fn query(&self) -> String {
        query_over(&format!("delta_scan('{}')", quoted(&self.folder)))
    }

    /// The same over the files, for a DuckDB without that extension.
    pub fn query_without_extension(&self) -> String {
        query_over(&format!(
            "read_parquet('{}/*.parquet')",
            quoted(&self.folder)
        ))
    }

    /// The answer as DuckDB draws it.
    pub fn drawn_answer(&self) -> String {
        let columns = vec![
            Column::text("label").line("varchar"),
            Column::figures("photos").line("int64"),
            Column::figures("train").line("int128"),
            Column::figures("sharpness").line("double"),
        ];
        let mut table = Table::new(columns);
        for row in &self.answer {
            table.row([
                row.label.clone(),
                row.photos.to_string(),
                row.train.to_string(),
                format!("{:?}", row.sharpness),
            ]);
        }
        table.boxed()
    }
}

impl Sums {
    fn row(self, label: String) -> Row {
        let mean = self.sharpness / self.photos.max(1) as f64;
        Row {
            label,
            photos: self.photos,
            train: self.train,
            sharpness: (mean * 1000.0).round() / 1000.0,
        }
    }
}

fn query_over(source: &str) -> String {
    format!(
        "SELECT label, count(*) AS photos, count_if(split = 'train') AS train,\n       \
         round(avg(blurry_score), 3) AS sharpness\n\
         FROM {source}\n\
         GROUP BY label ORDER BY label;"
    )
}

/// The path as it stands between single quotes in SQL.
fn quoted(path: &Path) -> String {
    path.display().to_string().replace('\'', "''")
}

/// Adds a shard's rows to the sums and gives its size in bytes.
fn sum_up(path: &Path, sums: &mut BTreeMap<String, Sums>) -> anyhow::Result<u64> {
    const COLUMNS: [&str; 3] = ["label", "split", "blurry_score"];
    let file = File::open(path)?;
    let num_bytes = file.metadata()?.len();
    let reader = ParquetRecordBatchReaderBuilder::try_new(file)?;
    let mask = ProjectionMask::columns(reader.parquet_schema(), COLUMNS);
    for batch in reader.with_projection(mask).build()? {
        let batch = batch?;
        let column = |name: &str| {
            let column = batch.column_by_name(name);
            column.with_context(|| format!("column {name} is missing"))
        };
        let text = |name: &str| {
            let column = column(name)?.as_string_opt::<i32>();
            column.with_context(|| format!("column {name} is no text"))
        };
        let (labels, splits) = (text("label")?, text("split")?);
        let sharpness = column("blurry_score")?
            .as_primitive_opt::<Float32Type>()
            .context("column blurry_score is no float")?;
        for row in 0..batch.num_rows() {
            let sums = sums.entry(labels.value(row).into()).or_default();
            sums.photos += 1;
            sums.train += u64::from(splits.value(row) == Split::Train.as_str());
            sums.sharpness += f64::from(sharpness.value(row));
        }
    }
    Ok(num_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Float32Array, RecordBatch, StringArray};
    use parquet::arrow::ArrowWriter;

    fn shard(path: &Path, rows: &[(&str, &str, f32)]) {
        let texts = |pick: fn(&(&'static str, &'static str, f32)) -> &'static str,
                     rows: &[(&'static str, &'static str, f32)]|
         -> ArrayRef {
            Arc::new(StringArray::from_iter_values(rows.iter().map(pick)))
        };
        // The tests' rows are literals.
        let rows: Vec<(&'static str, &'static str, f32)> = rows
            .iter()
            .map(|(l, s, b)| (leak(l), leak(s), *b))
            .collect();
        let scores: ArrayRef = Arc::new(Float32Array::from_iter_values(rows.iter().map(|r| r.2)));
        let batch = RecordBatch::try_from_iter([
            ("label", texts(|r| r.0, &rows)),
            ("split", texts(|r| r.1, &rows)),
            ("blurry_score", scores),
        ])
        .unwrap();
        let file = File::create(path).unwrap();
        let mut writer = ArrowWriter::try_new(file, batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
    }

    fn leak(text: &str) -> &'static str {
        Box::leak(text.to_owned().into_boxed_str())
    }

    #[test]
    fn the_answer_is_what_the_shards_hold() {
        let dir = tempfile::tempdir().unwrap();
        let mut sums = BTreeMap::new();
        let (a, b) = (dir.path().join("a.parquet"), dir.path().join("b.parquet"));
        shard(&a, &[("cat", "train", 0.5), ("cat", "test", 0.25)]);
        shard(&b, &[("cat", "train", 1.0), ("猫", "validation", 0.9)]);
        assert!(sum_up(&a, &mut sums).unwrap() > 0);
        sum_up(&b, &mut sums).unwrap();
        let rows: Vec<Row> = sums.into_iter().map(|(l, s)| s.row(l)).collect();
        let row = |label: &str, photos, train, sharpness| Row {
            label: label.into(),
            photos,
            train,
            sharpness,
        };
        assert_eq!(rows, [row("cat", 3, 2, 0.583), row("猫", 1, 0, 0.9)]);
        let table = PhotosTable {
            folder: "/tmp/it's/photos".into(),
            version: 0,
            shards: Vec::new(),
            answer: rows,
        };
        assert!(table.query().contains("delta_scan('/tmp/it''s/photos')"));
        let drawn = table.drawn_answer();
        assert!(
            drawn.contains("│ cat     │      3 │      2 │     0.583 │"),
            "{drawn}"
        );
        assert!(
            drawn.contains("│ 猫      │      1 │      0 │       0.9 │"),
            "{drawn}"
        );
    }

    #[tokio::test]
    async fn a_folder_without_a_log_is_no_table_yet() {
        let dir = tempfile::tempdir().unwrap();
        assert!(PhotosTable::read(dir.path()).await.unwrap().is_none());
    }
}

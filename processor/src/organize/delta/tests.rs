//! The commit protocol on a real folder, cut where a crash would cut it.

use std::sync::Arc;

use deltalake_core::kernel::StructType;
use object_store::local::LocalFileSystem;
use schemas::events::{CaptureReceived, Photo};
use schemas::{CaptureId, Reason, Split, Status};
use url::Url;

use super::super::batch::{AcceptedRow, DeclinedRow};
use super::super::clusters::Clusters;
use super::super::load::load;
use super::super::plausibility::Looks;
use super::super::shard;
use super::*;

fn root(folder: &std::path::Path) -> ObjectRoot {
    ObjectRoot::new(
        Arc::new(LocalFileSystem::new()),
        Url::from_directory_path(folder).unwrap(),
    )
}

fn declined(dataset: &DatasetId, offset: i64) -> ShardFile {
    let id = CaptureId::new();
    let capture = CaptureReceived {
        capture_id: id.to_string(),
        label: "a".into(),
        sha256: vec![0; 32],
        ..CaptureReceived::default()
    };
    let (status, reason) = (Status::Rejected, Reason::Truncated);
    let row = DeclinedRow {
        id,
        capture,
        original: None,
        status,
        reason,
        detail: "cut".into(),
        twin: None,
        offset,
    };
    shard::rejections(dataset, 0, vec![row]).unwrap()
}

fn num_files(table: &DeltaTable) -> usize {
    table.get_file_uris().unwrap().count()
}

#[tokio::test]
async fn a_commit_moves_the_position_of_both_tables() {
    let folder = tempfile::tempdir().unwrap();
    let (root, dataset) = (root(folder.path()), DatasetId::for_name("cats").unwrap());
    let mut tables = Tables::open(&root, &dataset, 0, "a").await.unwrap();
    assert_eq!(tables.position(), -1);
    let version = tables
        .commit((0, 4), None, Some(declined(&dataset, 4)))
        .await
        .unwrap();
    assert_eq!((version, tables.position()), (1, 4));
    let again = Tables::open(&root, &dataset, 0, "a").await.unwrap();
    assert_eq!((again.position(), num_files(again.rejections())), (4, 1));
    // Another partition's progress is its own.
    assert_eq!(
        Tables::open(&root, &dataset, 1, "a")
            .await
            .unwrap()
            .position(),
        -1
    );
}

#[tokio::test]
async fn a_crash_between_the_two_commits_is_finished_on_the_next_open_and_only_once() {
    let folder = tempfile::tempdir().unwrap();
    let (root, dataset) = (root(folder.path()), DatasetId::for_name("cats").unwrap());
    let mut tables = Tables::open(&root, &dataset, 0, "a").await.unwrap();
    let table = ObjectKey::RejectionsTable {
        dataset: dataset.clone(),
    };
    let file = tables
        .write_file(&table, (0, 0), declined(&dataset, 0))
        .await
        .unwrap();
    tables
        .commit_photos(0, Vec::new(), &CommitEntry::new(Some(file)))
        .await
        .unwrap();
    assert_eq!(num_files(tables.rejections()), 0);
    drop(tables);
    for _ in 0..2 {
        let tables = Tables::open(&root, &dataset, 0, "a").await.unwrap();
        assert_eq!((tables.position(), num_files(tables.rejections())), (0, 1));
    }
}

#[tokio::test]
async fn a_worker_that_was_overtaken_cannot_commit() {
    let folder = tempfile::tempdir().unwrap();
    let (root, dataset) = (root(folder.path()), DatasetId::for_name("cats").unwrap());
    let mut paused = Tables::open(&root, &dataset, 0, "a").await.unwrap();
    let mut owner = Tables::open(&root, &dataset, 0, "a").await.unwrap();
    owner
        .commit((0, 7), None, Some(declined(&dataset, 7)))
        .await
        .unwrap();
    let refused = paused
        .commit((0, 3), None, Some(declined(&dataset, 3)))
        .await;
    assert!(
        matches!(refused, Err(ProcessorError::Fenced { .. })),
        "{:?}",
        refused.err()
    );
    let tables = Tables::open(&root, &dataset, 0, "a").await.unwrap();
    assert_eq!((tables.position(), num_files(tables.rejections())), (7, 1));
}

#[tokio::test]
async fn a_commit_whose_answer_was_lost_is_found_and_not_written_again() {
    let folder = tempfile::tempdir().unwrap();
    let (root, dataset) = (root(folder.path()), DatasetId::for_name("cats").unwrap());
    let mut unaware = Tables::open(&root, &dataset, 0, "a").await.unwrap();
    let mut arrived = Tables::open(&root, &dataset, 0, "a").await.unwrap();
    let entry = CommitEntry::new(None);
    let version = arrived.commit_photos(2, vec![], &entry).await.unwrap();
    let found = unaware.commit_photos(2, vec![], &entry).await.unwrap();
    assert_eq!((found, unaware.position()), (version, 2));
    let tables = Tables::open(&root, &dataset, 0, "a").await.unwrap();
    assert_eq!((tables.position(), tables.version()), (2, 1));
}

#[tokio::test]
async fn another_workers_commit_up_to_the_same_offset_is_not_taken_for_ours() {
    let folder = tempfile::tempdir().unwrap();
    let (root, dataset) = (root(folder.path()), DatasetId::for_name("cats").unwrap());
    let mut paused = Tables::open(&root, &dataset, 0, "a").await.unwrap();
    let mut owner = Tables::open(&root, &dataset, 0, "a").await.unwrap();
    for (first, last) in [(0, 1), (2, 2)] {
        let file = Some(declined(&dataset, last));
        owner.commit((first, last), None, file).await.unwrap();
    }
    let file = Some(declined(&dataset, 2));
    let refused = paused.commit((0, 2), None, file).await;
    assert!(matches!(refused, Err(ProcessorError::Fenced { .. })));
    // Its file of rejections, which has those of 0 to 1 again, is in no table.
    let tables = Tables::open(&root, &dataset, 0, "a").await.unwrap();
    assert_eq!((tables.position(), num_files(tables.rejections())), (2, 2));
}

#[tokio::test]
async fn maintenance_in_between_does_not_stop_a_commit() {
    let folder = tempfile::tempdir().unwrap();
    let (root, dataset) = (root(folder.path()), DatasetId::for_name("cats").unwrap());
    let mut tables = Tables::open(&root, &dataset, 0, "a").await.unwrap();
    let log = folder
        .path()
        .join(format!("tables/{dataset}/photos/_delta_log"));
    std::fs::write(
        log.join("00000000000000000001.json"),
        "{\"commitInfo\":{\"operation\":\"OPTIMIZE\"}}\n",
    )
    .unwrap();
    let file = Some(declined(&dataset, 3));
    assert_eq!(tables.commit((0, 3), None, file).await.unwrap(), 2);
}

#[tokio::test]
async fn rows_of_another_partition_in_between_mean_that_ours_are_judged_anew() {
    let folder = tempfile::tempdir().unwrap();
    let (root, dataset) = (root(folder.path()), DatasetId::for_name("cats").unwrap());
    let mut tables = Tables::open(&root, &dataset, 0, "a").await.unwrap();
    let mut other = Tables::open(&root, &dataset, 1, "a").await.unwrap();
    let file = Some(declined(&dataset, 9));
    other.commit((0, 9), None, file).await.unwrap();
    let file = Some(declined(&dataset, 3));
    let refused = tables.commit((0, 3), None, file).await;
    assert!(matches!(refused, Err(ProcessorError::Fenced { .. })));
    let mut anew = Tables::open(&root, &dataset, 0, "a").await.unwrap();
    let file = Some(declined(&dataset, 3));
    assert_eq!(anew.commit((0, 3), None, file).await.unwrap(), 2);
    assert_eq!(num_files(anew.rejections()), 2);
}

#[tokio::test]
async fn in_another_incarnation_of_the_stream_offsets_begin_anew_and_nothing_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let (root, dataset) = (root(folder.path()), DatasetId::for_name("cats").unwrap());
    let mut first = Tables::open(&root, &dataset, 0, "a").await.unwrap();
    let file = Some(declined(&dataset, 90));
    first.commit((0, 90), None, file).await.unwrap();
    // The stream was lost: its offsets are low again.
    let mut second = Tables::open(&root, &dataset, 0, "b").await.unwrap();
    assert_eq!(second.position(), -1);
    let file = Some(declined(&dataset, 3));
    second.commit((0, 3), None, file).await.unwrap();
    let again = Tables::open(&root, &dataset, 0, "b").await.unwrap();
    assert_eq!((again.position(), num_files(again.rejections())), (3, 2));
    // The same without a new name: the offset 2 is given a second time.
    let mut third = again;
    third.begin_anew();
    let file = Some(declined(&dataset, 2));
    third.commit((2, 2), None, file).await.unwrap();
    assert_eq!((third.position(), num_files(third.rejections())), (2, 3));
}

fn accepted(dataset: &DatasetId, offset: i64) -> ShardFile {
    shard::photos(dataset, 0, vec![row("a", vec![0.5, -0.5], offset)]).unwrap()
}

fn row(label: &str, embedding: Vec<f32>, offset: i64) -> AcceptedRow {
    let id = CaptureId::new();
    AcceptedRow {
        id,
        capture: CaptureReceived {
            capture_id: id.to_string(),
            label: label.into(),
            sha256: vec![offset as u8; 32],
            ..CaptureReceived::default()
        },
        photo: Photo {
            pdq: vec![0; 32],
            pixel_sha256: vec![offset as u8; 32],
            embedding,
            embedding_model: "some network".into(),
            ..Photo::default()
        },
        group: id,
        split: Split::Train,
        label_score: None,
        place: None,
        pipeline_version: "1".into(),
        offset,
    }
}

/// The same file as an older version would have written it.
fn without_last_column(file: ShardFile) -> ShardFile {
    use parquet::arrow::{ArrowWriter, arrow_reader::ParquetRecordBatchReaderBuilder};
    let bytes = bytes::Bytes::from(file.bytes);
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap();
    let rows = reader.build().unwrap().next().unwrap().unwrap();
    let kept: Vec<usize> = (0..rows.num_columns() - 1).collect();
    let rows = rows.project(&kept).unwrap();
    let mut writer = ArrowWriter::try_new(Vec::new(), rows.schema(), None).unwrap();
    writer.write(&rows).unwrap();
    ShardFile {
        bytes: writer.into_inner().unwrap(),
        ..file
    }
}

#[tokio::test]
async fn a_table_from_before_a_column_gets_it_once_and_its_rows_stay_readable() {
    let folder = tempfile::tempdir().unwrap();
    let (root, dataset) = (root(folder.path()), DatasetId::for_name("cats").unwrap());
    let key = ObjectKey::PhotosTable {
        dataset: dataset.clone(),
    };
    let all: StructType = table::photos().as_ref().try_into_kernel().unwrap();
    let num_columns = all.fields().count();
    let old = StructType::try_new(all.fields().take(num_columns - 1).cloned()).unwrap();
    let made = open_or_create(&root, &key, Ok::<_, String>(old))
        .await
        .unwrap();
    let columns = |table: &DeltaTable| table.snapshot().unwrap().schema().fields().count();
    assert_eq!(columns(&made), num_columns - 1);
    let mut tables = Tables {
        photos: made.clone(),
        ..Tables::open(&root, &DatasetId::for_name("other").unwrap(), 0, "a")
            .await
            .unwrap()
    };
    tables.dataset = dataset.clone();
    let file = without_last_column(accepted(&dataset, 0));
    tables.commit((0, 0), Some(file), None).await.unwrap();

    let mut tables = Tables::open(&root, &dataset, 0, "a").await.unwrap();
    assert_eq!(columns(tables.photos()), num_columns);
    assert_eq!((tables.position(), tables.version()), (0, 2));
    assert_eq!(load(&tables, 0, 0, None).await.unwrap().index.len(), 1);
    let version = tables
        .commit((1, 1), Some(accepted(&dataset, 1)), None)
        .await
        .unwrap();
    assert_eq!(version, 3);
    // Everything is there already: nothing is added again.
    let again = Tables::open(&root, &dataset, 0, "a").await.unwrap();
    assert_eq!(again.version(), 3);
    let loaded = load(&again, 0, 0, None).await.unwrap();
    assert_eq!((loaded.index.len(), loaded.outcomes.len()), (2, 2));
}

#[tokio::test]
async fn looks_that_are_read_back_judge_labels_as_those_that_were_there() {
    let folder = tempfile::tempdir().unwrap();
    let (root, dataset) = (root(folder.path()), DatasetId::for_name("cats").unwrap());
    let mut tables = Tables::open(&root, &dataset, 0, "a").await.unwrap();
    let mut looks = Looks::default();
    for (shard, first) in [0, 20].into_iter().enumerate() {
        let rows: Vec<_> = (first..first + 20)
            .map(|n: i64| {
                let (label, at) = if n % 2 == 0 { ("cat", 0) } else { ("dog", 4) };
                let value = |i: usize| ((i as i64 * 7 + n * 3) % 5) as f32 / 9.0;
                let mut embedding: Vec<f32> = (0..8).map(value).collect();
                embedding[at + shard] += 2.0;
                row(label, embedding, n)
            })
            .collect();
        for row in &rows {
            let (model, embedding) = (&row.photo.embedding_model, &row.photo.embedding);
            looks.add(model, row.id, &row.capture.label, embedding);
        }
        let file = shard::photos(&dataset, 0, rows).unwrap();
        let offsets = (first, first + 19);
        tables.commit(offsets, Some(file), None).await.unwrap();
    }
    let loaded = load(&tables, 0, i64::MAX, None).await.unwrap().index.looks;
    let dog = [0.1, 0.0, 0.3, 0.0, 1.5, 0.4, 0.0, 0.2];
    let fit = loaded.fit("some network", "cat", &dog).unwrap();
    assert_eq!((fit.looks_like.as_str(), fit.score < 0.5), ("dog", true));
    assert_eq!(Some(fit), looks.fit("some network", "cat", &dog));
}

#[tokio::test]
async fn kinds_that_are_read_back_place_photos_as_those_that_were_there() {
    let folder = tempfile::tempdir().unwrap();
    let (root, dataset) = (root(folder.path()), DatasetId::for_name("cats").unwrap());
    let mut tables = Tables::open(&root, &dataset, 0, "a").await.unwrap();
    let mut clusters = Clusters::default();
    let model = "some network";
    for first in [0, 30] {
        let mut rows = Vec::new();
        for n in first..first + 30_i64 {
            let value = |i: usize| ((i as i64 * 7 + n * 3) % 5) as f32 / 20.0;
            let mut embedding: Vec<f32> = (0..8).map(value).collect();
            embedding[(n % 3) as usize] += 2.0;
            if clusters.needs_fit(model) {
                clusters.fit(model);
            }
            let place = clusters.place(model, &embedding);
            let row = AcceptedRow {
                place,
                ..row("cat", embedding, n)
            };
            clusters.add(model, row.id, &row.photo.embedding, row.place.as_ref());
            rows.push(row);
        }
        let file = shard::photos(&dataset, 0, rows).unwrap();
        let offsets = (first, first + 29);
        tables.commit(offsets, Some(file), None).await.unwrap();
    }
    let mut loaded = load(&tables, 0, 0, None).await.unwrap();
    let read_back = &mut loaded.index.clusters;
    for clusters in [&mut *read_back, &mut clusters] {
        if clusters.needs_fit(model) {
            clusters.fit(model);
        }
    }
    let photo = [0.1, 2.0, 0.3, 0.0, 0.1, 0.2, 0.0, 0.2];
    let place = clusters.place(model, &photo).unwrap();
    assert_eq!(read_back.place(model, &photo), Some(place));
    // Those that may not have been told are told with their kind.
    let told = &loaded.outcomes;
    assert!(told.iter().any(|told| told.cluster_id.is_some()));
    assert!(
        told.iter().any(|told| told.cluster_id.is_none()),
        "before the first fit"
    );
}

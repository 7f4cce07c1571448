//! Maintenance on real tables in a folder, against an organizer that goes on committing.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path as FilePath;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use arrow::array::{Array as _, AsArray as _};
use arrow::datatypes::Int64Type;
use object_store::local::LocalFileSystem;
use object_store::{ObjectStore as _, ObjectStoreExt as _, path::Path};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use schemas::events::{CaptureReceived, Photo};
use schemas::http::CreateDataset;
use schemas::{CaptureId, Reason, Sha256, Split, Status};
use url::Url;

use super::*;
use crate::organize::batch::{AcceptedRow, DeclinedRow};
use crate::organize::clusters::Place;
use crate::organize::delta::Tables;
use crate::organize::load::load;
use crate::organize::shard;

struct Test {
    folder: tempfile::TempDir,
    settings: MaintainSettings,
    dataset: DatasetId,
}

/// Small enough that a test's files are merged, and some of them are large.
const MERGE: MergePolicy = MergePolicy {
    large_bytes: 64 << 10,
    target_bytes: 192 << 10,
    target_rows: 1 << 16,
    min_files: 4,
};

impl Test {
    async fn new(keep_originals_days: u32) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = catalog::sqlite_url(&folder.path().join("catalog.db"));
        let catalog = Catalog::open(&file).await.unwrap();
        let policy = DatasetPolicy {
            keep_originals_days,
            ..DatasetPolicy::default()
        };
        let create = CreateDataset {
            name: "cats".into(),
            labels: vec![],
            policy,
        };
        let dataset = catalog.create_dataset("main", &create).await.unwrap().id;
        let objects = folder.path().join("objects");
        std::fs::create_dir(&objects).unwrap();
        let url = Url::from_directory_path(&objects).unwrap();
        let settings = MaintainSettings {
            catalog,
            objects: ObjectRoot::new(Arc::new(LocalFileSystem::new()), url),
            every: Duration::ZERO,
            keep: Keep::default(),
            merge: MERGE,
        };
        Self {
            folder,
            settings,
            dataset,
        }
    }

    async fn tables(&self) -> Tables {
        let root = &self.settings.objects;
        Tables::open(root, &self.dataset, 0, "a").await.unwrap()
    }

    async fn maintain(&self) -> DatasetReport {
        let stop = CancellationToken::new();
        match round(&self.settings, Duration::ZERO, None, &stop)
            .await
            .unwrap()
        {
            Round::Done(report) => {
                assert!(report.failures.is_empty(), "{:?}", report.failures);
                report.datasets[0].clone()
            }
            Round::Elsewhere(holder) => panic!("{holder} has the turn"),
        }
    }

    fn table_folder(&self, name: &str) -> std::path::PathBuf {
        let tables = self.folder.path().join("objects/tables");
        tables.join(self.dataset.as_str()).join(name)
    }

    /// Makes every data file look as if it had been written some days ago.
    fn age_files(&self, name: &str, days: u64) {
        for file in data_files(&self.table_folder(name)) {
            age(&self.table_folder(name).join(file), days);
        }
    }
}

fn age(file: &FilePath, days: u64) {
    let then = SystemTime::now() - DAY * u32::try_from(days).unwrap();
    let file = std::fs::File::options().write(true).open(file).unwrap();
    file.set_modified(then).unwrap();
}

fn data_files(folder: &FilePath) -> BTreeSet<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.ends_with(".parquet")).collect()
}

fn capture(id: CaptureId, label: &str) -> CaptureReceived {
    CaptureReceived {
        capture_id: id.to_string(),
        label: label.into(),
        sha256: Sha256::of(id.to_string().as_bytes()).as_bytes().to_vec(),
        num_bytes: 7,
        ..CaptureReceived::default()
    }
}

/// A photo whose picture has about `kib` KiB that nothing compresses.
fn accepted(offset: i64, label: &str, kib: usize) -> AcceptedRow {
    let id = CaptureId::new();
    let mut jpeg = Vec::new();
    while jpeg.len() < kib << 10 {
        let next = Sha256::of(format!("{offset} {}", jpeg.len()).as_bytes());
        jpeg.extend_from_slice(next.as_bytes());
    }
    AcceptedRow {
        id,
        capture: capture(id, label),
        photo: Photo {
            jpeg: jpeg.into(),
            pdq: vec![0; 32],
            pixel_sha256: vec![1; 32],
            embedding: vec![0.5; 8],
            embedding_model: "m".into(),
            ..Photo::default()
        },
        group: id,
        split: if offset % 2 == 0 {
            Split::Train
        } else {
            Split::Test
        },
        label_score: Some(0.5),
        // Against the order in which they come.
        place: Some(Place {
            cluster: 100 - offset,
            distance: 0.1,
            is_outlier: false,
            fitted_at: 1,
        }),
        pipeline_version: "1".into(),
        offset,
    }
}

fn declined(offset: i64) -> DeclinedRow {
    let id = CaptureId::new();
    DeclinedRow {
        id,
        capture: capture(id, "a"),
        original: None,
        status: Status::Rejected,
        reason: Reason::Truncated,
        detail: "cut".into(),
        twin: None,
        offset,
    }
}

/// One commit of one photo and one rejection; the photo's id.
async fn append(tables: &mut Tables, dataset: &DatasetId, offset: i64, kib: usize) -> String {
    let label = ["tabby", "manx", "siamese"][usize::try_from(offset).unwrap() % 3];
    let row = accepted(offset, label, kib);
    let id = row.id.to_string();
    let photos = shard::photos(dataset, 0, vec![row]).unwrap();
    let rejections = shard::rejections(dataset, 0, vec![declined(offset)]).unwrap();
    let committed = tables.commit((offset, offset), Some(photos), Some(rejections));
    committed.await.unwrap();
    id
}

/// All of a table's rows, by id: everything else of the row as text.
async fn rows(test: &Test, key: &ObjectKey) -> BTreeMap<String, String> {
    let open = table::open(&test.settings.objects, key)
        .await
        .unwrap()
        .unwrap();
    let mut rows = BTreeMap::new();
    for file in open.files().unwrap() {
        let path = Path::from(format!("{key}/{}", file.path));
        let bytes = test.settings.objects.store().get(&path).await.unwrap();
        let bytes = bytes.bytes().await.unwrap();
        assert_eq!(bytes.len() as u64, file.num_bytes, "{}", file.path);
        let reader = ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap();
        for batch in reader.build().unwrap() {
            let batch = batch.unwrap();
            let ids = batch
                .column_by_name("id")
                .unwrap()
                .as_string::<i32>()
                .clone();
            for row in 0..batch.num_rows() {
                let values = batch
                    .columns()
                    .iter()
                    .map(|column| format!("{:?}", column.slice(row, 1)));
                let values: Vec<_> = values.collect();
                let twice = rows.insert(ids.value(row).to_owned(), values.join("|"));
                assert!(
                    twice.is_none(),
                    "{} stands in the table twice",
                    ids.value(row)
                );
            }
        }
    }
    rows
}

fn photos_key(test: &Test) -> ObjectKey {
    ObjectKey::PhotosTable {
        dataset: test.dataset.clone(),
    }
}

fn rejections_key(test: &Test) -> ObjectKey {
    ObjectKey::RejectionsTable {
        dataset: test.dataset.clone(),
    }
}

#[tokio::test]
async fn small_files_become_one_with_the_same_rows_in_order_and_a_large_one_is_not_touched() {
    let test = Test::new(0).await;
    let mut tables = test.tables().await;
    let mut ids = vec![append(&mut tables, &test.dataset, 0, 100).await];
    let large = data_files(&test.table_folder("photos"));
    for offset in 1..7 {
        ids.push(append(&mut tables, &test.dataset, offset, 2).await);
    }
    let before = (
        rows(&test, &photos_key(&test)).await,
        rows(&test, &rejections_key(&test)).await,
    );
    let report = test.maintain().await;
    assert_eq!(
        (report.photos.files_merged, report.photos.files_written),
        (6, 1)
    );
    assert_eq!(
        (
            report.rejections.files_merged,
            report.rejections.files_written
        ),
        (7, 1)
    );
    let after = (
        rows(&test, &photos_key(&test)).await,
        rows(&test, &rejections_key(&test)).await,
    );
    assert_eq!(before, after);
    let open = table::open(&test.settings.objects, &photos_key(&test))
        .await
        .unwrap()
        .unwrap();
    let files = open.files().unwrap();
    assert_eq!(files.len(), 2);
    assert!(files.iter().any(|file| large.contains(&file.path)));
    let merged = files
        .iter()
        .find(|file| file.path.starts_with("merged-"))
        .unwrap();
    assert_eq!(merged.num_rows, Some(6));
    // As the organizer writes it: sorted, one page for at most 16 pictures, bare bytes.
    let bytes = std::fs::read(test.table_folder("photos").join(&merged.path)).unwrap();
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes::Bytes::from(bytes)).unwrap();
    assert_eq!(
        reader.schema().metadata(),
        schemas::table::photos().metadata()
    );
    let picture = reader.metadata().row_group(0).columns().iter();
    let mut picture = picture.filter(|c| c.column_path().string() == "image.bytes");
    let picture = picture.next().unwrap();
    assert_eq!(
        picture.compression(),
        parquet::basic::Compression::UNCOMPRESSED
    );
    assert!(picture.statistics().is_none() && picture.dictionary_page_offset().is_none());
    let batch = reader.build().unwrap().next().unwrap().unwrap();
    let column = |name| batch.column_by_name(name).unwrap();
    let labels = column("label").as_string::<i32>().iter().flatten();
    let clusters = column("cluster_id").as_primitive::<Int64Type>();
    let order: Vec<_> = labels.zip(clusters.values().iter().copied()).collect();
    let expected = [
        ("manx", 96),
        ("manx", 99),
        ("siamese", 95),
        ("siamese", 98),
        ("tabby", 94),
        ("tabby", 97),
    ];
    assert_eq!(order, expected);
    // Nothing is left to merge, and the position is where it was.
    assert_eq!(test.maintain().await.photos, TableReport::default());
    let again = test.tables().await;
    assert_eq!(again.position(), 6);
    let loaded = load(&again, 0, 3, None).await.unwrap();
    assert_eq!(loaded.outcomes.len(), 8);
    assert_eq!(loaded.index.len(), 14);
}

#[tokio::test]
async fn an_append_that_meets_a_merge_succeeds_and_a_paused_worker_is_still_fenced() {
    let test = Test::new(0).await;
    let mut tables = test.tables().await;
    for offset in 0..5 {
        append(&mut tables, &test.dataset, offset, 2).await;
    }
    let mut paused = test.tables().await;
    assert_eq!(test.maintain().await.photos.files_merged, 5);
    // It was read before the merge.
    append(&mut tables, &test.dataset, 5, 2).await;
    assert_eq!(tables.position(), 5);
    let shard = shard::rejections(&test.dataset, 0, vec![declined(5)]).unwrap();
    let refused = paused.commit((5, 5), None, Some(shard)).await;
    assert!(matches!(refused, Err(ProcessorError::Fenced { .. })));
    append(&mut tables, &test.dataset, 6, 2).await;
    let mut behind = test.tables().await;
    append(&mut tables, &test.dataset, 7, 2).await;
    test.maintain().await;
    let shard = shard::rejections(&test.dataset, 0, vec![declined(9)]).unwrap();
    let refused = behind.commit((9, 9), None, Some(shard)).await;
    assert!(matches!(refused, Err(ProcessorError::Fenced { .. })));
    assert_eq!(rows(&test, &photos_key(&test)).await.len(), 8);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn appends_and_merges_that_race_leave_every_row_exactly_once() {
    let test = Arc::new(Test::new(0).await);
    let appending = tokio::spawn({
        let test = test.clone();
        async move {
            let mut tables = test.tables().await;
            let mut ids = BTreeSet::new();
            for offset in 0..60 {
                ids.insert(append(&mut tables, &test.dataset, offset, 3).await);
            }
            ids
        }
    });
    // Two that do not know of each other: the turn of the catalog is not what keeps rows whole.
    let merging = [0, 1].map(|_| {
        let test = test.clone();
        tokio::spawn(async move {
            let mut num_merged = 0;
            let until = Instant::now() + Duration::from_secs(120);
            loop {
                assert!(Instant::now() < until, "it never ends");
                let open = table::open(&test.settings.objects, &photos_key(&test))
                    .await
                    .unwrap();
                let Some(mut open) = open else {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                    continue;
                };
                // One more round when all are there: it meets no append.
                let is_last = rows(&test, &photos_key(&test)).await.len() == 60;
                let (mut report, stop) = (TableReport::default(), CancellationToken::new());
                let kind = Kind::Photos;
                compact::compact(&mut open, kind, &MERGE, Mode::Act, &stop, &mut report)
                    .await
                    .unwrap();
                num_merged += report.files_merged;
                if is_last {
                    return num_merged;
                }
            }
        })
    });
    let expected = appending.await.unwrap();
    let mut num_merged = 0;
    for merging in merging {
        num_merged += merging.await.unwrap();
    }
    assert!(num_merged > 20, "{num_merged}");
    let found: BTreeSet<_> = rows(&test, &photos_key(&test)).await.into_keys().collect();
    assert_eq!(found, expected);
    assert_eq!(test.tables().await.position(), 59);
}

#[tokio::test]
async fn a_vacuum_removes_only_what_no_version_within_the_retention_names() {
    let test = Test::new(0).await;
    let mut tables = test.tables().await;
    for offset in 0..5 {
        append(&mut tables, &test.dataset, offset, 2).await;
    }
    let folder = test.table_folder("photos");
    let first = data_files(&folder);
    // A killed writer's file, one that is being written, and one of somebody else.
    for (name, days) in [
        ("prepared-0-9-9-old", 8),
        ("prepared-0-9-9-new", 0),
        ("mine", 99),
    ] {
        let file = folder.join(format!("{name}.parquet"));
        std::fs::write(&file, b"x").unwrap();
        age(&file, days);
    }
    let report = test.maintain().await.photos;
    assert_eq!((report.files_merged, report.files_removed), (5, 1));
    // The small ones were taken out a moment ago: a reader of the version before has them.
    test.age_files("photos", 30);
    assert_eq!(
        test.maintain().await.photos.files_removed,
        1,
        "the new orphan, now old"
    );
    assert!(first.is_subset(&data_files(&folder)));
    // A week later nobody has.
    let mut settings = test.settings.clone();
    settings.keep.files = Duration::ZERO;
    let stop = CancellationToken::new();
    let look = look(&settings, None, &stop).await.unwrap();
    assert_eq!(look.datasets[0].photos.files_removed, 5);
    assert!(
        first.is_subset(&data_files(&folder)),
        "looking removes nothing"
    );
    let mut table = table::open(&settings.objects, &photos_key(&test))
        .await
        .unwrap()
        .unwrap();
    let mut report = TableReport::default();
    // A training still reads version 3, which has the first three of them.
    let kept = vacuum::Kept {
        pinned: vec![3],
        names: vec![],
    };
    vacuum::vacuum(&mut table, Duration::ZERO, &kept, Mode::Act, &mut report)
        .await
        .unwrap();
    assert_eq!(report.files_removed, 2);
    assert_eq!(data_files(&folder).len(), 3 + 1 + 1);
    assert!(data_files(&folder).contains("mine.parquet"));
    assert_eq!(rows(&test, &photos_key(&test)).await.len(), 5);
}

#[tokio::test]
async fn a_file_that_a_cut_commit_has_promised_to_the_rejections_stays_whatever_its_age() {
    let test = Test::new(0).await;
    let mut tables = test.tables().await;
    append(&mut tables, &test.dataset, 0, 2).await;
    let shard = shard::rejections(&test.dataset, 0, vec![declined(1)]).unwrap();
    tables.commit_photos_only((1, 1), shard).await;
    test.age_files("rejections", 30);
    let before = data_files(&test.table_folder("rejections"));
    assert_eq!(before.len(), 2);
    assert_eq!(test.maintain().await.rejections.files_removed, 0);
    assert_eq!(data_files(&test.table_folder("rejections")), before);
    // The next owner finishes the commit.
    drop(test.tables().await);
    assert_eq!(rows(&test, &rejections_key(&test)).await.len(), 2);
}

#[tokio::test]
async fn a_long_log_gets_a_checkpoint_and_old_entries_go_but_never_the_last_commits() {
    let test = Test::new(0).await;
    let mut tables = test.tables().await;
    for offset in 0..45 {
        append(&mut tables, &test.dataset, offset, 1).await;
        if offset == 25 {
            assert_eq!(test.maintain().await.photos.checkpoints, 1);
        }
    }
    let log = test.table_folder("photos").join("_delta_log");
    for entry in std::fs::read_dir(&log).unwrap() {
        age(&entry.unwrap().path(), 40);
    }
    let before = rows(&test, &photos_key(&test)).await;
    let report = test.maintain().await.photos;
    assert!(
        report.checkpoints == 1 && report.log_files_removed > 20,
        "{report:?}"
    );
    assert_eq!(rows(&test, &photos_key(&test)).await, before);
    let again = test.tables().await;
    assert_eq!(again.position(), 44);
    assert!(
        log.join(format!("{:020}.json", 45)).exists(),
        "the last append's entry"
    );
}

#[tokio::test]
async fn originals_go_by_policy_once_their_photo_is_in_the_table() {
    for (days, expected) in [(0, 3), (30, 2)] {
        let test = Test::new(days).await;
        let mut tables = test.tables().await;
        append(&mut tables, &test.dataset, 0, 1).await;
        for (bytes, status, file_days) in [
            ("in the table", "accepted", 40),
            ("sent a moment ago", "accepted", 0),
            ("refused", "rejected", 40),
        ] {
            let sha256 = Sha256::of(bytes.as_bytes());
            let key = ObjectKey::Original {
                dataset: test.dataset.clone(),
                sha256,
            };
            let path = Path::from(key.to_string());
            let store = test.settings.objects.store();
            store
                .put(&path, bytes.as_bytes().to_vec().into())
                .await
                .unwrap();
            age(
                &test.folder.path().join("objects").join(key.to_string()),
                file_days,
            );
            let decided = schemas::events::CaptureDecided {
                capture_id: CaptureId::new().to_string(),
                dataset_id: test.dataset.to_string(),
                label: "a".into(),
                status: status.into(),
                sha256: sha256.as_bytes().to_vec(),
                decided_at_us: 1_700_000_000_000_000,
                table_version: Some(1),
                ..Default::default()
            };
            test.settings
                .catalog
                .record_outcomes(&[decided])
                .await
                .unwrap();
        }
        let report = test.maintain().await;
        assert_eq!(report.originals_removed, 3 - expected);
        let originals = Path::from(format!("originals/{}", test.dataset));
        let left = test.settings.objects.store().list(Some(&originals));
        let left: Vec<_> = futures::TryStreamExt::try_collect(left).await.unwrap();
        assert_eq!(left.len() as u64, expected);
    }
}

#[tokio::test]
async fn while_one_process_has_the_turn_another_does_nothing() {
    let test = Test::new(0).await;
    let catalog = &test.settings.catalog;
    let turn = catalog
        .take_turn(TURN, "the other", Duration::ZERO)
        .await
        .unwrap();
    let stop = CancellationToken::new();
    let round = round(&test.settings, Duration::ZERO, None, &stop)
        .await
        .unwrap();
    assert!(matches!(round, Round::Elsewhere(holder) if holder == "the other"));
    catalog.end_turn(turn.unwrap(), true).await.unwrap();
    let hour = Duration::from_secs(3600);
    let round = super::round(&test.settings, hour, None, &stop)
        .await
        .unwrap();
    assert!(
        matches!(round, Round::Elsewhere(_)),
        "the last one ended a moment ago"
    );
}

mod reembed;

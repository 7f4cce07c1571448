//! An index that was kept and one that was read from the tables know the same, whatever came
//! in between.

use std::collections::HashMap;

use deltalake_core::DeltaTable;
use deltalake_core::kernel::transaction::CommitBuilder;
use deltalake_core::kernel::{Action, Remove};
use deltalake_core::protocol::DeltaOperation;
use object_store::local::LocalFileSystem;
use schemas::events::{CaptureReceived, Photo as EventPhoto, Policy};
use schemas::{CaptureId, Reason, Sha256 as Hash, Split, Status};
use url::Url;

use super::super::batch::{AcceptedRow, DeclinedRow};
use super::super::delta::{FileEntry, Tables, add};
use super::super::fingerprints::Fingerprints;
use super::super::load::{Loaded, load};
use super::super::shard;
use super::*;
use crate::objects::ObjectRoot;

const MODEL: &str = "some network";
const ALL: i64 = i64::MAX;

struct Scene {
    _folder: tempfile::TempDir,
    root: ObjectRoot,
    dataset: DatasetId,
    tables: Tables,
    /// As the stage has it.
    live: Index,
    rows: Vec<(CaptureReceived, EventPhoto)>,
    next: i64,
    /// Whether each ninth photo has the pixels of the first. Which of two equal ones is the twin
    /// depends on the order of rows in the tables, which is not that in which they came.
    has_equals: bool,
}

impl Scene {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = ObjectRoot::new(
            Arc::new(LocalFileSystem::new()),
            Url::from_directory_path(folder.path()).unwrap(),
        );
        let dataset = DatasetId::for_name("cats").unwrap();
        Self {
            tables: Tables::open(&root, &dataset, 0, "a").await.unwrap(),
            _folder: folder,
            root,
            dataset,
            live: Index::default(),
            rows: Vec::new(),
            next: 0,
            has_equals: false,
        }
    }

    /// One commit of so many photos and a rejection.
    async fn grow(&mut self, num_photos: i64) {
        let first = self.next;
        let rows: Vec<_> = (0..num_photos).map(|_| self.photo()).collect();
        let id = CaptureId::new();
        self.live.add_judged(id);
        let declined = DeclinedRow {
            id,
            capture: capture(id, "cat"),
            original: None,
            status: Status::Rejected,
            reason: Reason::Truncated,
            detail: "cut".into(),
            twin: None,
            offset: self.next,
        };
        self.next += 1;
        let photos = shard::photos(&self.dataset, 0, rows).unwrap();
        let rejections = shard::rejections(&self.dataset, 0, vec![declined]).unwrap();
        let committed = self
            .tables
            .commit((first, self.next - 1), Some(photos), Some(rejections));
        committed.await.unwrap();
    }

    fn photo(&mut self) -> AcceptedRow {
        let (n, id) = (self.next, CaptureId::new());
        self.next += 1;
        let label = ["cat", "dog"][usize::try_from(n % 2).unwrap()];
        let value = |i: usize| ((i as i64 * 7 + n * 3) % 5) as f32 / 20.0;
        let mut embedding: Vec<f32> = (0..8).map(value).collect();
        let pixels = if self.has_equals && n % 9 == 0 { 0 } else { n };
        embedding[usize::try_from(n % 3).unwrap()] += 2.0;
        let photo = EventPhoto {
            jpeg: vec![1, 2, 3].into(),
            phash: u64::try_from(n)
                .unwrap()
                .wrapping_mul(0x9e37_79b9_7f4a_7c15),
            pdq: [Hash::of(&n.to_le_bytes()).as_bytes().as_slice()].concat(),
            pdq_quality: if n % 7 == 0 { 10 } else { 100 },
            pixel_sha256: Hash::of(&pixels.to_le_bytes()).as_bytes().to_vec(),
            embedding,
            embedding_model: MODEL.into(),
            ..EventPhoto::default()
        };
        let clusters = &mut self.live.clusters;
        if clusters.needs_fit(MODEL) {
            clusters.fit(MODEL);
        }
        let place = clusters.place(MODEL, &photo.embedding);
        let capture = capture(id, label);
        self.live.add_photo(id, id, &prints(&capture, &photo));
        self.live.looks.add(MODEL, id, label, &photo.embedding);
        self.live
            .clusters
            .add(MODEL, id, &photo.embedding, place.as_ref());
        self.rows.push((capture.clone(), photo.clone()));
        AcceptedRow {
            id,
            capture,
            photo,
            group: id,
            split: Split::Train,
            label_score: None,
            place,
            pipeline_version: "1".into(),
            offset: n,
        }
    }

    async fn keep(&self) {
        let position = self.tables.position();
        let encoded = encode(&self.live, self.tables.files(), 0, position).unwrap();
        let (store, version) = (self.root.store().clone(), self.tables.version());
        write(store, self.dataset.clone(), version, encoded).await;
    }

    async fn newest(&self, tell_from: i64) -> Option<Snapshot> {
        newest(self.root.store(), &self.dataset, 0, tell_from).await
    }

    async fn start(&self) -> Tables {
        Tables::open(&self.root, &self.dataset, 0, "a")
            .await
            .unwrap()
    }

    async fn warm(&self) -> Loaded {
        let kept = self.newest(ALL).await;
        assert!(kept.is_some());
        load(&self.start().await, 0, ALL, kept).await.unwrap()
    }

    async fn cold(&self) -> Loaded {
        load(&self.start().await, 0, ALL, None).await.unwrap()
    }

    /// Everything that an index can be asked.
    fn knows(&self, index: &mut Index) -> Vec<String> {
        let policy = Policy {
            max_phash_distance: 10,
            max_pdq_distance: 40,
            ..Policy::default()
        };
        if index.clusters.needs_fit(MODEL) {
            index.clusters.fit(MODEL);
        }
        let mut said = vec![format!("{} {}", index.len(), index.weight())];
        for (capture, photo) in &self.rows {
            let mut asked = prints(capture, photo);
            let looks = index.looks.fit(MODEL, &capture.label, &photo.embedding);
            let place = index.clusters.place(MODEL, &photo.embedding);
            said.push(format!("{looks:?} {place:?}"));
            for change in 0..3 {
                match change {
                    0 => {}
                    1 => asked.sha256 = Hash::of(b"another file"),
                    _ => asked.pixel_sha256 = Hash::of(b"other pixels"),
                }
                said.push(format!("{:?}", index.find_twin(&asked, &policy)));
            }
            said.push(format!("{:?}", index.near_groups(&asked, &policy)));
            asked.pdq.0[0] ^= 0b111;
            said.push(format!("{:?}", index.find_twin(&asked, &policy)));
            said.push(index.knows(capture.capture_id.parse().unwrap()).to_string());
        }
        said
    }

    fn assert_alike(&self, mut one: Index, mut other: Index) {
        for (one, other) in self.knows(&mut one).into_iter().zip(self.knows(&mut other)) {
            assert_eq!(one, other);
        }
    }
}

fn capture(id: CaptureId, label: &str) -> CaptureReceived {
    CaptureReceived {
        capture_id: id.to_string(),
        label: label.into(),
        sha256: Hash::of(id.as_bytes()).as_bytes().to_vec(),
        ..CaptureReceived::default()
    }
}

fn prints(capture: &CaptureReceived, photo: &EventPhoto) -> Fingerprints {
    Fingerprints::of(capture.sha256.as_slice().try_into().unwrap(), photo).unwrap()
}

/// Puts `name` in the place of all files of a table, or removes them.
async fn replace(table: &DeltaTable, put: Option<FileEntry>) {
    let old: Vec<_> = table
        .snapshot()
        .unwrap()
        .log_data()
        .into_iter()
        .map(|file| file.object_store_path())
        .collect();
    let mut actions: Vec<_> = old
        .iter()
        .map(|path| {
            Action::Remove(Remove {
                path: path.to_string(),
                data_change: put.is_none(),
                deletion_timestamp: Some(0),
                extended_file_metadata: Some(true),
                partition_values: Some(HashMap::new()),
                size: Some(1),
                tags: None,
                deletion_vector: None,
                base_row_id: None,
                default_row_commit_version: None,
            })
        })
        .collect();
    actions.extend(put.map(|file| Action::Add(add(&file))));
    let operation = DeltaOperation::Optimize {
        predicate: None,
        target_size: 1,
    };
    CommitBuilder::default()
        .with_actions(actions)
        .build(
            Some(table.snapshot().unwrap()),
            table.log_store(),
            operation,
        )
        .await
        .unwrap();
}

/// Merges all photos into a file of this name.
async fn merge(scene: &Scene, name: &str) {
    use parquet::arrow::{ArrowWriter, arrow_reader::ParquetRecordBatchReaderBuilder};
    let tables = scene.start().await;
    let store = tables.photos().object_store();
    let (mut rows, mut num_rows) = (None, 0);
    for file in tables.photos().snapshot().unwrap().log_data().into_iter() {
        let bytes = store
            .get(&file.object_store_path())
            .await
            .unwrap()
            .bytes()
            .await
            .unwrap();
        let reader = ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap();
        for batch in reader.build().unwrap() {
            let batch = batch.unwrap();
            num_rows += batch.num_rows();
            let writer = rows.get_or_insert_with(|| {
                ArrowWriter::try_new(Vec::new(), batch.schema(), None).unwrap()
            });
            writer.write(&batch).unwrap();
        }
    }
    let bytes = rows.unwrap().into_inner().unwrap();
    let file = FileEntry {
        path: name.into(),
        num_bytes: bytes.len(),
        num_rows,
        labels: ("cat".into(), "dog".into()),
    };
    store.put(&Path::from(name), bytes.into()).await.unwrap();
    replace(tables.photos(), Some(file)).await;
}

#[tokio::test]
async fn a_warm_start_reads_what_came_since_and_knows_what_a_cold_one_knows() {
    let mut scene = Scene::new().await;
    scene.grow(40).await;
    scene.grow(5).await;
    scene.keep().await;
    let warm = scene.warm().await;
    assert_eq!(warm.num_read, 0);
    scene.assert_alike(warm.index, scene.cold().await.index);

    scene.grow(30).await;
    let (warm, cold) = (scene.warm().await, scene.cold().await);
    assert_eq!((warm.num_read, cold.num_read), (31, 78));
    scene.assert_alike(warm.index, cold.index);
}

#[tokio::test]
async fn what_is_kept_is_all_that_was_known() {
    let mut scene = Scene::new().await;
    scene.has_equals = true;
    scene.grow(70).await;
    scene.keep().await;
    let live = std::mem::take(&mut scene.live);
    scene.assert_alike(scene.warm().await.index, live);
}

#[tokio::test]
async fn merged_files_are_no_news_unless_they_have_some() {
    let mut scene = Scene::new().await;
    scene.grow(20).await;
    scene.grow(20).await;
    scene.keep().await;
    merge(&scene, "merged-1.parquet").await;
    let warm = scene.warm().await;
    assert_eq!(warm.num_read, 0, "only ids were looked at");
    scene.assert_alike(warm.index, scene.cold().await.index);

    scene.tables = scene.start().await;
    scene.grow(10).await;
    merge(&scene, "merged-2.parquet").await;
    let warm = scene.warm().await;
    assert_eq!(warm.num_read, 51);
    scene.assert_alike(warm.index, scene.cold().await.index);
}

#[tokio::test]
async fn rows_that_were_removed_or_changed_end_a_snapshot() {
    let mut scene = Scene::new().await;
    scene.grow(20).await;
    scene.keep().await;
    let num_rows = scene.cold().await.num_read;
    // Not a merge of ours: whoever wrote it may have changed anything.
    merge(&scene, "part-1.parquet").await;
    assert_eq!(scene.warm().await.num_read, num_rows);
    merge(&scene, "changed-1.parquet").await;
    assert_eq!(scene.warm().await.num_read, num_rows);
    scene.tables = scene.start().await;
    scene.keep().await;
    assert_eq!(scene.warm().await.num_read, 0);
    replace(scene.start().await.photos(), None).await;
    let warm = scene.warm().await;
    assert_eq!((warm.num_read, warm.index.len()), (1, 1));
}

#[tokio::test]
async fn a_snapshot_past_what_must_be_told_again_is_passed_over_for_the_one_before() {
    let mut scene = Scene::new().await;
    for _ in 0..3 {
        scene.grow(2).await;
        scene.keep().await;
    }
    let kept = list(scene.root.store(), &scene.dataset).await.unwrap();
    assert_eq!(kept.len(), KEPT, "older ones go");
    assert_eq!(scene.newest(9).await.unwrap().index.len(), 9);
    assert_eq!(scene.newest(8).await.unwrap().index.len(), 6);
    assert!(scene.newest(5).await.is_none());
    // Of another partition nobody knows what is to be told.
    assert!(
        newest(scene.root.store(), &scene.dataset, 1, ALL)
            .await
            .is_none()
    );
    let kept = scene.newest(8).await;
    let loaded = load(&scene.tables, 0, 8, kept).await.unwrap();
    assert_eq!((loaded.num_read, loaded.outcomes.len()), (3, 1));
}

#[tokio::test]
async fn a_damaged_snapshot_is_passed_over_wherever_the_damage_is() {
    let mut scene = Scene::new().await;
    scene.grow(25).await;
    scene.keep().await;
    let store = scene.root.store();
    let path = list(store, &scene.dataset).await.unwrap().remove(0);
    let whole = store.get(&path).await.unwrap().bytes().await.unwrap();
    for at in (0..whole.len()).step_by(61) {
        let mut flipped = whole.to_vec();
        flipped[at] ^= 0x10;
        let longer = [&whole[..], &whole[..at]].concat();
        for bytes in [flipped, whole[..at].to_vec(), longer] {
            let is_same = bytes == whole;
            store.put(&path, bytes.into()).await.unwrap();
            assert_eq!(scene.newest(ALL).await.is_some(), is_same, "{at}");
        }
    }
}

#[test]
fn snapshots_are_due_by_number_and_by_part() {
    assert!(!is_due(1_999, 3_000) && is_due(2_000, 3_000));
    assert!(!is_due(2_000, 80_000) && is_due(10_000, 80_000));
}

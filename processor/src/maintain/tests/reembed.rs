//! Re-embedding of real tables: what changes, what does not, and what comes in between.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::ArrayRef;
use arrow::datatypes::Float32Type;
use graph::{Architecture, Backbone, Weights};

use super::*;
use crate::organize::stage::Dataset;
use crate::prepare::{Embedder, Embedding, Limits, prepare};

fn embedder(seed: u64) -> Embedder {
    let architecture: Architecture = "mobilenet_v2_0.35".parse().unwrap();
    let backbone = Backbone {
        architecture,
        side: 96,
    };
    let weights = Weights::random(architecture, 2, seed);
    Embedder::new(backbone, &weights, Sha256::of(&seed.to_le_bytes())).unwrap()
}

/// A photo as the stage "prepare" leaves it, by an embedder or without one.
fn prepared(number: u8, embedder: Option<Embedder>) -> Photo {
    let pixel = |at: usize| (at * usize::from(number + 3) % 251) as u8;
    let rgb: Vec<u8> = (0..120 * 100 * 3).map(pixel).collect();
    let mut png = Vec::new();
    let mut encoder = png::Encoder::new(&mut png, 120, 100);
    encoder.set_color(png::ColorType::Rgb);
    let mut writer = encoder.write_header().unwrap();
    writer.write_image_data(&rgb).unwrap();
    writer.finish().unwrap();
    let mut photo = prepare(&png, &Limits::default()).unwrap();
    let embedding = Embedding::default();
    if let Some(embedder) = embedder {
        embedding.begin(embedder);
    }
    embedding.complete(&mut photo);
    photo
}

/// A commit of one row with this photo; its id.
async fn append_photo(test: &Test, tables: &mut Tables, offset: i64, photo: Photo) -> String {
    let row = AcceptedRow {
        photo,
        ..accepted(offset, "tabby", 0)
    };
    let id = row.id.to_string();
    let shard = shard::photos(&test.dataset, 0, vec![row]).unwrap();
    let committed = tables.commit((offset, offset), Some(shard), None);
    committed.await.unwrap();
    id
}

/// What a row holds.
#[derive(Debug, PartialEq)]
struct Row {
    model: Option<String>,
    embedding: Option<Vec<f32>>,
    /// All other columns, by name.
    others: BTreeMap<String, ArrayRef>,
}

/// The rows of the photos table, by id, as its newest version names them.
async fn photo_rows(test: &Test) -> BTreeMap<String, Row> {
    let key = photos_key(test);
    let open = table::open(&test.settings.objects, &key).await.unwrap();
    let open = open.unwrap();
    let mut found = BTreeMap::new();
    for file in open.files().unwrap() {
        let bytes = std::fs::read(test.table_folder("photos").join(&file.path)).unwrap();
        let reader = ParquetRecordBatchReaderBuilder::try_new(bytes::Bytes::from(bytes)).unwrap();
        for batch in reader.build().unwrap() {
            let batch = batch.unwrap();
            for at in 0..batch.num_rows() {
                let row = batch.slice(at, 1);
                let column = |name| row.column_by_name(name).unwrap();
                let embedding = column("embedding").as_list::<i32>();
                let model = column("embedding_model").as_string::<i32>();
                let schema = row.schema();
                let names = schema.fields().iter().map(|field| field.name().clone());
                let others = names.zip(row.columns().iter().cloned());
                let others = others.filter(|(name, _)| !name.starts_with("embedding"));
                let id = column("id").as_string::<i32>().value(0).to_owned();
                let row = Row {
                    model: model.iter().next().flatten().map(str::to_owned),
                    embedding: embedding.iter().next().flatten().map(|values| {
                        let values = values.as_primitive::<Float32Type>();
                        values.values().to_vec()
                    }),
                    others: others.collect(),
                };
                assert!(found.insert(id, row).is_none(), "a row stands there twice");
            }
        }
    }
    found
}

async fn reembedded(settings: &MaintainSettings, test: &Test, of: &Arc<Embedder>) -> ReembedReport {
    let stop = CancellationToken::new();
    let done = reembed(settings, &test.dataset, of, Mode::Act, &|_, _| {}, &stop);
    match done.await.unwrap() {
        Round::Done(report) => report,
        Round::Elsewhere(holder) => panic!("{holder} has the turn"),
    }
}

#[tokio::test]
async fn rows_of_another_model_get_what_ingest_would_have_written_and_nothing_else_changes() {
    let test = Test::new(0).await;
    let mut tables = test.tables().await;
    let old = append_photo(&test, &mut tables, 0, prepared(0, Some(embedder(1)))).await;
    let none = append_photo(&test, &mut tables, 1, prepared(1, None)).await;
    let current = append_photo(&test, &mut tables, 2, prepared(2, Some(embedder(2)))).await;
    // A row of another model whose picture is none.
    let damaged = append(&mut tables, &test.dataset, 3, 1).await;
    let before = photo_rows(&test).await;
    let file_of_current = data_files(&test.table_folder("photos"))
        .into_iter()
        .find(|name| name.contains("-000000000002-"));
    let file_of_current = file_of_current.unwrap();

    let model = Arc::new(embedder(2));
    let report = reembedded(&test.settings, &test, &model).await;
    let counts = (report.photos, report.due, report.embedded);
    assert_eq!(counts, (4, 3, 2), "{report:?}");
    assert_eq!((report.unreadable, report.left), (1, 0), "{report:?}");
    let after = photo_rows(&test).await;
    assert_eq!(after.len(), 4);
    for (id, row) in &after {
        assert_eq!(row.others, before[id].others, "{id}");
    }
    for (id, number) in [(&old, 0), (&none, 1), (&current, 2)] {
        let expected = prepared(number, Some(embedder(2)));
        assert_eq!(after[id].embedding.as_ref(), Some(&expected.embedding));
        assert_eq!(after[id].model.as_ref(), Some(&expected.embedding_model));
    }
    assert_ne!(after[&old], before[&old]);
    assert_eq!(after[&damaged], before[&damaged]);

    let open = table::open(&test.settings.objects, &photos_key(&test)).await;
    let open = open.unwrap().unwrap();
    let files = open.files().unwrap();
    // What was current is not touched; readers of changes learn of the others.
    assert!(files.iter().any(|file| file.path == file_of_current));
    let entry = open
        .table
        .log_store()
        .read_commit_entry(open.version())
        .await;
    let entry = String::from_utf8(entry.unwrap().unwrap().to_vec()).unwrap();
    assert!(entry.contains(r#""operation":"UPDATE""#), "{entry}");
    assert!(!entry.contains(r#""dataChange":false"#), "{entry}");

    // A second time there is nothing to do, and the organizer goes on where it was.
    let again = reembedded(&test.settings, &test, &model).await;
    assert_eq!((again.due, again.embedded, again.files_written), (1, 0, 0));
    for (offset, number) in [(4, 4), (5, 5)] {
        let photo = prepared(number, Some(embedder(2)));
        append_photo(&test, &mut tables, offset, photo).await;
    }
    assert_eq!(test.tables().await.position(), 5);
    assert_eq!(photo_rows(&test).await.len(), 6);

    // Merged, it is still seen that they have changed.
    test.maintain().await;
    let open = table::open(&test.settings.objects, &photos_key(&test)).await;
    let files = open.unwrap().unwrap().files().unwrap();
    let names: Vec<_> = files.iter().map(|file| file.path.as_str()).collect();
    assert!(names.len() == 1 && is_changed(names[0]), "{names:?}");
}

/// What a processor that runs through a re-embedding notices, and when.
#[tokio::test]
async fn a_dataset_that_is_open_is_outdated_after_the_next_commit_and_opened_anew_it_is_not() {
    let test = Test::new(0).await;
    let root = &test.settings.objects;
    let mut tables = test.tables().await;
    append_photo(&test, &mut tables, 0, prepared(0, Some(embedder(1)))).await;
    let (mut running, _) = Dataset::open(root, "a", &test.dataset, (0, 0))
        .await
        .unwrap();
    append_photo(&test, &mut running.tables, 1, prepared(1, None)).await;
    assert!(!running.is_outdated());

    let model = Arc::new(embedder(2));
    assert_eq!(reembedded(&test.settings, &test, &model).await.embedded, 2);
    assert!(!running.is_outdated(), "the table was not read since");
    append_photo(&test, &mut running.tables, 2, prepared(2, None)).await;
    assert!(running.is_outdated());
    let (again, _) = Dataset::open(root, "a", &test.dataset, (0, 0))
        .await
        .unwrap();
    assert!(!again.is_outdated());
}

#[tokio::test]
async fn a_look_counts_and_writes_nothing() {
    let test = Test::new(0).await;
    let mut tables = test.tables().await;
    append_photo(&test, &mut tables, 0, prepared(0, None)).await;
    let before = data_files(&test.table_folder("photos"));
    let (model, stop) = (Arc::new(embedder(1)), CancellationToken::new());
    let look = reembed(
        &test.settings,
        &test.dataset,
        &model,
        Mode::Look,
        &|_, _| {},
        &stop,
    );
    let Round::Done(report) = look.await.unwrap() else {
        panic!("a look needs no turn");
    };
    assert_eq!((report.photos, report.due, report.embedded), (1, 1, 0));
    assert_eq!(data_files(&test.table_folder("photos")), before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn photos_that_come_in_meanwhile_are_all_there_and_all_old_ones_are_embedded() {
    let test = Arc::new(Test::new(0).await);
    let mut tables = test.tables().await;
    for offset in 0..12 {
        append_photo(&test, &mut tables, offset, prepared(offset as u8, None)).await;
    }
    let mut settings = test.settings.clone();
    // Each file is a commit of its own.
    settings.merge.target_bytes = 1;
    let old: BTreeSet<_> = photo_rows(&test).await.into_keys().collect();
    let appending = tokio::spawn({
        let test = Arc::clone(&test);
        async move {
            for offset in 12..30 {
                append(&mut tables, &test.dataset, offset, 1).await;
            }
        }
    });
    let model = Arc::new(embedder(1));
    let mut num_embedded = 0;
    // Where appends were quicker eight times over, a row is left for the next start.
    while num_embedded < 12 {
        num_embedded += reembedded(&settings, &test, &model).await.embedded;
    }
    appending.await.unwrap();
    let name = model.model().to_string();
    let after = photo_rows(&test).await;
    assert_eq!(after.len(), 30);
    for id in old {
        assert_eq!(after[&id].model.as_ref(), Some(&name));
    }
    assert_eq!(test.tables().await.position(), 29);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_death_half_way_leaves_a_readable_table_and_the_next_start_goes_on() {
    let test = Test::new(0).await;
    let mut tables = test.tables().await;
    for offset in 0..6 {
        append_photo(&test, &mut tables, offset, prepared(offset as u8, None)).await;
    }
    let before = photo_rows(&test).await;
    let mut settings = test.settings.clone();
    settings.merge.target_bytes = 1;
    let model = Arc::new(embedder(1));
    let num_done = AtomicU64::new(0);
    {
        let progress = |done, _| num_done.store(done, Ordering::Relaxed);
        let stop = CancellationToken::new();
        let work = reembed(
            &settings,
            &test.dataset,
            &model,
            Mode::Act,
            &progress,
            &stop,
        );
        let mut work = std::pin::pin!(work);
        // Dropped at some await behind the third photo, as a kill would end it.
        while num_done.load(Ordering::Relaxed) < 3 {
            let round = tokio::time::timeout(Duration::from_millis(1), &mut work).await;
            assert!(round.is_err(), "it ended before it was killed");
        }
    }
    let half = photo_rows(&test).await;
    assert_eq!(half.len(), 6);
    let name = model.model().to_string();
    let has_new = |row: &&Row| row.model.as_ref() == Some(&name);
    let num_new = half.values().filter(has_new).count();
    assert!((1..6).contains(&num_new), "{num_new}");

    // Its turn is held until it runs out, which another catalog has no part in.
    let stop = CancellationToken::new();
    let refused = reembed(
        &settings,
        &test.dataset,
        &model,
        Mode::Act,
        &|_, _| {},
        &stop,
    );
    assert!(matches!(refused.await.unwrap(), Round::Elsewhere(_)));
    let later = catalog::sqlite_url(&test.folder.path().join("later.db"));
    settings.catalog = Catalog::open(&later).await.unwrap();
    let report = reembedded(&settings, &test, &model).await;
    assert_eq!(report.due, 6 - num_new as u64);
    assert_eq!((report.embedded, report.left), (report.due, 0));
    let after = photo_rows(&test).await;
    assert_eq!(after.len(), 6);
    for (id, row) in &after {
        assert_eq!(row.model.as_ref(), Some(&name));
        assert_eq!(row.others, before[id].others);
    }
}

#[tokio::test]
async fn a_stop_ends_it_between_two_files_and_says_how_many_are_left() {
    let test = Test::new(0).await;
    let mut tables = test.tables().await;
    for offset in 0..4 {
        append_photo(&test, &mut tables, offset, prepared(offset as u8, None)).await;
    }
    let mut settings = test.settings.clone();
    settings.merge.target_bytes = 1;
    let (model, stop) = (Arc::new(embedder(1)), CancellationToken::new());
    let progress = |done, _| {
        if done == 2 {
            stop.cancel();
        }
    };
    let work = reembed(
        &settings,
        &test.dataset,
        &model,
        Mode::Act,
        &progress,
        &stop,
    );
    let Round::Done(report) = work.await.unwrap() else {
        panic!("nobody else has the turn");
    };
    assert_eq!((report.embedded, report.left), (2, 2), "{report:?}");
    // The turn was given back.
    assert_eq!(reembedded(&settings, &test, &model).await.embedded, 2);
}

//! The file: its address, many writers at once, and a disk that is full.

use futures::future::join_all;

use super::*;
use crate::Catalog;
use crate::testing::{TestCatalog, decided, new_capture};

#[tokio::test]
async fn any_path_can_hold_a_catalog() {
    for name in [
        "plain.db",
        "with space.db",
        "per%20cent.db",
        "what?.db",
        "#1.db",
        "قطة.db",
    ] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        let catalog = Catalog::open(&sqlite_url(&path)).await.unwrap();
        catalog.check().await.unwrap();
        catalog.close().await;
        assert!(path.exists(), "{name}");
    }
}

#[tokio::test]
async fn addresses_that_are_no_file_are_refused_without_telling_a_password() {
    for url in ["mysql://me:secret@db/x", "sqlite::memory:", "/tmp/x.db", ""] {
        let error = Catalog::open(url).await.err().unwrap().to_string();
        assert!(error.starts_with("cannot open a catalog at"), "{error}");
        assert!(!error.contains("secret"), "{error}");
    }
}

#[tokio::test]
async fn a_folder_that_is_not_there_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let url = sqlite_url(&folder.path().join("absent/catalog.db"));
    let error = Catalog::open(&url).await.err().unwrap().to_string();
    assert!(error.contains("absent/catalog.db"), "{error}");
}

#[tokio::test]
async fn a_commit_waits_for_the_disk_and_readers_do_not_wait_for_it() {
    let test = TestCatalog::open_file().await;
    let pragma = |name: &'static str, sql: &'static str| {
        test.catalog.write(name, Change::None, move |db| {
            Box::pin(async move {
                let value = sqlx::query(sql).fetch_one(db).await.doing(|| sql.into())?;
                use sqlx::Row;
                let number = value.try_get::<i64, _>(0).map(|number| number.to_string());
                Ok(number.or_else(|_| value.try_get::<String, _>(0)).unwrap())
            })
        })
    };
    assert_eq!(pragma("a", "PRAGMA synchronous").await.unwrap(), "2");
    assert_eq!(pragma("b", "PRAGMA journal_mode").await.unwrap(), "wal");
    assert_eq!(pragma("c", "PRAGMA foreign_keys").await.unwrap(), "1");
}

#[tokio::test]
async fn readers_cannot_write() {
    let test = TestCatalog::open_file().await;
    let write = sqlx::query("DELETE FROM datasets").execute(test.catalog.readers());
    let error = test
        .catalog
        .read("test", write)
        .await
        .err()
        .unwrap()
        .to_string();
    assert!(error.contains("readonly"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_tasks_that_write_at_once_lose_nothing() {
    let test = TestCatalog::open_file().await;
    let dataset = test.dataset("main", "cats", &[]).await;
    let tasks = (0..200).map(|task| {
        let (catalog, dataset) = (test.catalog.clone(), dataset.id.clone());
        tokio::spawn(async move {
            for number in 0..10 {
                let capture = new_capture(&dataset, &format!("{task} {number}"));
                let (queued, verdict) = (capture.clone(), decided(&capture, "accepted"));
                let (a, b) = tokio::join!(
                    catalog.record_queued(&queued, b"event"),
                    catalog.record_outcomes(std::slice::from_ref(&verdict)),
                );
                a.unwrap();
                b.unwrap();
            }
        })
    });
    for task in join_all(tasks.collect::<Vec<_>>()).await {
        task.unwrap();
    }
    let test = test.reopen().await;
    let stats = test.catalog.dataset_stats(&dataset.id).await.unwrap();
    assert_eq!(stats.statuses, [("accepted".into(), 2_000)].into());
    let events = test
        .catalog
        .events_after(&dataset.id, 0, 10_000)
        .await
        .unwrap();
    let numbers: Vec<i64> = events.iter().map(|(seq, _)| *seq).collect();
    assert_eq!(numbers, (1..=2_000).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_write_that_is_refused_takes_none_of_its_commit_with_it() {
    let test = TestCatalog::open_file().await;
    let dataset = test.dataset("main", "cats", &[]).await;
    let good: Vec<_> = (0..20)
        .map(|n| new_capture(&dataset.id, &n.to_string()))
        .collect();
    let bad = || {
        test.catalog.write("bad", Change::None, |db| {
            Box::pin(async move {
                let deleted = sqlx::query("DELETE FROM captures").execute(&mut *db).await;
                deleted.doing(|| "deleting".into())?;
                let broken = sqlx::query("INSERT INTO labels VALUES ('nowhere', 'x')");
                broken
                    .execute(db)
                    .await
                    .doing(|| "breaking a rule".into())?;
                Ok(())
            })
        })
    };
    let (recorded, refused) = tokio::join!(
        join_all(
            good.iter()
                .map(|capture| test.catalog.record_queued(capture, b"event"))
        ),
        join_all((0..20).map(|_| bad())),
    );
    recorded.into_iter().for_each(|written| written.unwrap());
    assert!(refused.iter().all(|written| written.is_err()));
    let stats = test.catalog.dataset_stats(&dataset.id).await.unwrap();
    assert_eq!(stats.statuses["queued"], 20);
}

#[tokio::test]
async fn a_full_disk_is_an_error_and_heals_by_itself() {
    let test = TestCatalog::open_file().await;
    let dataset = test.dataset("main", "cats", &[]).await;
    // SQLite's own limit gives SQLITE_FULL on the same path as the file system does.
    let limit = test.catalog.write("limit", Change::None, |db| {
        Box::pin(async move {
            let pages = sqlx::raw_sql("PRAGMA max_page_count = 40")
                .execute(db)
                .await;
            pages.doing(|| "limiting".into()).map(|_| ())
        })
    });
    limit.await.unwrap();
    let mut written = Vec::new();
    let full = loop {
        let capture = new_capture(&dataset.id, &written.len().to_string());
        match test.catalog.record_queued(&capture, b"event").await {
            Ok(()) => written.push(capture),
            Err(error) => break error,
        }
        assert!(written.len() < 10_000, "the limit holds nothing back");
    };
    assert!(full.to_string().contains("full"), "{full}");
    assert!(!full.is_refusal());
    // The next connection has no such limit: the disk is mended.
    while let Err(error) = test
        .catalog
        .record_queued(&new_capture(&dataset.id, "after"), b"event")
        .await
    {
        assert!(error.to_string().contains("full"), "{error}");
    }
    test.catalog.check().await.unwrap();
    let stats = test.catalog.dataset_stats(&dataset.id).await.unwrap();
    assert_eq!(stats.statuses["queued"], written.len() as u64 + 1);
}

#[tokio::test]
async fn what_is_queued_when_the_catalog_closes_is_written_and_later_calls_fail() {
    let test = TestCatalog::open_file().await;
    let dataset = test.dataset("main", "cats", &[]).await;
    let captures: Vec<_> = (0..300)
        .map(|n| new_capture(&dataset.id, &n.to_string()))
        .collect();
    let writes = join_all(
        captures
            .iter()
            .map(|capture| test.catalog.record_queued(capture, b"event")),
    );
    // Polled in order: all are queued before the queue is closed.
    let (written, ()) = futures::future::join(writes, test.catalog.close()).await;
    assert!(written.iter().all(Result::is_ok));
    let late = test.catalog.record_queued(&captures[0], b"event").await;
    assert!(matches!(late, Err(CatalogError::Closed)), "{late:?}");
    let late = test
        .catalog
        .find_by_hash(&dataset.id, captures[0].sha256)
        .await;
    assert!(matches!(late, Err(CatalogError::Closed)), "{late:?}");
    let test = test.reopen().await;
    let stats = test.catalog.dataset_stats(&dataset.id).await.unwrap();
    assert_eq!(stats.statuses["queued"], 300);
}

#[tokio::test]
async fn a_write_is_carried_out_when_its_caller_goes_away() {
    let test = TestCatalog::open_file().await;
    let dataset = test.dataset("main", "cats", &[]).await;
    let capture = new_capture(&dataset.id, "1");
    let catalog = test.catalog.clone();
    let mut write = Box::pin(catalog.record_queued(&capture, b"event"));
    assert!(futures::poll!(&mut write).is_pending());
    drop(write);
    test.catalog.check().await.unwrap();
    let found = test
        .catalog
        .find_by_hash(&dataset.id, capture.sha256)
        .await
        .unwrap();
    assert_eq!(found, Some(capture.id));
}

#[tokio::test]
async fn a_file_of_a_newer_version_is_left_alone_and_named_so() {
    let test = TestCatalog::open_file().await;
    let newer = test.catalog.write("newer", Change::None, |db| {
        Box::pin(async move {
            let newer = sqlx::query(
                "INSERT INTO _sqlx_migrations (version, description, success, checksum, \
                 execution_time) VALUES (9999, 'of tomorrow', 1, '', 0)",
            );
            newer
                .execute(db)
                .await
                .doing(|| "planting".into())
                .map(|_| ())
        })
    });
    newer.await.unwrap();
    test.catalog.close().await;
    let url = sqlite_url(&test.folder.path().join("catalog.db"));
    let error = Catalog::open(&url).await.err().unwrap().to_string();
    assert!(
        error.ends_with("a newer version of this program has written it (tables 9999)"),
        "{error}"
    );
}

mod processes;

//! Many processes on one PostgreSQL, which only `TINTYPE_TEST_POSTGRES` brings: each test
//! opens the catalog several times, as processes do, and lets all of them do the same at once.

use std::collections::BTreeSet;

use futures::future::join_all;
use schemas::http::CreateDataset;
use schemas::{CaptureId, DatasetId};

use crate::testing::{decided, new_capture, postgres_url};
use crate::{Begun, Catalog, CatalogError, RequestScope};

const NUM_PROCESSES: usize = 6;

/// The catalog as several processes see it, opened by all at the same time.
async fn processes() -> Option<Vec<Catalog>> {
    let Some(url) = postgres_url().await else {
        eprintln!("0 processes tried: TINTYPE_TEST_POSTGRES names no PostgreSQL");
        return None;
    };
    let opened = join_all((0..NUM_PROCESSES).map(|_| Catalog::open(&url))).await;
    Some(opened.into_iter().map(Result::unwrap).collect())
}

async fn dataset(catalog: &Catalog) -> DatasetId {
    let create = CreateDataset {
        name: "cats".into(),
        labels: vec![],
        policy: Default::default(),
    };
    catalog.create_dataset("main", &create).await.unwrap().id
}

#[tokio::test]
async fn tables_are_made_once_and_the_first_key_as_well() {
    let Some(processes) = processes().await else {
        return;
    };
    let keys = join_all(processes.iter().map(Catalog::ensure_first_key)).await;
    let made = keys.into_iter().filter_map(Result::unwrap).count();
    assert_eq!(made, 1);
}

#[tokio::test]
async fn of_many_that_take_a_name_one_gets_it() {
    let Some(processes) = processes().await else {
        return;
    };
    let create = CreateDataset {
        name: "cats".into(),
        labels: vec![],
        policy: Default::default(),
    };
    let made = join_all(
        processes
            .iter()
            .map(|catalog| catalog.create_dataset("main", &create)),
    )
    .await;
    assert_eq!(made.iter().filter(|made| made.is_ok()).count(), 1);
    let refused = |made: &Result<_, _>| matches!(made, Err(CatalogError::NameTaken { .. }));
    assert_eq!(
        made.iter().filter(|made| refused(made)).count(),
        NUM_PROCESSES - 1
    );
}

#[tokio::test]
async fn a_request_that_comes_to_all_at_once_is_begun_by_one() {
    let Some(processes) = processes().await else {
        return;
    };
    let scope = RequestScope {
        dataset: dataset(&processes[0]).await,
        key: "again".into(),
    };
    let begun = join_all(
        processes
            .iter()
            .map(|catalog| catalog.begin_request(&scope)),
    )
    .await;
    let fresh = begun
        .iter()
        .filter(|begun| matches!(begun, Ok(Begun::Fresh(_))))
        .count();
    let busy = begun
        .iter()
        .filter(|begun| matches!(begun, Ok(Begun::InProgress)))
        .count();
    assert_eq!((fresh, busy), (1, NUM_PROCESSES - 1));
}

#[tokio::test]
async fn events_of_all_processes_have_numbers_without_a_gap_or_a_double() {
    const EACH: usize = 40;
    let Some(processes) = processes().await else {
        return;
    };
    let dataset = dataset(&processes[0]).await;
    let captures: Vec<_> = (0..EACH * NUM_PROCESSES)
        .map(|number| new_capture(&dataset, &number.to_string()))
        .collect();
    // Every verdict is told by two processes, as after a rebalance.
    let writes = captures.iter().enumerate().flat_map(|(number, capture)| {
        let outcome = [decided(capture, "rejected")];
        [0, 1].map(|next| {
            let catalog = processes[(number + next) % NUM_PROCESSES].clone();
            let outcome = outcome.clone();
            async move { catalog.record_outcomes(&outcome).await.unwrap() }
        })
    });
    join_all(writes).await;
    let events = processes[0]
        .events_after(&dataset, 0, 10_000)
        .await
        .unwrap();
    let numbers: Vec<i64> = events.iter().map(|(seq, _)| *seq).collect();
    let expected: Vec<i64> = (1..=(EACH * NUM_PROCESSES) as i64).collect();
    assert_eq!(numbers, expected);
    let told: BTreeSet<CaptureId> = events.iter().map(|(_, capture)| capture.id).collect();
    assert_eq!(told.len(), captures.len());
}

#[tokio::test]
async fn a_process_stopped_within_a_commit_holds_the_others_up_for_seconds_only() {
    use sqlx::Connection as _;
    let Some(url) = postgres_url().await else {
        return;
    };
    let catalog = Catalog::open(&url).await.unwrap();
    let engine = super::Engine::of(&url).unwrap();
    let mut stopped = engine.connect_writer().await.unwrap();
    let mut transaction = stopped.begin().await.unwrap();
    engine.exclude_others(&mut transaction).await.unwrap();
    // Nothing more comes from it; the server gives its lock away.
    catalog.check().await.unwrap();
}

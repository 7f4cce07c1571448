//! Datasets: limits, and what the short memory may not hide.

use super::*;
use crate::testing::{TestCatalog, label};
use schemas::http::Scope;

#[tokio::test]
async fn a_change_is_seen_at_once_by_those_who_asked_a_moment_ago() {
    let test = TestCatalog::open().await;
    let (_, principal) = test.key("main", &[Scope::Admin]).await;
    let dataset = test.dataset("main", "cats", &[]).await;
    let find = || test.catalog.find_dataset(&principal, "cats");
    assert!(find().await.unwrap().unwrap().labels.is_empty());
    test.catalog
        .add_labels(&dataset.id, &[label("tabby")])
        .await
        .unwrap();
    assert_eq!(find().await.unwrap().unwrap().labels, [label("tabby")]);
    test.catalog.delete_dataset(&dataset.id).await.unwrap();
    assert!(find().await.unwrap().is_none());
    let second = test.dataset("main", "cats", &[]).await;
    assert_eq!(find().await.unwrap().unwrap().id, second.id);
}

#[tokio::test]
async fn an_id_wins_over_an_equal_name() {
    let test = TestCatalog::open().await;
    let (_, principal) = test.key("main", &[Scope::Admin]).await;
    let cats = test.dataset("main", "cats", &[]).await;
    let named_so = test.dataset("main", cats.id.as_str(), &[]).await;
    for (wanted, id) in [(&cats.id, &cats.id), (&named_so.id, &named_so.id)] {
        let found = test
            .catalog
            .find_dataset(&principal, wanted.as_str())
            .await
            .unwrap();
        assert_eq!(&found.unwrap().id, id);
    }
}

#[tokio::test]
async fn labels_are_added_once_and_come_sorted() {
    let test = TestCatalog::open().await;
    let (_, principal) = test.key("main", &[Scope::Admin]).await;
    let dataset = test.dataset("main", "cats", &["b"]).await;
    for _ in 0..2 {
        test.catalog
            .add_labels(&dataset.id, &[label("a"), label("é"), label("Z")])
            .await
            .unwrap();
    }
    let found = test
        .catalog
        .find_dataset(&principal, "cats")
        .await
        .unwrap()
        .unwrap();
    assert_eq!(found.labels, ["Z", "a", "b", "é"].map(label));
    assert!(found.labels.is_sorted());
    let listed = test.catalog.list_datasets(&principal).await.unwrap();
    assert_eq!(listed[0].labels, found.labels);
}

#[tokio::test]
async fn a_dataset_has_ten_thousand_labels_at_most_and_keeps_them_when_more_are_refused() {
    let test = TestCatalog::open().await;
    let (_, principal) = test.key("main", &[Scope::Admin]).await;
    let dataset = test.dataset("main", "cats", &[]).await;
    let labels: Vec<Label> = (0..=MAX_LABELS).map(|n| label(&n.to_string())).collect();
    let add = |labels: Vec<Label>| {
        let (catalog, id) = (test.catalog.clone(), dataset.id.clone());
        async move { catalog.add_labels(&id, &labels).await }
    };
    let error = add(labels.clone()).await.err().unwrap();
    assert_eq!(error.to_string(), "a dataset may have at most 10000 labels");
    let found = test
        .catalog
        .find_dataset(&principal, "cats")
        .await
        .unwrap()
        .unwrap();
    assert_eq!(found.labels.len(), 0, "all or nothing");
    add(labels[1..].to_vec()).await.unwrap();
    assert!(
        add(vec![labels[0].clone()])
            .await
            .err()
            .unwrap()
            .is_refusal()
    );
    add(labels[1..10].to_vec()).await.unwrap();
    let found = test
        .catalog
        .find_dataset(&principal, "cats")
        .await
        .unwrap()
        .unwrap();
    assert_eq!(found.labels.len(), 10_000);
}

#[tokio::test]
async fn an_owner_has_a_thousand_datasets_and_a_deleted_one_makes_room() {
    let test = TestCatalog::open().await;
    let create = |name: String| {
        let catalog = test.catalog.clone();
        let create = CreateDataset {
            name,
            labels: Vec::new(),
            policy: DatasetPolicy::default(),
        };
        async move { catalog.create_dataset("main", &create).await }
    };
    let all = (0..MAX_DATASETS).map(|n| create(format!("d{n}")));
    let all = futures::future::join_all(all).await;
    let first = all.into_iter().map(Result::unwrap).next().unwrap();
    let error = create("more".into()).await.err().unwrap();
    assert_eq!(error.to_string(), "an owner may have at most 1000 datasets");
    test.catalog.delete_dataset(&first.id).await.unwrap();
    create("more".into()).await.unwrap();
}

#[tokio::test]
async fn of_many_who_want_one_name_exactly_one_gets_it() {
    let test = TestCatalog::open().await;
    let tries = (0..20).map(|_| {
        let catalog = test.catalog.clone();
        tokio::spawn(async move {
            let create = CreateDataset {
                name: "cats".into(),
                labels: Vec::new(),
                policy: DatasetPolicy::default(),
            };
            catalog.create_dataset("main", &create).await
        })
    });
    let tries = futures::future::join_all(tries.collect::<Vec<_>>()).await;
    let mut num_made = 0;
    for made in tries {
        match made.unwrap() {
            Ok(_) => num_made += 1,
            Err(error) => assert!(matches!(error, CatalogError::NameTaken { .. }), "{error}"),
        }
    }
    assert_eq!(num_made, 1);
}

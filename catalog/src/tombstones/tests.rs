//! What is left of a deleted dataset, and for how long.

use super::*;
use crate::testing::{TestCatalog, decided, label, new_capture};

#[tokio::test]
async fn a_deleted_dataset_takes_nothing_any_more() {
    let test = TestCatalog::open().await;
    let dataset = test.dataset("main", "cats", &[]).await;
    test.catalog.delete_dataset(&dataset.id).await.unwrap();
    let capture = new_capture(&dataset.id, "1");
    test.catalog
        .record_queued(&capture, b"event")
        .await
        .unwrap();
    test.catalog
        .record_known(&capture, capture.id)
        .await
        .unwrap();
    test.catalog
        .record_outcomes(&[decided(&capture, "accepted")])
        .await
        .unwrap();
    test.catalog
        .add_labels(&dataset.id, &[label("x")])
        .await
        .unwrap();
    let stats = test.catalog.dataset_stats(&dataset.id).await.unwrap();
    assert!(stats.statuses.is_empty());
    assert!(
        test.catalog
            .events_after(&dataset.id, 0, 10)
            .await
            .unwrap()
            .is_empty()
    );
}

#[tokio::test]
async fn deleted_datasets_are_listed_by_age_until_they_are_forgotten() {
    let test = TestCatalog::open().await;
    let hour = Duration::from_secs(3600);
    let dataset = test.dataset("main", "cats", &["a"]).await;
    let living = test.dataset("main", "dogs", &["a"]).await;
    for dataset in [&dataset, &living] {
        for number in 0..5 {
            let capture = test.queued(dataset, &number.to_string()).await;
            test.catalog
                .record_outcomes(&[decided(&capture, "accepted")])
                .await
                .unwrap();
        }
    }
    test.catalog.delete_dataset(&dataset.id).await.unwrap();
    test.clock.advance(hour - Duration::from_micros(1));
    assert!(
        test.catalog
            .deleted_datasets(hour)
            .await
            .unwrap()
            .is_empty()
    );
    test.clock.advance(Duration::from_micros(1));
    assert_eq!(
        test.catalog.deleted_datasets(hour).await.unwrap(),
        std::slice::from_ref(&dataset.id)
    );

    test.catalog.forget_dataset(&living.id).await.unwrap();
    test.catalog.forget_dataset(&dataset.id).await.unwrap();
    assert!(
        test.catalog
            .deleted_datasets(Duration::ZERO)
            .await
            .unwrap()
            .is_empty()
    );
    for (dataset, num_captures) in [(&dataset, 0), (&living, 5)] {
        let stats = test.catalog.dataset_stats(&dataset.id).await.unwrap();
        assert_eq!(stats.statuses.values().sum::<u64>(), num_captures);
        let events = test.catalog.events_after(&dataset.id, 0, 10).await.unwrap();
        assert_eq!(events.len() as u64, num_captures);
    }
}

//! What the bytes of a photo already stand for.

use schemas::http::Scope;

use super::*;
use crate::testing::{TestCatalog, decided, new_capture};

#[tokio::test]
async fn known_bytes_stand_for_the_capture_that_brought_them_by_its_status() {
    let test = TestCatalog::open().await;
    let dataset = test.dataset("main", "cats", &[]).await;
    let twin = CaptureId::new();
    for (status, wanted) in [
        ("accepted", Some(None)),
        ("review", Some(None)),
        ("duplicate", Some(Some(twin))),
        ("rejected", None),
    ] {
        let capture = test.queued(&dataset, status).await;
        let find = || test.catalog.find_by_hash(&dataset.id, capture.sha256);
        assert_eq!(find().await.unwrap(), Some(capture.id), "queued");
        let mut verdict = decided(&capture, status);
        verdict.twin_id = (status == "duplicate").then(|| twin.to_string());
        test.catalog.record_outcomes(&[verdict]).await.unwrap();
        let wanted = wanted.map(|other| other.unwrap_or(capture.id));
        assert_eq!(find().await.unwrap(), wanted, "{status}");
    }
}

#[tokio::test]
async fn a_photo_that_stands_for_itself_wins_over_a_duplicate_and_a_rejected_one() {
    let test = TestCatalog::open().await;
    let dataset = test.dataset("main", "cats", &[]).await;
    let rejected = test.queued(&dataset, "1").await;
    test.catalog
        .record_outcomes(&[decided(&rejected, "rejected")])
        .await
        .unwrap();
    let known = new_capture(&dataset.id, "1");
    test.catalog
        .record_known(&known, CaptureId::new())
        .await
        .unwrap();
    let accepted = test.queued(&dataset, "1").await;
    let found = test
        .catalog
        .find_by_hash(&dataset.id, accepted.sha256)
        .await
        .unwrap();
    assert_eq!(found, Some(accepted.id));
}

#[tokio::test]
async fn bytes_of_another_dataset_are_not_known() {
    let test = TestCatalog::open().await;
    let cats = test.dataset("main", "cats", &[]).await;
    let dogs = test.dataset("main", "dogs", &[]).await;
    let capture = test.queued(&cats, "1").await;
    let found = test
        .catalog
        .find_by_hash(&dogs.id, capture.sha256)
        .await
        .unwrap();
    assert_eq!(found, None);
}

#[tokio::test]
async fn a_known_photo_has_its_verdict_and_its_event_at_once() {
    let test = TestCatalog::open().await;
    let (_, principal) = test.key("main", &[Scope::Read]).await;
    let dataset = test.dataset("main", "cats", &[]).await;
    let twin = test.queued(&dataset, "1").await;
    let again = new_capture(&dataset.id, "1");
    for _ in 0..2 {
        test.catalog.record_known(&again, twin.id).await.unwrap();
    }
    let found = test
        .catalog
        .find_capture(&principal, again.id)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(found.status, Status::Duplicate);
    assert_eq!(found.reason, Some(Reason::ExactDuplicate));
    assert_eq!(found.twin_id, Some(twin.id));
    assert!(found.decided_at.is_some());
    let events = test.catalog.events_after(&dataset.id, 0, 10).await.unwrap();
    assert_eq!(events, [(1, found)]);
}

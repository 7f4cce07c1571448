//! Verdicts: in any order, any number of times, readable or not.

use chrono::TimeDelta;
use schemas::events;
use schemas::http::Scope;

use super::*;
use crate::testing::{TestCatalog, decided, new_capture};
use crate::{NewCapture, Principal};

async fn opened() -> (TestCatalog, Principal, DatasetId) {
    let test = TestCatalog::open().await;
    let (_, principal) = test.key("main", &[Scope::Read]).await;
    let dataset = test.dataset("main", "cats", &[]).await;
    (test, principal, dataset.id)
}

async fn find(test: &TestCatalog, principal: &Principal, capture: &NewCapture) -> Option<Capture> {
    test.catalog
        .find_capture(principal, capture.id)
        .await
        .unwrap()
}

async fn num_events(test: &TestCatalog, dataset: &DatasetId) -> usize {
    test.catalog
        .events_after(dataset, 0, 1_000)
        .await
        .unwrap()
        .len()
}

/// A verdict with every field set.
fn full(capture: &NewCapture) -> CaptureDecided {
    CaptureDecided {
        reason: Some("blurry".into()),
        detail: Some("blurry_score 0.12 is under 0.3".into()),
        twin_id: Some(CaptureId::new().to_string()),
        scores: Some(events::Scores {
            dark: 0.1,
            light: 0.2,
            blurry: 0.3,
            low_information: 0.4,
            odd_aspect_ratio: 0.5,
            odd_size: 0.6,
            grayscale: 0.7,
        }),
        group_id: Some(CaptureId::new().to_string()),
        split: Some("validation".into()),
        table_version: Some(12),
        phash_distance: Some(3),
        pdq_distance: Some(31),
        ..decided(capture, "review")
    }
}

#[tokio::test]
async fn every_field_of_a_verdict_is_kept_whether_the_upload_or_the_verdict_came_first() {
    let (test, principal, dataset) = opened().await;
    for upload_first in [true, false] {
        let capture = new_capture(&dataset, "1");
        let event = full(&capture);
        if upload_first {
            test.catalog
                .record_queued(&capture, b"event")
                .await
                .unwrap();
        }
        test.catalog
            .record_outcomes(std::slice::from_ref(&event))
            .await
            .unwrap();
        test.catalog
            .record_queued(&capture, b"event")
            .await
            .unwrap();
        let found = find(&test, &principal, &capture).await.unwrap();
        assert_eq!(found, parse_verdict(&event).unwrap());
        assert_eq!(found.scores.unwrap().grayscale_score, 0.7);
        assert_eq!(found.received_at, capture.received_at);
        assert_eq!(
            found.decided_at.unwrap() - found.received_at,
            TimeDelta::microseconds(876_544)
        );
    }
}

#[tokio::test]
async fn a_verdict_told_again_changes_nothing_and_is_no_event() {
    let (test, principal, dataset) = opened().await;
    let capture = new_capture(&dataset, "1");
    let verdict = full(&capture);
    for _ in 0..3 {
        let twice = [verdict.clone(), verdict.clone()];
        test.catalog.record_outcomes(&twice).await.unwrap();
    }
    assert_eq!(num_events(&test, &dataset).await, 1);
    let found = find(&test, &principal, &capture).await.unwrap();
    assert_eq!(found, parse_verdict(&verdict).unwrap());
}

#[tokio::test]
async fn the_table_version_is_filled_in_once_and_stays() {
    let (test, principal, dataset) = opened().await;
    let capture = new_capture(&dataset, "1");
    let versions = [None, Some(5), Some(6), None];
    for table_version in versions {
        let verdict = CaptureDecided {
            table_version,
            ..decided(&capture, "accepted")
        };
        test.catalog.record_outcomes(&[verdict]).await.unwrap();
    }
    let found = find(&test, &principal, &capture).await.unwrap();
    assert_eq!(found.table_version, Some(5));
    assert_eq!(num_events(&test, &dataset).await, 2);
}

#[tokio::test]
async fn a_verdict_never_changes_its_mind() {
    let (test, principal, dataset) = opened().await;
    let capture = new_capture(&dataset, "1");
    test.catalog
        .record_outcomes(&[decided(&capture, "duplicate")])
        .await
        .unwrap();
    let other = CaptureDecided {
        table_version: Some(9),
        ..decided(&capture, "accepted")
    };
    test.catalog.record_outcomes(&[other]).await.unwrap();
    let found = find(&test, &principal, &capture).await.unwrap();
    assert_eq!(
        (found.status, found.table_version),
        (Status::Duplicate, None)
    );
    assert_eq!(num_events(&test, &dataset).await, 1);
}

#[tokio::test]
async fn what_cannot_be_used_is_dropped_and_the_rest_recorded() {
    let (test, principal, dataset) = opened().await;
    let good = new_capture(&dataset, "1");
    let bad = |change: fn(&mut CaptureDecided)| {
        let mut verdict = decided(&new_capture(&dataset, "2"), "accepted");
        change(&mut verdict);
        verdict
    };
    let verdicts = [
        bad(|v| v.capture_id = "x".into()),
        bad(|v| v.dataset_id = "../x".into()),
        bad(|v| v.dataset_id = "cats-aaaaaa".into()),
        bad(|v| v.label = "\n".into()),
        bad(|v| v.status = "queued".into()),
        bad(|v| v.status = "perfect".into()),
        bad(|v| v.sha256 = vec![1, 2, 3]),
        bad(|v| v.twin_id = Some("y".into())),
        decided(&good, "accepted"),
    ];
    test.catalog.record_outcomes(&verdicts).await.unwrap();
    assert!(find(&test, &principal, &good).await.is_some());
    assert_eq!(num_events(&test, &dataset).await, 1);
    let stats = test.catalog.dataset_stats(&dataset).await.unwrap();
    assert_eq!(stats.statuses.values().sum::<u64>(), 1);
}

#[tokio::test]
async fn a_verdict_with_an_unknown_reason_a_long_detail_or_no_number_is_kept_without() {
    let (test, principal, dataset) = opened().await;
    let capture = new_capture(&dataset, "1");
    let verdict = CaptureDecided {
        reason: Some("of_tomorrow".into()),
        detail: Some("é".repeat(800)),
        scores: Some(events::Scores {
            dark: f32::NAN,
            ..events::Scores::default()
        }),
        ..decided(&capture, "rejected")
    };
    test.catalog.record_outcomes(&[verdict]).await.unwrap();
    let found = find(&test, &principal, &capture).await.unwrap();
    assert_eq!(
        (found.status, found.reason, found.scores),
        (Status::Rejected, None, None)
    );
    assert_eq!(found.detail.unwrap(), "é".repeat(500));
}

#[tokio::test]
async fn a_verdict_for_a_capture_of_another_dataset_changes_nothing() {
    let (test, principal, dataset) = opened().await;
    let dogs = test.dataset("main", "dogs", &[]).await;
    let capture = new_capture(&dataset, "1");
    test.catalog
        .record_queued(&capture, b"event")
        .await
        .unwrap();
    let strange = NewCapture {
        dataset: dogs.id.clone(),
        ..capture.clone()
    };
    test.catalog
        .record_outcomes(&[decided(&strange, "rejected")])
        .await
        .unwrap();
    let found = find(&test, &principal, &capture).await.unwrap();
    assert_eq!(found.status, Status::Queued);
    assert_eq!(num_events(&test, &dogs.id).await, 0);
}

#[tokio::test]
async fn only_the_newest_events_are_kept() {
    let (test, _, dataset) = opened().await;
    let verdicts = |count: i64| -> Vec<CaptureDecided> {
        (0..count)
            .map(|_| decided(&new_capture(&dataset, "1"), "accepted"))
            .collect()
    };
    test.catalog.record_outcomes(&verdicts(10)).await.unwrap();
    let id = dataset.clone();
    let skip = test.catalog.write("skip", Change::None, move |db| {
        Box::pin(async move {
            let skip = sqlx::query("UPDATE datasets SET last_event_seq = $2 WHERE id = $1");
            let skip = skip.bind(id.as_str()).bind(MAX_EVENTS);
            skip.execute(db)
                .await
                .doing(|| "skipping".into())
                .map(|_| ())
        })
    });
    skip.await.unwrap();
    test.catalog
        .record_outcomes(&verdicts(PRUNE_INTERVAL))
        .await
        .unwrap();
    let range = test.catalog.event_range(&dataset).await.unwrap().unwrap();
    assert_eq!(range.newest, MAX_EVENTS + PRUNE_INTERVAL);
    assert!(range.oldest > 10, "{range:?}");
}

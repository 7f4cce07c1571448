//! What goes and what stays, by age.

use schemas::http::Scope;

use super::*;
use crate::testing::{TestCatalog, decided, new_capture};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// Microseconds of the test's clock, some days ago.
fn days_ago(test: &TestCatalog, days: u32) -> i64 {
    before(test.catalog.now_us(), DAY * days)
}

#[tokio::test]
async fn a_dataset_is_found_by_its_id_or_by_a_name_that_several_owners_may_use() {
    let test = TestCatalog::open().await;
    let cats = test.dataset("main", "cats", &[]).await.id;
    let dogs = test.dataset("main", "dogs", &[]).await.id;
    let others = test.dataset("other", "cats", &[]).await.id;
    let named = async |name: &str| test.catalog.living_named(name).await.unwrap();
    assert_eq!(named("dogs").await, [dogs]);
    assert_eq!(named(cats.as_str()).await, std::slice::from_ref(&cats));
    let mut both = [cats, others];
    both.sort();
    assert_eq!(named("cats").await, both);
    assert_eq!(named("birds").await, []);
}

#[tokio::test]
async fn refused_verdicts_go_by_age_and_accepted_ones_stay() {
    let test = TestCatalog::open().await;
    let (_, principal) = test.key("main", &[Scope::Read]).await;
    let dataset = test.dataset("main", "cats", &[]).await;
    let other = test.dataset("main", "dogs", &[]).await;
    test.clock.advance(DAY * 100);
    let mut captures = Vec::new();
    for (of, status, days) in [
        (&dataset, "rejected", 91),
        (&dataset, "duplicate", 91),
        (&dataset, "accepted", 91),
        (&dataset, "review", 91),
        (&dataset, "rejected", 89),
        (&other, "rejected", 91),
    ] {
        let capture = new_capture(&of.id, &format!("{status} {days}"));
        let mut verdict = decided(&capture, status);
        verdict.decided_at_us = days_ago(&test, days);
        test.catalog.record_outcomes(&[verdict]).await.unwrap();
        captures.push(capture);
    }
    // Its verdict is old, and no table has it yet.
    let waiting = test.queued(&dataset, "waiting").await;
    let mut verdict = decided(&waiting, "rejected");
    verdict.decided_at_us = days_ago(&test, 95);
    test.catalog.record_outcomes(&[verdict]).await.unwrap();
    captures.push(waiting);
    let removed = test.catalog.remove_aged_verdicts(&dataset.id, DAY * 90);
    assert_eq!(removed.await.unwrap(), 2);
    let mut found = Vec::new();
    for capture in &captures {
        let capture = test.catalog.find_capture(&principal, capture.id).await;
        found.push(capture.unwrap().is_some());
    }
    assert_eq!(found, [false, false, true, true, true, true, true]);
}

#[tokio::test]
async fn old_events_go_from_the_front_and_the_numbers_go_on() {
    let test = TestCatalog::open().await;
    let dataset = test.dataset("main", "cats", &[]).await;
    // The fourth is old, but stands behind a young one.
    for days in [40, 40, 10, 40] {
        let mut verdict = decided(&new_capture(&dataset.id, "x"), "accepted");
        verdict.decided_at_us = days_ago(&test, days);
        test.catalog.record_outcomes(&[verdict]).await.unwrap();
    }
    let removed = test.catalog.remove_aged_events(&dataset.id, DAY * 30);
    assert_eq!(removed.await.unwrap(), 2);
    let left = test.catalog.events_after(&dataset.id, 0, 10).await.unwrap();
    assert_eq!(left.iter().map(|(seq, _)| *seq).collect::<Vec<_>>(), [3, 4]);
    let range = test.catalog.event_range(&dataset.id).await.unwrap();
    assert_eq!(
        range.map(|range| (range.oldest, range.newest)),
        Some((3, 4))
    );
}

#[tokio::test]
async fn answers_go_after_a_week() {
    let test = TestCatalog::open().await;
    let dataset = test.dataset("main", "cats", &[]).await;
    let scope = crate::RequestScope {
        dataset: dataset.id.clone(),
        key: "k".into(),
    };
    test.catalog.begin_request(&scope).await.unwrap();
    test.clock.advance(DAY * 6);
    assert_eq!(test.catalog.remove_aged_answers().await.unwrap(), 0);
    test.clock.advance(DAY * 2);
    assert_eq!(test.catalog.remove_aged_answers().await.unwrap(), 1);
}

#[tokio::test]
async fn an_original_is_done_when_its_photo_is_in_the_table_and_nothing_waits_for_it() {
    let test = TestCatalog::open().await;
    let dataset = test.dataset("main", "cats", &[]).await;
    let catalog = &test.catalog;
    let verdict = |bytes: &str, status: &str, days: u32, version: Option<i64>| {
        let mut verdict = decided(&new_capture(&dataset.id, bytes), status);
        verdict.decided_at_us = days_ago(&test, days);
        verdict.table_version = version;
        verdict
    };
    let again = |bytes: &str, days: u32| {
        let mut again = verdict(bytes, "duplicate", days, None);
        again.reason = Some("exact_duplicate".into());
        again
    };
    let told = [
        verdict("done", "accepted", 31, Some(1)),
        verdict("young", "accepted", 29, Some(1)),
        verdict("not in a table", "accepted", 31, None),
        verdict("to be looked at", "review", 31, Some(1)),
        verdict("may be sent again", "rejected", 31, Some(1)),
        verdict("sent again", "accepted", 31, Some(1)),
        again("sent again", 0),
        again("only again", 40),
        verdict("waits", "accepted", 31, Some(1)),
    ];
    for verdict in told {
        catalog.record_outcomes(&[verdict]).await.unwrap();
    }
    test.queued(&dataset, "waits").await;
    for (bytes, expected) in [
        ("done", true),
        ("young", false),
        ("not in a table", false),
        ("to be looked at", false),
        ("may be sent again", false),
        ("sent again", true),
        ("only again", false),
        ("waits", false),
        ("unknown", false),
    ] {
        let sha256 = Sha256::of(bytes.as_bytes());
        let done = catalog.is_original_done(&dataset.id, sha256, DAY * 30);
        assert_eq!(done.await.unwrap(), expected, "{bytes}");
    }
}

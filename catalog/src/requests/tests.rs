//! Leases and answers, on a clock that is moved by hand.

use super::*;
use crate::testing::TestCatalog;

const SECOND: Duration = Duration::from_secs(1);

async fn opened() -> (TestCatalog, RequestScope) {
    let test = TestCatalog::open().await;
    let dataset = test.dataset("main", "cats", &[]).await;
    let scope = RequestScope {
        dataset: dataset.id,
        key: "upload-1".into(),
    };
    (test, scope)
}

async fn fresh(test: &TestCatalog, scope: &RequestScope) -> CaptureId {
    match test.catalog.begin_request(scope).await.unwrap() {
        Begun::Fresh(capture) | Begun::TakenOver(capture) => capture,
        other => panic!("{other:?}"),
    }
}

async fn finish(
    test: &TestCatalog,
    scope: &RequestScope,
    capture: CaptureId,
    fingerprint: Sha256,
    body: &str,
) {
    let finished = test
        .catalog
        .finish_request(scope, capture, fingerprint, &answer(body))
        .await;
    finished.unwrap();
}

fn answer(body: &str) -> StoredAnswer {
    StoredAnswer {
        status: 202,
        body: body.into(),
    }
}

#[tokio::test]
async fn a_running_request_is_in_progress_for_everybody_else() {
    let (test, scope) = opened().await;
    fresh(&test, &scope).await;
    let again = test.catalog.begin_request(&scope).await.unwrap();
    assert_eq!(again, Begun::InProgress);
}

#[tokio::test]
async fn a_finished_request_is_answered_alike_also_after_a_restart() {
    let (test, scope) = opened().await;
    let capture = fresh(&test, &scope).await;
    let fingerprint = Sha256::of(b"body");
    finish(&test, &scope, capture, fingerprint, "{}").await;
    let test = test.reopen().await;
    assert_eq!(test.catalog.release_requests().await.unwrap(), 0);
    let done = Begun::Done {
        fingerprint,
        answer: answer("{}"),
    };
    assert_eq!(test.catalog.begin_request(&scope).await.unwrap(), done);
}

#[tokio::test]
async fn a_silent_request_is_taken_over_with_the_same_capture() {
    let (test, scope) = opened().await;
    let capture = fresh(&test, &scope).await;
    test.clock.advance(15 * SECOND - Duration::from_micros(1));
    let early = test.catalog.begin_request(&scope).await.unwrap();
    assert_eq!(early, Begun::InProgress);
    test.clock.advance(Duration::from_micros(1));
    assert_eq!(fresh(&test, &scope).await, capture);
    let again = test.catalog.begin_request(&scope).await.unwrap();
    assert_eq!(
        again,
        Begun::InProgress,
        "the new try holds a lease of its own"
    );
}

#[tokio::test]
async fn a_request_that_renews_its_lease_is_never_taken_over() {
    let (test, scope) = opened().await;
    let capture = fresh(&test, &scope).await;
    for _ in 0..10 {
        test.clock.advance(5 * SECOND);
        test.catalog.renew_request(&scope, capture).await.unwrap();
    }
    test.clock.advance(14 * SECOND);
    let other = test.catalog.begin_request(&scope).await.unwrap();
    assert_eq!(other, Begun::InProgress);
}

#[tokio::test]
async fn a_refused_request_frees_its_key_for_a_new_capture() {
    let (test, scope) = opened().await;
    let capture = fresh(&test, &scope).await;
    test.catalog.abandon_request(&scope, capture).await.unwrap();
    assert_ne!(fresh(&test, &scope).await, capture);
}

#[tokio::test]
async fn a_finished_request_can_be_neither_abandoned_nor_changed() {
    let (test, scope) = opened().await;
    let capture = fresh(&test, &scope).await;
    let first = Sha256::of(b"first");
    let catalog = &test.catalog;
    finish(&test, &scope, capture, first, "1").await;
    finish(&test, &scope, capture, Sha256::of(b"late"), "2").await;
    catalog.renew_request(&scope, capture).await.unwrap();
    catalog.abandon_request(&scope, capture).await.unwrap();
    let done = Begun::Done {
        fingerprint: first,
        answer: answer("1"),
    };
    assert_eq!(catalog.begin_request(&scope).await.unwrap(), done);
}

#[tokio::test]
async fn requests_that_a_kill_left_open_are_free_after_the_restart_and_keep_their_capture() {
    let (test, scope) = opened().await;
    let capture = fresh(&test, &scope).await;
    let test = test.reopen().await;
    assert_eq!(test.catalog.release_requests().await.unwrap(), 1);
    assert_eq!(fresh(&test, &scope).await, capture);
}

#[tokio::test]
async fn a_clock_that_is_set_back_blocks_no_key() {
    let (test, scope) = opened().await;
    let capture = fresh(&test, &scope).await;
    test.clock.set_back(3600 * SECOND);
    assert_eq!(fresh(&test, &scope).await, capture);
}

#[tokio::test]
async fn one_key_in_two_datasets_is_two_requests() {
    let (test, scope) = opened().await;
    let capture = fresh(&test, &scope).await;
    let other = RequestScope {
        dataset: test.dataset("main", "dogs", &[]).await.id,
        ..scope
    };
    assert_ne!(fresh(&test, &other).await, capture);
}

#[tokio::test]
async fn answers_are_kept_for_a_week_and_no_longer() {
    let (test, scope) = opened().await;
    let capture = fresh(&test, &scope).await;
    finish(&test, &scope, capture, Sha256::of(b""), "1").await;
    test.clock.advance(KEEP_ANSWERS);
    let kept = test.catalog.begin_request(&scope).await.unwrap();
    assert!(matches!(kept, Begun::Done { .. }), "{kept:?}");
    test.clock.advance(SECOND);
    assert_ne!(fresh(&test, &scope).await, capture);
}

#[tokio::test]
async fn of_many_tries_at_once_exactly_one_begins() {
    let (test, scope) = opened().await;
    let tries = (0..50).map(|_| {
        let (catalog, scope) = (test.catalog.clone(), scope.clone());
        tokio::spawn(async move { catalog.begin_request(&scope).await.unwrap() })
    });
    let tries = futures::future::join_all(tries.collect::<Vec<_>>()).await;
    let begun = tries
        .into_iter()
        .filter(|begun| matches!(begun.as_ref().unwrap(), Begun::Fresh(_)));
    assert_eq!(begun.count(), 1);
}

//! `/v1/datasets/{dataset}/events`, as a client reads it.

use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use axum::http::{Method, StatusCode};
use futures::StreamExt;
use schemas::http::{Capture, Dataset, Scope};
use tower::ServiceExt;

use crate::outcomes::MAX_EVENTS;
use crate::testing::{TestApi, TestCatalog, decided, new_capture, request};

/// Longer than any honest wait: a test that hangs shall fail.
const PATIENCE: Duration = Duration::from_secs(20);

struct Events {
    body: BodyDataStream,
    text: String,
}

impl Events {
    /// The fields of the next block that is not a mere comment; none at the end.
    async fn next_block(&mut self) -> Option<Vec<(String, String)>> {
        loop {
            if let Some((block, rest)) = self.text.split_once("\n\n") {
                let fields: Vec<_> = block
                    .lines()
                    .filter(|line| !line.starts_with(':'))
                    .map(|line| line.split_once(": ").unwrap())
                    .map(|(name, value)| (name.to_owned(), value.to_owned()))
                    .collect();
                self.text = rest.to_owned();
                if !fields.is_empty() {
                    return Some(fields);
                }
                continue;
            }
            let chunk = tokio::time::timeout(PATIENCE, self.body.next());
            let chunk = chunk.await.expect("an event within the time")?;
            self.text += std::str::from_utf8(&chunk.unwrap()).unwrap();
        }
    }

    /// The number and the capture of the next event.
    async fn next(&mut self) -> Option<(i64, Capture)> {
        loop {
            let block = self.next_block().await?;
            let field = |name: &str| block.iter().find(|f| f.0 == name).map(|f| f.1.as_str());
            if let Some(data) = field("data") {
                assert_eq!(field("event"), Some("capture"));
                let seq = field("id").unwrap().parse().unwrap();
                return Some((seq, serde_json::from_str(data).unwrap()));
            }
        }
    }
}

async fn follow(api: &TestApi, token: &str, query: &str, last_id: Option<&str>) -> Events {
    let path = format!("/v1/datasets/cats/events{query}");
    let mut request = request(Method::GET, token, &path, Body::empty());
    if let Some(last_id) = last_id {
        request
            .headers_mut()
            .insert("last-event-id", last_id.parse().unwrap());
    }
    let response = api.router.clone().oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    Events {
        body: response.into_body().into_data_stream(),
        text: String::new(),
    }
}

/// `count` photos that are accepted, one commit each.
async fn accept(test: &TestCatalog, dataset: &Dataset, count: usize) -> Vec<String> {
    let mut ids = Vec::new();
    for _ in 0..count {
        let capture = new_capture(&dataset.id, "1");
        test.catalog
            .record_outcomes(&[decided(&capture, "accepted")])
            .await
            .unwrap();
        ids.push(capture.id.to_string());
    }
    ids
}

async fn opened() -> (TestCatalog, TestApi, String, Dataset) {
    let test = TestCatalog::open().await;
    let (token, _) = test.key("main", &[Scope::Read]).await;
    let dataset = test.dataset("main", "cats", &[]).await;
    let api = test.api();
    (test, api, token, dataset)
}

#[tokio::test]
async fn a_verdict_is_told_as_it_falls_and_those_before_are_not() {
    let (test, api, token, dataset) = opened().await;
    accept(&test, &dataset, 3).await;
    let mut events = follow(&api, &token, "", None).await;
    let first = events.next_block().await.unwrap();
    assert!(first.contains(&("id".into(), "3".into())), "{first:?}");
    let ids = accept(&test, &dataset, 2).await;
    for (seq, id) in [(4, &ids[0]), (5, &ids[1])] {
        let (told, capture) = events.next().await.unwrap();
        assert_eq!((told, &capture.id.to_string()), (seq, id));
        assert_eq!(capture.status, schemas::Status::Accepted);
    }
}

#[tokio::test]
async fn a_client_that_comes_back_misses_nothing_and_gets_nothing_twice() {
    let (test, api, token, dataset) = opened().await;
    let mut ids = Vec::new();
    let mut told = Vec::new();
    let mut last_id = "0".to_owned();
    for round in 0..5 {
        ids.extend(accept(&test, &dataset, 60).await);
        let mut events = follow(&api, &token, "", Some(&last_id)).await;
        // Each connection breaks at another place, once in the middle of a look.
        for _ in 0..(20 + 7 * round) {
            let (seq, capture) = events.next().await.unwrap();
            told.push((seq, capture.id.to_string()));
            last_id = seq.to_string();
        }
    }
    let mut events = follow(&api, &token, "", Some(&last_id)).await;
    while told.len() < ids.len() {
        let (seq, capture) = events.next().await.unwrap();
        told.push((seq, capture.id.to_string()));
    }
    let wanted: Vec<_> = (1..).zip(ids).collect();
    assert_eq!(told, wanted);
}

#[tokio::test]
async fn after_in_the_query_does_the_same_and_the_header_wins() {
    let (test, api, token, dataset) = opened().await;
    accept(&test, &dataset, 4).await;
    let mut events = follow(&api, &token, "?after=1", None).await;
    assert_eq!(events.next().await.unwrap().0, 2);
    let mut events = follow(&api, &token, "?after=1", Some("3")).await;
    assert_eq!(events.next().await.unwrap().0, 4);
}

#[tokio::test]
async fn events_of_another_process_are_seen_without_a_signal() {
    let (test, api, token, dataset) = opened().await;
    let mut events = follow(&api, &token, "", None).await;
    events.next_block().await.unwrap();
    // The same catalog, opened a second time: another process as far as signals go.
    let other = crate::Catalog::open(&test.url).await.unwrap();
    let capture = new_capture(&dataset.id, "1");
    other
        .record_outcomes(&[decided(&capture, "rejected")])
        .await
        .unwrap();
    assert_eq!(events.next().await.unwrap().1.id, capture.id);
}

#[tokio::test]
async fn the_events_of_other_datasets_are_not_told() {
    let (test, api, token, dataset) = opened().await;
    let dogs = test.dataset("main", "dogs", &[]).await;
    let mut events = follow(&api, &token, "", None).await;
    accept(&test, &dogs, 3).await;
    let ids = accept(&test, &dataset, 1).await;
    let (seq, capture) = events.next().await.unwrap();
    assert_eq!((seq, capture.id.to_string()), (1, ids[0].clone()));
}

#[tokio::test]
async fn a_table_version_is_a_second_event() {
    let (test, api, token, dataset) = opened().await;
    let mut events = follow(&api, &token, "", None).await;
    let capture = new_capture(&dataset.id, "1");
    let mut verdict = decided(&capture, "accepted");
    test.catalog
        .record_outcomes(&[verdict.clone()])
        .await
        .unwrap();
    assert_eq!(events.next().await.unwrap().1.table_version, None);
    verdict.table_version = Some(7);
    test.catalog.record_outcomes(&[verdict]).await.unwrap();
    let (seq, capture) = events.next().await.unwrap();
    assert_eq!((seq, capture.table_version), (2, Some(7)));
}

#[tokio::test]
async fn shutdown_ends_the_stream() {
    let (_test, api, token, _) = opened().await;
    let mut events = follow(&api, &token, "", None).await;
    events.next_block().await.unwrap();
    api.shutdown.cancel();
    assert!(events.next_block().await.is_none());
}

#[tokio::test]
async fn a_key_that_is_revoked_and_a_dataset_that_is_deleted_end_the_stream() {
    let (test, api, token, dataset) = opened().await;
    let (_, admin) = test.key("main", &[Scope::Admin]).await;
    let (other, other_key) = test.key("main", &[Scope::Read]).await;
    let mut revoked = follow(&api, &other, "", None).await;
    let mut deleted = follow(&api, &token, "", None).await;
    revoked.next_block().await.unwrap();
    deleted.next_block().await.unwrap();
    test.catalog
        .revoke_key(&admin, &other_key.key_id)
        .await
        .unwrap();
    assert!(revoked.next_block().await.is_none());
    // Whoever keeps their access goes on.
    accept(&test, &dataset, 1).await;
    assert_eq!(deleted.next().await.unwrap().0, 1);
    test.catalog.delete_dataset(&dataset.id).await.unwrap();
    assert!(deleted.next_block().await.is_none());
}

#[tokio::test]
async fn a_start_that_is_no_number_is_400() {
    let (_test, api, token, _) = opened().await;
    for query in ["?after=x", "?after=-1", "?before=3"] {
        let refused = api
            .get(&token, &format!("/v1/datasets/cats/events{query}"))
            .await;
        assert_eq!(refused.code(), "invalid_query", "{query}");
    }
}

#[tokio::test]
async fn events_that_are_no_longer_kept_are_410_and_not_a_silent_gap() {
    let (test, api, token, dataset) = opened().await;
    accept(&test, &dataset, 1).await;
    let skip = test.catalog.write("skip", crate::database::Change::None, {
        let id = dataset.id.clone();
        move |db| {
            Box::pin(async move {
                let sql = "UPDATE datasets SET last_event_seq = $2 WHERE id = $1";
                let skipped = sqlx::query(sql).bind(id.as_str()).bind(MAX_EVENTS + 255);
                skipped.execute(db).await.unwrap();
                Ok(())
            })
        }
    });
    skip.await.unwrap();
    // So many that old ones are removed on the way, at least once.
    let next = MAX_EVENTS + 256;
    accept(&test, &dataset, 512).await;
    let expired = api.get(&token, "/v1/datasets/cats/events?after=0").await;
    assert_eq!(expired.status, StatusCode::GONE, "{expired:?}");
    assert_eq!(expired.code(), "events_expired");
    let mut events = follow(&api, &token, &format!("?after={}", next - 1), None).await;
    assert_eq!(events.next().await.unwrap().0, next);
}

#[tokio::test]
async fn one_client_too_many_is_sent_away_and_a_place_is_free_again_after_another() {
    let (_test, api, token, _) = opened().await;
    let mut all = Vec::new();
    for _ in 0..super::super::events::MAX_SUBSCRIBERS {
        all.push(follow(&api, &token, "", None).await);
    }
    let refused = api.get(&token, "/v1/datasets/cats/events").await;
    assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(refused.code(), "too_many_subscribers");
    assert!(refused.headers.contains_key("retry-after"));
    all.pop();
    follow(&api, &token, "", None).await;
}

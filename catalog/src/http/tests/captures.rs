//! `/v1/captures` and the list of a dataset's captures.

use axum::http::StatusCode;
use schemas::CaptureId;
use schemas::http::{Capture, CaptureList, Scope};
use serde_json::json;

use crate::testing::{TestCatalog, decided};

#[tokio::test]
async fn a_capture_tells_its_verdict_with_the_numbers_and_the_twin() {
    let test = TestCatalog::open().await;
    let (token, _) = test.key("main", &[Scope::Read]).await;
    let dataset = test.dataset("main", "cats", &[]).await;
    let capture = test.queued(&dataset, "1").await;
    let api = test.api();
    let path = format!("/v1/captures/{}", capture.id);
    let queued = api.get(&token, &path).await;
    assert_eq!(
        queued.body,
        json!({
            "id": capture.id.to_string(), "dataset": dataset.id, "label": "cat",
            "status": "queued", "sha256": capture.sha256.to_string(),
            "received_at": "2023-11-14T22:13:20.123456Z",
        })
    );
    let twin = CaptureId::new();
    let mut verdict = decided(&capture, "duplicate");
    verdict.reason = Some("near_duplicate".into());
    verdict.detail = Some("4 of 64 bits".into());
    verdict.twin_id = Some(twin.to_string());
    verdict.phash_distance = Some(4);
    verdict.pdq_distance = Some(0);
    test.catalog.record_outcomes(&[verdict]).await.unwrap();
    let told: Capture = serde_json::from_value(api.get(&token, &path).await.body).unwrap();
    assert_eq!(told.twin_id, Some(twin));
    assert_eq!((told.phash_distance, told.pdq_distance), (Some(4), Some(0)));
    assert_eq!(told.detail.as_deref(), Some("4 of 64 bits"));
}

#[tokio::test]
async fn what_is_no_id_is_400_and_an_unknown_id_is_404() {
    let test = TestCatalog::open().await;
    let (token, _) = test.key("main", &[Scope::Read]).await;
    let api = test.api();
    assert_eq!(
        api.get(&token, "/v1/captures/xyz").await.code(),
        "invalid_path"
    );
    assert_eq!(
        api.get(&token, "/v1/captures/%ff").await.code(),
        "invalid_path"
    );
    let unknown = api
        .get(&token, &format!("/v1/captures/{}", CaptureId::new()))
        .await;
    assert_eq!(unknown.status, StatusCode::NOT_FOUND);
    assert_eq!(unknown.code(), "unknown_capture");
}

#[tokio::test]
async fn pages_hold_each_capture_once_the_newest_first() {
    let test = TestCatalog::open().await;
    let (token, _) = test.key("main", &[Scope::Read]).await;
    let dataset = test.dataset("main", "cats", &[]).await;
    let mut wanted = Vec::new();
    for number in 0..7 {
        wanted.push(test.queued(&dataset, &number.to_string()).await.id);
    }
    wanted.reverse();
    let api = test.api();
    let (mut path, mut listed) = ("/v1/datasets/cats/captures?limit=3".to_owned(), Vec::new());
    loop {
        let page = api.get(&token, &path).await;
        let page: CaptureList = serde_json::from_value(page.body).unwrap();
        listed.extend(page.captures.iter().map(|capture| capture.id));
        let Some(next) = page.next else { break };
        path = format!("/v1/datasets/cats/captures?limit=3&after={next}");
    }
    assert_eq!(listed, wanted);
}

#[tokio::test]
async fn a_list_can_be_of_one_status() {
    let test = TestCatalog::open().await;
    let (token, _) = test.key("main", &[Scope::Read]).await;
    let dataset = test.dataset("main", "cats", &[]).await;
    test.queued(&dataset, "1").await;
    let second = test.queued(&dataset, "2").await;
    test.catalog
        .record_outcomes(&[decided(&second, "review")])
        .await
        .unwrap();
    let api = test.api();
    let listed = api
        .get(&token, "/v1/datasets/cats/captures?status=review")
        .await;
    assert_eq!(listed.body["captures"].as_array().unwrap().len(), 1);
    assert_eq!(listed.body["captures"][0]["id"], second.id.to_string());
}

#[tokio::test]
async fn a_query_against_the_rules_is_400_with_the_parameter() {
    let test = TestCatalog::open().await;
    let (token, _) = test.key("main", &[Scope::Read]).await;
    test.dataset("main", "cats", &[]).await;
    let api = test.api();
    for (query, named) in [
        ("status=lost", "status"),
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("limit=x", "limit"),
        ("after=x", "capture id"),
        ("stauts=queued", "stauts"),
    ] {
        let refused = api
            .get(&token, &format!("/v1/datasets/cats/captures?{query}"))
            .await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{query}");
        assert_eq!(refused.code(), "invalid_query");
        assert!(
            refused.body["detail"].as_str().unwrap().contains(named),
            "{refused:?}"
        );
    }
}

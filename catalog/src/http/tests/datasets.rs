//! `/v1/datasets`.

use axum::http::StatusCode;
use schemas::http::Scope;
use serde_json::{Value, json};

use crate::testing::{TestApi, TestCatalog, decided};

async fn admin() -> (TestCatalog, TestApi, String) {
    let test = TestCatalog::open().await;
    let (token, _) = test.key("main", &[Scope::Admin]).await;
    let api = test.api();
    (test, api, token)
}

#[tokio::test]
async fn a_dataset_is_made_and_found_by_name_and_by_id() {
    let (_test, api, token) = admin().await;
    let body = json!({"name": "cats", "labels": ["tabby", "black", "tabby"],
        "policy": {"near_duplicates": "group"}});
    let made = api.post(&token, "/v1/datasets", body).await;
    assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
    let id = made.body["id"].as_str().unwrap();
    assert_eq!(made.headers["location"], format!("/v1/datasets/{id}"));
    assert_eq!(made.body["labels"], json!(["black", "tabby"]));
    assert_eq!(made.body["policy"]["near_duplicates"], "group");
    assert_eq!(made.body["policy"]["max_phash_distance"], 16);
    for path in ["/v1/datasets/cats".into(), format!("/v1/datasets/{id}")] {
        let shown = api.get(&token, &path).await;
        assert_eq!((shown.status, &shown.body), (StatusCode::OK, &made.body));
    }
    let list = api.get(&token, "/v1/datasets").await;
    assert_eq!(list.body, json!({"datasets": [made.body]}));
}

#[tokio::test]
async fn a_name_can_be_taken_once() {
    let (test, api, token) = admin().await;
    test.dataset("main", "cats", &[]).await;
    let second = api
        .post(&token, "/v1/datasets", json!({"name": "cats"}))
        .await;
    assert_eq!(second.status, StatusCode::CONFLICT);
    assert_eq!(second.code(), "name_taken");
}

#[tokio::test]
async fn a_name_label_or_policy_against_its_rule_is_refused_with_the_rule() {
    let (_test, api, token) = admin().await;
    for (body, rule) in [
        (json!({"name": "Cats!"}), "1 to 64 of a-z"),
        (json!({"name": "a".repeat(65)}), "1 to 64 of a-z"),
        (
            json!({"name": "cats", "labels": ["a\nb"]}),
            "one line of text",
        ),
        (
            json!({"name": "cats", "labels": ["x".repeat(300)]}),
            "1 to 256 bytes",
        ),
        (
            json!({"name": "cats", "policy": {"max_pdq_distance": 257}}),
            "from 0 to 256",
        ),
        (
            json!({"name": "cats", "policy": {"min_label_score_percent": 101}}),
            "from 0 to 100",
        ),
        (
            json!({"name": "cats", "polizy": {}}),
            "unknown field `polizy`",
        ),
        (
            json!({"name": "cats", "policy": {"near": 1}}),
            "unknown field `near`",
        ),
        (json!({}), "missing field `name`"),
    ] {
        let refused = api.post(&token, "/v1/datasets", body).await;
        assert_eq!(
            refused.status,
            StatusCode::UNPROCESSABLE_ENTITY,
            "{refused:?}"
        );
        refused.code();
        let detail = refused.body["detail"].as_str().unwrap();
        assert!(detail.contains(rule), "{detail}");
    }
    let list = api.get(&token, "/v1/datasets").await;
    assert_eq!(list.body["datasets"], json!([]));
}

#[tokio::test]
async fn labels_of_any_script_come_back_as_they_were_given() {
    let (_test, api, token) = admin().await;
    let labels = json!(["Katze / schwarz", "قطة", "बिल्ली", "猫", "🐈\u{200d}⬛"]);
    let body = json!({"name": "cats", "labels": labels});
    api.post(&token, "/v1/datasets", body).await;
    let shown = api.get(&token, "/v1/datasets/cats").await;
    let mut sorted: Vec<String> = serde_json::from_value(labels).unwrap();
    sorted.sort();
    assert_eq!(shown.body["labels"], json!(sorted));
}

#[tokio::test]
async fn a_patch_adds_labels_and_keeps_what_it_does_not_name() {
    let (test, api, token) = admin().await;
    test.dataset("main", "cats", &["tabby"]).await;
    let path = "/v1/datasets/cats";
    let patched = api
        .patch(&token, path, json!({"add_labels": ["black", "tabby"]}))
        .await;
    assert_eq!(patched.status, StatusCode::OK, "{patched:?}");
    assert_eq!(patched.body["labels"], json!(["black", "tabby"]));
    let patched = api
        .patch(&token, path, json!({"policy": {"quality": "keep"}}))
        .await;
    assert_eq!(patched.body["policy"]["quality"], "keep");
    assert_eq!(patched.body["labels"], json!(["black", "tabby"]));
    assert_eq!(api.get(&token, path).await.body, patched.body);
}

#[tokio::test]
async fn a_deleted_dataset_is_unknown_and_its_name_is_free() {
    let (test, api, token) = admin().await;
    let old = test.dataset("main", "cats", &[]).await;
    let capture = test.queued(&old, "1").await;
    assert_eq!(
        api.get(&token, "/v1/datasets/cats").await.status,
        StatusCode::OK
    );
    let deleted = api.delete(&token, "/v1/datasets/cats").await;
    assert_eq!(deleted.status, StatusCode::NO_CONTENT);
    for path in [
        "/v1/datasets/cats".into(),
        format!("/v1/datasets/{}", old.id),
        "/v1/datasets/cats/stats".into(),
        "/v1/datasets/cats/captures".into(),
        "/v1/datasets/cats/events".into(),
        format!("/v1/captures/{}", capture.id),
    ] {
        assert_eq!(
            api.get(&token, &path).await.status,
            StatusCode::NOT_FOUND,
            "{path}"
        );
    }
    assert_eq!(
        api.delete(&token, "/v1/datasets/cats").await.status,
        StatusCode::NOT_FOUND
    );
    let new = api
        .post(&token, "/v1/datasets", json!({"name": "cats"}))
        .await;
    assert_eq!(new.status, StatusCode::CREATED);
    assert_ne!(new.body["id"], old.id.as_str());
}

#[tokio::test]
async fn an_unknown_dataset_is_answered_with_the_nearest_of_the_callers_own() {
    let (test, api, token) = admin().await;
    test.dataset("main", "cats", &[]).await;
    test.dataset("main", "flowers", &[]).await;
    test.dataset("other", "cuts", &[]).await;
    let unknown = api.get(&token, "/v1/datasets/cat").await;
    assert_eq!(unknown.code(), "unknown_dataset");
    assert_eq!(unknown.body["hint"], "did you mean cats?");
}

#[tokio::test]
async fn statistics_count_by_status_label_and_reason() {
    let (test, api, token) = admin().await;
    let dataset = test.dataset("main", "cats", &[]).await;
    let mut verdicts = Vec::new();
    for (number, (status, reason, version)) in [
        ("accepted", None, Some(3)),
        ("accepted", None, Some(4)),
        ("accepted", None, None),
        ("rejected", Some("truncated"), None),
        ("duplicate", Some("near_duplicate"), None),
        ("duplicate", Some("near_duplicate"), None),
    ]
    .into_iter()
    .enumerate()
    {
        let capture = test.queued(&dataset, &number.to_string()).await;
        let mut verdict = decided(&capture, status);
        verdict.reason = reason.map(Into::into);
        verdict.table_version = version;
        verdicts.push(verdict);
    }
    test.queued(&dataset, "waits").await;
    test.catalog.record_outcomes(&verdicts).await.unwrap();
    let stats = api.get(&token, "/v1/datasets/cats/stats").await;
    let statuses = json!({"accepted": 3, "duplicate": 2, "queued": 1, "rejected": 1});
    assert_eq!(
        stats.body,
        json!({
            "statuses": statuses,
            "labels": {"cat": statuses},
            "reasons": {"near_duplicate": 2, "truncated": 1},
            "table_version": 4,
            "awaiting_shard": 1,
        })
    );
}

#[tokio::test]
async fn statistics_of_an_empty_dataset_are_zero() {
    let (test, api, token) = admin().await;
    test.dataset("main", "cats", &[]).await;
    let stats = api.get(&token, "/v1/datasets/cats/stats").await;
    assert_eq!(stats.body["statuses"], json!({}));
    assert_eq!(stats.body["table_version"], Value::Null);
}

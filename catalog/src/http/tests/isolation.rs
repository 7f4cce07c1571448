//! Two owners see nothing of each other, over every route.

use axum::http::{Method, StatusCode};
use schemas::CaptureId;
use schemas::http::Scope;
use serde_json::json;

use crate::testing::{Answer, TestCatalog, request};

#[tokio::test]
async fn anothers_things_are_answered_exactly_as_things_that_do_not_exist() {
    let test = TestCatalog::open().await;
    let (_, _) = test.key("alice", &[Scope::Admin]).await;
    let (_, alice_key) = test.key("alice", &[Scope::Read]).await;
    let (bob, _) = test.key("bob", &[Scope::Admin]).await;
    let cats = test.dataset("alice", "cats", &["tabby"]).await;
    let capture = test.queued(&cats, "1").await;
    let api = test.api();
    // What is alice's, and a thing of the same form that nobody has.
    let pairs = [
        ("/v1/datasets/{}", cats.name.clone(), "cots".into()),
        ("/v1/datasets/{}", cats.id.to_string(), "cats-aaaaaa".into()),
        ("/v1/datasets/{}/stats", cats.name.clone(), "cots".into()),
        ("/v1/datasets/{}/captures", cats.name.clone(), "cots".into()),
        ("/v1/datasets/{}/events", cats.name.clone(), "cots".into()),
        (
            "/v1/captures/{}",
            capture.id.to_string(),
            CaptureId::new().to_string(),
        ),
        (
            "/v1/keys/{}",
            alice_key.key_id.clone(),
            "key_aaaaaaaaaaaaaaaa".into(),
        ),
    ];
    let mut num_compared = 0;
    for (path, theirs, nobodys) in &pairs {
        for method in [Method::GET, Method::PATCH, Method::DELETE] {
            let ask = async |thing: &str| -> Answer {
                let path = path.replace("{}", thing);
                let body = json!({"add_labels": ["x"]}).to_string();
                let answer = api
                    .call(request(method.clone(), &bob, &path, body.into()))
                    .await;
                let body = answer.text().replace(thing, "THING");
                Answer {
                    body: serde_json::from_str(&body).unwrap(),
                    ..answer
                }
            };
            let (answer, reference) = (ask(theirs).await, ask(nobodys).await);
            assert_eq!(answer, reference, "{method} {path} {theirs}");
            if answer.status == StatusCode::NOT_FOUND {
                num_compared += 1;
            }
        }
    }
    assert_eq!(num_compared, 6 + 2 * 2 + 1, "every route was met");
    // And it is all still there.
    let (alice, _) = test.key("alice", &[Scope::Read]).await;
    let shown = api.get(&alice, "/v1/datasets/cats").await;
    assert_eq!(shown.body["labels"], json!(["tabby"]));
}

#[tokio::test]
async fn lists_hold_the_owners_own_things_only() {
    let test = TestCatalog::open().await;
    let (_, alice_key) = test.key("alice", &[Scope::Admin]).await;
    let (bob, bob_key) = test.key("bob", &[Scope::Admin]).await;
    test.dataset("alice", "cats", &["secret"]).await;
    let api = test.api();
    assert_eq!(
        api.get(&bob, "/v1/datasets").await.body,
        json!({"datasets": []})
    );
    let keys = api.get(&bob, "/v1/keys").await.text();
    assert!(
        keys.contains(&bob_key.key_id) && !keys.contains(&alice_key.key_id),
        "{keys}"
    );
}

#[tokio::test]
async fn two_owners_can_have_datasets_of_one_name() {
    let test = TestCatalog::open().await;
    let (alice, _) = test.key("alice", &[Scope::Read]).await;
    let (bob, _) = test.key("bob", &[Scope::Read]).await;
    test.dataset("alice", "cats", &["tabby"]).await;
    test.dataset("bob", "cats", &["black"]).await;
    let api = test.api();
    for (token, label) in [(&alice, "tabby"), (&bob, "black"), (&alice, "tabby")] {
        let shown = api.get(token, "/v1/datasets/cats").await;
        assert_eq!(shown.body["labels"], json!([label]));
    }
}

#[tokio::test]
async fn the_operators_data_are_not_everybodys_and_everybodys_not_the_operators() {
    let test = TestCatalog::open().await;
    let (operator, _) = test.key("main", &[Scope::Admin]).await;
    test.dataset("alice", "cats", &[]).await;
    let api = test.api();
    let shown = api.get(&operator, "/v1/datasets/cats").await;
    assert_eq!(shown.status, StatusCode::NOT_FOUND);
}

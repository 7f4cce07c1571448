//! `/v1/keys`, and what a key may do.

use axum::body::Body;
use axum::http::{Method, Request, StatusCode, header};
use schemas::http::Scope;
use serde_json::json;

use crate::testing::{TestCatalog, request};

#[tokio::test]
async fn a_key_is_made_works_and_is_told_once() {
    let test = TestCatalog::open().await;
    let (admin, _) = test.key("main", &[Scope::Admin]).await;
    let api = test.api();
    let body = json!({"name": "phone app", "scopes": ["upload", "read", "upload"]});
    let made = api.post(&admin, "/v1/keys", body).await;
    assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
    assert_eq!(made.headers[header::CACHE_CONTROL], "no-store");
    let token = made.body["token"].as_str().unwrap();
    assert!(token.starts_with("tt_") && token.len() == 43, "{token}");
    assert_eq!(made.body["scopes"], json!(["upload", "read"]));
    assert_eq!(made.body["owner"], "main");
    assert_eq!(api.get(token, "/v1/datasets").await.status, StatusCode::OK);
    let list = api.get(&admin, "/v1/keys").await;
    assert_eq!(list.body["keys"].as_array().unwrap().len(), 2);
    assert!(!list.text().contains("tt_"), "{list:?}");
}

#[tokio::test]
async fn a_revoked_key_stops_at_once_in_the_same_words_as_an_unknown_one() {
    let test = TestCatalog::open().await;
    let (admin, _) = test.key("main", &[Scope::Admin]).await;
    let (token, principal) = test.key("main", &[Scope::Read]).await;
    let api = test.api();
    assert_eq!(api.get(&token, "/v1/datasets").await.status, StatusCode::OK);
    let path = format!("/v1/keys/{}", principal.key_id);
    for _ in 0..2 {
        assert_eq!(
            api.delete(&admin, &path).await.status,
            StatusCode::NO_CONTENT
        );
    }
    let revoked = api.get(&token, "/v1/datasets").await;
    assert_eq!(revoked.status, StatusCode::UNAUTHORIZED);
    assert!(
        revoked.headers[header::WWW_AUTHENTICATE]
            .to_str()
            .unwrap()
            .starts_with("Bearer")
    );
    let unknown = api
        .get(&format!("tt_{}", "a".repeat(40)), "/v1/datasets")
        .await;
    assert_eq!(revoked, unknown);
    let list = api.get(&admin, "/v1/keys").await;
    for key in list.body["keys"].as_array().unwrap() {
        let is_revoked = key["id"] == principal.key_id;
        assert_eq!(key["revoked_at"].is_string(), is_revoked, "{key}");
    }
}

#[tokio::test]
async fn what_is_no_bearer_token_is_401_and_never_repeated() {
    let test = TestCatalog::open().await;
    let api = test.api();
    for value in [
        "",
        "Bearer",
        "Bearer ",
        "Basic dXNlcjpwYXNz",
        "tt_secretsecret",
        "Bearer x y",
    ] {
        let request = Request::get("/v1/datasets").header(header::AUTHORIZATION, value);
        let refused = api.call(request.body(Body::empty()).unwrap()).await;
        assert_eq!(refused.status, StatusCode::UNAUTHORIZED, "{value:?}");
        assert_eq!(refused.code(), "invalid_key");
        assert!(!refused.text().contains("secret"), "{refused:?}");
        assert!(!refused.text().contains("dXNl"), "{refused:?}");
    }
    let missing = Request::get("/v1/datasets").body(Body::empty()).unwrap();
    assert_eq!(api.call(missing).await.code(), "missing_key");
    let mut twice = request(Method::GET, "a", "/v1/datasets", Body::empty());
    twice
        .headers_mut()
        .append(header::AUTHORIZATION, "Bearer b".parse().unwrap());
    assert_eq!(api.call(twice).await.code(), "invalid_key");
}

#[tokio::test]
async fn every_route_asks_for_its_scope() {
    let test = TestCatalog::open().await;
    let dataset = test.dataset("main", "cats", &[]).await;
    let capture = test.queued(&dataset, "1").await;
    let api = test.api();
    let (get, post, patch, delete) = (Method::GET, Method::POST, Method::PATCH, Method::DELETE);
    let capture = format!("/v1/captures/{}", capture.id);
    let routes = [
        (&get, "/v1/datasets", "read"),
        (&get, "/v1/datasets/cats", "read"),
        (&get, "/v1/datasets/cats/stats", "read"),
        (&get, "/v1/datasets/cats/captures", "read"),
        (&get, "/v1/datasets/cats/events", "read"),
        (&get, capture.as_str(), "upload or read"),
        (&post, "/v1/datasets", "admin"),
        (&patch, "/v1/datasets/cats", "admin"),
        (&delete, "/v1/datasets/cats", "admin"),
        (&get, "/v1/keys", "admin"),
        (&post, "/v1/keys", "admin"),
        (&delete, "/v1/keys/key_x", "admin"),
    ];
    for scope in [Scope::Upload, Scope::Read, Scope::Train] {
        let (token, _) = test.key("main", &[scope]).await;
        for (method, path, needed) in routes {
            if needed.split(" or ").any(|name| name == scope.as_str()) {
                continue;
            }
            let refused = request(method.clone(), &token, path, Body::empty());
            let refused = api.call(refused).await;
            assert_eq!(
                refused.status,
                StatusCode::FORBIDDEN,
                "{scope:?} {method} {path}"
            );
            assert_eq!(refused.code(), "insufficient_scope");
            let detail = refused.body["detail"].as_str().unwrap();
            assert!(detail.contains(&format!("scope {needed};")), "{detail}");
            assert!(
                detail.ends_with(&format!("has {}", scope.as_str())),
                "{detail}"
            );
        }
    }
    let (upload, _) = test.key("main", &[Scope::Upload]).await;
    assert_eq!(api.get(&upload, &capture).await.status, StatusCode::OK);
}

#[tokio::test]
async fn the_last_admin_key_of_an_owner_cannot_be_revoked() {
    let test = TestCatalog::open().await;
    let (first, one) = test.key("main", &[Scope::Admin]).await;
    let (second, two) = test.key("main", &[Scope::Admin, Scope::Read]).await;
    let dataset = test.dataset("main", "cats", &[]).await;
    // Neither a bound admin key nor another owner's helps the owner.
    test.bound_key("main", &[Scope::Admin], Some(&dataset.id))
        .await;
    test.key("other", &[Scope::Admin]).await;
    let api = test.api();
    let revoked = api
        .delete(&second, &format!("/v1/keys/{}", one.key_id))
        .await;
    assert_eq!(revoked.status, StatusCode::NO_CONTENT);
    let last = api
        .delete(&second, &format!("/v1/keys/{}", two.key_id))
        .await;
    assert_eq!(last.status, StatusCode::CONFLICT);
    assert_eq!(last.code(), "last_admin_key");
    assert_eq!(api.get(&second, "/v1/keys").await.status, StatusCode::OK);
    assert_eq!(
        api.get(&first, "/v1/keys").await.status,
        StatusCode::UNAUTHORIZED
    );
}

#[tokio::test]
async fn only_the_operator_makes_keys_for_other_owners() {
    let test = TestCatalog::open().await;
    let (operator, _) = test.key("main", &[Scope::Admin]).await;
    let api = test.api();
    let for_owner = |owner: &str| json!({"name": "k", "scopes": ["admin"], "owner": owner});
    let made = api.post(&operator, "/v1/keys", for_owner("alice")).await;
    assert_eq!(made.body["owner"], "alice");
    let alice = made.body["token"].as_str().unwrap();
    let own = api.post(alice, "/v1/keys", for_owner("alice")).await;
    assert_eq!(own.status, StatusCode::CREATED);
    let refused = api.post(alice, "/v1/keys", for_owner("bob")).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    assert_eq!(refused.code(), "not_operator");
    for owner in ["", "Alice", "a b", "../x"] {
        let refused = api.post(&operator, "/v1/keys", for_owner(owner)).await;
        assert_eq!(
            refused.status,
            StatusCode::UNPROCESSABLE_ENTITY,
            "{owner:?}"
        );
    }
}

#[tokio::test]
async fn a_key_against_the_rules_is_refused() {
    let test = TestCatalog::open().await;
    let (admin, _) = test.key("main", &[Scope::Admin]).await;
    let api = test.api();
    for (body, status) in [
        (json!({"name": "", "scopes": ["read"]}), 422),
        (json!({"name": "a\nb", "scopes": ["read"]}), 422),
        (json!({"name": "k", "scopes": []}), 422),
        (json!({"name": "k", "scopes": ["root"]}), 422),
        (
            json!({"name": "k", "scopes": ["read"], "token": "tt_mine"}),
            422,
        ),
        (
            json!({"name": "k", "scopes": ["read"], "dataset": "nope"}),
            404,
        ),
    ] {
        let refused = api.post(&admin, "/v1/keys", body).await;
        assert_eq!(refused.status, status, "{refused:?}");
        refused.code();
    }
}

#[tokio::test]
async fn a_bound_key_sees_its_dataset_only_and_gives_away_no_more() {
    let test = TestCatalog::open().await;
    let (free, free_principal) = test.key("main", &[Scope::Admin]).await;
    let cats = test.dataset("main", "cats", &[]).await;
    let dogs = test.dataset("main", "dogs", &[]).await;
    let dog = test.queued(&dogs, "1").await;
    let api = test.api();
    let body = json!({"name": "k", "scopes": ["admin"], "dataset": "cats"});
    let bound = api.post(&free, "/v1/keys", body).await;
    assert_eq!(bound.body["dataset"], cats.id.as_str());
    let bound = bound.body["token"].as_str().unwrap();

    let list = api.get(bound, "/v1/datasets").await;
    assert_eq!(list.body["datasets"].as_array().unwrap().len(), 1);
    assert_eq!(
        api.get(bound, "/v1/datasets/cats").await.status,
        StatusCode::OK
    );
    // The neighbour was seen a moment ago by a key that may: the memory tells nothing.
    assert_eq!(
        api.get(&free, "/v1/datasets/dogs").await.status,
        StatusCode::OK
    );
    let others = [
        format!("/v1/datasets/{}", dogs.id),
        "/v1/datasets/dogs".into(),
        "/v1/datasets/dogs/captures".into(),
        format!("/v1/captures/{}", dog.id),
    ];
    for path in others {
        assert_eq!(
            api.get(bound, &path).await.status,
            StatusCode::NOT_FOUND,
            "{path}"
        );
    }
    let near = api.get(bound, "/v1/datasets/dog").await;
    assert!(!near.text().contains("dogs"), "{near:?}");

    for body in [
        json!({"name": "k", "scopes": ["read"]}),
        json!({"name": "k", "scopes": ["read"], "dataset": "dogs"}),
    ] {
        let refused = api.post(bound, "/v1/keys", body).await;
        assert!(
            refused.status == 403 || refused.status == 404,
            "{refused:?}"
        );
    }
    let made = api
        .post(bound, "/v1/datasets", json!({"name": "birds"}))
        .await;
    assert_eq!(made.code(), "bound_key");
    let keys = api.get(bound, "/v1/keys").await;
    assert_eq!(keys.body["keys"].as_array().unwrap().len(), 1);
    let revoke = api
        .delete(bound, &format!("/v1/keys/{}", free_principal.key_id))
        .await;
    assert_eq!(revoke.status, StatusCode::NOT_FOUND);
}

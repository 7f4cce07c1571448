//! Errors: their form, and that they say where the fault is and keep secrets.

use axum::body::Body;
use axum::http::{Method, Request, StatusCode, header};
use schemas::http::Scope;

use crate::http::openapi;
use crate::http::problem::shown;
use crate::testing::{TestCatalog, request};

#[tokio::test]
async fn unknown_paths_and_methods_are_problems() {
    let test = TestCatalog::open().await;
    let api = test.api();
    let unknown = api.get("", "/v2/nothing").await;
    assert_eq!(unknown.status, StatusCode::NOT_FOUND);
    assert_eq!(unknown.code(), "unknown_path");
    let method = api.delete("", "/v1/datasets").await;
    assert_eq!(method.status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(method.code(), "method_not_allowed");
    let allowed = method.headers[header::ALLOW].to_str().unwrap();
    assert!(
        allowed.contains("GET") && allowed.contains("POST"),
        "{allowed}"
    );
}

#[tokio::test]
async fn malformed_json_is_400_with_its_position() {
    let test = TestCatalog::open().await;
    let (token, _) = test.key("main", &[Scope::Admin]).await;
    let api = test.api();
    for (body, position) in [
        ("{\"name\": \"cats\",\n nope}", "line 2 column 2"),
        ("", "line 1"),
    ] {
        let refused = request(Method::POST, &token, "/v1/datasets", body.into());
        let refused = api.call(refused).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST);
        assert_eq!(refused.code(), "malformed_json");
        assert!(
            refused.body["detail"].as_str().unwrap().contains(position),
            "{refused:?}"
        );
    }
}

#[tokio::test]
async fn a_body_over_the_limit_is_413_and_another_type_415() {
    let test = TestCatalog::open().await;
    let (token, _) = test.key("main", &[Scope::Admin]).await;
    let api = test.api();
    for (path, num_bytes) in [
        ("/v1/keys", 64 * 1024 + 1),
        ("/v1/datasets", 1024 * 1024 + 1),
    ] {
        let body = Body::from(" ".repeat(num_bytes));
        let refused = api.call(request(Method::POST, &token, path, body)).await;
        assert_eq!(refused.status, StatusCode::PAYLOAD_TOO_LARGE, "{path}");
        assert_eq!(refused.code(), "body_too_large");
    }
    let refused = Request::post("/v1/datasets")
        .header(header::AUTHORIZATION, format!("Bearer {token}"))
        .header(header::CONTENT_TYPE, "text/plain")
        .body(Body::from("{\"name\": \"cats\"}"))
        .unwrap();
    assert_eq!(api.call(refused).await.code(), "unsupported_media_type");
}

#[tokio::test]
async fn a_catalog_that_fails_is_503_with_retry_after_and_no_paths() {
    let test = TestCatalog::open().await;
    let (token, _) = test.key("main", &[Scope::Admin]).await;
    let api = test.api();
    test.catalog.close().await;
    let failed = api.get(&token, "/v1/keys").await;
    assert_eq!(failed.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(failed.code(), "catalog_unavailable");
    assert!(failed.headers.contains_key(header::RETRY_AFTER));
    let folder = test.folder.path().to_str().unwrap();
    assert!(!failed.text().contains(folder), "{failed:?}");
}

#[tokio::test]
async fn a_key_pasted_into_the_wrong_place_is_not_repeated() {
    let test = TestCatalog::open().await;
    let (token, _) = test.key("main", &[Scope::Admin]).await;
    let api = test.api();
    let paths = [
        format!("/v1/datasets/{token}"),
        format!("/v1/captures/{token}"),
        format!("/v1/datasets/x/captures?status={token}"),
        format!("/{token}"),
    ];
    for path in paths {
        let refused = api.get(&token, &path).await;
        assert!(!refused.text().contains(&token[3..]), "{refused:?}");
    }
    let refused = api.delete(&token, &format!("/v1/keys/{token}")).await;
    assert!(!refused.text().contains(&token[3..]), "{refused:?}");
    let body = serde_json::json!({"name": token, "scopes": [token]});
    let refused = api.post(&token, "/v1/keys", body).await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(!refused.text().contains(&token[3..]), "{refused:?}");
}

#[test]
fn what_is_repeated_is_cut_and_words_stay_whole() {
    assert_eq!(
        shown("no dataset \"watt_hours\""),
        "no dataset \"watt_hours\""
    );
    assert_eq!(shown(&format!("a tt_{} b", "x1".repeat(20))), "a tt_... b");
    assert_eq!(shown(&"é".repeat(1_000)).chars().count(), 303);
}

#[test]
fn the_description_holds_every_route_with_its_schemas() {
    let description = serde_json::to_value(openapi()).unwrap();
    let mut operations = Vec::new();
    for (path, item) in description["paths"].as_object().unwrap() {
        operations.extend(
            item.as_object()
                .unwrap()
                .keys()
                .map(|method| format!("{method} {path}")),
        );
    }
    operations.sort();
    assert_eq!(
        operations,
        [
            "delete /v1/datasets/{dataset}",
            "delete /v1/keys/{id}",
            "get /v1/captures/{id}",
            "get /v1/datasets",
            "get /v1/datasets/{dataset}",
            "get /v1/datasets/{dataset}/captures",
            "get /v1/datasets/{dataset}/clusters",
            "get /v1/datasets/{dataset}/duplicates",
            "get /v1/datasets/{dataset}/events",
            "get /v1/datasets/{dataset}/stats",
            "get /v1/keys",
            "patch /v1/datasets/{dataset}",
            "post /v1/datasets",
            "post /v1/keys",
        ]
    );
    // Every reference leads somewhere.
    let text = description.to_string();
    let mut num_references = 0;
    for reference in text.split("\"#/components/schemas/").skip(1) {
        let name = reference.split('"').next().unwrap();
        assert!(
            description["components"]["schemas"][name].is_object(),
            "{name}"
        );
        num_references += 1;
    }
    assert!(num_references > 20, "{num_references}");
    assert_eq!(
        description["components"]["securitySchemes"]["key"]["scheme"],
        "bearer"
    );
}

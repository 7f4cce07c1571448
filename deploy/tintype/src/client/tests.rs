//! The client against a real server on a local port: what arrives there, and what
//! each kind of failure becomes here.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, StatusCode as Status, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};

use schemas::http::CaptureReceipt;

use super::*;
use crate::cli::Exit;

/// Serves `router` on a free local port until the test ends.
pub async fn serve(router: Router) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address: SocketAddr = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    format!("http://{address}")
}

fn problem(status: u16, code: &str) -> Response {
    let body = serde_json::json!({
        "type": "about:blank", "title": "no", "status": status, "code": code,
        "detail": "there is no dataset \"cast\"", "hint": "did you mean \"cats\"?",
    });
    let content_type = [(header::CONTENT_TYPE, "application/problem+json")];
    (
        Status::from_u16(status).unwrap(),
        content_type,
        body.to_string(),
    )
        .into_response()
}

#[tokio::test]
async fn a_photo_arrives_whole_with_its_label_and_key_as_headers() {
    async fn take(headers: HeaderMap, body: Bytes) -> Response {
        let text = |name: &str| headers[name].to_str().unwrap().to_owned();
        assert_eq!(text("x-label"), "%E7%8C%AB%20(black)%2Fwhite");
        assert_eq!(text("idempotency-key"), "k-1");
        assert_eq!(text("content-length"), "300000");
        assert_eq!(text("authorization"), "Bearer tt_secret");
        let receipt = CaptureReceipt {
            id: CaptureId::new(),
            status: schemas::Status::Queued,
            sha256: schemas::Sha256::of(&body).to_string(),
            duplicate_of: None,
        };
        (Status::ACCEPTED, axum::Json(receipt)).into_response()
    }
    let route = post(take).layer(axum::extract::DefaultBodyLimit::disable());
    let url = serve(Router::new().route("/v1/datasets/cats/captures", route)).await;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("photo.jpg");
    let bytes: Vec<u8> = (0..300_000u32).map(|i| i as u8).collect();
    std::fs::write(&path, &bytes).unwrap();
    let client = Client::new(&url, Some(" tt_secret\n")).unwrap();
    let photo = Photo {
        dataset: "cats",
        label: &"猫 (black)/white".parse().unwrap(),
        path: &path,
        idempotency_key: "k-1",
    };
    let receipt = client.send(photo).await.unwrap();
    assert_eq!(receipt.sha256, schemas::Sha256::of(&bytes).to_string());

    let gone = Photo {
        path: Path::new("/no/such/photo.jpg"),
        ..photo
    };
    let error = client.send(gone).await.unwrap_err();
    assert_eq!(error.next(), Next::GiveUpFile);
    assert!(error.to_string().contains("/no/such/photo.jpg"), "{error}");
}

#[tokio::test]
async fn a_problem_keeps_the_servers_words_and_decides_what_is_next() {
    let router = Router::new()
        .route(
            "/v1/datasets/cast",
            get(|| async { problem(404, "unknown_dataset") }),
        )
        .route("/v1/datasets", get(|| async { problem(401, "no_key") }))
        .route("/v1/keys", get(|| async { problem(503, "busy") }))
        .route(
            "/v1/captures/{id}",
            get(|| async { (Status::BAD_GATEWAY, "<html>") }),
        );
    let client = Client::new(&serve(router).await, None).unwrap();

    let error = client.dataset("cast").await.unwrap_err();
    assert_eq!(error.to_string(), "there is no dataset \"cast\"");
    assert_eq!(error.hint().as_deref(), Some("did you mean \"cats\"?"));
    assert_eq!((error.exit(), error.next()), (Exit::NotFound, Next::Stop));
    assert_eq!(error.code(), "unknown_dataset");

    let error = client.datasets().await.unwrap_err();
    assert_eq!(
        (error.exit(), error.next()),
        (Exit::NotAuthorised, Next::Stop)
    );
    assert!(error.hint().unwrap().contains("TINTYPE_KEY"));

    let error = client.keys().await.unwrap_err();
    assert_eq!(
        (error.exit(), error.next()),
        (Exit::Unavailable, Next::Retry(None))
    );
    assert_eq!(error.next_after_retries(), Next::Stop);

    let error = client.capture(CaptureId::new()).await.unwrap_err();
    assert_eq!(error.exit(), Exit::Unavailable);
    assert!(error.to_string().contains("502"), "{error}");
}

#[tokio::test]
async fn retry_after_is_read_from_the_answer() {
    let busy = || async {
        let mut response = problem(429, "too_many");
        let seconds = header::HeaderValue::from_static("7");
        response.headers_mut().insert(header::RETRY_AFTER, seconds);
        response
    };
    let client = Client::new(
        &serve(Router::new().route("/v1/keys", get(busy))).await,
        None,
    )
    .unwrap();
    let error = client.keys().await.unwrap_err();
    assert_eq!(error.next(), Next::Retry(Some(Duration::from_secs(7))));
}

#[tokio::test]
async fn a_refused_connection_says_where_and_what_to_do() {
    // A port that was free a moment ago.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    drop(listener);
    let error = Client::new(&url, None)
        .unwrap()
        .datasets()
        .await
        .unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("cannot reach http://127.0.0.1") && text.contains("refused"),
        "{text}"
    );
    assert!(error.hint().unwrap().contains("tintype up"));
    assert_eq!(error.exit(), Exit::Unavailable);
    assert_eq!(error.next_after_retries(), Next::Stop);
}

#[test]
fn an_address_or_key_that_is_none_is_refused_before_any_request() {
    for url in [
        "",
        "localhost:8080",
        "ftp://x",
        "http://",
        "http://x/?a=b",
        "nonsense",
    ] {
        let error = Client::new(url, None).unwrap_err();
        assert_eq!(error.exit(), Exit::Usage, "{url}");
    }
    let hint = Client::new("localhost:8080", None).unwrap_err().hint();
    assert_eq!(hint.as_deref(), Some("did you mean http://localhost:8080?"));
    for key in ["", "tt_a b", "tt_ü", "tt_a\nb"] {
        let error = Client::new("http://x", Some(key)).unwrap_err();
        assert_eq!(error.exit(), Exit::Usage, "{key}");
    }
    assert_eq!(
        Client::new("http://x/base/", None).unwrap().url(),
        "http://x/base"
    );
}

#[tokio::test]
async fn verdicts_go_on_after_the_stream_breaks_where_they_left_off() {
    static CONNECTIONS: AtomicU32 = AtomicU32::new(0);
    async fn events(headers: HeaderMap) -> Response {
        let n = CONNECTIONS.fetch_add(1, Ordering::SeqCst);
        let last = headers
            .get("last-event-id")
            .map(|v| v.to_str().unwrap().to_owned());
        assert_eq!(last.as_deref(), (n > 0).then_some("1"));
        let body = format!(
            "id: {}\nevent: capture\ndata: {}\n\n",
            n + 1,
            capture(n + 1)
        );
        // The first connection is cut in the middle of the second event.
        let body = if n == 0 {
            body + "id: 2\nda"
        } else {
            body + ": on\n\n"
        };
        ([(header::CONTENT_TYPE, "text/event-stream")], body).into_response()
    }
    fn capture(version: u32) -> String {
        serde_json::json!({
            "id": CaptureId::new(), "dataset": "cats-abc234", "label": "cat", "status": "accepted",
            "table_version": version, "sha256": "00", "received_at": "2026-01-01T00:00:00Z",
        })
        .to_string()
    }
    let url = serve(Router::new().route("/v1/datasets/cats/events", get(events))).await;
    let client = Client::new(&url, None).unwrap();
    let mut verdicts = Verdicts::follow(&client, "cats");
    assert_eq!(verdicts.next().await.table_version, Some(1));
    assert_eq!(verdicts.next().await.table_version, Some(2));
}

#[tokio::test]
async fn an_answer_without_end_is_cut_off() {
    let endless = || async {
        let chunk = Bytes::from(vec![b' '; 1 << 20]);
        let chunks = futures::stream::repeat_with(move || Ok::<_, std::io::Error>(chunk.clone()));
        Body::from_stream(chunks)
    };
    let client = Client::new(
        &serve(Router::new().route("/v1/keys", get(endless))).await,
        None,
    )
    .unwrap();
    let error = client.keys().await.unwrap_err();
    assert!(matches!(error, ClientError::TooLong { .. }), "{error}");
}

#[tokio::test]
async fn waiting_for_a_verdict_ends_with_it_or_with_the_patience() {
    let looks = Arc::new(AtomicU32::new(0));
    let seen = looks.clone();
    let answer = move || {
        let n = seen.fetch_add(1, Ordering::SeqCst);
        async move {
            axum::Json(serde_json::json!({
                "id": CaptureId::new(), "dataset": "cats-abc234", "label": "cat",
                "status": if n < 2 { "queued" } else { "accepted" },
                "sha256": "00", "received_at": "2026-01-01T00:00:00Z",
            }))
        }
    };
    let url = serve(Router::new().route("/v1/captures/{id}", get(answer))).await;
    let client = Client::new(&url, None).unwrap();
    let id = CaptureId::new();
    let hurried = client.wait_for(id, Duration::ZERO).await.unwrap();
    assert_eq!(hurried.status, schemas::Status::Queued);
    let patient = client.wait_for(id, Duration::from_secs(60)).await.unwrap();
    assert_eq!(patient.status, schemas::Status::Accepted);
    assert_eq!(looks.load(Ordering::SeqCst), 3);
}

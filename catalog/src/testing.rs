//! What the tests of this crate share: a real catalog of their own, a clock that they set,
//! and the real router in front of it.
//!
//! With `TINTYPE_TEST_POSTGRES=postgres://user:password@host/database` every catalog is a new
//! schema of that database, left there afterwards; without, it is a file.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, StatusCode, header};
use chrono::Utc;
use http_body_util::BodyExt;
use schemas::events::CaptureDecided;
use schemas::http::{CreateDataset, Dataset, DatasetPolicy, Scope};
use schemas::{CaptureId, DatasetId, Label, Sha256};
use serde_json::Value;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use crate::catalog::time;
use crate::{Catalog, NewCapture, NewKey, Principal, http, sqlite_url};

/// A time that stands still until it is moved.
#[derive(Clone)]
pub(crate) struct ManualClock(Arc<AtomicI64>);

impl ManualClock {
    pub(crate) fn advance(&self, duration: Duration) {
        let us = i64::try_from(duration.as_micros()).unwrap();
        self.0.fetch_add(us, Ordering::SeqCst);
    }

    pub(crate) fn set_back(&self, duration: Duration) {
        let us = i64::try_from(duration.as_micros()).unwrap();
        self.0.fetch_sub(us, Ordering::SeqCst);
    }
}

/// A catalog in a folder that goes with it.
pub(crate) struct TestCatalog {
    pub(crate) catalog: Catalog,
    pub(crate) clock: ManualClock,
    pub(crate) folder: TempDir,
    pub(crate) url: String,
}

/// The address of an empty catalog in the PostgreSQL of the tests, if they have one.
pub(crate) async fn postgres_url() -> Option<String> {
    use sqlx::Connection as _;
    let server = std::env::var("TINTYPE_TEST_POSTGRES").ok()?;
    let schema = format!("test_{}", uuid::Uuid::now_v7().simple());
    sqlx::any::install_default_drivers();
    let mut connection = sqlx::AnyConnection::connect(&server).await.unwrap();
    let create = sqlx::AssertSqlSafe(format!("CREATE SCHEMA {schema}"));
    sqlx::query(create).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    Some(format!("{server}?options[search_path]={schema}"))
}

impl TestCatalog {
    pub(crate) async fn open() -> Self {
        match postgres_url().await {
            Some(url) => Self::open_at(tempfile::tempdir().unwrap(), url).await,
            None => Self::open_file().await,
        }
    }

    /// A catalog in a file, whatever the others are in.
    pub(crate) async fn open_file() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = sqlite_url(&folder.path().join("catalog.db"));
        Self::open_at(folder, url).await
    }

    async fn open_at(folder: TempDir, url: String) -> Self {
        let clock = ManualClock(Arc::new(AtomicI64::new(Utc::now().timestamp_micros())));
        let now = clock.clone();
        let now = Box::new(move || time(now.0.load(Ordering::SeqCst)));
        let catalog = Catalog::open_with_clock(&url, now).await.unwrap();
        Self {
            catalog,
            clock,
            folder,
            url,
        }
    }

    /// Closes the file and opens it again, as a restart does.
    pub(crate) async fn reopen(self) -> Self {
        self.catalog.close().await;
        Self::open_at(self.folder, self.url).await
    }

    /// A key with these scopes, and who it stands for.
    pub(crate) async fn key(&self, owner: &str, scopes: &[Scope]) -> (String, Principal) {
        self.bound_key(owner, scopes, None).await
    }

    pub(crate) async fn bound_key(
        &self,
        owner: &str,
        scopes: &[Scope],
        dataset: Option<&DatasetId>,
    ) -> (String, Principal) {
        let new = NewKey {
            name: "test".into(),
            owner: owner.into(),
            scopes: scopes.to_vec(),
            dataset: dataset.cloned(),
        };
        let created = self.catalog.create_key(new).await.unwrap();
        let principal = self.catalog.authenticate(&created.token).await.unwrap();
        (created.token, principal.unwrap())
    }

    pub(crate) async fn dataset(&self, owner: &str, name: &str, labels: &[&str]) -> Dataset {
        let create = CreateDataset {
            name: name.into(),
            labels: labels.iter().map(|label| label.parse().unwrap()).collect(),
            policy: DatasetPolicy::default(),
        };
        self.catalog.create_dataset(owner, &create).await.unwrap()
    }

    /// A capture that is queued.
    pub(crate) async fn queued(&self, dataset: &Dataset, bytes: &str) -> NewCapture {
        let capture = new_capture(&dataset.id, bytes);
        self.catalog
            .record_queued(&capture, b"event")
            .await
            .unwrap();
        capture
    }

    pub(crate) fn api(&self) -> TestApi {
        let shutdown = CancellationToken::new();
        let router = http::router(self.catalog.clone(), shutdown.clone());
        TestApi {
            router: http::with_fallbacks(router),
            shutdown,
        }
    }
}

pub(crate) fn new_capture(dataset: &DatasetId, bytes: &str) -> NewCapture {
    NewCapture {
        id: CaptureId::new(),
        dataset: dataset.clone(),
        label: label("cat"),
        sha256: Sha256::of(bytes.as_bytes()),
        received_at: time(1_700_000_000_123_456),
    }
}

pub(crate) fn label(text: &str) -> Label {
    text.parse().unwrap()
}

/// The verdict `status` on a capture, with nothing more to it.
pub(crate) fn decided(capture: &NewCapture, status: &str) -> CaptureDecided {
    CaptureDecided {
        capture_id: capture.id.to_string(),
        dataset_id: capture.dataset.to_string(),
        label: capture.label.to_string(),
        status: status.into(),
        sha256: capture.sha256.as_bytes().to_vec(),
        received_at_us: capture.received_at.timestamp_micros(),
        decided_at_us: 1_700_000_001_000_000,
        ..CaptureDecided::default()
    }
}

/// The real router, without a socket.
pub(crate) struct TestApi {
    pub(crate) router: Router,
    pub(crate) shutdown: CancellationToken,
}

/// An answer that has been read to its end.
#[derive(Debug, PartialEq)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

impl Answer {
    /// The problem's code, after checking that it is a whole problem.
    pub(crate) fn code(&self) -> &str {
        assert_eq!(
            self.headers[header::CONTENT_TYPE],
            "application/problem+json"
        );
        assert_eq!(self.body["status"], self.status.as_u16());
        assert_eq!(self.body["type"], "about:blank");
        self.body["code"].as_str().unwrap()
    }

    pub(crate) fn text(&self) -> String {
        self.body.to_string()
    }
}

impl TestApi {
    pub(crate) async fn get(&self, token: &str, path: &str) -> Answer {
        self.call(request(Method::GET, token, path, Body::empty()))
            .await
    }

    pub(crate) async fn delete(&self, token: &str, path: &str) -> Answer {
        self.call(request(Method::DELETE, token, path, Body::empty()))
            .await
    }

    pub(crate) async fn post(&self, token: &str, path: &str, body: Value) -> Answer {
        self.call(request(Method::POST, token, path, body.to_string().into()))
            .await
    }

    pub(crate) async fn patch(&self, token: &str, path: &str, body: Value) -> Answer {
        self.call(request(Method::PATCH, token, path, body.to_string().into()))
            .await
    }

    pub(crate) async fn call(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let body = match body.is_empty() {
            true => Value::Null,
            false => serde_json::from_slice(&body).unwrap(),
        };
        Answer {
            status: parts.status,
            headers: parts.headers,
            body,
        }
    }
}

pub(crate) fn request(method: Method, token: &str, path: &str, body: Body) -> Request<Body> {
    Request::builder()
        .method(method)
        .uri(path)
        .header(header::AUTHORIZATION, format!("Bearer {token}"))
        .header(header::CONTENT_TYPE, "application/json")
        .body(body)
        .unwrap()
}

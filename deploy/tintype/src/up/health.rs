//! `/healthz` (is the process alive), `/readyz` (would an upload succeed now),
//! `/metrics` (Prometheus) and `/openapi.json`.

use std::time::Duration;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use catalog::Catalog;
use ingest::Ingest;
use serde_json::json;

use super::embedding::EmbeddingStatus;
use crate::telemetry;

/// A part that does not answer within this is not ready.
const PATIENCE: Duration = Duration::from_secs(3);

/// What is looked at.
#[derive(Clone)]
pub struct Health {
    /// The catalog.
    pub catalog: Catalog,
    /// The way in: object store and broker; absent where neither is written to for others.
    pub ingest: Option<Ingest>,
    /// Whether photos get embeddings: told, and no condition; absent where photos are not made.
    pub embedding: Option<EmbeddingStatus>,
}

/// The routes, none of which asks for a key.
pub fn router(health: Health) -> Router {
    Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .route("/openapi.json", get(async || Json(openapi())))
        .with_state(health)
}

/// What is away, in its own words; nothing where all is well.
#[derive(Debug, Default)]
pub struct Standing {
    catalog: Option<String>,
    upload: Option<String>,
}

impl Standing {
    /// In one line; empty if nothing is away.
    pub fn away(&self) -> String {
        let words = [
            ("catalog", &self.catalog),
            ("store or broker", &self.upload),
        ];
        let words = words
            .into_iter()
            .filter_map(|(what, words)| words.as_ref().map(|words| format!("{what}: {words}")));
        words.collect::<Vec<_>>().join("; ")
    }
}

impl Health {
    /// Asks all parts now.
    pub async fn look(&self) -> Standing {
        let upload = async {
            match &self.ingest {
                Some(ingest) => within(ingest.check()).await,
                None => None,
            }
        };
        let (catalog, upload) = tokio::join!(within(self.catalog.check()), upload);
        Standing { catalog, upload }
    }
}

async fn ready(State(health): State<Health>) -> Response {
    let Standing { catalog, upload } = health.look().await;
    let ready = catalog.is_none() && upload.is_none();
    let say = |failure: Option<String>| failure.unwrap_or_else(|| "ok".into());
    let body = json!({
        "status": if ready { "ready" } else { "not ready" },
        "checks": {"catalog": say(catalog), "store_and_broker": say(upload)},
        "embeddings": health.embedding.map(|embedding| embedding.words()),
    });
    if ready {
        Json(body).into_response()
    } else {
        (
            StatusCode::SERVICE_UNAVAILABLE,
            [(header::RETRY_AFTER, "5")],
            Json(body),
        )
            .into_response()
    }
}

async fn within<E: std::fmt::Display>(
    check: impl Future<Output = Result<(), E>>,
) -> Option<String> {
    match tokio::time::timeout(PATIENCE, check).await {
        Ok(Ok(())) => None,
        Ok(Err(error)) => Some(error.to_string()),
        Err(_) => Some(format!("no answer within {} s", PATIENCE.as_secs())),
    }
}

/// Prometheus reads this.
pub async fn metrics() -> Response {
    let mut text = telemetry::metrics().render();
    for (name, field, help) in [
        (
            "process_resident_memory_bytes",
            "VmRSS:",
            "Memory of the process now",
        ),
        (
            "process_peak_resident_memory_bytes",
            "VmHWM:",
            "Most memory that the process ever had",
        ),
    ] {
        if let Some(bytes) = memory(field) {
            text.push_str(&format!(
                "# HELP {name} {help}\n# TYPE {name} gauge\n{name} {bytes}\n"
            ));
        }
    }
    (
        [(
            header::CONTENT_TYPE,
            "text/plain; version=0.0.4; charset=utf-8",
        )],
        text,
    )
        .into_response()
}

/// A field of the kernel's account of this process, in bytes; none where there is no such account.
fn memory(field: &str) -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    line.trim()
        .trim_end_matches(" kB")
        .trim()
        .parse::<u64>()
        .ok()
        .map(|kib| kib * 1024)
}

fn openapi() -> utoipa::openapi::OpenApi {
    let mut api = catalog::http::openapi();
    api.merge(ingest::openapi());
    api.merge(trainer::http::openapi());
    api.info.title = "Tintype".into();
    api.info.version = env!("CARGO_PKG_VERSION").into();
    api
}

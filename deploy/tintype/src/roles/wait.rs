//! A role's start when something it needs is away. The role listens at once and says what it
//! waits for, on `/readyz` and in the log; it goes on by itself when all of it is there. Only
//! what no waiting mends ends it: wrong settings, or a store that cannot be trusted.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use catalog::CatalogError;
use serde_json::json;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use super::gate::Untrusted;
use crate::cli::Failure;
use crate::up::health;

/// Between two tries: a server that is back is noticed by then, and one that is away is not
/// bothered by many roles.
const PAUSE: Duration = Duration::from_secs(1);

/// How often the log repeats what is still away.
const TELL_EVERY: Duration = Duration::from_secs(30);

/// How often a running role looks whether all it needs is there.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// The role's HTTP side, from its first moment on; clones are the same one.
#[derive(Clone, Default)]
pub struct Door {
    /// What is served once all is there.
    open: Arc<OnceLock<Router>>,
    /// What is waited for, and what it said last.
    away: Arc<RwLock<BTreeMap<&'static str, String>>>,
}

impl Door {
    /// What the server serves.
    pub fn router(&self) -> Router {
        Router::new().fallback(serve).with_state(self.clone())
    }

    /// From now on `router` answers.
    pub fn open(&self, router: Router) {
        // Opened once; a second time would change nothing.
        let _ = self.open.set(router);
    }

    /// Tries until `attempt` succeeds; its failures are told.
    ///
    /// # Errors
    /// A failure that waiting does not mend.
    pub async fn wait_for<T>(
        &self,
        what: &'static str,
        attempt: impl AsyncFn() -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        self.say(what, "not asked yet".into());
        let mut told_at = None::<Instant>;
        loop {
            match attempt().await {
                Ok(there) => {
                    self.forget(what);
                    if told_at.is_some() {
                        tracing::info!(what, "is there now");
                    }
                    return Ok(there);
                }
                Err(error) if is_lasting(&error) => return Err(error),
                Err(error) => {
                    let words = format!("{error:#}");
                    if told_at.is_none_or(|at| at.elapsed() >= TELL_EVERY) {
                        tracing::warn!(what, error = words, "waiting for what this role needs");
                        told_at = Some(Instant::now());
                    }
                    self.say(what, words);
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    fn say(&self, what: &'static str, words: String) {
        let mut away = self.away.write().unwrap_or_else(PoisonError::into_inner);
        away.insert(what, words);
    }

    fn forget(&self, what: &'static str) {
        let mut away = self.away.write().unwrap_or_else(PoisonError::into_inner);
        away.remove(what);
    }
}

/// Whether to try again is of no use.
fn is_lasting(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause.is::<Failure>()
            || cause.is::<Untrusted>()
            || matches!(
                cause.downcast_ref::<CatalogError>(),
                Some(CatalogError::Address { .. } | CatalogError::Invalid { .. })
            )
    })
}

async fn serve(State(door): State<Door>, request: Request) -> Response {
    match door.open.get() {
        // A router never fails: its error type has no values.
        Some(router) => match router.clone().oneshot(request).await {
            Ok(answer) => answer,
            Err(never) => match never {},
        },
        None => match waiting().with_state(door).oneshot(request).await {
            Ok(answer) => answer,
            Err(never) => match never {},
        },
    }
}

/// What is answered until then.
fn waiting() -> Router<Door> {
    Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/metrics", get(health::metrics))
        .route("/readyz", get(not_ready))
        .fallback(starting)
}

async fn not_ready(State(door): State<Door>) -> Response {
    let away = door.away.read().unwrap_or_else(PoisonError::into_inner);
    let body = json!({"status": "not ready", "checks": &*away});
    (
        StatusCode::SERVICE_UNAVAILABLE,
        [(header::RETRY_AFTER, "5")],
        axum::Json(body),
    )
        .into_response()
}

async fn starting(State(door): State<Door>) -> Response {
    let away = door.away.read().unwrap_or_else(PoisonError::into_inner);
    let names: Vec<_> = away.keys().copied().collect();
    let detail = format!("this process waits for: {}", names.join(", "));
    catalog::http::ApiError::unavailable("starting", detail, 5)
        .hint("try again; GET /readyz says what is away")
        .into_response()
}

/// Tells the log when something that the role needs goes away, and when it is back.
pub async fn tell_outages(health: health::Health, shutdown: CancellationToken) {
    let mut was_away = String::new();
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
        let away = health.look().await.away();
        match (was_away.is_empty(), away.is_empty()) {
            (_, false) if away != was_away => {
                tracing::warn!(
                    away,
                    "what this role needs is away; it waits and goes on by itself"
                );
            }
            (false, true) => tracing::info!("all that this role needs is there again"),
            _ => {}
        }
        was_away = away;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::{Body, to_bytes};
    use std::sync::atomic::{AtomicU32, Ordering};

    async fn ask(door: &Door, path: &str) -> (u16, String) {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let answer = door.router().oneshot(request).await.unwrap();
        let status = answer.status().as_u16();
        let body = to_bytes(answer.into_body(), 1 << 16).await.unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn until_all_is_there_the_door_says_what_is_away_and_then_serves() {
        let door = Door::default();
        door.say("catalog", "connection refused".into());
        let (status, body) = ask(&door, "/readyz").await;
        assert_eq!(status, 503);
        assert!(body.contains("catalog") && body.contains("connection refused"));
        assert_eq!(ask(&door, "/healthz").await.0, 200);
        let (status, body) = ask(&door, "/v1/datasets").await;
        assert!(
            status == 503 && body.contains("starting"),
            "{status} {body}"
        );
        door.open(Router::new().route("/v1/datasets", get(async || "[]")));
        assert_eq!(ask(&door, "/v1/datasets").await, (200, "[]".into()));
    }

    #[tokio::test]
    async fn what_waiting_does_not_mend_is_told_at_once_and_the_rest_is_waited_for() {
        let door = Door::default();
        let tries = AtomicU32::new(0);
        let there = door.wait_for("a server", async || {
            match tries.fetch_add(1, Ordering::Relaxed) {
                0 => Err(anyhow::anyhow!("connection refused")),
                _ => Ok(7),
            }
        });
        assert_eq!(there.await.unwrap(), 7);
        let untrusted = door.wait_for("a store", async || {
            Err::<(), _>(Untrusted("two winners".into()).into())
        });
        assert!(
            untrusted
                .await
                .unwrap_err()
                .to_string()
                .contains("two winners")
        );
    }
}

//! A server that plays tricks on the client, each on files of its choice.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use schemas::{CaptureId, Reason, Sha256, Status};
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;

/// What the server does with a file, by its content.
#[derive(Clone, Copy, PartialEq)]
pub enum Trick {
    /// Answers 503 with `Retry-After` at first.
    AwayAtFirst,
    /// Takes it, and breaks the connection instead of answering, at first.
    LosesAnswer,
    /// Answers 500, always.
    Stumbles,
    /// Says that the idempotency key is of another body, unless the key has its hash.
    KeyIsTaken,
    /// Takes it and never judges it.
    NeverJudges,
    /// Judges it to be a cut-off photo.
    Rejects,
    /// Sees at its first bytes that it is no photo.
    SeesNoPhoto,
}

#[derive(Default)]
pub struct Server {
    pub tricks: BTreeMap<&'static str, Trick>,
    /// By idempotency key, as the real one has it.
    pub captures: BTreeMap<String, (CaptureId, String)>,
    pub judged: BTreeMap<CaptureId, serde_json::Value>,
    pub requests: BTreeMap<String, u32>,
    pub refuses_key: bool,
    pub tells_events: bool,
    pub cancel_after: Option<(u32, CancellationToken)>,
}

#[derive(Clone)]
pub struct Shared {
    pub server: Arc<Mutex<Server>>,
    events: broadcast::Sender<String>,
}

impl Shared {
    pub fn new(server: Server) -> Self {
        Self {
            server: Arc::new(Mutex::new(server)),
            events: broadcast::channel(1000).0,
        }
    }

    pub fn router(&self) -> Router {
        Router::new()
            .route("/v1/datasets/{dataset}/captures", post(take))
            .route("/v1/datasets/{dataset}/events", get(follow))
            .route("/v1/captures/{id}", get(tell))
            .with_state(self.clone())
    }

    /// The contents that the server has, each with the number of its captures.
    pub fn contents(&self) -> BTreeMap<String, u32> {
        let mut contents = BTreeMap::new();
        for (_, content) in self.server.lock().unwrap().captures.values() {
            *contents.entry(content.clone()).or_insert(0) += 1;
        }
        contents
    }

    pub fn requests(&self) -> u32 {
        self.server.lock().unwrap().requests.values().sum()
    }
}

fn problem(status: u16, code: &str) -> Response {
    let body = serde_json::json!({
        "type": "about:blank", "title": "no", "status": status, "code": code, "detail": code,
    });
    let status = StatusCode::from_u16(status).unwrap();
    (status, [(header::RETRY_AFTER, "0")], body.to_string()).into_response()
}

async fn take(
    State(shared): State<Shared>,
    Path(dataset): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let key = headers["idempotency-key"].to_str().unwrap().to_owned();
    let label = headers["x-label"].to_str().unwrap().to_owned();
    let content = String::from_utf8(body.to_vec()).unwrap();
    let mut server = shared.server.lock().unwrap();
    if server.refuses_key {
        return problem(401, "unknown_key");
    }
    let tries = server.requests.entry(content.clone()).or_default();
    *tries += 1;
    let tries = *tries;
    let trick = server.tricks.get(content.as_str()).copied();
    let sha256 = Sha256::of(&body).to_string();
    match trick {
        Some(Trick::AwayAtFirst) if tries == 1 => return problem(503, "busy"),
        Some(Trick::SeesNoPhoto) => return problem(415, "not_an_image"),
        Some(Trick::Stumbles) => return problem(500, "internal"),
        Some(Trick::KeyIsTaken) if !key.ends_with(&sha256) => {
            return problem(422, "idempotency_key_reused");
        }
        _ => {}
    }
    let fresh = (CaptureId::new(), content.clone());
    let id = server.captures.entry(key).or_insert(fresh).0;
    let num_captures = server.captures.len() as u32;
    if let Some((n, cancel)) = &server.cancel_after
        && num_captures >= *n
    {
        cancel.cancel();
    }
    if trick != Some(Trick::NeverJudges) {
        let (status, reason) = match trick {
            Some(Trick::Rejects) => (Status::Rejected, Some(Reason::Truncated)),
            _ => (Status::Accepted, None),
        };
        let capture = serde_json::json!({
            "id": id, "dataset": dataset, "label": label, "status": status, "reason": reason,
            "detail": reason.map(|_| "it ends at byte 3"),
            "sha256": sha256, "received_at": "2026-01-01T00:00:00Z",
        });
        server.judged.insert(id, capture.clone());
        // Whoever listens may hear the verdict before the receipt.
        let _ = shared.events.send(capture.to_string());
    }
    if trick == Some(Trick::LosesAnswer) && tries == 1 {
        let cut = futures::stream::iter([Err::<Bytes, _>(std::io::Error::other("cut"))]);
        return Body::from_stream(cut).into_response();
    }
    let receipt = serde_json::json!({"id": id, "status": "queued", "sha256": sha256});
    (StatusCode::ACCEPTED, receipt.to_string()).into_response()
}

async fn follow(State(shared): State<Shared>) -> Response {
    if !shared.server.lock().unwrap().tells_events {
        return problem(403, "scope");
    }
    let receiver = shared.events.subscribe();
    let events = futures::stream::unfold(receiver, |mut receiver| async {
        let data = receiver.recv().await.ok()?;
        let event = format!("event: capture\ndata: {data}\n\n");
        Some((Ok::<_, std::io::Error>(event), receiver))
    });
    Body::from_stream(events).into_response()
}

async fn tell(State(shared): State<Shared>, Path(id): Path<CaptureId>) -> Response {
    let server = shared.server.lock().unwrap();
    match server.judged.get(&id) {
        Some(capture) => capture.to_string().into_response(),
        None => serde_json::json!({
            "id": id, "dataset": "cats-abc234", "label": "cat", "status": "queued",
            "sha256": "00", "received_at": "2026-01-01T00:00:00Z",
        })
        .to_string()
        .into_response(),
    }
}

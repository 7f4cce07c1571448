//! The import against a server that behaves badly on purpose: it is away, loses
//! answers, refuses some files and never judges others. Whatever it does, each file
//! ends up as one capture at most, and the report accounts for every one.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path as UrlPath, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use schemas::{CaptureId, Reason, Sha256, Status};
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::client::tests::serve;

/// What the server does with a file, by its content.
#[derive(Clone, Copy, PartialEq)]
enum Trick {
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
struct Server {
    tricks: BTreeMap<&'static str, Trick>,
    /// By idempotency key, as the real one has it.
    captures: BTreeMap<String, (CaptureId, String)>,
    judged: BTreeMap<CaptureId, serde_json::Value>,
    requests: BTreeMap<String, u32>,
    refuses_key: bool,
    tells_events: bool,
    cancel_after: Option<(u32, CancellationToken)>,
}

#[derive(Clone)]
struct Shared {
    server: Arc<Mutex<Server>>,
    events: broadcast::Sender<String>,
}

impl Shared {
    fn new(server: Server) -> Self {
        Self {
            server: Arc::new(Mutex::new(server)),
            events: broadcast::channel(1000).0,
        }
    }

    fn router(&self) -> Router {
        Router::new()
            .route("/v1/datasets/{dataset}/captures", post(take))
            .route("/v1/datasets/{dataset}/events", get(follow))
            .route("/v1/captures/{id}", get(tell))
            .with_state(self.clone())
    }

    /// The contents that the server has, each with the number of its captures.
    fn contents(&self) -> BTreeMap<String, u32> {
        let mut contents = BTreeMap::new();
        for (_, content) in self.server.lock().unwrap().captures.values() {
            *contents.entry(content.clone()).or_insert(0) += 1;
        }
        contents
    }

    fn requests(&self) -> u32 {
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
    UrlPath(dataset): UrlPath<String>,
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

async fn tell(State(shared): State<Shared>, UrlPath(id): UrlPath<CaptureId>) -> Response {
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

/// A folder of photos, a journal beside it, and a server.
struct Scene {
    dir: tempfile::TempDir,
    shared: Shared,
    url: String,
}

impl Scene {
    async fn new(files: &[&str], server: Server) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for name in files {
            let path = dir.path().join("photos/cat").join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, name).unwrap();
        }
        let shared = Shared::new(server);
        let url = serve(shared.router()).await;
        Self { dir, shared, url }
    }

    fn order(&self) -> Order {
        Order {
            client: Client::new(&self.url, Some("tt_x")).unwrap(),
            dataset: "cats-abc234".into(),
            folder: self.dir.path().join("photos"),
            unsorted: "unsorted".parse().unwrap(),
            concurrency: 3,
            backoff: Backoff { retries: 2 },
            wait: Some(Duration::from_secs(20)),
        }
    }

    async fn run(&self, order: Order, interrupt: impl Future<Output = ()>) -> Finished {
        let header = Header {
            dataset: order.dataset.clone(),
            folder: order.folder.display().to_string(),
        };
        let journal = self.dir.path().join("import.jsonl");
        bring_in(order, journal, header, interrupt).await.unwrap().0
    }

    async fn import(&self) -> Finished {
        self.run(self.order(), std::future::pending()).await
    }
}

fn tricks(tricks: &[(&'static str, Trick)]) -> Server {
    Server {
        tricks: tricks.iter().copied().collect(),
        tells_events: true,
        ..Server::default()
    }
}

#[tokio::test]
async fn every_file_becomes_one_capture_though_answers_are_lost() {
    let server = tricks(&[
        ("b", Trick::AwayAtFirst),
        ("c", Trick::LosesAnswer),
        ("d", Trick::KeyIsTaken),
        ("e", Trick::Rejects),
        ("f", Trick::SeesNoPhoto),
    ]);
    let scene = Scene::new(&["a", "b", "c", "d", "e", "f"], server).await;
    let finished = scene.import().await;
    assert!(matches!(finished.ended, Ended::Complete), "{finished:?}");
    let contents = scene.shared.contents();
    let once = ["a", "b", "c", "d", "e"].map(|name| (name.to_owned(), 1));
    assert_eq!(contents, BTreeMap::from(once));
    assert_eq!(finished.sent_now, 6);
    assert_eq!(finished.tally.with_status(Status::Accepted), 4);
    assert_eq!(finished.tally.by_reason()[&Reason::Truncated], 1);
    assert_eq!(finished.tally.by_reason()[&Reason::NotAnImage], 1);
    drop(finished);
    // A verdict at the door is one: the file is not sent again.
    let requests = scene.shared.requests();
    let again = scene.import().await;
    assert_eq!(again.tally.with_status(Status::Rejected), 2);
    assert_eq!(scene.shared.requests(), requests);
}

#[tokio::test]
async fn a_second_run_sends_only_what_is_new_or_changed() {
    let scene = Scene::new(&["a", "b"], tricks(&[("b", Trick::Rejects)])).await;
    scene.import().await;
    assert_eq!(scene.shared.requests(), 2);
    let again = scene.import().await;
    assert_eq!((scene.shared.requests(), again.sent_now), (2, 0));
    // What was learnt before is told again.
    assert_eq!(again.tally.files(), 2);
    assert_eq!(again.tally.by_reason()[&Reason::Truncated], 1);
    drop(again);
    let cat = scene.dir.path().join("photos/cat");
    fs::write(cat.join("c"), "c").unwrap();
    fs::write(cat.join("a"), "a, but longer").unwrap();
    fs::remove_file(cat.join("b")).unwrap();
    let third = scene.import().await;
    assert_eq!((scene.shared.requests(), third.sent_now), (4, 2));
    assert_eq!(third.tally.files(), 2);
    assert_eq!(third.tally.with_status(Status::Accepted), 2);
}

#[tokio::test]
async fn an_interrupted_import_goes_on_where_it_was() {
    let names: Vec<String> = (0..40).map(|n| format!("file-{n:02}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let stop = CancellationToken::new();
    let mut server = tricks(&[]);
    server.cancel_after = Some((10, stop.clone()));
    let scene = Scene::new(&names, server).await;
    let first = scene.run(scene.order(), stop.cancelled_owned()).await;
    assert!(matches!(first.ended, Ended::Interrupted), "{first:?}");
    assert!(first.tally.files() < 40, "{first:?}");
    drop(first);
    scene.shared.server.lock().unwrap().cancel_after = None;
    let second = scene.import().await;
    assert!(matches!(second.ended, Ended::Complete), "{second:?}");
    assert_eq!(second.tally.with_status(Status::Accepted), 40);
    let contents = scene.shared.contents();
    assert_eq!(contents.len(), 40);
    assert!(contents.values().all(|n| *n == 1), "{contents:?}");
}

#[tokio::test]
async fn a_file_that_the_server_stumbles_over_holds_up_no_other() {
    let scene = Scene::new(&["a", "b", "c"], tricks(&[("b", Trick::Stumbles)])).await;
    let mut finished = scene.import().await;
    assert!(matches!(finished.ended, Ended::Complete), "{finished:?}");
    assert_eq!((finished.tally.sent(), finished.tally.failed()), (2, 1));
    let lines: Vec<Line> = finished
        .journal
        .lines()
        .unwrap()
        .map(Result::unwrap)
        .collect();
    let failed = lines.iter().find(|line| line.path == "cat/b").unwrap();
    assert_eq!(
        (failed.status, failed.detail.as_deref()),
        (None, Some("internal"))
    );
    drop(finished);
    // It is tried again by the next run, alone.
    let requests = scene.shared.requests();
    scene.shared.server.lock().unwrap().tricks.clear();
    let again = scene.import().await;
    assert_eq!(
        (again.tally.failed(), scene.shared.requests()),
        (0, requests + 1)
    );
}

#[tokio::test]
async fn a_wrong_key_stops_the_import_at_once() {
    let names: Vec<String> = (0..30).map(|n| format!("file-{n:02}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let server = Server {
        refuses_key: true,
        ..tricks(&[])
    };
    let scene = Scene::new(&names, server).await;
    let finished = scene.import().await;
    let Ended::Stopped(error) = finished.ended else {
        panic!("{finished:?}");
    };
    assert_eq!(error.exit(), Exit::NotAuthorised);
    assert_eq!((finished.tally.files(), finished.sent_now), (0, 0));
}

#[tokio::test]
async fn verdicts_are_asked_for_where_no_events_are_told() {
    let scene = Scene::new(&["a", "b"], Server::default()).await;
    let finished = scene.import().await;
    assert!(matches!(finished.ended, Ended::Complete), "{finished:?}");
    assert_eq!(finished.tally.with_status(Status::Accepted), 2);
}

#[tokio::test]
async fn a_verdict_that_never_comes_is_waited_for_so_long_and_no_longer() {
    let scene = Scene::new(&["a", "b"], tricks(&[("b", Trick::NeverJudges)])).await;
    let mut order = scene.order();
    order.wait = Some(Duration::from_secs(1));
    let finished = scene.run(order, std::future::pending()).await;
    assert!(matches!(finished.ended, Ended::Silent), "{finished:?}");
    assert_eq!(finished.tally.with_status(Status::Queued), 1);
    drop(finished);
    // The next run does not send it again, and waits for it.
    let requests = scene.shared.requests();
    let judge = |server: &mut Server| {
        let id = server.captures.values().find(|c| c.1 == "b").unwrap().0;
        let judged = serde_json::json!({
            "id": id, "dataset": "cats-abc234", "label": "cat", "status": "accepted",
            "sha256": "00", "received_at": "2026-01-01T00:00:00Z",
        });
        server.judged.insert(id, judged);
    };
    judge(&mut scene.shared.server.lock().unwrap());
    let again = scene.import().await;
    assert!(matches!(again.ended, Ended::Complete), "{again:?}");
    assert_eq!(again.tally.with_status(Status::Accepted), 2);
    assert_eq!(scene.shared.requests(), requests);
}

#[tokio::test]
async fn files_that_cannot_be_sent_are_named_with_what_to_do() {
    let scene = Scene::new(&["a"], tricks(&[])).await;
    let photos = scene.dir.path().join("photos");
    fs::create_dir(photos.join("two\nlines")).unwrap();
    fs::write(photos.join("two\nlines/b"), "b").unwrap();
    let mut finished = scene.import().await;
    let lines: Vec<Line> = finished
        .journal
        .lines()
        .unwrap()
        .map(Result::unwrap)
        .collect();
    let failed = lines.iter().find(|line| line.status.is_none()).unwrap();
    assert!(
        failed.hint.as_ref().unwrap().contains("rename"),
        "{failed:?}"
    );
    assert_eq!(finished.tally.by_label()[""]["failed"], 1);
    let exit = report(finished, "cats", "photos", true).unwrap();
    assert_eq!(exit, Exit::SomeFilesFailed);
}

#[test]
fn the_journal_of_an_import_has_a_place_of_its_own() {
    let header = |dataset: &str, folder: &str| Header {
        dataset: dataset.into(),
        folder: folder.into(),
    };
    let places: BTreeSet<PathBuf> = [
        ("http://a", header("cats-abc234", "/p")),
        ("http://b", header("cats-abc234", "/p")),
        ("http://a", header("dogs-abc234", "/p")),
        ("http://a", header("cats-abc234", "/q")),
        ("http://a", header("../../evil", "/q")),
    ]
    .iter()
    .map(|(url, header)| default_journal(url, header).unwrap())
    .collect();
    assert_eq!(places.len(), 5);
    for place in places {
        assert!(
            place.parent().unwrap().ends_with("tintype/imports"),
            "{place:?}"
        );
        assert!(!place.to_string_lossy().contains(".."), "{place:?}");
    }
}

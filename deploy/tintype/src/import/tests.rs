//! The import against a server that behaves badly on purpose: it is away, loses
//! answers, refuses some files and never judges others. Whatever it does, each file
//! ends up as one capture at most, and the report accounts for every one.

mod server;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use schemas::{Reason, Status};
use tokio_util::sync::CancellationToken;

use server::{Server, Shared, Trick};

use super::*;
use crate::client::tests::serve;

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

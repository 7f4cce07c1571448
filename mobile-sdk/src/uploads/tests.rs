//! The queue over a transport that the test scripts; a real server is for the Kotlin suite.

use super::*;
use crate::HttpHeader;
use crate::{Network, Order};

const ONLINE: Conditions = Conditions {
    is_online: true,
    is_metered: false,
    is_charging: true,
};

/// A JPEG that differs with its number.
fn photo(number: u8) -> Vec<u8> {
    let mut file = vec![
        0xff, 0xd8, 0xff, 0xc0, 0, 11, 8, 0, 64, 0, 64, 1, 1, 0x11, 0,
    ];
    file.extend([0xff, 0xda, 0, 8, 1, 1, 0, 0, 63, 0, number, 0xff, 0xd9]);
    file
}

fn labelled(label: &str) -> Photo {
    Photo {
        label: label.into(),
        ..Photo::default()
    }
}

/// Answers as it is told, in order; remembers what it was asked.
#[derive(Default)]
struct Script {
    answers: Mutex<Vec<Result<HttpResponse, TransportError>>>,
    requests: Mutex<Vec<HttpRequest>>,
}

impl Transport for Script {
    fn send(&self, request: HttpRequest) -> Result<HttpResponse, TransportError> {
        if request.url.ends_with("/check") {
            return Ok(status(404, &[])); // a server without the pre-check
        }
        lock(&self.requests).push(request);
        let mut answers = lock(&self.answers);
        if answers.is_empty() {
            return Err(TransportError::Connection {
                detail: "no network".into(),
            });
        }
        answers.remove(0)
    }
}

impl Script {
    fn answer(&self, status: u16, code: &str) {
        let body = match status {
            202 | 200 => {
                let id = Uuid::now_v7();
                format!(r#"{{"id":"{id}","status":"{code}","sha256":"00"}}"#)
            }
            _ => format!(
                r#"{{"type":"about:blank","title":"t","status":{status},"code":"{code}","detail":"d"}}"#
            ),
        };
        lock(&self.answers).push(Ok(HttpResponse {
            status,
            headers: vec![HttpHeader {
                name: "Retry-After".into(),
                value: "0".into(),
            }],
            body: body.into(),
        }));
    }
}

fn status(status: u16, headers: &[(&str, String)]) -> HttpResponse {
    let headers = headers.iter().map(|(name, value)| HttpHeader {
        name: (*name).into(),
        value: value.clone(),
    });
    HttpResponse {
        status,
        headers: headers.collect(),
        body: Vec::new(),
    }
}

struct Bench {
    folder: tempfile::TempDir,
    script: Arc<Script>,
}

impl Bench {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            script: Arc::default(),
        }
    }

    fn open(&self, policy: Policy) -> Arc<Uploads> {
        let settings = Settings {
            folder: self.folder.path().display().to_string(),
            server: "https://photos.example.org/".into(),
            key: "tt_abc".into(),
            dataset: "cups".into(),
            device: None,
        };
        Uploads::open(settings, policy, Some(self.script.clone())).unwrap()
    }

    fn states(&self, uploads: &Uploads) -> Vec<(ItemState, Option<String>)> {
        let items = uploads.items().into_iter();
        items
            .map(|item| (item.state, item.reason.map(|reason| reason.code)))
            .collect()
    }
}

fn one_by_one() -> Policy {
    Policy {
        parallel: 1,
        ..Policy::default()
    }
}

#[test]
fn photos_go_in_order_with_everything_in_headers_and_each_state_is_told() {
    struct Told(Mutex<Vec<(String, ItemState)>>);
    impl QueueListener for Told {
        fn changed(&self, item: Item) {
            lock(&self.0).push((item.label, item.state));
        }
    }
    let bench = Bench::new();
    let uploads = bench.open(one_by_one());
    let told = Arc::new(Told(Mutex::default()));
    uploads.set_listener(Some(told.clone()));
    uploads.add(labelled("Tasse"), photo(1)).unwrap();
    uploads.add(labelled("茶杯"), photo(2)).unwrap();
    bench.script.answer(202, "queued");
    bench.script.answer(200, "duplicate");
    let report = uploads.run(ONLINE, None).unwrap();
    assert_eq!(
        (
            report.num_sent,
            report.num_already_there,
            report.num_waiting
        ),
        (1, 1, 0)
    );
    assert_eq!(report.num_undecided, 1);
    let told = lock(&told.0).clone();
    use ItemState::{AlreadyThere, Queued, Sent, Uploading};
    let states: Vec<_> = told.iter().map(|(_, state)| *state).collect();
    assert_eq!(
        states,
        [Queued, Queued, Uploading, Sent, Uploading, AlreadyThere]
    );
    let requests = lock(&bench.script.requests);
    let header = |name: &str| {
        let mut headers = requests[1].headers.iter();
        headers
            .find(|header| header.name == name)
            .unwrap()
            .value
            .clone()
    };
    assert_eq!(
        requests[0].url,
        "https://photos.example.org/v1/datasets/cups/captures"
    );
    assert_eq!(header("X-Label"), "%E8%8C%B6%E6%9D%AF");
    assert_eq!(header("Content-Type"), "image/jpeg");
    assert!(header("Repr-Digest").starts_with("sha-256=:"));
    assert_eq!(requests[1].body_length, photo(2).len() as u64);
}

#[test]
fn the_same_photo_is_taken_in_once_and_hinted_at() {
    let bench = Bench::new();
    let uploads = bench.open(Policy::default());
    let first = uploads.add(labelled("cup"), photo(1)).unwrap();
    let second = uploads.add(labelled("cup"), photo(1)).unwrap();
    assert!(first.is_new && !second.is_new);
    assert_eq!(first.item.id, second.item.id);
    assert!(second.item.hints.contains(&Hint::SamePhoto));
    let relabelled = uploads.add(labelled("mug"), photo(1)).unwrap();
    assert!(relabelled.is_new && relabelled.item.hints.contains(&Hint::SamePhoto));
}

#[test]
fn a_look_tells_what_could_be_better_and_keeps_nothing() {
    let png = |name: &str, change: u8| {
        let mut picture = picture::testing::picture(name, 250, 180);
        picture.rgb[0] ^= change;
        let mut file = Vec::new();
        let encoder = image::codecs::png::PngEncoder::new(&mut file);
        let colour = image::ExtendedColorType::Rgb8;
        image::ImageEncoder::write_image(encoder, &picture.rgb, 250, 180, colour).unwrap();
        file
    };
    let bench = Bench::new();
    let uploads = bench.open(Policy::default());
    let look = |file: &[u8]| uploads.look(file.to_vec()).unwrap();
    assert_eq!(look(&png("shades", 0)).hints, []);
    assert_eq!(look(&png("night", 0)).hints, [Hint::TooDark]);
    assert!(uploads.items().is_empty());

    let taken = uploads.add(labelled("cup"), png("shades", 0)).unwrap();
    assert_eq!(taken.item.hints, []);
    assert_eq!(look(&png("shades", 0)).hints, [Hint::SamePhoto]);
    assert_eq!(look(&png("shades", 1)).hints, [Hint::SimilarPhoto]);
    assert_eq!(look(&png("rings", 0)).hints, []);
    let similar = uploads.add(labelled("cup"), png("shades", 1)).unwrap();
    assert!(similar.is_new);
    // The queue's own memory of it survives.
    drop(uploads);
    let uploads = bench.open(Policy::default());
    let hints = uploads.items().into_iter().map(|item| item.hints);
    assert_eq!(
        hints.collect::<Vec<_>>(),
        [vec![], vec![Hint::SimilarPhoto]]
    );
    let refused = uploads.look(b"a text".to_vec()).unwrap_err();
    assert!(matches!(refused, TintypeError::Photo { code, .. } if code == "not_an_image"));
}

#[test]
fn a_failure_that_passes_is_tried_again_under_the_same_key_also_after_a_restart() {
    let bench = Bench::new();
    let uploads = bench.open(one_by_one());
    uploads.add(labelled("cup"), photo(1)).unwrap();
    let report = uploads.run(ONLINE, None).unwrap();
    assert_eq!(
        bench.states(&uploads),
        [(ItemState::Retrying, Some("no_connection".into()))]
    );
    assert!(
        report.next_run_ms.is_some_and(|wait| wait <= 1_001),
        "{report:?}"
    );
    drop(uploads);
    let uploads = bench.open(one_by_one());
    assert_eq!(uploads.items()[0].attempts, 1);
    bench.script.answer(202, "queued");
    uploads.run(ONLINE, None).unwrap();
    assert_eq!(bench.states(&uploads), [(ItemState::Sent, None)]);
    let requests = lock(&bench.script.requests);
    let keys: HashSet<_> = requests
        .iter()
        .flat_map(|request| request.headers.iter())
        .filter(|header| header.name == "Idempotency-Key")
        .map(|header| header.value.clone())
        .collect();
    assert_eq!((requests.len(), keys.len()), (2, 1));
}

#[test]
fn a_refused_photo_holds_up_no_other_and_a_refused_key_holds_up_all() {
    let bench = Bench::new();
    let uploads = bench.open(one_by_one());
    for number in 1..=3 {
        uploads.add(labelled("cup"), photo(number)).unwrap();
    }
    bench.script.answer(415, "not_an_image");
    bench.script.answer(401, "invalid_key");
    let report = uploads.run(ONLINE, None).unwrap();
    assert_eq!(report.held, Some(HoldReason::Refused));
    assert_eq!(
        (report.num_refused, report.num_waiting, report.next_run_ms),
        (1, 2, None)
    );
    assert_eq!(
        bench.states(&uploads),
        [
            (ItemState::Refused, Some("not_an_image".into())),
            (ItemState::Retrying, Some("invalid_key".into())),
            (ItemState::Queued, None),
        ]
    );
    assert_eq!(lock(&bench.script.requests).len(), 2);
    assert_eq!(uploads.retry_refused().unwrap(), 1);
    assert_eq!(uploads.items()[0].state, ItemState::Queued);
}

#[test]
fn nothing_is_sent_against_the_policy() {
    let bench = Bench::new();
    let uploads = bench.open(Policy {
        order: Some(Order::NewestFirst),
        network: Some(Network::Unmetered),
        power: Some(crate::Power::Charging),
        ..one_by_one()
    });
    uploads.add(labelled("cup"), photo(1)).unwrap();
    let held = |is_online, is_metered, is_charging| {
        let now = Conditions {
            is_online,
            is_metered,
            is_charging,
        };
        assert_eq!(uploads.next_request(now), None);
        uploads.run(now, None).unwrap().held.unwrap()
    };
    assert_eq!(held(false, false, true), HoldReason::Offline);
    assert_eq!(held(true, true, true), HoldReason::Metered);
    assert_eq!(held(true, false, false), HoldReason::NotCharging);
    assert!(lock(&bench.script.requests).is_empty());
}

#[test]
fn a_background_service_may_bring_the_answer_in_another_life() {
    let bench = Bench::new();
    let uploads = bench.open(Policy::default());
    uploads.add(labelled("cup"), photo(1)).unwrap();
    let pending = uploads.next_request(ONLINE).unwrap();
    let file = pending.request.body_file.clone().unwrap();
    assert_eq!(std::fs::read(&file).unwrap(), photo(1));
    assert_eq!(uploads.next_request(ONLINE), None);
    drop(uploads);
    let uploads = bench.open(Policy::default());
    uploads.adopt(pending.item_id.clone()).unwrap();
    assert_eq!(uploads.next_request(ONLINE), None);
    let headers = [
        ("X-Capture-Id", Uuid::now_v7().to_string()),
        ("X-Capture-Status", "queued".into()),
    ];
    let headers = headers.map(|(name, value)| HttpHeader {
        name: name.into(),
        value,
    });
    let response = HttpResponse {
        status: 202,
        headers: headers.to_vec(),
        body: Vec::new(),
    };
    let item = uploads
        .finish(pending.item_id.clone(), response.clone())
        .unwrap();
    assert_eq!((item.state, item.path), (ItemState::Sent, None));
    assert!(!Path::new(&file).exists());
    assert_eq!(
        uploads.finish(pending.item_id, response).unwrap().state,
        ItemState::Sent
    );
}

#[test]
fn a_verdict_is_asked_for_and_kept() {
    let bench = Bench::new();
    let uploads = bench.open(Policy::default());
    uploads.add(labelled("cup"), photo(1)).unwrap();
    bench.script.answer(202, "queued");
    uploads.run(ONLINE, None).unwrap();
    let id = uploads.items()[0].capture_id.clone().unwrap();
    let body = format!(
        r#"{{"id":"{id}","dataset":"cups-abcdef","label":"cup","status":"rejected","reason":"blurry",
            "detail":"out of focus","sha256":"00","received_at":"2026-01-01T00:00:00Z"}}"#
    );
    let response = HttpResponse {
        status: 200,
        headers: Vec::new(),
        body: body.into(),
    };
    lock(&bench.script.answers).push(Ok(response));
    // After a restart it is due a second later; the schedule is moved, not waited for.
    uploads.state().verdicts.expect_now();
    let report = uploads.run(ONLINE, None).unwrap();
    assert_eq!((report.num_undecided, report.next_run_ms), (0, None));
    drop(uploads);
    let item = bench.open(Policy::default()).items().remove(0);
    let verdict = item.verdict.unwrap();
    assert_eq!(
        (verdict.status.as_str(), verdict.reason.as_deref()),
        ("rejected", Some("blurry"))
    );
}

#[test]
fn what_no_server_would_take_is_refused_before_it_is_queued() {
    let bench = Bench::new();
    let uploads = bench.open(Policy {
        max_photo_bytes: 1_000,
        min_side: 65,
        ..Policy::default()
    });
    let code = |label: &str, bytes: Vec<u8>| match uploads.add(labelled(label), bytes) {
        Err(TintypeError::Photo { code, .. }) => code,
        other => panic!("{other:?}"),
    };
    assert_eq!(code("cup", Vec::new()), "empty");
    assert_eq!(code("cup", b"%PDF-1.7".to_vec()), "not_an_image");
    assert_eq!(code("cup", vec![0; 1_001]), "too_many_bytes");
    assert_eq!(code("cup", photo(1)), "too_small");
    assert_eq!(code(" ", photo(1)), "invalid_label");
    assert!(uploads.items().is_empty());
}

#[test]
fn settings_that_make_no_sense_are_told_at_once() {
    let bench = Bench::new();
    let open = |server: &str, key: &str, dataset: &str| {
        let settings = Settings {
            folder: bench.folder.path().display().to_string(),
            server: server.into(),
            key: key.into(),
            dataset: dataset.into(),
            device: None,
        };
        let opened = Uploads::open(settings, Policy::default(), Some(bench.script.clone()));
        opened.map(|_| ()).unwrap_err().to_string()
    };
    assert!(open("photos.example.org", "tt_a", "cups").contains("https://"));
    assert!(open("https://x", "secret", "cups").contains("tt_"));
    assert!(open("https://x", "tt_a", "a/b").contains("dataset"));
}

/// A server that resumes, and a line that breaks after so many bytes of an append.
#[derive(Default)]
struct Resuming {
    has: Mutex<Option<Vec<u8>>>,
    breaks_after: Mutex<Vec<usize>>,
    num_created: Mutex<u32>,
    num_received: Mutex<usize>,
    knows: Mutex<HashSet<String>>,
}

impl Transport for Resuming {
    fn send(&self, request: HttpRequest) -> Result<HttpResponse, TransportError> {
        let header = |name: &str| {
            let mut headers = request.headers.iter();
            headers
                .find(|header| header.name == name)
                .map(|header| header.value.clone())
        };
        let mut has = lock(&self.has);
        let offset = |has: &Option<Vec<u8>>| {
            let offset = has.as_ref().map_or(0, Vec::len).to_string();
            [
                ("Upload-Offset", offset),
                ("Upload-Complete", "?0".into()),
                (
                    "Upload-Limit",
                    "max-size=33554432, max-append-size=1500000".into(),
                ),
            ]
        };
        Ok(match request.method.as_str() {
            "POST" if request.url.ends_with("/check") => {
                let asked: serde_json::Value =
                    serde_json::from_slice(&request.body.unwrap()).unwrap();
                let hashes = asked["sha256"].as_array().unwrap().iter();
                let knows = lock(&self.knows);
                let results = hashes.map(|hash| match knows.contains(hash.as_str().unwrap()) {
                    true => serde_json::json!({"sha256": hash, "known": true, "capture": Uuid::now_v7().to_string()}),
                    false => serde_json::json!({"sha256": hash, "known": false}),
                });
                let body = serde_json::json!({"results": results.collect::<Vec<_>>()});
                HttpResponse {
                    body: body.to_string().into(),
                    ..status(200, &[])
                }
            }
            "OPTIONS" => status(
                204,
                &[("Accept-Patch", "application/partial-upload".into())],
            ),
            "POST" => {
                assert_eq!(header("Upload-Complete").as_deref(), Some("?0"));
                *lock(&self.num_created) += 1;
                *has = Some(Vec::new());
                let mut answer = status(201, &offset(&has));
                answer.headers.push(HttpHeader {
                    name: "Location".into(),
                    value: "/v1/uploads/u1".into(),
                });
                answer
            }
            _ if has.is_none() => status(404, &[]),
            "HEAD" => status(204, &offset(&has)),
            "PATCH" => {
                let has = has.as_mut().unwrap();
                let at: usize = header("Upload-Offset").unwrap().parse().unwrap();
                assert_eq!(at, has.len(), "an append at the wrong place");
                let file = std::fs::read(request.body_file.unwrap()).unwrap();
                let part = &file[at..at + request.body_length as usize];
                let mut breaks = lock(&self.breaks_after);
                let broken = (!breaks.is_empty())
                    .then(|| breaks.remove(0))
                    .filter(|n| *n < part.len());
                let part = &part[..broken.unwrap_or(part.len())];
                has.extend(part);
                *lock(&self.num_received) += part.len();
                if broken.is_some() {
                    return Err(TransportError::Connection {
                        detail: "cut".into(),
                    });
                }
                match header("Upload-Complete").as_deref() {
                    Some("?1") => status(
                        202,
                        &[
                            ("Upload-Complete", "?1".into()),
                            ("X-Capture-Id", Uuid::now_v7().to_string()),
                            ("X-Capture-Status", "queued".into()),
                        ],
                    ),
                    _ => status(204, &offset(&Some(has.clone()))),
                }
            }
            other => panic!("{other}"),
        })
    }
}

fn large(number: u8) -> Vec<u8> {
    let mut file = photo(number);
    let end = file.len() - 2;
    file.splice(end..end, std::iter::repeat_n(7, 4_000_000));
    file
}

impl Bench {
    fn open_resuming(&self, server: &Arc<Resuming>) -> Arc<Uploads> {
        let settings = Settings {
            folder: self.folder.path().display().to_string(),
            server: "https://photos.example.org".into(),
            key: "tt_abc".into(),
            dataset: "cups".into(),
            device: None,
        };
        let uploads = Uploads::open(settings, one_by_one(), Some(server.clone())).unwrap();
        // What waits for its next try is tried at once.
        for item in uploads.items() {
            uploads.retry(item.id).unwrap();
        }
        uploads
    }
}

#[test]
fn a_large_photo_goes_on_where_it_broke_off_in_each_life_and_no_byte_goes_twice() {
    let bench = Bench::new();
    let server = Arc::new(Resuming::default());
    let photo = large(1);
    bench
        .open_resuming(&server)
        .add(labelled("cup"), photo.clone())
        .unwrap();
    *lock(&server.breaks_after) = vec![1_000_000, 1_499_999, 3];
    for _ in 0..3 {
        let report = bench.open_resuming(&server).run(ONLINE, None).unwrap();
        assert_eq!((report.num_sent, report.num_waiting), (0, 1));
    }
    let report = bench.open_resuming(&server).run(ONLINE, None).unwrap();
    assert_eq!(report.num_sent, 1);
    assert_eq!(lock(&server.has).as_ref(), Some(&photo));
    assert_eq!(*lock(&server.num_received), photo.len());
    assert_eq!(*lock(&server.num_created), 1);
}

#[test]
fn an_upload_that_the_server_has_forgotten_begins_anew() {
    let bench = Bench::new();
    let server = Arc::new(Resuming::default());
    let photo = large(1);
    let uploads = bench.open_resuming(&server);
    uploads.add(labelled("cup"), photo.clone()).unwrap();
    *lock(&server.breaks_after) = vec![1_000_000];
    uploads.run(ONLINE, None).unwrap();
    *lock(&server.has) = None;
    drop(uploads);
    let report = bench.open_resuming(&server).run(ONLINE, None).unwrap();
    assert_eq!((report.num_sent, *lock(&server.num_created)), (1, 2));
    assert_eq!(lock(&server.has).as_ref(), Some(&photo));
}

#[test]
fn a_photo_that_the_server_has_is_not_sent() {
    let bench = Bench::new();
    let server = Arc::new(Resuming::default());
    let uploads = bench.open_resuming(&server);
    let known = uploads.add(labelled("cup"), large(1)).unwrap().item;
    uploads.add(labelled("cup"), large(2)).unwrap();
    lock(&server.knows).insert(known.sha256.clone());
    let report = uploads.run(ONLINE, None).unwrap();
    assert_eq!((report.num_already_there, report.num_sent), (1, 1));
    assert_eq!(*lock(&server.num_received), large(2).len());
    assert_eq!(
        uploads.item(known.id).unwrap().state,
        ItemState::AlreadyThere
    );
}

//! Acknowledged means durable, and exactly once in the table, under kill -9 at any instant.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::{Value, json};
use tokio::sync::{Mutex, RwLock};

use crate::server::Server;
use crate::{pictures, table};

/// One upload in this many is an exact copy of an earlier picture.
const COPY_EVERY: usize = 7;

/// Kills the whole process `TINTYPE_KILL_ROUNDS` times (5 unless told) while a client
/// uploads and retries, then checks each acknowledged capture against the tables.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_acknowledged_photo_is_there_once_whenever_the_process_dies() {
    let rounds: usize = std::env::var("TINTYPE_KILL_ROUNDS")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(5);
    let seed: u64 = std::env::var("TINTYPE_KILL_SEED")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(1);
    let mut rng = StdRng::seed_from_u64(seed);
    let server = Server::start().await;
    let dataset = server.make_dataset("kill", json!({})).await;
    let server = Arc::new(RwLock::new(server));

    let readiness = format!("{}/readyz", server.read().await.url);
    let stop = Arc::new(AtomicBool::new(false));
    let sent = Arc::new(AtomicUsize::new(0));
    let acknowledged: Arc<Mutex<BTreeMap<usize, Value>>> = Arc::default();
    let clients: Vec<_> = (0..3)
        .map(|_| {
            tokio::spawn(upload(
                server.clone(),
                stop.clone(),
                sent.clone(),
                acknowledged.clone(),
            ))
        })
        .collect();

    for round in 0..rounds {
        tokio::time::sleep(Duration::from_millis(rng.random_range(50..2000))).await;
        {
            let mut server = server.write().await;
            server.kill();
            server.start_again();
        }
        if round % 10 == 9 {
            println!(
                "{} kills, {} acknowledged",
                round + 1,
                acknowledged.lock().await.len()
            );
        }
        if rng.random_bool(0.5) {
            let deadline = std::time::Instant::now() + Duration::from_secs(60);
            while !is_ready(&readiness).await {
                assert!(
                    std::time::Instant::now() < deadline,
                    "not ready within a minute"
                );
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
    server.write().await.wait_until_ready().await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    stop.store(true, Ordering::SeqCst);
    for client in clients {
        client.await.unwrap();
    }

    let server = server.read().await;
    let acknowledged = acknowledged.lock().await;
    assert_eq!(
        acknowledged.len(),
        sent.load(Ordering::SeqCst),
        "every upload was acknowledged in the end"
    );
    let mut verdicts = BTreeMap::new();
    for answer in acknowledged.values() {
        let id = answer["id"].as_str().unwrap().to_owned();
        let capture = server.verdict(&id, Duration::from_secs(60)).await;
        verdicts.insert(id, capture["status"].as_str().unwrap().to_owned());
    }
    assert_eq!(
        verdicts.len(),
        acknowledged.len(),
        "two uploads got the same id"
    );

    let tables = server.objects().join("tables").join(&dataset);
    let photos = table::rows(&tables.join("photos")).await;
    let rejections = table::rows(&tables.join("rejections")).await;
    let mut seen = BTreeSet::new();
    for (id, _) in photos.iter().chain(&rejections) {
        assert!(seen.insert(id.clone()), "{id} has two rows");
        assert!(
            verdicts.contains_key(id),
            "{id} has a row and was never acknowledged"
        );
    }
    let in_photos: BTreeSet<_> = photos.iter().map(|(id, _)| id.clone()).collect();
    let accepted: BTreeSet<_> = verdicts
        .iter()
        .filter(|(_, status)| *status == "accepted")
        .map(|(id, _)| id.clone())
        .collect();
    assert_eq!(
        in_photos, accepted,
        "the table and the verdicts tell the same photos"
    );
    // Each picture exactly once, whichever of its copies came first.
    let pictures: BTreeSet<_> = acknowledged
        .keys()
        .map(|&number| picture_of(number))
        .collect();
    assert_eq!(
        photos.len(),
        pictures.len(),
        "each picture is in the table once"
    );
    let labels: BTreeSet<_> = photos.iter().map(|(_, label)| label.clone()).collect();
    assert_eq!(labels.len(), pictures.len());
    println!(
        "{rounds} kills (seed {seed}): {} acknowledged, {} pictures, {} rows, 0 lost, 0 twice",
        acknowledged.len(),
        pictures.len(),
        photos.len()
    );
}

fn picture_of(number: usize) -> usize {
    if number % COPY_EVERY == COPY_EVERY - 1 {
        number / 2 - number / 2 % COPY_EVERY
    } else {
        number
    }
}

async fn is_ready(readiness: &str) -> bool {
    reqwest::get(readiness)
        .await
        .is_ok_and(|answer| answer.status() == 200)
}

/// Uploads picture after picture, each until it is acknowledged, with one Idempotency-Key.
async fn upload(
    server: Arc<RwLock<Server>>,
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicUsize>,
    acknowledged: Arc<Mutex<BTreeMap<usize, Value>>>,
) {
    let (base, key) = {
        let server = server.read().await;
        (server.url.clone(), server.key.clone())
    };
    let http = reqwest::Client::builder()
        .timeout(Duration::from_secs(10))
        .build()
        .unwrap();
    while !stop.load(Ordering::SeqCst) {
        let number = sent.fetch_add(1, Ordering::SeqCst);
        let picture = picture_of(number);
        let body = pictures::jpeg(picture as u64);
        loop {
            let answer = http
                .post(format!("{base}/v1/datasets/kill/captures"))
                .bearer_auth(&key)
                .header("X-Label", format!("picture {picture}"))
                .header("Idempotency-Key", format!("upload-{number}"))
                .body(body.clone())
                .send()
                .await;
            if let Ok(answer) = answer {
                let status = answer.status();
                if status == 200 || status == 202 {
                    // The answer may be cut off too: then it was not heard.
                    if let Ok(body) = answer.json::<Value>().await {
                        acknowledged.lock().await.insert(number, body);
                        break;
                    }
                } else {
                    let body = answer.text().await.unwrap_or_default();
                    assert!(
                        matches!(status.as_u16(), 408 | 409 | 429 | 503),
                        "{status}: {body}"
                    );
                }
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

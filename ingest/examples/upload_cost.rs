//! What an upload costs, and what of it is the price of durability: photos go
//! through the real route into a folder, once with `fsync` as it is, once through
//! `object_store` without; out come milliseconds per photo and photos per second.
//!
//! `cargo run --release -p ingest --example upload_cost -- [FOLDER] [PHOTOS] [BYTES]`
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use bytes::Bytes;
use catalog::Catalog;
use futures::stream::{self, StreamExt as _};
use ingest::{Ingest, IngestSettings};
use object_store::local::LocalFileSystem;
use rdkafka::mocking::MockCluster;
use schemas::topics;
use tower::ServiceExt as _;

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments
        .next()
        .map_or_else(std::env::temp_dir, PathBuf::from);
    let photos = arguments.next().map_or(200, |n| n.parse().unwrap());
    let bytes = arguments.next().map_or(3 << 20, |n| n.parse().unwrap());
    println!("{photos} photos of {bytes} bytes in {}", folder.display());
    println!("fsync  at once   p50 ms   p99 ms   photos/s");
    for at_once in [1, 8] {
        for is_durable in [false, true] {
            run(&folder, photos, bytes, at_once, is_durable).await;
        }
    }
}

async fn run(folder: &Path, photos: u64, bytes: usize, at_once: usize, is_durable: bool) {
    let folder = tempfile::tempdir_in(folder).unwrap();
    let root = folder.path().to_owned();
    let broker = MockCluster::new(1).unwrap();
    broker.create_topic(topics::CAPTURES, 4, 1).unwrap();
    let url = format!("sqlite://{}", root.join("catalog.db").display());
    let catalog = Catalog::open(&url).await.unwrap();
    let token = catalog.ensure_first_key().await.unwrap().unwrap().token;
    let store = LocalFileSystem::new_with_prefix(&root).unwrap();
    let ingest = Ingest::new(
        catalog.clone(),
        Arc::new(store),
        is_durable.then(|| root.clone()),
        &broker.bootstrap_servers(),
        IngestSettings::default(),
    );
    let app = catalog::http::router(catalog, tokio_util::sync::CancellationToken::new());
    let app = app.merge(ingest.unwrap().router());
    let create = send(&app, &token, "/v1/datasets", r#"{"name":"cost"}"#.into()).await;
    assert_eq!(create.0, 201);

    let begun = Instant::now();
    let mut took: Vec<Duration> = stream::iter(0..photos)
        .map(|seed| {
            let photo = photo(seed, bytes);
            let (app, token) = (app.clone(), token.clone());
            async move {
                let path = "/v1/datasets/cost/captures";
                let (status, took) = send(&app, &token, path, photo.into()).await;
                assert_eq!(status, 202);
                took
            }
        })
        .buffer_unordered(at_once)
        .collect()
        .await;
    let per_second = photos as f64 / begun.elapsed().as_secs_f64();
    took.sort();
    let ms = |at: usize| took[at * (took.len() - 1) / 100].as_secs_f64() * 1e3;
    println!(
        "{is_durable:<5}  {at_once:>7}  {:>7.1}  {:>7.1}  {per_second:>9.1}",
        ms(50),
        ms(99)
    );
}

async fn send(app: &Router, token: &str, path: &str, body: Body) -> (u16, Duration) {
    let request = Request::post(path)
        .header("authorization", format!("Bearer {token}"))
        .header("content-type", "application/json")
        .header("x-label", "cat")
        .body(body);
    let begun = Instant::now();
    let response = app.clone().oneshot(request.unwrap()).await.unwrap();
    (response.status().as_u16(), begun.elapsed())
}

fn photo(seed: u64, bytes: usize) -> Bytes {
    let mut photo = vec![0x5a; bytes];
    photo[..4].copy_from_slice(b"\xff\xd8\xff\xe0");
    photo[4..12].copy_from_slice(&seed.to_le_bytes());
    photo.into()
}

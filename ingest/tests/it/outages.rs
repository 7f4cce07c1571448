//! A part behind the route is away: 503 that says which, nothing acknowledged, and
//! healthy again by itself.

use std::time::{Duration, Instant};

use axum::body::Body;
use ingest::{Ingest, IngestError, IngestSettings};
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use serde_json::json;
use tower::ServiceExt as _;

use crate::harness::{Reply, Stalled, World, jpeg};

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_cannot_be_written_is_503_and_once_mended_202() {
    let world = World::new().await;
    world.send_cat(jpeg(1, 9000)).await.assert_queued();
    let aside = world.break_store();
    assert!(matches!(
        world.ingest.check().await,
        Err(IngestError::Store(_))
    ));
    let refused = world.send_cat(jpeg(2, 9000)).await;
    let problem = refused.assert_refused(503, "store_unavailable");
    assert!(
        problem.detail.contains("object store"),
        "{}",
        problem.detail
    );
    assert!(
        !problem.detail.contains('/'),
        "no paths: {}",
        problem.detail
    );
    assert!(!refused.header("retry-after").is_empty());
    assert_eq!((world.events().len(), world.num_captures().await), (1, 1));

    world.mend_store(aside);
    world.ingest.check().await.unwrap();
    world.send_cat(jpeg(2, 9000)).await.assert_queued();
    assert_eq!((world.events().len(), world.originals().len()), (2, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_away_is_503_within_seconds_and_nothing_is_recorded() {
    let world = World::new().await;
    world.ingest.check().await.unwrap();
    world.send_cat(jpeg(1, 9000)).await.assert_queued();
    world.broker.broker_down(-1).unwrap();

    let begun = Instant::now();
    let refused = world.send_cat(jpeg(2, 9000)).await;
    refused.assert_refused(503, "stream_unavailable");
    assert!(!refused.header("retry-after").is_empty());
    assert!(
        begun.elapsed() < Duration::from_secs(11),
        "{:?}",
        begun.elapsed()
    );
    assert_eq!(world.num_captures().await, 1);
    assert!(matches!(
        world.ingest.check().await,
        Err(IngestError::Broker(_))
    ));

    world.broker.broker_up(-1).unwrap();
    let begun = Instant::now();
    while world.ingest.check().await.is_err() {
        assert!(begun.elapsed() < Duration::from_secs(20));
    }
    world.send_cat(jpeg(2, 9000)).await.assert_queued();
    assert_eq!(world.num_captures().await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_producer_that_has_failed_for_good_is_replaced() {
    let world = World::new().await;
    world.send_cat(jpeg(1, 9000)).await.assert_queued();
    let lost_its_place = RDKafkaRespErr::RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER;
    world
        .broker
        .request_errors(RDKafkaApiKey::Produce, &[lost_its_place; 1]);
    let refused = world.send_cat(jpeg(2, 9000)).await;
    refused.assert_refused(503, "stream_unavailable");
    for seed in 3..6 {
        world.send_cat(jpeg(seed, 9000)).await.assert_queued();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_stalls_is_408_and_its_place_is_free_again() {
    let settings = IngestSettings {
        max_working: 1,
        idle_timeout: Duration::from_millis(200),
        ..IngestSettings::default()
    };
    let world = World::with(json!({}), settings).await;
    let Stalled { body, client, .. } = Stalled::new();
    client.unbounded_send(Ok(jpeg(1, 9000).into())).unwrap();
    let request = world.upload().header("x-label", "cat");
    let stalled = world.send(request.body(body).unwrap()).await;
    let problem = stalled.assert_refused(408, "too_slow");
    assert!(problem.detail.contains("9000 bytes"), "{}", problem.detail);
    assert_eq!(stalled.header("connection"), "close");
    world.assert_nothing_stored().await;
    world.send_cat(jpeg(2, 9000)).await.assert_queued();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_catalog_that_is_away_is_503_before_the_body_is_read() {
    let world = World::new().await;
    world.catalog.close().await;
    let refused = world.send_cat(jpeg(1, 9000)).await;
    assert_eq!(refused.status, 503, "{}", refused.body);
    assert!(!refused.header("retry-after").is_empty());
    assert!(world.originals().is_empty() && world.events().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_catalog_that_goes_away_after_the_event_does_not_unsay_the_photo() {
    let world = World::new().await;
    let slow = Duration::from_secs(1);
    world.broker.broker_round_trip_time(-1, slow).unwrap();
    let request = world.upload().header("x-label", "cat");
    let request = request.body(Body::from(jpeg(1, 9000))).unwrap();
    let running = tokio::spawn(world.app.clone().oneshot(request));
    while world.originals().is_empty() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    world.catalog.close().await;
    let reply = Reply::read(running.await.unwrap().unwrap()).await;
    let id = reply.assert_queued().id.to_string();
    assert_eq!(world.events()[0].capture_id, id);
}

#[tokio::test(flavor = "multi_thread")]
async fn more_uploads_than_may_run_and_wait_are_refused_at_once_and_then_again_let_in() {
    let settings = IngestSettings {
        max_working: 1,
        max_waiting: 0,
        ..IngestSettings::default()
    };
    let world = World::with(json!({}), settings).await;
    let stalled = Stalled::new();
    let request = world.upload().header("x-label", "cat");
    let request = request.body(stalled.body).unwrap();
    let running = tokio::spawn(world.app.clone().oneshot(request));
    stalled.is_read.await.unwrap();
    let begun = Instant::now();
    let refused = world.send_cat(jpeg(1, 9000)).await;
    assert!(begun.elapsed() < Duration::from_secs(1));
    refused.assert_refused(503, "overloaded");
    assert!(!refused.header("retry-after").is_empty());

    drop(stalled.client);
    let ended = Reply::read(running.await.unwrap().unwrap()).await;
    ended.assert_refused(415, "empty_body");
    world.send_cat(jpeg(2, 9000)).await.assert_queued();
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_together_stay_under_their_budget() {
    let settings = IngestSettings {
        max_body_bytes: 1 << 20,
        body_budget_bytes: (1 << 20) + (64 << 10),
        max_wait: Duration::from_millis(100),
        ..IngestSettings::default()
    };
    let world = World::with(json!({}), settings).await;
    let stalled = Stalled::new();
    let large = world
        .upload()
        .header("x-label", "cat")
        .header("content-length", 1 << 20);
    let large = large.body(stalled.body).unwrap();
    let large = tokio::spawn(world.app.clone().oneshot(large));
    stalled.is_read.await.unwrap();
    let second = world
        .upload()
        .header("x-label", "cat")
        .header("content-length", 128 << 10)
        .body(jpeg(1, 128 << 10).into());
    let refused = world.send(second.unwrap()).await;
    refused.assert_refused(503, "overloaded");
    // A small one still fits beside it.
    world.send_cat(jpeg(2, 9000)).await.assert_queued();
    drop(stalled.client);
    large.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_and_addresses_that_cannot_work_are_told_at_the_start() {
    let world = World::new().await;
    let store = || std::sync::Arc::new(object_store::memory::InMemory::new());
    let catalog = || world.catalog.clone();
    let settings = IngestSettings {
        max_working: 0,
        ..IngestSettings::default()
    };
    let broken = Ingest::new(catalog(), store(), None, "localhost:1", settings);
    assert!(matches!(broken, Err(IngestError::Settings(_))));
    let folder = Some("/dev/null/originals".into());
    let broken = Ingest::new(
        catalog(),
        store(),
        folder,
        "localhost:1",
        IngestSettings::default(),
    );
    assert!(matches!(broken, Err(IngestError::Folder { .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn any_other_object_store_serves_as_well() {
    let world = World::new().await;
    let store = std::sync::Arc::new(object_store::memory::InMemory::new());
    let remote = Ingest::new(
        world.catalog.clone(),
        store.clone(),
        None,
        &world.broker.bootstrap_servers(),
        IngestSettings::default(),
    );
    let remote = remote.unwrap();
    remote.check().await.unwrap();
    let request = world.upload().header("x-label", "cat");
    let request = request.body(Body::from(jpeg(1, 9000))).unwrap();
    let reply = Reply::read(remote.router().oneshot(request).await.unwrap()).await;
    let receipt = reply.assert_queued();
    let sha256 = &receipt.sha256;
    let key = format!("originals/{}/{}/{sha256}", world.dataset, &sha256[..2]);
    let stored = object_store::ObjectStoreExt::get(&*store, &key.into())
        .await
        .unwrap();
    assert_eq!(stored.bytes().await.unwrap(), jpeg(1, 9000));
}

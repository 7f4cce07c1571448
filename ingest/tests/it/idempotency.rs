//! One key, one upload, one answer.

use std::time::Duration;

use axum::http::{StatusCode, request};
use tower::ServiceExt as _;

use crate::harness::{Form, Reply, Stalled, World, jpeg};

fn keyed(world: &World, key: &str, label: &str) -> request::Builder {
    let head = world.upload().header("idempotency-key", key);
    head.header("x-label", label)
}

async fn send(world: &World, key: &str, label: &str, photo: Vec<u8>) -> Reply {
    world
        .send(keyed(world, key, label).body(photo.into()).unwrap())
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_upload_gets_the_same_answer_also_after_a_restart_and_counts_once() {
    let world = World::new().await;
    let first = send(&world, "k1", "cat", jpeg(1, 9000))
        .await
        .assert_queued();
    let again = send(&world, "k1", "cat", jpeg(1, 9000))
        .await
        .assert_queued();
    assert_eq!(again, first);
    // The shape of the request is no part of what was sent.
    let form = Form::new()
        .part("label", "cat")
        .file("x.jpg", &jpeg(1, 9000));
    let request = world
        .upload()
        .header("idempotency-key", "k1")
        .header("content-type", form.content_type());
    let again = world.send(request.body(form.end().into()).unwrap()).await;
    assert_eq!(again.assert_queued(), first);

    let duplicate = send(&world, "k2", "cat", jpeg(1, 9000)).await;
    assert_eq!(duplicate.status, StatusCode::OK);

    let world = world.reopen().await;
    let again = send(&world, "k1", "cat", jpeg(1, 9000))
        .await
        .assert_queued();
    assert_eq!(again, first);
    let again = send(&world, "k2", "cat", jpeg(1, 9000)).await;
    assert_eq!(again.status, StatusCode::OK);
    assert_eq!(again.receipt(), duplicate.receipt());
    assert_eq!(world.events().len(), 1);
    assert_eq!(world.num_captures().await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_photo_or_other_words_under_the_same_key_are_422() {
    let world = World::new().await;
    send(&world, "k", "cat", jpeg(1, 9000))
        .await
        .assert_queued();
    let other_photo = send(&world, "k", "cat", jpeg(2, 9000)).await;
    other_photo.assert_refused(422, "idempotency_key_reused");
    let other_label = send(&world, "k", "dog", jpeg(1, 9000)).await;
    other_label.assert_refused(422, "idempotency_key_reused");
    let other_device = keyed(&world, "k", "cat").header("x-device-id", "d");
    let other_device = other_device.body(jpeg(1, 9000).into()).unwrap();
    let other_device = world.send(other_device).await;
    other_device.assert_refused(422, "idempotency_key_reused");
    assert_eq!(world.events().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn while_an_upload_runs_its_key_is_409_and_then_its_answer() {
    let world = World::new().await;
    let photo = jpeg(1, 9000);
    let Stalled {
        body,
        is_read,
        client,
    } = Stalled::new();
    let running = keyed(&world, "k", "cat").body(body).unwrap();
    let running = tokio::spawn(world.app.clone().oneshot(running));
    is_read.await.unwrap();
    let meanwhile = send(&world, "k", "cat", photo.clone()).await;
    meanwhile.assert_refused(409, "request_in_progress");
    assert!(!meanwhile.header("retry-after").is_empty());

    client.unbounded_send(Ok(photo.clone().into())).unwrap();
    drop(client);
    let first = Reply::read(running.await.unwrap().unwrap())
        .await
        .assert_queued();
    let again = send(&world, "k", "cat", photo).await.assert_queued();
    assert_eq!(again, first);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_gives_the_key_back() {
    let world = World::new().await;
    let text = send(&world, "k", "cat", b"no picture".to_vec()).await;
    text.assert_refused(415, "not_an_image");
    send(&world, "k", "cat", jpeg(1, 9000))
        .await
        .assert_queued();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_away_gives_the_key_back() {
    let world = World::new().await;
    let stalled = Stalled::new();
    let running = keyed(&world, "k", "cat").body(stalled.body).unwrap();
    let running = tokio::spawn(world.app.clone().oneshot(running));
    stalled.is_read.await.unwrap();
    // As the server does with the request of a connection that broke.
    running.abort();
    assert!(running.await.unwrap_err().is_cancelled());
    world.ingest.drain(Duration::from_secs(5)).await;
    send(&world, "k", "cat", jpeg(1, 9000))
        .await
        .assert_queued();
    assert_eq!(world.events().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_try_whose_event_may_yet_arrive_is_taken_over_under_the_same_id() {
    let world = World::new().await;
    world.broker.broker_down(-1).unwrap();
    let first = send(&world, "k", "cat", jpeg(1, 9000)).await;
    first.assert_refused(503, "stream_unavailable");
    // Not before the lease has run out: the first event may still be on its way.
    let soon = send(&world, "k", "cat", jpeg(1, 9000)).await;
    soon.assert_refused(409, "request_in_progress");

    // As a restart does.
    world.catalog.release_requests().await.unwrap();
    world.broker.broker_up(-1).unwrap();
    let second = send(&world, "k", "cat", jpeg(1, 9000)).await;
    let id = second.assert_queued().id.to_string();
    let events = world.events();
    assert!(!events.is_empty());
    assert!(events.iter().all(|event| event.capture_id == id));
}

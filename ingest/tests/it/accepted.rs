//! What a taken upload leaves behind.

use axum::body::Body;
use axum::http::{Request, StatusCode};
use bytes::Bytes;
use futures::stream;
use schemas::{Sha256, Status};
use serde_json::json;

use crate::harness::{Form, World, jpeg};

#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_means_that_original_event_and_row_are_there() {
    let world = World::new().await;
    let photo = jpeg(1, 300_000);
    let receipt = world.send_cat(photo.clone()).await.assert_queued();
    assert_eq!(receipt.sha256, Sha256::of(&photo).to_string());

    assert_eq!(world.originals(), std::slice::from_ref(&photo));
    let [event] = &world.events()[..] else {
        panic!("one event is needed");
    };
    assert_eq!(event.capture_id, receipt.id.to_string());
    assert_eq!(event.dataset_id, world.dataset);
    assert_eq!(event.label, "cat");
    assert_eq!(event.sha256, Sha256::of(&photo).as_bytes());
    assert_eq!(event.num_bytes, 300_000);
    let capture = world.get(&format!("/v1/captures/{}", receipt.id)).await;
    assert_eq!(capture.body["status"], "queued");
    assert_eq!(capture.body["label"], "cat");
}

#[tokio::test(flavor = "multi_thread")]
async fn put_does_as_post_and_a_chunked_body_as_one_with_a_length() {
    let world = World::new().await;
    let photo = jpeg(2, 100_000);
    let pieces: Vec<_> = photo.chunks(777).map(Bytes::copy_from_slice).collect();
    let body = Body::from_stream(stream::iter(pieces.into_iter().map(std::io::Result::Ok)));
    let request = Request::put(format!("/v1/datasets/{}/captures", world.dataset))
        .header("authorization", format!("Bearer {}", world.token))
        .header("x-label", "cat")
        .body(body);
    world.send(request.unwrap()).await.assert_queued();
    assert_eq!(world.originals(), [photo]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_client_says_travels_in_the_event_by_header_and_by_part() {
    let policy = json!({"policy": {"near_duplicates": "group", "max_pdq_distance": 20}});
    let world = World::with(policy, ingest::IngestSettings::default()).await;
    let request = world
        .upload()
        .header("x-label", "cat")
        .header("x-captured-at", "2026-05-17T09:30:00.5+02:00")
        .header("x-device-id", "Pixel%205%20%E2%98%80")
        .header("x-metadata", r#"{"roll":"7","who":"me"}"#)
        .body(jpeg(3, 5000).into());
    world.send(request.unwrap()).await.assert_queued();
    let form = Form::new()
        .part("metadata", r#"{"roll":"7","who":"me"}"#)
        .file("whatever.jpg", &jpeg(4, 5000))
        .part("device_id", "Pixel 5 ☀")
        .part("label", "cat")
        .part("captured_at", "2026-05-17T07:30:00.500Z");
    form.send(&world).await.assert_queued();

    let events = world.events();
    assert_eq!(events.len(), 2);
    for event in events {
        assert_eq!(event.label, "cat");
        assert_eq!(event.captured_at_us, Some(1_779_003_000_500_000));
        assert_eq!(event.device, "Pixel 5 ☀");
        assert_eq!(event.metadata.len(), 2);
        assert_eq!(event.metadata["roll"], "7");
        let policy = event.policy.unwrap();
        assert_eq!((policy.near_duplicates, policy.max_pdq_distance), (1, 20));
        assert!(!event.unknown_label);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_form_gives_the_photo_exactly() {
    let world = World::new().await;
    // With what looks like the form's own boundary inside.
    let mut photo = jpeg(5, 3_000_000);
    photo.extend_from_slice(b"\r\n--a-boundary-of-the-tes\r\n");
    let form = Form::new().file("cat.jpg", &photo);
    let content_type = form.content_type();
    let bytes = form.end();
    for chunk in [1_000, 100_000] {
        let pieces: Vec<_> = bytes.chunks(chunk).map(Bytes::copy_from_slice).collect();
        let body = Body::from_stream(stream::iter(pieces.into_iter().map(std::io::Result::Ok)));
        let request = world.upload().header("content-type", &content_type);
        let reply = world.send(request.body(body).unwrap()).await;
        assert_eq!(reply.receipt().sha256, Sha256::of(&photo).to_string());
    }
    assert_eq!(world.originals(), [photo]);
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_the_dataset_has_are_a_duplicate_at_once_and_stored_once() {
    let world = World::new().await;
    let first = world.send_cat(jpeg(6, 50_000)).await.assert_queued();
    let second = world.send_cat(jpeg(6, 50_000)).await;
    assert_eq!(second.status, StatusCode::OK);
    let second = second.receipt();
    assert_eq!(second.status, Status::Duplicate);
    assert_eq!(second.duplicate_of, Some(first.id));
    assert_ne!(second.id, first.id);

    assert_eq!(world.originals().len(), 1);
    assert_eq!(world.events().len(), 1);
    let capture = world.get(&format!("/v1/captures/{}", second.id)).await;
    assert_eq!(capture.body["status"], "duplicate");
    assert_eq!(capture.body["twin_id"], first.id.to_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_only_the_pipeline_can_judge_is_taken_in() {
    let world = World::new().await;
    let heic = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic and so on".to_vec();
    let half_a_jpeg = b"\xff\xd8\xff\xe0\0\x10JFIF".to_vec();
    let tiff = b"II*\0\x08\0\0\0".to_vec();
    for photo in [heic, half_a_jpeg, tiff] {
        let request = world
            .upload()
            .header("x-label", "cat")
            .header("content-type", "text/plain");
        let request = request.body(photo.into()).unwrap();
        world.send(request).await.assert_queued();
    }
    assert_eq!(world.events().len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_digest_that_matches_is_no_hindrance() {
    let world = World::new().await;
    let photo = jpeg(7, 20_000);
    let digest = data_encoding::BASE64.encode(Sha256::of(&photo).as_bytes());
    let digest = format!("md5=:AAAA:, sha-256=:{digest}:");
    let request = world
        .upload()
        .header("x-label", "cat")
        .header("repr-digest", &digest)
        .header("content-digest", &digest);
    let request = request.body(photo.clone().into()).unwrap();
    world.send(request).await.assert_queued();

    let form = Form::new().file("dog.jpg", &photo);
    let request = world
        .upload()
        .header("repr-digest", &digest)
        .header("content-type", form.content_type());
    let reply = world.send(request.body(form.end().into()).unwrap()).await;
    assert_eq!(reply.receipt().status, Status::Duplicate);
}

//! What is not taken in, and that it leaves nothing behind.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::body::Body;
use axum::http::{Request, request};
use bytes::Bytes;
use futures::stream::{self, StreamExt as _};
use ingest::IngestSettings;
use schemas::Sha256;
use serde_json::json;
use tower::ServiceExt as _;

use crate::harness::{Form, Reply, World, jpeg};

/// An endless body that counts what was taken of it.
fn endless(chunk: Bytes) -> (Body, Arc<AtomicU64>) {
    let taken = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&taken);
    let chunks = stream::repeat(chunk).map(move |chunk| {
        counter.fetch_add(chunk.len() as u64, Ordering::SeqCst);
        std::io::Result::Ok(chunk)
    });
    (Body::from_stream(chunks), taken)
}

fn picture_chunk() -> Bytes {
    jpeg(1, 64 << 10).into()
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_good_key_an_upload_is_401_and_its_body_unread() {
    let world = World::new().await;
    let revoked = world
        .create_key(json!({"name": "r", "scopes": ["upload"]}))
        .await;
    world
        .call(
            "DELETE",
            &format!("/v1/keys/{}", revoked.key.id),
            json!(null),
        )
        .await;
    let wrong = format!("tt_{}", "x".repeat(40));
    for token in ["", "tt_short", &wrong, &revoked.token] {
        let (body, taken) = endless(picture_chunk());
        let request = Request::post(format!("/v1/datasets/{}/captures", world.dataset))
            .header("authorization", format!("Bearer {token}"))
            .header("x-label", "cat")
            .body(body);
        let response = world.app.clone().oneshot(request.unwrap()).await.unwrap();
        assert_eq!(response.status(), 401, "{token:?}");
        assert!(response.headers().contains_key("www-authenticate"));
        assert_eq!(taken.load(Ordering::SeqCst), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_without_upload_is_403_and_anothers_dataset_is_404_like_none_at_all() {
    let world = World::new().await;
    let reader = world
        .create_key(json!({"name": "r", "scopes": ["read"]}))
        .await;
    let stranger = json!({"name": "s", "scopes": ["upload"], "owner": "stranger"});
    let stranger = world.create_key(stranger).await;
    let send = async |token: &str, dataset: &str| {
        let request = Request::post(format!("/v1/datasets/{dataset}/captures"))
            .header("authorization", format!("Bearer {token}"))
            .header("x-label", "cat")
            .body(jpeg(1, 2000).into());
        world.send(request.unwrap()).await
    };
    send(&reader.token, &world.dataset)
        .await
        .assert_refused(403, "insufficient_scope");
    let hidden = send(&stranger.token, &world.dataset).await;
    let hidden = hidden.assert_refused(404, "unknown_dataset");
    let absent = send(&stranger.token, "pets-aaaaaa").await;
    let absent = absent.assert_refused(404, "unknown_dataset");
    let same = |text: &str| {
        text.replace(&world.dataset, "?")
            .replace("pets-aaaaaa", "?")
    };
    assert_eq!(same(&hidden.detail), same(&absent.detail));
    assert_eq!(
        hidden.hint.as_deref().map(same),
        absent.hint.as_deref().map(same)
    );

    let near = send(&world.token, "pest")
        .await
        .assert_refused(404, "unknown_dataset");
    let words = near.detail + &near.hint.unwrap_or_default();
    assert!(words.contains("pets"), "{words}");
    world.assert_nothing_stored().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_declared_length_over_the_limit_is_413_before_the_body_is_read() {
    let world = World::new().await;
    for (content_type, over) in [
        ("image/jpeg", 1),
        ("multipart/form-data; boundary=b", 65_537),
    ] {
        let (body, taken) = endless(picture_chunk());
        let request = world
            .upload()
            .header("x-label", "cat")
            .header("content-type", content_type)
            .header("content-length", (32 << 20) + over)
            .body(body);
        let response = world.app.clone().oneshot(request.unwrap()).await.unwrap();
        assert_eq!(taken.load(Ordering::SeqCst), 0);
        assert_eq!(response.headers()["connection"], "close");
        let problem = Reply::read(response)
            .await
            .assert_refused(413, "body_too_large");
        assert!(problem.detail.contains("33554432"), "{}", problem.detail);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chunked_body_over_the_limit_is_cut_at_the_limit() {
    let settings = IngestSettings {
        max_body_bytes: 1 << 20,
        ..IngestSettings::default()
    };
    let world = World::with(json!({}), settings).await;
    let (body, taken) = endless(picture_chunk());
    let request = world.upload().header("x-label", "cat").body(body);
    let response = world.app.clone().oneshot(request.unwrap()).await.unwrap();
    // The chunk that breaks the limit is the last that was looked at.
    assert_eq!(taken.load(Ordering::SeqCst), (1 << 20) + (64 << 10));
    Reply::read(response)
        .await
        .assert_refused(413, "body_too_large");
    // What the client went on sending was read for a while, so that it hears why.
    let lingered = taken.load(Ordering::SeqCst);
    assert!(lingered < 34 << 20, "{lingered}");

    let head = Form::new().file("cat.jpg", &jpeg(1, 10));
    let content_type = head.content_type();
    let head = stream::iter([std::io::Result::Ok(Bytes::from(head.end()[..120].to_vec()))]);
    let (rest, taken) = endless(picture_chunk());
    let body = Body::from_stream(
        head.map(|r| r.map_err(axum::Error::new))
            .chain(rest.into_data_stream()),
    );
    let request = world.upload().header("content-type", content_type);
    let response = world
        .app
        .clone()
        .oneshot(request.body(body).unwrap())
        .await
        .unwrap();
    assert!(taken.load(Ordering::SeqCst) <= (1 << 20) + (128 << 10));
    Reply::read(response)
        .await
        .assert_refused(413, "body_too_large");
    world.assert_nothing_stored().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn text_and_documents_are_415_after_their_first_kilobyte() {
    let world = World::new().await;
    let mut pdf = b"%PDF-1.7\n".to_vec();
    pdf.resize(64 << 10, b' ');
    for (content, word) in [(vec![b'a'; 64 << 10], "any picture"), (pdf, "PDF")] {
        let (body, taken) = endless(content.into());
        let request = world
            .upload()
            .header("x-label", "cat")
            .header("content-type", "image/jpeg");
        let request = request.body(body).unwrap();
        let response = world.app.clone().oneshot(request).await.unwrap();
        assert_eq!(taken.load(Ordering::SeqCst), 64 << 10);
        let problem = Reply::read(response)
            .await
            .assert_refused(415, "not_an_image");
        assert!(problem.detail.contains(word), "{}", problem.detail);
    }
    let text = Form::new().file("cat.jpg", &b"text ".repeat(1000));
    text.send(&world).await.assert_refused(415, "not_an_image");
    world.assert_nothing_stored().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_no_photo() {
    let world = World::new().await;
    world
        .send_cat(Vec::new())
        .await
        .assert_refused(415, "empty_body");
    let form = Form::new().file("cat.jpg", b"");
    form.send(&world).await.assert_refused(415, "empty_body");
    world.assert_nothing_stored().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_digest_that_does_not_match_is_400_and_tells_the_right_one() {
    let world = World::new().await;
    let photo = jpeg(1, 5000);
    let wrong = data_encoding::BASE64.encode(Sha256::of(b"other").as_bytes());
    let right = data_encoding::BASE64.encode(Sha256::of(&photo).as_bytes());
    for header in ["repr-digest", "content-digest"] {
        let request = world
            .upload()
            .header("x-label", "cat")
            .header(header, format!("sha-256=:{wrong}:"))
            .body(photo.clone().into());
        let reply = world.send(request.unwrap()).await;
        let problem = reply.assert_refused(400, "digest_mismatch");
        assert!(problem.detail.contains(&right), "{}", problem.detail);
    }
    let form = Form::new().file("cat.jpg", &photo);
    let request = world
        .upload()
        .header("content-type", form.content_type())
        .header("repr-digest", format!("sha-256=:{wrong}:"));
    let request = request.body(form.end().into()).unwrap();
    world
        .send(request)
        .await
        .assert_refused(400, "digest_mismatch");
    world.assert_nothing_stored().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_headers_are_400_and_say_which() {
    let world = World::new().await;
    for (name, value, code) in [
        ("repr-digest", "sha-256=abc", "invalid_digest"),
        ("content-digest", "sha-256=:AAAA:", "invalid_digest"),
        ("x-captured-at", "yesterday", "invalid_field"),
        ("x-metadata", "{\"a\":1}", "invalid_field"),
        ("content-length", "many", "invalid_content_length"),
        ("idempotency-key", "a b", "invalid_idempotency_key"),
    ] {
        let (body, taken) = endless(picture_chunk());
        let request = world.upload().header("x-label", "cat").header(name, value);
        let request = request.body(body).unwrap();
        let response = world.app.clone().oneshot(request).await.unwrap();
        assert_eq!(taken.load(Ordering::SeqCst), 0, "{name}");
        let problem = Reply::read(response).await.assert_refused(400, code);
        let said = problem.detail.to_lowercase();
        assert!(said.contains(name), "{name}: {said}");
    }
    world.assert_nothing_stored().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_that_is_none_is_400_with_the_rule() {
    let world = World::new().await;
    let photo = jpeg(1, 2000);
    let long = "x".repeat(8193);
    let unfinished = {
        let mut form = Form::new().part("label", "cat").file("x.jpg", &photo).end();
        form.truncate(form.len() - 30);
        form
    };
    let forms: [(&str, Vec<u8>); 7] = [
        ("no file", Form::new().part("label", "cat").end()),
        (
            "two files",
            Form::new()
                .file("a.jpg", &photo)
                .file("a.jpg", &photo)
                .end(),
        ),
        (
            "an unknown part",
            Form::new().part("lable", "cat").file("a.jpg", &photo).end(),
        ),
        (
            "a long part",
            Form::new().part("label", &long).file("a.jpg", &photo).end(),
        ),
        ("an unfinished form", unfinished),
        ("no form at all", photo.clone()),
        ("an endless part header", {
            let mut form = Form::new().end();
            form.truncate(form.len() - 4);
            form.extend_from_slice(b"\r\n");
            form.resize(800_000, b'x');
            form
        }),
    ];
    for (what, form) in forms {
        let head = world
            .upload()
            .header("content-type", Form::new().content_type());
        let chunks: Vec<_> = form.chunks(4096).map(Bytes::copy_from_slice).collect();
        let body = Body::from_stream(stream::iter(chunks.into_iter().map(std::io::Result::Ok)));
        let reply = world.send(head.body(body).unwrap()).await;
        let problem = reply.assert_refused(400, "invalid_form");
        let is_endless = what == "an endless part header";
        assert_eq!(problem.detail.contains("64 KiB"), is_endless, "{what}");
        assert!(
            problem.hint.unwrap().contains("exactly one part `file`"),
            "{what}"
        );
    }
    let digest = |head: request::Builder| head.header("content-digest", "sha-256=:AAAA:");
    let head = digest(
        world
            .upload()
            .header("content-type", Form::new().content_type()),
    );
    let reply = world.send(head.body(Body::empty()).unwrap()).await;
    reply.assert_refused(400, "invalid_digest");
    world.assert_nothing_stored().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_breaks_off_leaves_nothing() {
    let world = World::new().await;
    let broken = || std::io::Error::from(std::io::ErrorKind::ConnectionReset);
    let chunks = [Ok(picture_chunk()), Err(broken())];
    let request = world.upload().header("x-label", "cat");
    let request = request
        .body(Body::from_stream(stream::iter(chunks)))
        .unwrap();
    world
        .send(request)
        .await
        .assert_refused(400, "incomplete_body");

    let request = world
        .upload()
        .header("x-label", "cat")
        .header("content-length", 100_000);
    let request = request.body(picture_chunk().into()).unwrap();
    world
        .send(request)
        .await
        .assert_refused(400, "incomplete_body");
    world.assert_nothing_stored().await;
}

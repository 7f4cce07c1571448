//! Photos that their clients write into the object store themselves.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use chrono::Utc;
use ingest::{DirectPut, IngestSettings, SignPut, SignedPut};
use schemas::Sha256;
use schemas::http::{CreatedKey, PresignedCapture};
use serde_json::{Value, json};

use crate::harness::{Reply, World, jpeg};

/// Signs as a store would that takes whatever comes.
struct Gullible;

#[async_trait]
impl SignPut for Gullible {
    async fn sign(&self, put: &DirectPut) -> Result<SignedPut, Box<dyn Error + Send + Sync>> {
        Ok(SignedPut {
            url: put.object.to_string(),
            headers: BTreeMap::from([("content-length".into(), put.num_bytes.to_string())]),
            expires_at: Utc::now() + put.valid_for,
        })
    }
}

/// A store whose credentials are away.
struct Keyless;

#[async_trait]
impl SignPut for Keyless {
    async fn sign(&self, _: &DirectPut) -> Result<SignedPut, Box<dyn Error + Send + Sync>> {
        Err("no credentials".into())
    }
}

fn declared(photo: &[u8]) -> Value {
    json!({"label": "cat", "bytes": photo.len(), "sha256": Sha256::of(photo).to_string()})
}

impl World {
    async fn direct() -> Self {
        let world = Self::new().await;
        world.ingest.offer_direct_uploads(Arc::new(Gullible));
        world
    }

    async fn presign(&self, declared: Value) -> Reply {
        let path = format!("/v1/datasets/{}/captures/presign", self.dataset);
        self.call("POST", &path, declared).await
    }

    async fn presigned(&self, photo: &[u8]) -> PresignedCapture {
        let reply = self.presign(declared(photo)).await;
        assert_eq!(reply.status, StatusCode::CREATED, "{}", reply.body);
        let answer: PresignedCapture = serde_json::from_value(reply.body.clone()).unwrap();
        assert_eq!(
            reply.header("location"),
            format!("/v1/uploads/{}", answer.id)
        );
        assert_eq!(reply.header("cache-control"), "no-store");
        answer
    }

    fn object(&self, answer: &PresignedCapture) -> PathBuf {
        self.folder.path().join(&answer.url)
    }

    /// What the client's `PUT` does.
    fn put(&self, answer: &PresignedCapture, bytes: &[u8]) {
        let object = self.object(answer);
        std::fs::create_dir_all(object.parent().unwrap()).unwrap();
        std::fs::write(object, bytes).unwrap();
    }

    async fn confirm(&self, answer: &PresignedCapture) -> Reply {
        self.confirm_with(&self.token, answer).await
    }

    async fn confirm_with(&self, token: &str, answer: &PresignedCapture) -> Reply {
        let request =
            Request::post(&answer.confirm).header("authorization", format!("Bearer {token}"));
        self.send(request.body(Body::empty()).unwrap()).await
    }
}

#[tokio::test]
async fn what_was_written_and_confirmed_is_a_capture_and_the_answer_is_told_again() {
    let world = World::direct().await;
    let photo = jpeg(1, 100_000);
    let mut words = declared(&photo);
    words["captured_at"] = "2026-05-17T09:30:00+02:00".into();
    words["device_id"] = "a phone".into();
    words["metadata"] = json!({"room": "kitchen"});
    let reply = world.presign(words).await;
    let answer: PresignedCapture = serde_json::from_value(reply.body).unwrap();
    assert_eq!(answer.method, "PUT");
    assert!(answer.expires_at > Utc::now() + Duration::from_secs(3000));
    world.put(&answer, &photo);
    assert_eq!(world.num_captures().await, 0, "it does not count yet");

    let receipt = world.confirm(&answer).await.assert_queued();
    assert_eq!(receipt.sha256, Sha256::of(&photo).to_string());
    assert_eq!(world.confirm(&answer).await.assert_queued(), receipt);
    world.ingest.drain(Duration::from_secs(5)).await;
    assert_eq!(world.originals(), vec![photo]);
    assert!(!world.object(&answer).exists());
    let events = world.events();
    assert_eq!((events.len(), world.num_captures().await), (1, 1));
    assert_eq!(
        (events[0].label.as_str(), events[0].device.as_str()),
        ("cat", "a phone")
    );
    assert_eq!(events[0].metadata["room"], "kitchen");
    assert!(events[0].captured_at_us.is_some());
}

#[tokio::test]
async fn two_confirmations_at_once_are_one_capture() {
    let world = World::direct().await;
    let photo = jpeg(1, 100_000);
    let answer = world.presigned(&photo).await;
    world.put(&answer, &photo);
    let (one, other) = tokio::join!(world.confirm(&answer), world.confirm(&answer));
    assert_eq!(one.assert_queued(), other.assert_queued());
    assert_eq!((world.events().len(), world.num_captures().await), (1, 1));
}

#[tokio::test]
async fn confirmed_before_it_is_written_it_waits() {
    let world = World::direct().await;
    let photo = jpeg(1, 10_000);
    let answer = world.presigned(&photo).await;
    world
        .confirm(&answer)
        .await
        .assert_refused(409, "not_uploaded");
    world.put(&answer, &photo);
    world.confirm(&answer).await.assert_queued();
}

#[tokio::test]
async fn other_bytes_than_declared_are_removed_and_another_try_succeeds_under_the_same_key() {
    let world = World::direct().await;
    let photo = jpeg(1, 10_000);
    let presigned = async || {
        let request = Request::post(format!("/v1/datasets/{}/captures/presign", world.dataset))
            .header("authorization", format!("Bearer {}", world.token))
            .header("content-type", "application/json")
            .header("idempotency-key", "the-photo");
        let body = Body::from(declared(&photo).to_string());
        let reply = world.send(request.body(body).unwrap()).await;
        serde_json::from_value::<PresignedCapture>(reply.body).unwrap()
    };
    for (wrong, code) in [
        (jpeg(2, 10_000), "digest_mismatch"),
        (photo[..9_999].to_vec(), "inconsistent_upload_length"),
        (
            [photo.as_slice(), b"x"].concat(),
            "inconsistent_upload_length",
        ),
        (Vec::new(), "inconsistent_upload_length"),
    ] {
        let answer = presigned().await;
        world.put(&answer, &wrong);
        for _ in 0..2 {
            world.confirm(&answer).await.assert_refused(400, code);
        }
        let gone = async || {
            while world.object(&answer).exists() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(5), gone())
            .await
            .unwrap();
    }
    world.assert_nothing_stored().await;
    let answer = presigned().await;
    world.put(&answer, &photo);
    let receipt = world.confirm(&answer).await.assert_queued();
    // The whole photo under the same key is the same upload.
    let whole = world
        .upload()
        .header("x-label", "cat")
        .header("idempotency-key", "the-photo");
    let whole = world.send(whole.body(photo.into()).unwrap()).await;
    assert_eq!(whole.assert_queued(), receipt);
}

#[tokio::test]
async fn what_is_no_picture_is_refused_and_what_is_known_is_a_duplicate() {
    let world = World::direct().await;
    let text = vec![b'a'; 5000];
    let answer = world.presigned(&text).await;
    world.put(&answer, &text);
    world
        .confirm(&answer)
        .await
        .assert_refused(415, "not_an_image");

    let photo = jpeg(1, 10_000);
    let first = world.send_cat(photo.clone()).await.assert_queued();
    let answer = world.presigned(&photo).await;
    world.put(&answer, &photo);
    let reply = world.confirm(&answer).await;
    assert_eq!(reply.status, StatusCode::OK, "{}", reply.body);
    assert_eq!(reply.receipt().duplicate_of, Some(first.id));
}

#[tokio::test]
async fn a_process_that_dies_between_writing_and_confirming_loses_nothing() {
    let mut world = World::direct().await;
    let photo = jpeg(1, 10_000);
    let answer = world.presigned(&photo).await;
    world.put(&answer, &photo);
    world = world.reopen().await;
    // To confirm, nothing needs to be signed.
    let aside = world.break_store();
    world
        .confirm(&answer)
        .await
        .assert_refused(503, "store_unavailable");
    world.mend_store(aside);
    world.confirm(&answer).await.assert_queued();
    assert_eq!(world.originals(), vec![photo]);
}

#[tokio::test]
async fn another_keys_upload_is_unknown_and_an_expired_one_is_over_and_swept() {
    let world = World::direct().await;
    let key: CreatedKey = world
        .create_key(json!({"name": "phone", "scopes": ["upload"]}))
        .await;
    let photo = jpeg(1, 10_000);
    let answer = world.presigned(&photo).await;
    world.put(&answer, &photo);
    world
        .confirm_with(&key.token, &answer)
        .await
        .assert_refused(404, "unknown_upload");

    world.catalog.expire_upload(answer.id).await.unwrap();
    world
        .confirm(&answer)
        .await
        .assert_refused(410, "upload_expired");
    world.assert_nothing_stored().await;
    world
        .sweep(async || world.confirm(&answer).await.status == StatusCode::NOT_FOUND)
        .await;
    assert!(!world.object(&answer).exists());
}

#[tokio::test]
async fn what_is_written_after_it_was_cancelled_is_swept() {
    let world = World::direct().await;
    let photo = jpeg(1, 10_000);
    let answer = world.presigned(&photo).await;
    world.put(&answer, &photo);
    let path = format!("/v1/uploads/{}", answer.id);
    let reply = world.call("DELETE", &path, Value::Null).await;
    assert_eq!(reply.status, StatusCode::NO_CONTENT, "{}", reply.body);
    world
        .confirm(&answer)
        .await
        .assert_refused(404, "unknown_upload");
    assert!(!world.object(&answer).exists());
    // The client's request was signed before, and tried again.
    world.put(&answer, &photo);
    let now = Utc::now();
    let (catalog, hours) = (&world.catalog, Duration::from_secs(4 * 3600));
    assert_eq!(catalog.expired_uploads(10).await.unwrap(), [], "too early");
    catalog.disown_upload(answer.id, now - hours).await.unwrap();
    world.sweep(async || !world.object(&answer).exists()).await;
    assert_eq!(world.num_captures().await, 0);
}

#[tokio::test]
async fn a_direct_upload_takes_no_bytes_here_and_others_are_not_confirmed() {
    let world = World::direct().await;
    let photo = jpeg(1, 10_000);
    let answer = world.presigned(&photo).await;
    let patch = Request::patch(format!("/v1/uploads/{}", answer.id))
        .header("authorization", format!("Bearer {}", world.token))
        .header("content-type", "application/partial-upload")
        .header("upload-offset", 0)
        .header("upload-complete", "?1");
    let reply = world.send(patch.body(photo.clone().into()).unwrap()).await;
    reply.assert_refused(409, "direct_upload");
    world.put(&answer, &photo);
    world.confirm(&answer).await.assert_queued();

    let begin = world
        .upload()
        .header("x-label", "cat")
        .header("upload-complete", "?0");
    let begun = world.send(begin.body(Body::empty()).unwrap()).await;
    let path = format!("{}/confirm", begun.header("location"));
    world
        .call("POST", &path, Value::Null)
        .await
        .assert_refused(409, "not_direct");
}

#[tokio::test]
async fn what_cannot_become_a_capture_is_not_signed() {
    let settings = IngestSettings {
        max_open_uploads_per_key: 1,
        ..IngestSettings::default()
    };
    let policy = json!({"labels": ["cat"], "policy": {"unknown_labels": "reject"}});
    let world = World::with(policy, settings).await;
    world.ingest.offer_direct_uploads(Arc::new(Gullible));
    let photo = jpeg(1, 10_000);
    for (field, value, status, code) in [
        ("bytes", json!(0), 415, "empty_body"),
        ("bytes", json!(33 << 20), 413, "body_too_large"),
        ("sha256", json!("abc"), 422, "invalid_value"),
        ("label", json!("dog"), 422, "unknown_label"),
        ("label", Value::Null, 422, "label_missing"),
        ("captured_at", json!("yesterday"), 400, "invalid_field"),
        ("device_id", json!("x".repeat(129)), 400, "invalid_field"),
    ] {
        let mut words = declared(&photo);
        words[field] = value;
        world.presign(words).await.assert_refused(status, code);
    }
    let mut named = declared(&photo);
    named["label"] = Value::Null;
    named["file_name"] = "cat.123.jpg".into();
    assert_eq!(world.presign(named).await.status, StatusCode::CREATED);
    world
        .presign(declared(&photo))
        .await
        .assert_refused(429, "too_many_uploads");
}

#[tokio::test]
async fn without_s3_or_its_credentials_it_is_said_what_to_do() {
    let world = World::new().await;
    let photo = jpeg(1, 10_000);
    let problem = world
        .presign(declared(&photo))
        .await
        .assert_refused(409, "no_direct_uploads");
    assert!(problem.hint.unwrap().contains("POST the photo"));
    world.ingest.offer_direct_uploads(Arc::new(Keyless));
    world
        .presign(declared(&photo))
        .await
        .assert_refused(503, "store_unavailable");
}

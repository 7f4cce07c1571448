//! Uploads in pieces, as the IETF draft has them.

use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use data_encoding::BASE64;
use schemas::http::CreatedKey;
use schemas::{Sha256, UploadId};
use serde_json::json;

use crate::harness::{Reply, Stalled, World, jpeg};

/// How an upload stands, as far as a test goes on with it.
struct Begun {
    location: String,
    token: String,
}

impl World {
    async fn begin(&self, length: Option<usize>, body: &[u8]) -> Reply {
        let mut request = self
            .upload()
            .header("x-label", "cat")
            .header("upload-complete", "?0");
        if let Some(length) = length {
            request = request.header("upload-length", length);
        }
        request = request.header("content-length", body.len());
        self.send(request.body(body.to_vec().into()).unwrap()).await
    }

    async fn begun(&self, length: Option<usize>) -> Begun {
        let reply = self.begin(length, b"").await;
        assert_eq!(reply.status, StatusCode::CREATED, "{}", reply.body);
        Begun {
            location: reply.header("location").to_owned(),
            token: self.token.clone(),
        }
    }

    async fn patch(&self, upload: &Begun, offset: usize, is_last: bool, body: &[u8]) -> Reply {
        let request = patch(upload, offset, is_last).header("content-length", body.len());
        self.send(request.body(body.to_vec().into()).unwrap()).await
    }

    async fn head(&self, upload: &Begun) -> Reply {
        let request = Request::head(&upload.location).header("authorization", bearer(upload));
        self.send(request.body(Body::empty()).unwrap()).await
    }

    /// The objects of uploads that are in the store.
    fn num_parts(&self) -> usize {
        let mut found = 0;
        let mut folders = vec![self.folder.path().join("uploads")];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).into_iter().flatten() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    found += 1;
                }
            }
        }
        found
    }
}

fn bearer(upload: &Begun) -> String {
    format!("Bearer {}", upload.token)
}

fn patch(upload: &Begun, offset: usize, is_last: bool) -> axum::http::request::Builder {
    Request::patch(&upload.location)
        .header("authorization", bearer(upload))
        .header("content-type", "application/partial-upload")
        .header("upload-offset", offset)
        .header("upload-complete", if is_last { "?1" } else { "?0" })
}

#[tokio::test]
async fn a_photo_in_pieces_is_taken_in_as_if_it_had_come_whole_and_the_answer_is_told_again() {
    let world = World::new().await;
    let photo = jpeg(1, 100_000);
    let upload = world.begun(Some(photo.len())).await;
    for (from, to) in [(0, 40_000), (40_000, 90_000)] {
        let reply = world.patch(&upload, from, false, &photo[from..to]).await;
        assert_eq!(reply.status, StatusCode::NO_CONTENT, "{}", reply.body);
        assert_eq!(reply.header("upload-offset"), to.to_string());
        assert_eq!(reply.header("upload-complete"), "?0");
    }
    let head = world.head(&upload).await;
    assert_eq!(head.status, StatusCode::NO_CONTENT);
    assert_eq!(head.header("upload-offset"), "90000");
    assert_eq!(head.header("upload-length"), "100000");
    assert_eq!(head.header("upload-complete"), "?0");
    assert_eq!(head.header("cache-control"), "no-store");
    assert!(head.header("upload-limit").contains("max-size=33554432"));

    let last = world.patch(&upload, 90_000, true, &photo[90_000..]).await;
    let receipt = last.assert_queued();
    assert_eq!(last.header("upload-complete"), "?1");
    assert_eq!(receipt.sha256, Sha256::of(&photo).to_string());
    world.ingest.drain(Duration::from_secs(5)).await;
    assert_eq!(world.originals(), vec![photo.clone()]);
    assert_eq!((world.events().len(), world.num_captures().await), (1, 1));
    assert_eq!((world.num_parts(), world.num_unfinished()), (0, 0));

    // The client lost the answer.
    let head = world.head(&upload).await;
    assert_eq!(head.header("upload-complete"), "?1");
    assert_eq!(head.header("upload-offset"), "100000");
    assert_eq!(head.header("x-capture-id"), receipt.id.to_string());
    let again = world.patch(&upload, 100_000, true, b"").await;
    assert_eq!(again.assert_queued(), receipt);
    assert_eq!(world.events().len(), 1);
    let more = world.patch(&upload, 100_000, true, b"x").await;
    let problem = more.assert_refused(400, "completed_upload");
    assert!(problem.kind.ends_with("#completed-upload"));
    let wrong = world.patch(&upload, 90_000, true, &photo[90_000..]).await;
    wrong.assert_refused(409, "mismatching_upload_offset");
    assert_eq!(wrong.header("upload-offset"), "100000");
}

#[tokio::test]
async fn a_wrong_offset_is_told_the_right_one() {
    let world = World::new().await;
    let photo = jpeg(1, 10_000);
    let upload = world.begun(Some(photo.len())).await;
    world.patch(&upload, 0, false, &photo[..5000]).await;
    for wrong in [0, 4999, 5001] {
        let reply = world
            .patch(&upload, wrong, false, &photo[wrong..wrong + 10])
            .await;
        let problem = reply.assert_refused(409, "mismatching_upload_offset");
        assert!(problem.kind.ends_with("#mismatching-upload-offset"));
        assert_eq!(reply.header("upload-offset"), "5000");
        assert_eq!(reply.body["expected-offset"], 5000);
        assert_eq!(reply.body["provided-offset"], wrong);
    }
    world
        .patch(&upload, 5000, true, &photo[5000..])
        .await
        .assert_queued();
    assert_eq!(world.originals(), vec![photo]);
}

#[tokio::test]
async fn a_body_that_breaks_off_leaves_what_came_and_the_upload_goes_on() {
    let world = World::new().await;
    let photo = jpeg(1, 50_000);
    let upload = world.begun(Some(photo.len())).await;
    let body = Stalled::new();
    let request = patch(&upload, 0, true).header("content-length", photo.len());
    let sending = world.send(request.body(body.body).unwrap());
    let client = async {
        body.is_read.await.unwrap();
        body.client
            .unbounded_send(Ok(photo[..30_000].to_vec().into()))
            .unwrap();
        drop(body.client);
    };
    let (reply, ()) = tokio::join!(sending, client);
    reply.assert_refused(503, "upload_interrupted");
    assert_eq!(reply.header("upload-offset"), "30000");
    assert_eq!(world.head(&upload).await.header("upload-offset"), "30000");
    world
        .patch(&upload, 30_000, true, &photo[30_000..])
        .await
        .assert_queued();
    assert_eq!(world.originals(), vec![photo]);
}

#[tokio::test]
async fn a_newer_request_ends_the_one_that_hangs_and_keeps_what_it_brought() {
    let world = World::new().await;
    let photo = jpeg(1, 50_000);
    let upload = world.begun(Some(photo.len())).await;
    let body = Stalled::new();
    let request = patch(&upload, 0, true).header("content-length", photo.len());
    let hanging = world.send(request.body(body.body).unwrap());
    let newer = async {
        body.is_read.await.unwrap();
        body.client
            .unbounded_send(Ok(photo[..20_000].to_vec().into()))
            .unwrap();
        // Whether the bytes were taken before it came or not: it goes on where it is told.
        let head = world.head(&upload).await;
        let offset: usize = head.header("upload-offset").parse().unwrap();
        world.patch(&upload, offset, true, &photo[offset..]).await
    };
    let (hung, reply) = tokio::join!(hanging, newer);
    hung.assert_refused(409, "upload_taken_over");
    reply.assert_queued();
    assert_eq!(world.originals(), vec![photo]);
    assert_eq!(world.events().len(), 1);
}

#[tokio::test]
async fn lengths_that_disagree_are_refused_and_nothing_over_the_length_is_kept() {
    let world = World::new().await;
    let photo = jpeg(1, 10_000);
    let upload = world.begun(Some(photo.len())).await;
    let longer = world.patch(&upload, 0, true, &jpeg(1, 10_001)).await;
    let problem = longer.assert_refused(400, "inconsistent_upload_length");
    assert!(problem.kind.ends_with("#inconsistent-upload-length"));
    let shorter = world.patch(&upload, 0, true, &photo[..9_000]).await;
    shorter.assert_refused(400, "inconsistent_upload_length");
    world.patch(&upload, 0, true, &photo).await.assert_queued();

    // Without Content-Length the bytes themselves tell.
    let upload = world.begun(Some(1_000)).await;
    let chunks = jpeg(2, 1_001)
        .into_iter()
        .map(|b| Ok::<_, std::io::Error>(vec![b]));
    let body = Body::from_stream(futures::stream::iter(chunks));
    let reply = world
        .send(patch(&upload, 0, true).body(body).unwrap())
        .await;
    reply.assert_refused(400, "inconsistent_upload_length");
    assert_eq!(world.head(&upload).await.status, StatusCode::GONE);
    assert_eq!(world.originals(), vec![photo]);
}

#[tokio::test]
async fn a_digest_that_fails_keeps_nothing_and_the_same_key_can_be_used_again() {
    let world = World::new().await;
    let photo = jpeg(1, 10_000);
    let digest = |of: &[u8]| format!("sha-256=:{}:", BASE64.encode(Sha256::of(of).as_bytes()));
    let begin = async |sha256: String| {
        let request = world
            .upload()
            .header("x-label", "cat")
            .header("upload-complete", "?0");
        let request = request
            .header("repr-digest", sha256)
            .header("idempotency-key", "k");
        let request = request.header("content-length", 0);
        let reply = world.send(request.body(Body::empty()).unwrap()).await;
        let location = reply.header("location").to_owned();
        Begun {
            location,
            token: world.token.clone(),
        }
    };
    let wrong = begin(digest(b"another")).await;
    let reply = world.patch(&wrong, 0, true, &photo).await;
    reply.assert_refused(400, "digest_mismatch");
    assert_eq!(reply.header("upload-complete"), "?1");
    world.ingest.drain(Duration::from_secs(5)).await;
    world.assert_nothing_stored().await;
    assert_eq!(world.num_parts(), 0);

    let right = begin(digest(&photo)).await;
    let bad_piece = patch(&right, 0, false).header("content-length", 5000);
    let bad_piece = bad_piece.header("content-digest", digest(b"another"));
    let reply = world
        .send(bad_piece.body(photo[..5000].to_vec().into()).unwrap())
        .await;
    reply.assert_refused(400, "digest_mismatch");
    assert_eq!(world.head(&right).await.header("upload-offset"), "0");
    let receipt = world.patch(&right, 0, true, &photo).await.assert_queued();
    // The whole photo under the same key is the same upload.
    let whole = world
        .upload()
        .header("x-label", "cat")
        .header("idempotency-key", "k");
    let whole = world.send(whole.body(photo.into()).unwrap()).await;
    assert_eq!(whole.assert_queued(), receipt);
}

#[tokio::test]
async fn another_keys_upload_and_a_cancelled_one_are_unknown() {
    let world = World::new().await;
    let key: CreatedKey = world
        .create_key(json!({"name": "phone", "scopes": ["upload"]}))
        .await;
    let upload = world.begun(None).await;
    let other = Begun {
        location: upload.location.clone(),
        token: key.token,
    };
    assert_eq!(world.head(&other).await.status, StatusCode::NOT_FOUND);
    world
        .patch(&other, 0, true, &jpeg(1, 1000))
        .await
        .assert_refused(404, "unknown_upload");
    world.patch(&upload, 0, false, &jpeg(1, 1000)).await;
    assert_eq!(world.num_parts(), 1);
    let cancel = Request::delete(&upload.location).header("authorization", bearer(&upload));
    let cancel = world.send(cancel.body(Body::empty()).unwrap()).await;
    assert_eq!(cancel.status, StatusCode::NO_CONTENT);
    assert_eq!(world.head(&upload).await.status, StatusCode::NOT_FOUND);
    assert_eq!(world.num_parts(), 0);
}

#[tokio::test]
async fn what_is_no_picture_or_too_large_is_refused_early() {
    let world = World::new().await;
    let upload = world.begun(None).await;
    let text = vec![b'a'; 5000];
    world
        .patch(&upload, 0, false, &text)
        .await
        .assert_refused(415, "not_an_image");
    assert_eq!(world.num_parts(), 0);
    let reply = world.begin(Some(33 << 20), b"").await;
    reply.assert_refused(413, "body_too_large");
    assert!(reply.header("upload-limit").contains("max-size="));
    let empty = world.begun(Some(0)).await;
    let reply = world.patch(&empty, 0, true, b"").await;
    reply.assert_refused(415, "empty_body");
    assert_eq!(reply.header("upload-complete"), "?1");
}

#[tokio::test]
async fn an_upload_goes_on_in_another_process_and_survives_a_store_that_fails_at_the_end() {
    let mut world = World::new().await;
    let photo = jpeg(1, 60_000);
    let upload = world.begun(None).await;
    world.patch(&upload, 0, false, &photo[..20_000]).await;
    world = world.reopen().await;
    assert_eq!(world.head(&upload).await.header("upload-offset"), "20000");
    let aside = world.break_store();
    let reply = world.patch(&upload, 20_000, true, &photo[20_000..]).await;
    reply.assert_refused(503, "store_unavailable");
    assert_eq!(reply.header("upload-complete"), "?0");
    assert_eq!(reply.header("upload-offset"), "60000");
    world.mend_store(aside);
    world
        .patch(&upload, 60_000, true, b"")
        .await
        .assert_queued();
    assert_eq!(world.originals(), vec![photo]);
    assert_eq!(world.events().len(), 1);
}

#[tokio::test]
async fn every_version_of_the_draft_is_spoken_and_others_are_told() {
    let world = World::new().await;
    for version in 3..=8 {
        let photo = jpeg(version, 4000);
        let (name, more, last) = match version {
            3 => ("upload-incomplete", "?1", "?0"),
            _ => ("upload-complete", "?0", "?1"),
        };
        let version = version.to_string();
        let create = world.upload().header("x-label", "cat").header(name, more);
        let create = create.header("upload-draft-interop-version", &version);
        let reply = world
            .send(create.body(photo[..1000].to_vec().into()).unwrap())
            .await;
        assert_eq!(
            reply.status,
            StatusCode::CREATED,
            "{version}: {}",
            reply.body
        );
        assert_eq!(
            (reply.header(name), reply.header("upload-offset")),
            (more, "1000")
        );
        assert_eq!(reply.header("upload-draft-interop-version"), version);
        let mut append = Request::patch(reply.header("location"))
            .header("authorization", format!("Bearer {}", world.token))
            .header("upload-draft-interop-version", &version)
            .header("upload-offset", 1000)
            .header(name, last);
        if version.as_str() >= "6" {
            let bare = Request::patch(reply.header("location"))
                .header("authorization", format!("Bearer {}", world.token))
                .header("upload-draft-interop-version", &version)
                .header("upload-offset", 1000)
                .header(name, last);
            let refused = world.send(bare.body(Body::empty()).unwrap()).await;
            refused.assert_refused(415, "unsupported_media_type");
            append = append.header("content-type", "application/partial-upload");
        }
        let reply = world
            .send(append.body(photo[1000..].to_vec().into()).unwrap())
            .await;
        reply.assert_queued();
        assert_eq!(reply.header(name), last);
    }
    assert_eq!(world.originals().len(), 6);
    let unknown = world
        .upload()
        .header("x-label", "cat")
        .header("upload-complete", "?0");
    let unknown = unknown.header("upload-draft-interop-version", "9");
    let reply = world.send(unknown.body(Body::empty()).unwrap()).await;
    reply.assert_refused(400, "unsupported_interop_version");
    let options = Request::options(format!("/v1/datasets/{}/captures", world.dataset));
    let reply = world.send(options.body(Body::empty()).unwrap()).await;
    assert_eq!(reply.header("accept-patch"), "application/partial-upload");
}

#[tokio::test]
async fn what_a_killed_process_left_of_uploads_is_swept_when_their_time_is_over() {
    let world = World::new().await;
    let id = |upload: &Begun| -> UploadId {
        let id = upload.location.rsplit('/').next().unwrap();
        id.parse().unwrap()
    };
    let photo = jpeg(1, 10_000);
    let finished = world.begun(Some(photo.len())).await;
    world
        .patch(&finished, 0, true, &photo)
        .await
        .assert_queued();
    // As if the process had died before it removed the parts.
    let folder = world.folder.path().join("uploads").join(&world.dataset);
    let folder = folder.join(id(&finished).to_string());
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("0-1"), &photo).unwrap();
    // More than are looked up at a time, and one that is not over.
    let mut uploads = vec![finished];
    for _ in 0..250 {
        uploads.push(world.begun(None).await);
    }
    let going_on = world.begun(None).await;
    world.patch(&going_on, 0, false, &photo[..5_000]).await;
    assert_eq!(world.num_parts(), 2);
    for upload in &uploads {
        world.catalog.expire_upload(id(upload)).await.unwrap();
    }
    let expired = async || world.catalog.expired_uploads(1).await.unwrap();
    world.sweep(async || expired().await.is_empty()).await;
    assert_eq!(world.num_parts(), 1);
    assert_eq!(world.originals(), vec![photo]);
    let head = world.head(&going_on).await;
    assert_eq!(head.header("upload-offset"), "5000");
}

//! Uploads in pieces, as tus 1.0 has them.

use axum::body::Body;
use axum::http::{Request, StatusCode, request};
use data_encoding::BASE64;
use schemas::Sha256;

use crate::harness::{Reply, World, jpeg};

impl World {
    fn tus(&self, method: &str, path: &str) -> request::Builder {
        Request::builder()
            .method(method)
            .uri(path)
            .header("authorization", format!("Bearer {}", self.token))
            .header("tus-resumable", "1.0.0")
    }

    fn create_tus(&self) -> request::Builder {
        self.tus("POST", &format!("/v1/datasets/{}/tus", self.dataset))
    }

    async fn patch_tus(&self, location: &str, offset: usize, body: &[u8]) -> Reply {
        let request = self.tus("PATCH", location).header("upload-offset", offset);
        let request = request.header("content-type", "application/offset+octet-stream");
        let request = request.header("content-length", body.len());
        self.send(request.body(body.to_vec().into()).unwrap()).await
    }

    async fn empty(&self, request: request::Builder) -> Reply {
        self.send(request.body(Body::empty()).unwrap()).await
    }
}

fn metadata() -> String {
    format!(
        "filename {},filetype aW1hZ2UvanBlZw==",
        BASE64.encode(b"cat.1.jpg")
    )
}

#[tokio::test]
async fn a_photo_in_pieces_is_labelled_by_its_file_name_and_its_capture_is_told_in_headers() {
    let world = World::new().await;
    let photo = jpeg(1, 30_000);
    let create = world.create_tus().header("upload-length", photo.len());
    let reply = world
        .empty(create.header("upload-metadata", metadata()))
        .await;
    assert_eq!(reply.status, StatusCode::CREATED, "{}", reply.body);
    assert!(reply.header("upload-expires").ends_with("GMT"));
    let location = reply.header("location").to_owned();
    let reply = world.patch_tus(&location, 0, &photo[..10_000]).await;
    assert_eq!(reply.status, StatusCode::NO_CONTENT, "{}", reply.body);
    assert_eq!(reply.header("upload-offset"), "10000");
    let wrong = world.patch_tus(&location, 0, &photo[..10_000]).await;
    wrong.assert_refused(409, "mismatching_upload_offset");
    let head = world.empty(world.tus("HEAD", &location)).await;
    assert_eq!(head.header("upload-offset"), "10000");
    assert_eq!(head.header("upload-length"), "30000");
    assert_eq!(head.header("upload-metadata"), metadata());
    let last = world.patch_tus(&location, 10_000, &photo[10_000..]).await;
    assert_eq!(last.status, StatusCode::NO_CONTENT, "{}", last.body);
    assert_eq!(last.header("upload-offset"), "30000");
    assert_eq!(last.header("x-capture-status"), "queued");
    assert_eq!(last.header("tus-resumable"), "1.0.0");
    let head = world.empty(world.tus("HEAD", &location)).await;
    assert_eq!(head.header("x-capture-id"), last.header("x-capture-id"));
    assert_eq!(world.originals(), vec![photo]);
    assert_eq!(world.events()[0].label, "cat");
}

#[tokio::test]
async fn the_length_may_come_later_and_bytes_may_come_with_the_creation() {
    let world = World::new().await;
    let photo = jpeg(1, 9_000);
    let create = world.create_tus().header("upload-defer-length", "1");
    let create = create.header("upload-metadata", metadata());
    let create = create.header("content-type", "application/offset+octet-stream");
    let reply = world
        .send(create.body(photo[..4000].to_vec().into()).unwrap())
        .await;
    assert_eq!(
        (reply.status, reply.header("upload-offset")),
        (StatusCode::CREATED, "4000")
    );
    let location = reply.header("location").to_owned();
    let head = world.empty(world.tus("HEAD", &location)).await;
    assert_eq!(head.header("upload-defer-length"), "1");
    let request = world
        .tus("POST", &location)
        .header("x-http-method-override", "PATCH");
    let request = request
        .header("upload-offset", 4000)
        .header("upload-length", 9000);
    let request = request.header("content-type", "application/offset+octet-stream");
    let reply = world
        .send(request.body(photo[4000..].to_vec().into()).unwrap())
        .await;
    assert_eq!(reply.header("x-capture-status"), "queued", "{}", reply.body);

    let whole = jpeg(2, 5000);
    let create = world.create_tus().header("upload-length", whole.len());
    let create = create.header("upload-metadata", metadata());
    let create = create.header("content-type", "application/offset+octet-stream");
    let reply = world.send(create.body(whole.clone().into()).unwrap()).await;
    assert_eq!(
        (reply.status, reply.header("upload-offset")),
        (StatusCode::CREATED, "5000")
    );
    assert_eq!(reply.header("x-capture-status"), "queued");
    assert_eq!(world.originals().len(), 2);
}

#[tokio::test]
async fn a_checksum_that_fails_is_460_and_keeps_nothing() {
    let world = World::new().await;
    let photo = jpeg(1, 5000);
    let create = world.create_tus().header("upload-length", photo.len());
    let reply = world
        .empty(create.header("upload-metadata", metadata()))
        .await;
    let location = reply.header("location").to_owned();
    let send = async |checksum: String| {
        let request = world.tus("PATCH", &location).header("upload-offset", 0);
        let request = request.header("content-type", "application/offset+octet-stream");
        let request = request.header("upload-checksum", checksum);
        world
            .send(request.body(photo.clone().into()).unwrap())
            .await
    };
    let wrong = Sha256::of(b"another");
    let reply = send(format!("sha256 {}", BASE64.encode(wrong.as_bytes()))).await;
    assert_eq!(reply.status.as_u16(), 460);
    let reply = send(format!("sha1 {}", BASE64.encode(&[7; 20]))).await;
    assert_eq!(
        (reply.status.as_u16(), reply.header("upload-offset")),
        (460, "0")
    );
    send("md5 AAAA".into())
        .await
        .assert_refused(400, "invalid_digest");
    assert_eq!(world.originals(), Vec::<Vec<u8>>::new());
    let right = format!("sha256 {}", BASE64.encode(Sha256::of(&photo).as_bytes()));
    assert_eq!(send(right).await.header("x-capture-status"), "queued");
}

#[tokio::test]
async fn parts_that_came_in_parallel_are_joined() {
    let world = World::new().await;
    let photo = jpeg(1, 20_000);
    let mut parts = Vec::new();
    for piece in photo.chunks(8_000) {
        let create = world.create_tus().header("upload-length", piece.len());
        let reply = world.empty(create.header("upload-concat", "partial")).await;
        let location = reply.header("location").to_owned();
        let reply = world.patch_tus(&location, 0, piece).await;
        assert_eq!(reply.status, StatusCode::NO_CONTENT, "{}", reply.body);
        parts.push(location);
    }
    let open = world.create_tus().header("upload-length", 10);
    let open = world.empty(open.header("upload-concat", "partial")).await;
    let join = async |parts: &[String]| {
        let join = world.create_tus().header("upload-metadata", metadata());
        let concat = format!("final;{}", parts.join(" "));
        world.empty(join.header("upload-concat", concat)).await
    };
    let incomplete = [parts[0].clone(), open.header("location").to_owned()];
    join(&incomplete)
        .await
        .assert_refused(400, "invalid_concat");
    let reply = join(&parts).await;
    assert_eq!(reply.status, StatusCode::CREATED, "{}", reply.body);
    assert_eq!(reply.header("x-capture-status"), "queued");
    assert_eq!(world.originals(), vec![photo]);
    // The client lost the answer and joins again.
    assert_eq!(join(&parts).await.header("x-capture-status"), "duplicate");
    let location = reply.header("location").to_owned();
    let head = world.empty(world.tus("HEAD", &location)).await;
    assert!(head.header("upload-concat").starts_with("final;"));
    world
        .patch_tus(&location, 20_000, b"x")
        .await
        .assert_refused(403, "joined_upload");
}

#[tokio::test]
async fn other_versions_are_told_and_a_terminated_upload_is_gone() {
    let world = World::new().await;
    let path = format!("/v1/datasets/{}/tus", world.dataset);
    let options = world.empty(Request::options(&path)).await;
    assert_eq!(options.status, StatusCode::NO_CONTENT);
    assert_eq!(options.header("tus-version"), "1.0.0");
    assert!(options.header("tus-extension").contains("concatenation"));
    let bare = Request::post(&path).header("authorization", format!("Bearer {}", world.token));
    let reply = world.empty(bare.header("upload-length", 5)).await;
    reply.assert_refused(412, "unsupported_tus_version");
    assert_eq!(reply.header("tus-version"), "1.0.0");
    let too_large = world.create_tus().header("upload-length", 40 << 20);
    let too_large = world
        .empty(too_large.header("upload-metadata", metadata()))
        .await;
    too_large.assert_refused(413, "body_too_large");
    let unlabelled = world
        .empty(world.create_tus().header("upload-length", 5))
        .await;
    unlabelled.assert_refused(422, "label_missing");
    let create = world.create_tus().header("upload-length", 5);
    let reply = world
        .empty(create.header("upload-metadata", metadata()))
        .await;
    let location = reply.header("location").to_owned();
    let reply = world.empty(world.tus("DELETE", &location)).await;
    assert_eq!(reply.status, StatusCode::NO_CONTENT);
    let reply = world.empty(world.tus("HEAD", &location)).await;
    assert_eq!(reply.status, StatusCode::NOT_FOUND);
}

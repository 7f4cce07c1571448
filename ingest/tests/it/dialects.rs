//! What the clients of other services send, and how they are answered.

use axum::body::Body;
use axum::http::{Request, StatusCode, request};
use data_encoding::{BASE64, HEXLOWER};
use serde_json::json;
use sha1::Digest as _;

use crate::harness::{Form, Reply, World, jpeg};

impl World {
    async fn post_form(&self, path: &str, headers: &[(&str, &str)], form: Form) -> Reply {
        let mut request = Request::post(path).header("content-type", form.content_type());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request.body(form.end().into()).unwrap()).await
    }

    async fn post_json(&self, request: request::Builder, body: serde_json::Value) -> Reply {
        let request = request.header("content-type", "application/json");
        self.send(request.body(body.to_string().into()).unwrap())
            .await
    }
}

#[tokio::test]
async fn edge_impulse_one_bad_file_does_not_fail_the_others() {
    let world = World::new().await;
    let form = Form::new()
        .file_part("data", "cat.1.jpg", &jpeg(1, 5000))
        .file_part("data", "notes.txt", &[b'a'; 200_000])
        .file_part("data", "dog.2.jpg", &jpeg(2, 5000));
    let key = ("x-api-key", world.token.as_str());
    let reply = world.post_form("/api/training/files", &[key], form).await;
    assert_eq!(reply.status, StatusCode::OK, "{}", reply.body);
    let files = reply.body["files"].as_array().unwrap();
    let told: Vec<_> = files.iter().map(|file| file["success"] == true).collect();
    assert_eq!(
        (told, reply.body["success"] == true),
        (vec![true, false, true], false)
    );
    assert!(files[1]["error"].as_str().unwrap().contains("picture"));
    assert_eq!(reply.body["error"], files[1]["error"]);
    assert!(files[0]["sampleId"].is_u64());
    let mut labels: Vec<_> = world
        .events()
        .into_iter()
        .map(|event| event.label)
        .collect();
    labels.sort();
    assert_eq!(labels, ["cat", "dog"]);

    let again = || Form::new().file_part("data", "x.jpg", &jpeg(1, 5000));
    let label = ("x-label", "caf%C3%A9");
    let reply = world
        .post_form("/api/testing/files", &[key, label], again())
        .await;
    assert_eq!(reply.body["files"][0]["status"], "duplicate");
    let strict = ("x-disallow-duplicates", "1");
    let reply = world
        .post_form("/api/testing/files", &[key, strict], again())
        .await;
    let error = reply.body["files"][0]["error"].as_str().unwrap();
    assert!(
        error.contains("An item with this hash already exists"),
        "{error}"
    );
    let reply = world.post_form("/api/nothing/files", &[key], again()).await;
    assert_eq!(reply.status, StatusCode::NOT_FOUND);
    let reply = world.post_form("/api/training/files", &[], again()).await;
    assert_eq!(reply.status, StatusCode::UNAUTHORIZED);

    let bare = Request::post("/api/training/data").header("x-api-key", &world.token);
    let nameless = world.send(bare.body(jpeg(3, 5000).into()).unwrap()).await;
    assert_eq!(nameless.status, StatusCode::UNPROCESSABLE_ENTITY);
    let named = Request::post("/api/training/data").header("x-api-key", &world.token);
    let named = named.header("x-file-name", "cat.3.jpg");
    let reply = world.send(named.body(jpeg(3, 5000).into()).unwrap()).await;
    assert_eq!(reply.status, StatusCode::OK, "{}", reply.body);
    assert_eq!(world.originals().len(), 3);
}

#[tokio::test]
async fn edge_impulse_a_photo_that_is_said_to_have_no_label_waits_for_a_person() {
    let world = World::new().await;
    let form = Form::new().file_part("data", "cat.1.jpg", &jpeg(1, 5000));
    let headers = [
        ("x-api-key", world.token.as_str()),
        ("x-label", ""),
        ("x-no-label", "1"),
    ];
    let reply = world.post_form("/api/split/files", &headers, form).await;
    assert_eq!(reply.body["success"], true, "{}", reply.body);
    let events = world.events();
    assert_eq!(events[0].label, "unlabelled");
    assert!(events[0].unknown_label);
}

#[tokio::test]
async fn roboflow_a_photo_is_kept_until_its_class_is_told() {
    let world = World::new().await;
    let path = format!(
        "/roboflow/dataset/pets/upload?api_key={}&batch=b",
        world.token
    );
    let photo = jpeg(1, 5000);
    let form = || {
        Form::new()
            .part("name", "1.jpg")
            .part("split", "train")
            .file("1.jpg", &photo)
    };
    let reply = world.post_form(&path, &[], form()).await;
    assert_eq!(reply.body["success"], true, "{}", reply.body);
    let id = reply.body["id"].as_str().unwrap().to_owned();
    assert_eq!(
        (world.originals().len(), world.num_captures().await),
        (0, 0)
    );

    let world = world.reopen().await;
    let annotate = |id: &str| {
        let key = &world.token;
        Request::post(format!(
            "/dataset/pets/annotate/{id}?api_key={key}&name=cat"
        ))
    };
    let class = json!({"annotationFile": "cat", "labelmap": null});
    let reply = world.post_json(annotate(&id), class.clone()).await;
    assert_eq!(reply.body["success"], true, "{}", reply.body);
    assert_eq!(world.originals(), vec![photo.clone()]);
    let event = &world.events()[0];
    assert_eq!(
        (
            event.label.as_str(),
            event.metadata["roboflow.split"].as_str()
        ),
        ("cat", "train")
    );
    let reply = world.post_json(annotate(&id), class.clone()).await;
    assert_eq!(reply.status, StatusCode::CONFLICT);
    assert!(
        reply.body["error"]["message"]
            .as_str()
            .unwrap()
            .contains("already annotated")
    );

    let reply = world.post_form(&path, &[], form()).await;
    assert_eq!(reply.body["duplicate"], true);
    let twin = reply.body["id"].as_str().unwrap().to_owned();
    let reply = world.post_json(annotate(&twin), class).await;
    assert_eq!(reply.status, StatusCode::CONFLICT);
    let fetch = format!("{path}&image=http%3A%2F%2F127.0.0.1%2Fx.jpg");
    let reply = world
        .send(Request::post(fetch).body(Body::empty()).unwrap())
        .await;
    assert_eq!(reply.status, StatusCode::BAD_REQUEST);
    assert!(
        reply
            .body
            .as_str()
            .unwrap()
            .starts_with("Could not fetch image URL")
    );
    let workspace = Request::post(format!("/roboflow/?api_key={}", world.token));
    let workspace = world.send(workspace.body(Body::empty()).unwrap()).await;
    assert_eq!(workspace.body["workspace"], "main");
    let project = Request::get(format!("/roboflow/main/pets?api_key={}", world.token));
    let project = world.send(project.body(Body::empty()).unwrap()).await;
    assert_eq!(project.body["project"]["id"], "main/pets");
}

#[tokio::test]
async fn immich_known_checksums_are_told_before_the_bytes_are_sent() {
    let world = World::new().await;
    let photo = jpeg(1, 5000);
    let sha1 = sha1::Sha1::digest(&photo);
    let form = || {
        Form::new()
            .part("deviceAssetId", "a")
            .part("deviceId", "phone")
            .part("fileCreatedAt", "2026-05-17T09:30:00Z")
            .file_part("assetData", "IMG_1.jpg", &photo)
    };
    let key = ("x-api-key", world.token.as_str());
    let check = async || {
        let request = Request::post("/api/assets/bulk-upload-check").header(key.0, key.1);
        let assets = json!([{"id": "1", "checksum": HEXLOWER.encode(&sha1)},
            {"id": "2", "checksum": BASE64.encode(&[7; 20])}]);
        world
            .post_json(request, json!({"assets": assets}))
            .await
            .body["results"]
            .clone()
    };
    assert_eq!(check().await[0]["action"], "accept");
    let reply = world.post_form("/api/assets", &[key], form()).await;
    assert_eq!(
        (reply.status, reply.body["status"].as_str()),
        (StatusCode::CREATED, Some("created"))
    );
    let id = reply.body["id"].clone();
    let event = &world.events()[0];
    assert_eq!(
        (event.label.as_str(), event.device.as_str()),
        ("unlabelled", "phone")
    );
    assert!(event.unknown_label, "it waits for a person");
    let results = check().await;
    let known = json!({"id": "1", "action": "reject", "reason": "duplicate", "assetId": id});
    assert_eq!(
        (&results[0], results[1]["action"].as_str()),
        (&known, Some("accept"))
    );

    let reply = world.post_form("/api/assets", &[key], form()).await;
    assert_eq!(
        (reply.status, reply.body["id"].clone()),
        (StatusCode::OK, id.clone())
    );
    let checksum = BASE64.encode(&sha1);
    let early = [key, ("x-immich-checksum", checksum.as_str())];
    let empty = Form::new().part("deviceId", "phone");
    let reply = world.post_form("/api/assets", &early, empty).await;
    assert_eq!(
        (reply.status, reply.body["status"].as_str()),
        (StatusCode::OK, Some("duplicate"))
    );
    let wrong = BASE64.encode(&[9; 20]);
    let wrong = [key, ("x-immich-checksum", wrong.as_str())];
    let other = Form::new().file_part("assetData", "2.jpg", &jpeg(2, 500));
    let reply = world.post_form("/api/assets", &wrong, other).await;
    assert_eq!(reply.status, StatusCode::BAD_REQUEST);
    assert_eq!(world.originals().len(), 1);
}

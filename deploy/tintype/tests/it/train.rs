//! From photos to a model, over HTTP: a head in seconds, fine-tuning that is killed and
//! goes on, and what is told where a training cannot be.
//!
//! No pretrained weights are at hand in a test, so the networks begin from random ones:
//! enough to tell warm pictures from cold ones.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::pictures;
use crate::server::Server;

const PATIENCE: Duration = Duration::from_secs(240);

/// A server whose dataset has warm and cold pictures in its table.
async fn filled(num_per_class: u64) -> (Server, String) {
    let server = Server::start_with(|command| {
        command.env("TINTYPE_FETCH_WEIGHTS", "false");
        command.env("TINTYPE_SHARD_MAX_AGE_S", "1");
    })
    .await;
    let dataset = server.make_dataset("weather", json!({})).await;
    let mut ids = Vec::new();
    for i in 0..num_per_class {
        for (label, warmth) in [("warm", 70.0), ("cold", -70.0)] {
            let bytes = pictures::tinted(2 * i + u64::from(label == "warm"), warmth);
            let answer = server.post("weather", label, None, bytes).await.unwrap();
            assert_eq!(answer.status(), 202);
            let receipt: Value = answer.json().await.unwrap();
            ids.push(receipt["id"].as_str().unwrap().to_owned());
        }
    }
    for id in ids {
        let verdict = server.verdict(&id, Duration::from_secs(60)).await;
        assert_eq!(verdict["status"], "accepted", "{verdict}");
    }
    (server, dataset)
}

async fn ask(server: &Server, dataset: &str, spec: Value) -> (u16, Value) {
    let answer = server
        .http
        .post(format!("{}/v1/datasets/{dataset}/trainings", server.url))
        .bearer_auth(&server.key)
        .json(&spec)
        .send()
        .await
        .unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

async fn training(server: &Server, id: &str) -> Value {
    let path = format!("/v1/trainings/{id}");
    server.get(&path).await.unwrap().json().await.unwrap()
}

async fn ended(server: &Server, id: &str) -> Value {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let training = training(server, id).await;
        if !["queued", "running"].contains(&training["state"].as_str().unwrap()) {
            return training;
        }
        assert!(Instant::now() < deadline, "{training}\n{}", server.log());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn fast() -> Value {
    json!({
        "preset": "fast", "architecture": "mobilenet_v2_0.35", "weights": "none",
        "input_size": 96,
    })
}

#[tokio::test]
async fn photos_become_a_model_whose_files_are_proven_and_which_answers() {
    let (server, dataset) = filled(30).await;
    let (status, asked) = ask(&server, "weather", fast()).await;
    assert_eq!(status, 202, "{asked}");
    let done = ended(&server, asked["id"].as_str().unwrap()).await;
    assert_eq!(done["state"], "succeeded", "{done}");
    let id = done["model_id"].as_str().unwrap();
    let model: Value = server
        .get(&format!("/v1/models/{id}"))
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(model["labels"], json!(["cold", "warm"]));
    assert_eq!(model["dataset"], json!(dataset));
    assert!(
        model["evaluation"]["train"]["accuracy"].as_f64().unwrap() > 0.9,
        "{model}"
    );

    let files = model["files"].as_array().unwrap();
    let names: Vec<&str> = files
        .iter()
        .map(|file| file["name"].as_str().unwrap())
        .collect();
    for name in [
        "manifest.json",
        "model.onnx",
        "model.tflite",
        "model-float16.tflite",
        "model.mlmodel",
        "weights.safetensors",
        "labels.txt",
        "preprocess.json",
        "golden.json",
        "card.md",
    ] {
        assert!(names.contains(&name), "{name} is not in {names:?}: {done}");
    }
    // A random network may lose too much in int8: then that file is not there, and it is said.
    let int8 = "model-int8.tflite";
    let manifest: Value = server
        .get(&format!("/v1/models/{id}/files/manifest.json"))
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    let refused = manifest["refused"].as_array().unwrap();
    let notes = done["progress"]["notes"].to_string();
    assert!(
        refused.iter().all(|file| file["name"] == int8),
        "{manifest}"
    );
    assert_eq!(names.contains(&int8), refused.is_empty(), "{manifest}");
    assert_eq!(notes.contains(int8), !refused.is_empty(), "{done}");
    for file in files {
        let path = format!("/v1/models/{id}/files/{}", file["name"].as_str().unwrap());
        let answer = server.get(&path).await.unwrap();
        let etag = answer.headers()["etag"].to_str().unwrap().to_owned();
        let bytes = answer.bytes().await.unwrap();
        assert_eq!(bytes.len() as u64, file["bytes"].as_u64().unwrap());
        let hash = format!("{:x}", Sha256::digest(&bytes));
        assert_eq!(file["sha256"], json!(hash), "{path}");
        assert_eq!(etag, format!("\"{hash}\""));
        let again = server.http.get(format!("{}{path}", server.url));
        let again = again
            .bearer_auth(&server.key)
            .header("If-None-Match", etag)
            .send();
        assert_eq!(again.await.unwrap().status(), 304);
    }
    let labels = server
        .get(&format!("/v1/models/{id}/files/labels.txt"))
        .await
        .unwrap();
    assert_eq!(labels.text().await.unwrap(), "cold\nwarm\n");

    let mut right = 0;
    for i in 1_000..1_010 {
        let (label, warmth) = if i % 2 == 0 {
            ("warm", 70.0)
        } else {
            ("cold", -70.0)
        };
        let (status, said) = predict(&server, id, pictures::tinted(i, warmth)).await;
        assert_eq!(status, 200, "{said}");
        right += usize::from(said["predictions"][0]["label"] == label);
        let sum: f64 = said["predictions"]
            .as_array()
            .unwrap()
            .iter()
            .map(|guess| guess["probability"].as_f64().unwrap())
            .sum();
        assert!((sum - 1.0).abs() < 1e-3, "{said}");
    }
    assert!(right >= 9, "{right} of 10");
    let (status, said) = predict(&server, id, b"no photo".to_vec()).await;
    assert_eq!(
        (status, &said["code"]),
        (422, &json!("unusable_photo")),
        "{said}"
    );
}

async fn predict(server: &Server, model: &str, photo: Vec<u8>) -> (u16, Value) {
    let answer = server
        .http
        .post(format!("{}/v1/models/{model}/predict", server.url))
        .bearer_auth(&server.key)
        .body(photo)
        .send()
        .await
        .unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

#[tokio::test]
async fn what_cannot_be_trained_is_refused_with_its_reason() {
    let server = Server::start_with(|command| {
        command.env("TINTYPE_FETCH_WEIGHTS", "false");
    })
    .await;
    server
        .make_dataset("empty", json!({"labels": ["a", "b"]}))
        .await;
    for (spec, code) in [
        (json!({"preset": "fast", "batchsize": 1}), "invalid_spec"),
        (json!({"preset": "slow"}), "invalid_spec"),
        (
            json!({"preset": "fast", "classes": ["a", "c"]}),
            "unknown_class",
        ),
        (
            json!({"preset": "fast", "weights": "01890a5d-ac96-774b-bcce-b302099a8057"}),
            "unknown_model",
        ),
    ] {
        let (status, answer) = ask(&server, "empty", spec.clone()).await;
        assert!([404, 422].contains(&status), "{spec}: {answer}");
        assert_eq!(answer["code"], code, "{spec}: {answer}");
    }
    let (status, refused) = ask(&server, "empty", json!({"preset": "fast"})).await;
    assert_eq!(status, 422);
    assert_eq!(refused["code"], "too_few_classes", "{refused}");
    assert!(refused["hint"].as_str().unwrap().contains("upload"));
    let (status, refused) = ask(
        &server,
        "empty",
        json!({"preset": "fast", "table_version": 7}),
    )
    .await;
    assert_eq!((status, &refused["code"]), (422, &json!("unknown_version")));
    let none = server
        .get("/v1/models")
        .await
        .unwrap()
        .json::<Value>()
        .await
        .unwrap();
    assert_eq!(none, json!({"models": []}));
}

/// Killed again and again, the run ends with the very weights of one that was not.
#[tokio::test]
async fn a_training_that_is_killed_goes_on_and_ends_bit_for_bit_the_same() {
    let (mut server, _) = filled(16).await;
    let spec = json!({
        "preset": "balanced", "mode": "scratch", "architecture": "mobilenet_v2_0.35",
        "input_size": 96, "batch_size": 4, "early_stop": 0, "checkpoint_every_s": 1,
        "device": "cpu", "epochs": 40,
    });
    let weights = async |server: &Server, training: &Value| {
        assert_eq!(
            training["state"],
            "succeeded",
            "{training}\n{}",
            server.log()
        );
        let id = training["model_id"].as_str().unwrap();
        let hashes = ["weights.safetensors", "evaluation.json", "history.json"];
        let model = server.get(&format!("/v1/models/{id}")).await.unwrap();
        let model = model.json::<Value>().await.unwrap();
        let files = model["files"].as_array().unwrap().clone();
        let hash = |name: &&str| {
            let file = files.iter().find(|file| file["name"] == **name);
            file.unwrap_or_else(|| panic!("no {name}"))["sha256"].clone()
        };
        hashes.iter().map(hash).collect::<Vec<_>>()
    };
    let begun = Instant::now();
    let (_, asked) = ask(&server, "weather", spec.clone()).await;
    let whole = ended(&server, asked["id"].as_str().unwrap()).await;
    let took = begun.elapsed();
    let expected = weights(&server, &whole).await;

    let (_, asked) = ask(&server, "weather", spec).await;
    let id = asked["id"].as_str().unwrap();
    let mut kills = 0;
    for part in [0.2, 0.35, 0.5] {
        while training(&server, id).await["state"] == "queued" {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        tokio::time::sleep(took.mul_f64(part)).await;
        if training(&server, id).await["state"] != "running" {
            break;
        }
        server.kill();
        server.start_again();
        server.wait_until_ready().await;
        kills += 1;
    }
    assert!(kills > 0, "it was over before it was killed");
    let resumed = ended(&server, id).await;
    assert!(resumed["attempts"].as_u64().unwrap() > kills, "{resumed}");
    assert_eq!(
        weights(&server, &resumed).await[0],
        expected[0],
        "{kills} kills"
    );
    assert_eq!(
        weights(&server, &resumed).await[2],
        expected[2],
        "{kills} kills"
    );
    let left = server
        .folder
        .path()
        .join(format!("data/objects/checkpoints/{id}"));
    let left = std::fs::read_dir(left).map_or(0, Iterator::count);
    assert_eq!(left, 0, "checkpoints are left over");
}

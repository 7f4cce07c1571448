//! Embeddings from the upload to the head that is trained on them: what the table holds and
//! what a training computes are the same numbers, and nothing waits for weights.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use graph::{EMBEDDING_BACKBONE, Weights};
use serde_json::{Value, json};

use crate::pictures;
use crate::server::Server;

const PATIENCE: Duration = Duration::from_secs(240);

/// A file of random weights for the embedding backbone. The comment changes its hash, and
/// not one weight.
fn write_weights(folder: &Path, comment: &str) {
    let weights = Weights::random(EMBEDDING_BACKBONE.architecture, 2, 1);
    let comment = BTreeMap::from([("comment".to_owned(), comment.to_owned())]);
    let file = folder.join(format!("{}.safetensors", EMBEDDING_BACKBONE.architecture));
    std::fs::write(file, weights.to_safetensors(&comment)).unwrap();
}

async fn json_of(server: &Server, path: &str) -> Value {
    server.get(path).await.unwrap().json().await.unwrap()
}

/// Uploads pictures of two kinds and waits until all are in the table.
async fn fill(server: &Server, dataset: &str, num_per_class: u64) {
    for i in 0..num_per_class {
        for (label, warmth) in [("warm", 70.0), ("cold", -70.0)] {
            let bytes = pictures::tinted(2 * i + u64::from(label == "warm"), warmth);
            let answer = server.post(dataset, label, None, bytes).await.unwrap();
            assert_eq!(answer.status(), 202);
        }
    }
    let deadline = Instant::now() + PATIENCE;
    loop {
        let stats = json_of(server, &format!("/v1/datasets/{dataset}/stats")).await;
        let accepted = stats["statuses"]["accepted"].as_u64();
        if accepted == Some(2 * num_per_class) && stats["awaiting_shard"] == 0 {
            return;
        }
        assert!(Instant::now() < deadline, "{stats}\n{}", server.log());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Trains `fast`; its notes, and the hash of the model's weights.
async fn train(server: &Server, dataset: &str) -> (Vec<String>, String) {
    let asked = server
        .http
        .post(format!("{}/v1/datasets/{dataset}/trainings", server.url))
        .bearer_auth(&server.key)
        .json(&json!({"preset": "fast"}))
        .send()
        .await
        .unwrap();
    let asked: Value = asked.json().await.unwrap();
    let path = format!("/v1/trainings/{}", asked["id"].as_str().unwrap());
    let deadline = Instant::now() + PATIENCE;
    let training = loop {
        let training = json_of(server, &path).await;
        if !["queued", "running"].contains(&training["state"].as_str().unwrap()) {
            break training;
        }
        assert!(Instant::now() < deadline, "{training}\n{}", server.log());
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    assert_eq!(training["state"], "succeeded", "{training}");
    let notes = training["progress"]["notes"].as_array().unwrap();
    let notes = notes.iter().map(|note| note.as_str().unwrap().to_owned());
    let id = training["model_id"].as_str().unwrap();
    let model = json_of(server, &format!("/v1/models/{id}")).await;
    let files = model["files"].as_array().unwrap();
    let weights = files
        .iter()
        .find(|file| file["name"] == "weights.safetensors");
    let hash = weights.unwrap()["sha256"].as_str().unwrap().to_owned();
    (notes.collect(), hash)
}

#[tokio::test]
async fn stored_embeddings_train_the_very_head_that_computed_ones_do() {
    let folder = tempfile::tempdir().unwrap();
    write_weights(folder.path(), "first");
    let mut server = Server::start_with(|command| {
        command.env("TINTYPE_WEIGHTS", folder.path());
    })
    .await;
    server.make_dataset("weather", json!({})).await;
    fill(&server, "weather", 12).await;
    let said = json_of(&server, "/readyz").await["embeddings"].clone();
    let prefix = format!(
        "by {}@{}:",
        EMBEDDING_BACKBONE.architecture, EMBEDDING_BACKBONE.side
    );
    assert!(said.as_str().unwrap().starts_with(&prefix), "{said}");
    let (notes, stored) = train(&server, "weather").await;
    let all = "the table holds the features of all 24 photos";
    assert!(notes.iter().any(|note| note == all), "{notes:?}");

    // The same weights in another file: to the table they are another model.
    server.kill();
    write_weights(folder.path(), "second");
    server.start_again_with(|command| {
        command.env("TINTYPE_WEIGHTS", folder.path());
    });
    server.wait_until_ready().await;
    let (notes, computed) = train(&server, "weather").await;
    let none = "the table holds the features of 0 of 24 photos; those of 24 are computed";
    assert!(notes.iter().any(|note| note == none), "{notes:?}");
    assert_eq!(computed, stored, "the heads differ");
}

/// `tintype reembed` on the server's folder; its exit code, and what it printed as JSON.
fn reembed(server: &Server, weights: &Path, dataset: &str) -> (i32, Value) {
    let output = Command::new(env!("CARGO_BIN_EXE_tintype"))
        .args(["reembed", dataset, "--json", "--folder"])
        .arg(server.data())
        .env("TINTYPE_WEIGHTS", weights)
        .env("TINTYPE_FETCH_WEIGHTS", "false")
        .output()
        .unwrap();
    let code = output.status.code().unwrap();
    let said = match code {
        0 => output.stdout,
        _ => output.stderr,
    };
    (code, serde_json::from_slice(&said).unwrap())
}

#[tokio::test]
async fn photos_that_came_without_weights_are_embedded_by_a_command_and_by_it_only_once() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::start().await;
    server.make_dataset("weather", json!({})).await;
    fill(&server, "weather", 12).await;
    let (code, said) = reembed(&server, folder.path(), "weather");
    let message = said["error"]["message"].as_str().unwrap();
    assert_eq!(code, 1, "{said}");
    assert!(message.contains("another tintype"), "{said}");
    server.signal("TERM");
    while server.ended().is_none() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let (code, said) = reembed(&server, folder.path(), "wether");
    assert_eq!((code, &said["error"]["code"]), (4, &json!("not_found")));
    let (code, said) = reembed(&server, folder.path(), "weather");
    assert_eq!((code, &said["error"]["code"]), (1, &json!("no_weights")));
    let hint = said["error"]["hint"].as_str().unwrap();
    assert!(hint.contains("TINTYPE_WEIGHTS"), "{said}");

    write_weights(folder.path(), "first");
    for due in [24, 0] {
        let (code, report) = reembed(&server, folder.path(), "weather");
        assert_eq!(code, 0, "{report}");
        assert_eq!(report["photos"], 24, "{report}");
        assert_eq!(
            (&report["due"], &report["embedded"]),
            (&json!(due), &json!(due))
        );
    }
    server.start_again_with(|command| {
        command.env("TINTYPE_WEIGHTS", folder.path());
    });
    server.wait_until_ready().await;
    let (notes, _) = train(&server, "weather").await;
    let all = "the table holds the features of all 24 photos";
    assert!(notes.iter().any(|note| note == all), "{notes:?}");
}

#[tokio::test]
async fn without_weights_or_switched_off_photos_go_the_same_way_and_it_is_said() {
    let mut server = Server::start().await;
    server.make_dataset("weather", json!({})).await;
    fill(&server, "weather", 1).await;
    let said = json_of(&server, "/readyz").await["embeddings"].clone();
    assert!(
        said.as_str()
            .unwrap()
            .starts_with("none: there are no weights")
    );
    let log = server.log();
    assert_eq!(log.matches("photos get no embedding").count(), 1, "{log}");
    server.kill();
    server.start_again_with(|command| {
        command.env("TINTYPE_EMBED", "false");
    });
    server.wait_until_ready().await;
    let said = json_of(&server, "/readyz").await["embeddings"].clone();
    assert_eq!(said, "off: embed = false");
}

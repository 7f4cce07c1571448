//! Phones on a bad network, and uploads in pieces when the process is killed.

use std::process::Command;

use serde_json::{Value, json};

use crate::pictures;
use crate::server::Server;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_photo_of_simulated_phones_has_one_verdict() {
    let server = Server::start().await;
    let mut command = Command::new(env!("CARGO_BIN_EXE_tintype"));
    command
        .args([
            "simulate",
            "--dataset",
            "crowd",
            "--phones",
            "40",
            "--over",
            "3",
            "--json",
        ])
        .env("TINTYPE_URL", &server.url)
        .env("TINTYPE_KEY", &server.key);
    let done = tokio::task::spawn_blocking(move || command.output()).await;
    let done = done.unwrap().unwrap();
    let words = String::from_utf8_lossy(&done.stderr);
    let report: Value = serde_json::from_slice(&done.stdout).unwrap_or_else(|_| panic!("{words}"));
    assert!(done.status.success(), "{report} {words}");
    assert_eq!(
        (&report["lost"], &report["doubled"]),
        (&json!(0), &json!(0))
    );
    assert!(
        report["photos_acknowledged"].as_u64().unwrap() >= 40,
        "{report}"
    );
    let told: u64 = report["verdicts"]
        .as_object()
        .unwrap()
        .values()
        .map(|n| n.as_u64().unwrap())
        .sum();
    assert!(told >= 40, "{report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_that_were_acknowledged_are_there_after_a_kill() {
    let mut server = Server::start().await;
    let dataset = server.make_dataset("pieces", json!({})).await;
    let photo = pictures::jpeg(1);
    let http = server.http.clone();
    let url = format!("{}/v1/datasets/{dataset}/captures", server.url);
    let begun = http
        .post(url)
        .bearer_auth(&server.key)
        .header("x-label", "cat");
    let begun = begun
        .header("upload-complete", "?0")
        .header("content-length", 0);
    let begun = begun.send().await.unwrap();
    assert_eq!(begun.status(), 201);
    let path = begun.headers()["location"].to_str().unwrap().to_owned();
    let upload = format!("{}{path}", server.url);
    let cuts = [0, photo.len() / 3, photo.len() / 2, photo.len()];
    for (round, ends) in cuts.windows(2).enumerate() {
        let is_last = round == cuts.len() - 2;
        let piece = http.patch(&upload).bearer_auth(&server.key);
        let piece = piece.header("content-type", "application/partial-upload");
        let piece = piece.header("upload-offset", ends[0]);
        let piece = piece.header("upload-complete", if is_last { "?1" } else { "?0" });
        let sent = piece
            .body(photo[ends[0]..ends[1]].to_vec())
            .send()
            .await
            .unwrap();
        assert_eq!(sent.status(), if is_last { 202 } else { 204 });
        server.kill();
        server.start_again();
        server.wait_until_ready().await;
        let head = http
            .head(&upload)
            .bearer_auth(&server.key)
            .send()
            .await
            .unwrap();
        assert_eq!(
            head.headers()["upload-offset"].to_str().unwrap(),
            ends[1].to_string()
        );
        if is_last {
            let id = head.headers()["x-capture-id"].to_str().unwrap().to_owned();
            let verdict = server
                .verdict(&id, std::time::Duration::from_secs(60))
                .await;
            assert_ne!(verdict["status"], "queued", "{verdict}");
        }
    }
}

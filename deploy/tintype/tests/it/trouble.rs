//! What a person meets when something is wrong: each has a clear answer, and heals.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::server::Server;
use crate::{pictures, table};

#[tokio::test]
async fn a_photo_becomes_a_row_with_its_label_as_it_was_given() {
    let server = Server::start().await;
    let dataset = server.make_dataset("labels", json!({})).await;
    let labels = ["قطة", "बिल्ली", "猫", "🐈‍⬛", "a/b", "plain"];
    for (n, label) in labels.iter().enumerate() {
        let encoded =
            percent_encoding::utf8_percent_encode(label, percent_encoding::NON_ALPHANUMERIC)
                .to_string();
        let answer = server
            .post("labels", &encoded, None, pictures::jpeg(n as u64))
            .await
            .unwrap();
        assert_eq!(answer.status(), 202);
        let id = answer.json::<Value>().await.unwrap()["id"]
            .as_str()
            .unwrap()
            .to_owned();
        let capture = server.verdict(&id, Duration::from_secs(30)).await;
        assert_eq!(
            (&capture["status"], &capture["label"]),
            (&json!("accepted"), &json!(label)),
            "{capture}"
        );
    }
    let rows = table::rows(&server.objects().join("tables").join(dataset).join("photos")).await;
    let mut found: Vec<_> = rows.iter().map(|(_, label)| label.as_str()).collect();
    let mut wanted = labels.to_vec();
    found.sort_unstable();
    wanted.sort_unstable();
    assert_eq!(found, wanted);
}

#[tokio::test]
async fn a_verdict_comes_before_its_shard_and_survives_a_kill_in_between() {
    // The shard would wait for an hour: what makes it true is the replay alone.
    let mut server = Server::start_with(|command| {
        command.env("TINTYPE_SHARD_MAX_AGE_S", "3600");
    })
    .await;
    let dataset = server.make_dataset("early", json!({})).await;
    let answer = server
        .post("early", "a", None, pictures::jpeg(1))
        .await
        .unwrap()
        .json::<Value>()
        .await
        .unwrap();
    let id = answer["id"].as_str().unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let capture: Value = server
            .get(&format!("/v1/captures/{id}"))
            .await
            .unwrap()
            .json()
            .await
            .unwrap();
        if capture["status"] == "accepted" {
            assert!(capture["table_version"].is_null(), "{capture}");
            break;
        }
        assert!(Instant::now() < deadline, "{capture}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    server.kill();
    server.start_again();
    server.wait_until_ready().await;
    let capture = server.verdict(id, Duration::from_secs(30)).await;
    assert_eq!(capture["status"], "accepted");
    let rows = table::rows(&server.objects().join("tables").join(dataset).join("photos")).await;
    assert_eq!(
        rows.iter().map(|(id, _)| id.as_str()).collect::<Vec<_>>(),
        [id]
    );
}

#[tokio::test]
async fn ctrl_c_commits_what_was_judged_and_ends_well_within_ten_seconds() {
    let mut server = Server::start_with(|command| {
        command.env("TINTYPE_SHARD_MAX_AGE_S", "3600");
    })
    .await;
    let dataset = server.make_dataset("stop", json!({})).await;
    for n in 0..5 {
        assert_eq!(
            server
                .post("stop", "a", None, pictures::jpeg(n))
                .await
                .unwrap()
                .status(),
            202
        );
    }
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let stats: Value = server
            .get("/v1/datasets/stop/stats")
            .await
            .unwrap()
            .json()
            .await
            .unwrap();
        if stats["statuses"]["accepted"] == 5 {
            break;
        }
        assert!(Instant::now() < deadline, "{stats}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let began = Instant::now();
    server.signal("INT");
    while server.ended().is_none() {
        assert!(
            began.elapsed() < Duration::from_secs(10),
            "still running\n{}",
            server.log()
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(server.ended(), Some(Some(0)), "{}", server.log());
    let rows = table::rows(&server.objects().join("tables").join(dataset).join("photos")).await;
    assert_eq!(rows.len(), 5);
}

#[tokio::test]
async fn a_second_process_on_the_same_folder_is_refused_with_the_reason() {
    let server = Server::start().await;
    let second = std::process::Command::new(env!("CARGO_BIN_EXE_tintype"))
        .args(["up", "--listen", "127.0.0.1:0", "--data"])
        .arg(server.data())
        .output()
        .unwrap();
    assert_eq!(second.status.code(), Some(1));
    let said = String::from_utf8_lossy(&second.stderr);
    assert!(
        said.contains("another tintype") && said.contains("--data"),
        "{said}"
    );
}

#[tokio::test]
async fn a_second_start_goes_on_where_the_first_was_and_shows_no_key() {
    let mut server = Server::start().await;
    server.make_dataset("again", json!({})).await;
    let first = server
        .post("again", "a", Some("k1"), pictures::jpeg(1))
        .await
        .unwrap();
    let first = first.json::<Value>().await.unwrap();
    server
        .verdict(first["id"].as_str().unwrap(), Duration::from_secs(30))
        .await;
    server.signal("TERM");
    while server.ended().is_none() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    server.start_again();
    server.wait_until_ready().await;
    let said = std::fs::read_to_string(server.folder.path().join("stdout")).unwrap();
    assert_eq!(said.matches("admin key     tt_").count(), 1, "{said}");
    let replayed = server
        .post("again", "a", Some("k1"), pictures::jpeg(1))
        .await
        .unwrap()
        .json::<Value>()
        .await
        .unwrap();
    assert_eq!(replayed["id"], first["id"]);
    let copy = server
        .post("again", "a", None, pictures::jpeg(1))
        .await
        .unwrap();
    assert_eq!(copy.status(), 200);
    assert_eq!(
        copy.json::<Value>().await.unwrap()["duplicate_of"],
        first["id"]
    );
}

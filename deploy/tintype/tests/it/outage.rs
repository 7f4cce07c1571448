//! A disk that takes nothing more, a broker that stops: uploads are refused with the reason,
//! and when it is mended everything goes on without a restart and nothing is lost.

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::pictures;
use crate::server::Server;

/// Uploads one picture after the other until one is refused; tells the refusal, and which
/// were acknowledged.
async fn upload_until_refused(
    server: &Server,
    dataset: &str,
    first: u64,
    acknowledged: &mut Vec<String>,
) -> Value {
    let deadline = Instant::now() + Duration::from_secs(90);
    for number in first.. {
        assert!(Instant::now() < deadline, "nothing was refused");
        let answer = server
            .post(dataset, "a", None, pictures::jpeg(number))
            .await
            .unwrap();
        let status = answer.status();
        let retry_after = answer.headers().get("retry-after").cloned();
        let body: Value = answer.json().await.unwrap();
        if status == 202 {
            acknowledged.push(body["id"].as_str().unwrap().to_owned());
            continue;
        }
        assert_eq!(status, 503, "{body}");
        assert!(retry_after.is_some(), "{body}");
        return body;
    }
    unreachable!("numbers do not end")
}

async fn uploads_work_again(server: &Server, dataset: &str, acknowledged: &mut Vec<String>) {
    let deadline = Instant::now() + Duration::from_secs(90);
    for number in 100_000.. {
        let answer = server
            .post(dataset, "a", None, pictures::jpeg(number))
            .await
            .unwrap();
        if answer.status() == 202 {
            let body: Value = answer.json().await.unwrap();
            acknowledged.push(body["id"].as_str().unwrap().to_owned());
            return;
        }
        assert!(Instant::now() < deadline, "{}", server.log());
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

async fn every_one_has_its_verdict(server: &Server, acknowledged: &[String]) {
    for id in acknowledged {
        let capture = server.verdict(id, Duration::from_secs(90)).await;
        assert_eq!(capture["status"], "accepted", "{capture}");
    }
}

/// Sets the size that no file of the process may grow beyond; whether this machine can.
fn limit_files(server: &Server, most: &str) -> bool {
    Command::new("prlimit")
        .args(["--pid", &server.process_id().to_string()])
        .arg(format!("--fsize={most}:unlimited"))
        .status()
        .is_ok_and(|status| status.success())
}

#[tokio::test]
async fn a_full_disk_is_a_503_with_its_reason_and_heals_by_itself() {
    let server = Server::start().await;
    server.make_dataset("full", json!({})).await;
    let mut acknowledged = Vec::new();
    for number in 0..5 {
        let answer = server
            .post("full", "a", None, pictures::jpeg(number))
            .await
            .unwrap();
        let body: Value = answer.json().await.unwrap();
        acknowledged.push(body["id"].as_str().unwrap().to_owned());
    }
    // Not a byte more into any file that is as large already, like a disk with no room left.
    if !limit_files(&server, "2048") {
        println!("skipped: there is no `prlimit` here to make the disk look full");
        return;
    }
    let refused = upload_until_refused(&server, "full", 100, &mut acknowledged).await;
    println!("refused with {refused}");
    let words = refused.to_string();
    assert!(
        words.contains("store") || words.contains("stream") || words.contains("catalog"),
        "{words}"
    );
    let ready = server.get("/readyz").await.unwrap();
    assert_eq!(ready.status(), 503);
    assert!(limit_files(&server, "unlimited"));
    uploads_work_again(&server, "full", &mut acknowledged).await;
    every_one_has_its_verdict(&server, &acknowledged).await;
}

#[tokio::test]
async fn a_broker_that_cannot_write_is_a_503_and_goes_on_when_it_can() {
    let server = Server::start().await;
    server.make_dataset("busy", json!({})).await;
    let mut acknowledged = Vec::new();
    let answer = server.post("busy", "a", None, pictures::jpeg(1)).await;
    let body: Value = answer.unwrap().json().await.unwrap();
    acknowledged.push(body["id"].as_str().unwrap().to_owned());

    // Somebody else holds its database: each of its transactions fails from now on.
    let database = libsql::Builder::new_local(server.data().join("broker/broker.db"))
        .build()
        .await
        .unwrap();
    let holder = database.connect().unwrap();
    let mut held = false;
    for _ in 0..200 {
        held = holder.execute("BEGIN IMMEDIATE", ()).await.is_ok();
        if held {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(held, "the database could not be held");
    let refused = upload_until_refused(&server, "busy", 200, &mut acknowledged).await;
    println!("refused with {refused}");
    assert_eq!(refused["code"], "stream_unavailable");
    holder.execute("ROLLBACK", ()).await.unwrap();

    uploads_work_again(&server, "busy", &mut acknowledged).await;
    every_one_has_its_verdict(&server, &acknowledged).await;
}

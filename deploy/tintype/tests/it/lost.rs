//! The stream loses records, as a power cut or a lost file does: what was acknowledged is
//! published again, and offsets that are given a second time are not taken for replays.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::server::Server;
use crate::{pictures, table};

#[tokio::test]
async fn with_the_broker_s_database_gone_every_acknowledged_photo_still_becomes_its_row() {
    // Shards that wait an hour: what is accepted is in the stream alone.
    let mut server = Server::start_with(|command| {
        command.env("TINTYPE_SHARD_MAX_AGE_S", "3600");
    })
    .await;
    let dataset = server.make_dataset("lost", json!({})).await;
    let photos = || {
        server
            .objects()
            .join("tables")
            .join(&dataset)
            .join("photos")
    };
    let photos = photos();
    let mut acknowledged = Vec::new();
    for round in 0..3 {
        for number in 0..8 {
            let picture = pictures::jpeg(round * 8 + number);
            let answer = server.post("lost", "a", None, picture).await.unwrap();
            assert_eq!(answer.status(), 202);
            let body: Value = answer.json().await.unwrap();
            acknowledged.push(body["id"].as_str().unwrap().to_owned());
        }
        // Some are judged and some are not, and no table has any.
        server.kill();
        if round > 0 {
            std::fs::remove_dir_all(server.data().join("broker")).unwrap();
        }
        // From now on shards are committed after a second.
        server.start_again();
        server.wait_until_ready().await;
        for id in &acknowledged {
            let capture = server.verdict(id, Duration::from_secs(60)).await;
            assert_eq!(capture["status"], "accepted", "{capture}");
        }
    }
    let rows = table::rows(&photos).await;
    let ids: BTreeSet<_> = rows.iter().map(|(id, _)| id.clone()).collect();
    assert_eq!(rows.len(), ids.len(), "a photo has two rows");
    assert_eq!(ids, acknowledged.into_iter().collect());
}

#[tokio::test]
async fn an_older_copy_of_the_broker_s_database_costs_no_photo() {
    let mut server = Server::start().await;
    let dataset = server.make_dataset("old", json!({})).await;
    let mut acknowledged = Vec::new();
    let broker = server.data().join("broker");
    let copy = server.folder.path().join("copy");
    for round in 0..3 {
        for number in 0..4 {
            let picture = pictures::jpeg(round * 4 + number);
            let answer = server.post("old", "a", None, picture).await.unwrap();
            let body: Value = answer.json().await.unwrap();
            acknowledged.push(body["id"].as_str().unwrap().to_owned());
        }
        for id in &acknowledged {
            let capture = server.verdict(id, Duration::from_secs(60)).await;
            assert_eq!(capture["status"], "accepted", "{capture}");
        }
        server.kill();
        // Offsets of the second round are given again in the third.
        match round {
            0 => copy_folder(&broker, &copy),
            1 => {
                std::fs::remove_dir_all(&broker).unwrap();
                copy_folder(&copy, &broker);
            }
            _ => {}
        }
        server.start_again();
        server.wait_until_ready().await;
    }
    let photos = server
        .objects()
        .join("tables")
        .join(&dataset)
        .join("photos");
    let rows = table::rows(&photos).await;
    let ids: BTreeSet<_> = rows.iter().map(|(id, _)| id.clone()).collect();
    assert_eq!((rows.len(), ids.len()), (12, 12));
    assert_eq!(ids, acknowledged.into_iter().collect());
}

fn copy_folder(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

#[tokio::test]
async fn what_was_passed_leaves_the_broker_s_database_and_gives_its_space_back() {
    let server = Server::start().await;
    server.make_dataset("small", json!({})).await;
    for number in 0..40 {
        let picture = pictures::jpeg(number);
        let answer = server.post("small", "a", None, picture).await.unwrap();
        let body: Value = answer.json().await.unwrap();
        if number == 39 {
            let id = body["id"].as_str().unwrap();
            server.verdict(id, Duration::from_secs(60)).await;
        }
    }
    let broker = server.data().join("broker");
    let size = || {
        let files = std::fs::read_dir(&broker).unwrap();
        files
            .map(|file| file.unwrap().metadata().unwrap().len())
            .sum::<u64>()
    };
    // Forty small pictures and their events take more than a megabyte; the empty database,
    // its index of the log included, takes less than half of one.
    let deadline = Instant::now() + Duration::from_secs(60);
    while size() > 500_000 {
        assert!(
            Instant::now() < deadline,
            "{} bytes\n{}",
            size(),
            server.log()
        );
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

//! Over real connections: clients that go away, and clients that do not listen
//! before they have said everything.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::harness::{World, jpeg};

async fn serve(world: &World) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let app = world.app.clone();
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}

fn head(world: &World, content_length: usize) -> String {
    format!(
        "POST /v1/datasets/{}/captures HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer {}\r\n\
         X-Label: cat\r\nContent-Length: {content_length}\r\n\r\n",
        world.dataset, world.token
    )
}

async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !holds().await {
        assert!(begun.elapsed() < Duration::from_secs(20), "{what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_away_within_the_body_leaves_nothing() {
    let world = World::new().await;
    let address = serve(&world).await;
    let mut client = TcpStream::connect(&address).await.unwrap();
    client
        .write_all(head(&world, 200_000).as_bytes())
        .await
        .unwrap();
    client.write_all(&jpeg(1, 100_000)).await.unwrap();
    drop(client);
    // A later upload over another connection shows that the first one is over.
    world.send_cat(jpeg(2, 1000)).await.assert_queued();
    world.ingest.drain(Duration::from_secs(5)).await;
    assert_eq!(world.originals(), [jpeg(2, 1000)]);
    assert_eq!((world.events().len(), world.num_captures().await), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_whose_client_goes_away_once_it_is_complete_comes_to_its_end() {
    let world = World::new().await;
    let address = serve(&world).await;
    let slow = Duration::from_secs(1);
    world.broker.broker_round_trip_time(-1, slow).unwrap();
    let mut client = TcpStream::connect(&address).await.unwrap();
    let photo = jpeg(1, 500_000);
    client
        .write_all(head(&world, photo.len()).as_bytes())
        .await
        .unwrap();
    client.write_all(&photo).await.unwrap();
    let originals = world.folder.path().join("originals");
    eventually("the original is there", async || originals.exists()).await;
    drop(client);
    world.ingest.drain(Duration::from_secs(10)).await;
    assert_eq!(
        (world.originals(), world.num_unfinished()),
        (vec![photo], 0)
    );
    assert_eq!((world.events().len(), world.num_captures().await), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_sends_everything_before_it_listens_still_hears_why_it_was_refused() {
    let world = World::new().await;
    let address = serve(&world).await;
    let too_large = 40 << 20;
    for (body, length, status) in [
        (vec![b'a'; 20 << 20], 20 << 20, "415"),
        (vec![0xff; 31 << 20], too_large, "413"),
    ] {
        let mut client = TcpStream::connect(&address).await.unwrap();
        client
            .write_all(head(&world, length).as_bytes())
            .await
            .unwrap();
        client.write_all(&body).await.unwrap();
        let answer = read_answer(&mut client).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status}")),
            "{answer:?}"
        );
        assert!(answer.contains("\"hint\""), "{answer}");
    }
    world.assert_nothing_stored().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_client_may_go_on_over_the_same_connection() {
    let world = World::new().await;
    let address = serve(&world).await;
    let mut client = TcpStream::connect(&address).await.unwrap();
    for (body, status) in [(vec![b'a'; 3 << 20], "415"), (jpeg(1, 3 << 20), "202")] {
        client
            .write_all(head(&world, body.len()).as_bytes())
            .await
            .unwrap();
        client.write_all(&body).await.unwrap();
        let answer = read_answer(&mut client).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status}")),
            "{answer:?}"
        );
    }
}

/// One answer with a JSON body, to the end of its last chunk.
async fn read_answer(client: &mut TcpStream) -> String {
    let mut answer = String::new();
    let is_whole = |answer: &str| {
        let is_chunked = answer.contains("transfer-encoding: chunked");
        answer.ends_with(if is_chunked { "0\r\n\r\n" } else { "}" })
    };
    while !is_whole(&answer) {
        let mut part = [0; 4096];
        let n = client.read(&mut part).await.unwrap();
        assert_ne!(n, 0, "the connection was closed after: {answer}");
        answer.push_str(&String::from_utf8_lossy(&part[..n]));
    }
    answer
}

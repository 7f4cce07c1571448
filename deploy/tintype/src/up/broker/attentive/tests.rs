//! Waiting and not waiting, on a real database.

use bytes::Bytes;
use tansu_sans_io::record::{Record, inflated};

use super::*;

/// The storage, with topics of their own for each test, and the folder it lies in.
async fn storage() -> (tempfile::TempDir, Attentive) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("broker.db");
    let address = Url::parse("tcp://127.0.0.1:1").unwrap();
    let inner = StorageContainer::builder()
        .cluster_id("tintype")
        .node_id(1)
        .advertised_listener(address)
        .schema_registry(None)
        .lake_house(None)
        .storage(Url::parse(&format!("sqlite:///{}", path.display())).unwrap())
        .silent(true)
        .build()
        .await
        .unwrap();
    let storage = Attentive::new(inner, Arc::default(), Flush::of(&path));
    let registration = BrokerRegistrationRequest {
        broker_id: 1,
        cluster_id: "tintype".into(),
        incarnation_id: Uuid::now_v7(),
        rack: None,
    };
    storage.register_broker(registration).await.unwrap();
    let topic = CreatableTopic::default()
        .name("captures".into())
        .num_partitions(2)
        .replication_factor(1)
        .assignments(Some(vec![]))
        .configs(Some(vec![]));
    storage.create_topic(topic, false).await.unwrap();
    (folder, storage)
}

fn batch() -> Batch {
    let record = Record::builder().value(Some(Bytes::from_static(b"photo")));
    let batch = inflated::Batch::builder().record(record).build().unwrap();
    batch.try_into().unwrap()
}

async fn produce(storage: &Attentive, partition: i32) {
    let topition = Topition::new("captures", partition);
    storage.produce(None, &topition, batch()).await.unwrap();
}

/// What Tansu does for a client's request: one partition after the other, each until nothing
/// more is found. How many records each has.
async fn request(storage: &Attentive, offsets: [i64; 2]) -> [u32; 2] {
    let mut found = [0; 2];
    for (partition, offset) in (0..).zip(offsets) {
        let topition = Topition::new("captures", partition);
        let isolation = IsolationLevel::ReadUncommitted;
        loop {
            let next = offset + i64::from(found[partition as usize]);
            let batches = storage
                .fetch(&topition, next, 1, 1 << 20, isolation)
                .await
                .unwrap();
            let num_records: u32 = batches.iter().map(|batch| batch.record_count).sum();
            if num_records == 0 {
                break;
            }
            found[partition as usize] += num_records;
        }
    }
    found
}

#[tokio::test]
async fn an_empty_request_waits_once_for_all_its_partitions() {
    let (_folder, storage) = storage().await;
    let began = Instant::now();
    for _ in 0..3 {
        assert_eq!(request(&storage, [0, 0]).await, [0, 0]);
    }
    let took = began.elapsed();
    // The first may go round without waiting, but not the others.
    assert!(took >= HOLD * 2 && took < HOLD * 4, "{took:?}");
}

#[tokio::test]
async fn whatever_partition_a_record_comes_to_the_request_that_waits_is_answered_at_once() {
    let (_folder, storage) = storage().await;
    let mut offsets = [0, 0];
    for round in 0..20 {
        let partition = round % 2;
        let waiting = tokio::spawn({
            let storage = storage.clone();
            async move {
                // A client asks again until there is something.
                loop {
                    let found = request(&storage, offsets).await;
                    if found != [0, 0] {
                        return found;
                    }
                }
            }
        });
        // Before, while and after the request looks: at any instant.
        tokio::time::sleep(Duration::from_millis(u64::try_from(round).unwrap() * 3)).await;
        let began = Instant::now();
        produce(&storage, partition).await;
        let found = waiting.await.unwrap();
        assert!(
            began.elapsed() < HOLD / 2,
            "round {round}: {:?}",
            began.elapsed()
        );
        assert_eq!(found[partition as usize], 1);
        offsets[partition as usize] += 1;
    }
}

#[tokio::test]
async fn a_client_that_leaves_while_it_waits_leaves_the_storage_as_it_was() {
    let (_folder, storage) = storage().await;
    for _ in 0..20 {
        let leaving = request(&storage, [0, 0]);
        let _ = tokio::time::timeout(Duration::from_millis(2), leaving).await;
        let topition = Topition::new("captures", 0);
        let stage = storage.offset_stage(&topition);
        let _ = tokio::time::timeout(Duration::from_micros(50), stage).await;
    }
    produce(&storage, 1).await;
    assert_eq!(request(&storage, [0, 0]).await, [0, 1]);
}

//! A group on librdkafka's own mock of a cluster.

use std::collections::BTreeSet;

use rdkafka::mocking::MockCluster;
use rdkafka::producer::FutureRecord;

use super::*;

const TOPIC: &str = topics::PREPARED;
const NUM_PARTITIONS: i32 = 4;
const LAST: &[u8] = b"last";

async fn send(producer: &FutureProducer, num_each: usize, payload: &[u8]) {
    for partition in 0..NUM_PARTITIONS {
        for _ in 0..num_each {
            let record = FutureRecord::to(TOPIC)
                .partition(partition)
                .key("")
                .payload(payload);
            producer.send(record, PATIENCE).await.unwrap();
        }
    }
}

async fn next(subscription: &mut Subscription) -> Feed {
    // Sharing out takes seconds, and more of them on a busy machine.
    let next = tokio::time::timeout(Duration::from_secs(120), subscription.next());
    next.await.expect("nothing comes").expect("it has ended")
}

/// Reads on until partitions come to it; how many.
async fn assigned(subscription: &mut Subscription) -> usize {
    loop {
        match next(subscription).await {
            Feed::Assigned(starts) if !starts.is_empty() => return starts.len(),
            Feed::Failed(what) => panic!("{what}"),
            _ => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_that_left_while_paused_are_read_on_when_they_come_back() {
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic(TOPIC, NUM_PARTITIONS, 1).unwrap();
    let broker = Broker {
        connection: KafkaConnection::at(cluster.bootstrap_servers()),
        sharing: Sharing::Group(Membership::default()),
    };
    let producer = producer(&broker.connection).unwrap();
    let mut stays = Subscription::open(&broker, "g", TOPIC).unwrap();
    assert_eq!(assigned(&mut stays).await, NUM_PARTITIONS as usize);
    // More than the feed takes, and nobody works on it.
    send(&producer, FEED_CAPACITY, b"x").await;
    tokio::time::sleep(Duration::from_secs(1)).await;

    let mut goes = Subscription::open(&broker, "g", TOPIC).unwrap();
    assert!(assigned(&mut goes).await < NUM_PARTITIONS as usize);
    goes.close().await;
    send(&producer, 1, LAST).await;
    let mut finished = BTreeSet::new();
    while finished.len() < NUM_PARTITIONS as usize {
        match next(&mut stays).await {
            Feed::Record(record) if record.payload == LAST => {
                finished.insert(record.partition);
            }
            Feed::Failed(what) => panic!("{what}"),
            _ => {}
        }
    }
    stays.close().await;
}

//! How far the stages are behind, partition by partition: records that wait, and how long the
//! oldest of them has waited. Measured from outside, as a group's offset against the end of
//! its partition, so that it is told as well when the stage itself is stuck.
//!
//! Every processor tells of all partitions; dashboards take the largest of what they say.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use metrics::gauge;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::{Message as _, Offset, TopicPartitionList};
use schemas::topics::{self, KafkaConnection};
use tokio_util::sync::CancellationToken;

use crate::kafka::Broker;
use crate::metrics::{CONSUMER_LAG, OLDEST_UNPROCESSED};

/// The stages' groups, and the topics that they read.
const GROUPS: [(&str, &str); 3] = [
    ("prepare", topics::CAPTURES),
    ("organize", topics::PREPARED),
    ("record", topics::OUTCOMES),
];

/// How often to measure: as often as Prometheus asks.
const EVERY: Duration = Duration::from_secs(15);

/// How long the broker may take for one answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long to wait for the first waiting record of every partition. What has not come by
/// then keeps the age that it had, and is asked for again.
const FETCH_WITHIN: Duration = Duration::from_secs(3);

/// Measures until `shutdown`. While the broker is away the last figures stay, but for ages,
/// which grow.
pub(crate) async fn run(broker: &Broker, shutdown: &CancellationToken) {
    let mut watched = GROUPS.map(|(group, topic)| Watched::new(group, topic));
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(EVERY) => {}
        }
        let broker = broker.clone();
        let measured = tokio::task::spawn_blocking(move || {
            for watched in &mut watched {
                if let Err(error) = watched.measure(&broker.connection) {
                    tracing::debug!(%error, topic = watched.topic, "measuring the lag");
                }
                watched.tell();
            }
            watched
        });
        watched = match measured.await {
            Ok(watched) => watched,
            Err(_) => return,
        };
    }
}

/// A group and its topic.
struct Watched {
    group: &'static str,
    topic: &'static str,
    consumer: Option<BaseConsumer>,
    partitions: HashMap<i32, Partition>,
}

#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Partition {
    /// The first record that waits.
    first: i64,
    /// How many wait.
    num_waiting: i64,
    /// When `first` was written, in ms since 1970; none until it has been read.
    written_at_ms: Option<i64>,
}

impl Watched {
    fn new(group: &'static str, topic: &'static str) -> Self {
        Self {
            group,
            topic,
            consumer: None,
            partitions: HashMap::new(),
        }
    }

    fn measure(&mut self, connection: &KafkaConnection) -> Result<(), KafkaError> {
        let consumer = match self.consumer.take() {
            Some(consumer) => consumer,
            None => consumer(connection, self.group)?,
        };
        let metadata = consumer.fetch_metadata(Some(self.topic), PATIENCE)?;
        let mut list = TopicPartitionList::new();
        for topic in metadata.topics() {
            for partition in topic.partitions() {
                list.add_partition(self.topic, partition.id());
            }
        }
        let committed = consumer.committed_offsets(list, PATIENCE)?;
        for element in committed.elements() {
            let partition = element.partition();
            let (low, high) = consumer.fetch_watermarks(self.topic, partition, PATIENCE)?;
            // A group that never committed has everything before it.
            let first = match element.offset() {
                Offset::Offset(offset) => offset.max(low),
                _ => low,
            };
            self.partitions
                .entry(partition)
                .or_default()
                .moved(first, high);
        }
        self.read_times(&consumer)?;
        self.consumer = Some(consumer);
        Ok(())
    }

    /// Reads the time of each record that is first in its partition and not known yet.
    fn read_times(&mut self, consumer: &BaseConsumer) -> Result<(), KafkaError> {
        let mut unknown = TopicPartitionList::new();
        for (id, partition) in &self.partitions {
            if partition.num_waiting > 0 && partition.written_at_ms.is_none() {
                let first = Offset::Offset(partition.first);
                unknown.add_partition_offset(self.topic, *id, first)?;
            }
        }
        if unknown.count() == 0 {
            return Ok(());
        }
        let mut num_missing = unknown.count();
        consumer.assign(&unknown)?;
        let deadline = Instant::now() + FETCH_WITHIN;
        while num_missing > 0 && Instant::now() < deadline {
            let Some(Ok(message)) = consumer.poll(Duration::from_millis(100)) else {
                continue;
            };
            if let Some(partition) = self.partitions.get_mut(&message.partition())
                && partition.written_at_ms.is_none()
            {
                partition.written_at_ms = message.timestamp().to_millis();
                num_missing -= 1;
            }
        }
        consumer.unassign()
    }

    fn tell(&self) {
        let now_ms = chrono::Utc::now().timestamp_millis();
        for (id, partition) in &self.partitions {
            let id = id.to_string();
            gauge!(CONSUMER_LAG, "group" => self.group, "topic" => self.topic, "partition" => id)
                .set(partition.num_waiting as f64);
        }
        let ages = self.partitions.values().map(|p| p.waited_ms(now_ms));
        let oldest_ms = ages.max().unwrap_or(0);
        gauge!(OLDEST_UNPROCESSED, "group" => self.group, "topic" => self.topic)
            .set(oldest_ms as f64 / 1_000.0);
    }
}

impl Partition {
    fn moved(&mut self, first: i64, end: i64) {
        if first != self.first {
            self.written_at_ms = None;
        }
        self.first = first;
        self.num_waiting = (end - first).max(0);
    }

    fn waited_ms(&self, now_ms: i64) -> i64 {
        match self.written_at_ms {
            Some(at) if self.num_waiting > 0 => (now_ms - at).max(0),
            _ => 0,
        }
    }
}

/// A consumer that belongs to the group in name only: it joins nothing and commits nothing.
fn consumer(connection: &KafkaConnection, group: &str) -> Result<BaseConsumer, KafkaError> {
    let mut config = ClientConfig::new();
    for (name, value) in connection.settings() {
        config.set(name, value);
    }
    for (name, value) in topics::CONSUMER {
        config.set(*name, *value);
    }
    config
        .set("group.id", group)
        // A record that has just been trimmed is asked for again in the next round.
        .set("auto.offset.reset", "error")
        // One record of each partition is wanted, and the broker gives at least one.
        .set("fetch.message.max.bytes", "1024")
        .set("queued.max.messages.kbytes", "1024")
        .set("fetch.wait.max.ms", "0")
        .create()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_age_is_that_of_the_first_record_and_none_when_nothing_waits() {
        let mut partition = Partition::default();
        partition.moved(10, 15);
        assert_eq!((partition.num_waiting, partition.waited_ms(9_000)), (5, 0));
        partition.written_at_ms = Some(4_000);
        partition.moved(10, 40);
        assert_eq!(
            (partition.num_waiting, partition.waited_ms(9_000)),
            (30, 5_000)
        );
        // The first one is another now, and its time is not known yet.
        partition.moved(12, 40);
        assert_eq!(partition.written_at_ms, None);
        partition.written_at_ms = Some(8_000);
        partition.moved(40, 40);
        assert_eq!(partition.waited_ms(9_000), 0);
        // An offset past the end, as after a restored broker, is no negative lag.
        partition.moved(50, 40);
        assert_eq!(partition.num_waiting, 0);
    }
}

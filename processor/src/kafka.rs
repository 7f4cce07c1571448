//! Records come in from one topic, in order per partition, on a thread of their own;
//! out goes a bounded feed of records, assignments and revocations.
//!
//! Polling never waits for the work: when the feed is full, the partitions are paused
//! and polling goes on. Positions move only by an explicit `commit` after the work is
//! durable, and closing never waits longer than three seconds for librdkafka.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext, RebalanceProtocol};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::FutureProducer;
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{ClientContext, Message as _, Offset, TopicPartitionList};
use schemas::topics::KafkaConnection;
use schemas::{planted, topics};
use tokio::sync::mpsc;

use crate::membership::Membership;
use crate::metrics::FEED_DEPTH;

/// One record of a topic, with its position.
#[derive(Debug)]
pub struct Record {
    /// The partition it stands in.
    pub partition: i32,
    /// Its place in the partition.
    pub offset: i64,
    /// What decides over its partition; empty if it has none.
    pub key: Vec<u8>,
    /// What it says; empty if it was a tombstone.
    pub payload: Vec<u8>,
}

/// A partition that came to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Start {
    /// Which.
    pub partition: i32,
    /// Where we begin to read it.
    pub offset: i64,
    /// Which of its assignments to us this is: what was begun in an earlier one is void.
    pub epoch: u64,
}

/// What a subscription tells, in the order it happened.
#[derive(Debug)]
pub enum Feed {
    /// These partitions are ours from now on.
    Assigned(Vec<Start>),
    /// These are no longer; what is not durable of them is somebody else's to do.
    Revoked(Vec<i32>),
    /// The next record of a partition.
    Record(Record),
    /// The subscription cannot go on.
    Failed(String),
}

/// How partitions are shared out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sharing {
    /// This process is alone with its broker and takes all partitions at once: after a kill
    /// there is no wait until the broker gives up on the member that died. The broker is
    /// the embedded one, which holds empty answers back by itself; asked to wait, Tansu
    /// would hold back those with records in them as well.
    Alone,
    /// The group's members share them, and rebalance when one comes or goes.
    Group(Membership),
}

/// Where and how a stage consumes.
#[derive(Debug, Clone)]
pub struct Broker {
    /// How Kafka is reached.
    pub connection: KafkaConnection,
    /// How partitions are shared out.
    pub sharing: Sharing,
}

/// How many records may wait between polling and working. Larger only moves a backlog
/// from the broker's disk into memory (2 MB a record at most, 40 KB usually); smaller
/// pauses and resumes the partitions all the time.
const FEED_CAPACITY: usize = 64;

/// How often positions are told to the broker: they are a low-water mark to start
/// from, and a lag display, never the truth.
const COMMIT_EVERY: Duration = Duration::from_millis(500);

/// How long closing may take. librdkafka can hang in it (rust-rdkafka #453, #509), as it does
/// while its group is being shared out anew; nothing depends on a clean close, and the process
/// has five seconds in all for its end.
const CLOSE_WITHIN: Duration = Duration::from_secs(3);

/// How long the broker may take to tell positions.
const PATIENCE: Duration = Duration::from_secs(10);

/// A consumer of one topic.
pub struct Subscription {
    topic: String,
    feed: mpsc::Receiver<Feed>,
    shared: Arc<Shared>,
    thread: Option<std::thread::JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    /// Epoch and next offset to read, per partition, to tell the broker.
    positions: Mutex<HashMap<i32, (u64, i64)>>,
    /// What rebalances brought since the last poll.
    rebalances: Mutex<VecDeque<Feed>>,
    /// Partitions that are ours at this instant, with the epoch of their assignment.
    owned: Mutex<HashMap<i32, u64>>,
    /// The epoch that was given last.
    epoch: AtomicU64,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Subscription {
    /// Consumes `topic`, with the positions of `group`.
    ///
    /// # Errors
    /// The settings are refused, or a thread cannot be had.
    pub fn open(broker: &Broker, group: &str, topic: &str) -> Result<Self, KafkaError> {
        let mut config = ClientConfig::new();
        for (name, value) in broker.connection.settings() {
            config.set(name, value);
        }
        config.set("group.id", group);
        // Start offsets are set by hand on assignment; an offset that is out of range
        // must stop the worker, never skip data.
        config.set("auto.offset.reset", "error");
        for (name, value) in topics::CONSUMER {
            config.set(*name, *value);
        }
        match &broker.sharing {
            Sharing::Alone => config.set("fetch.wait.max.ms", "0"),
            Sharing::Group(membership) => {
                membership.apply(&mut config);
                &mut config
            }
        };
        let shared = Arc::new(Shared::default());
        let context = Context {
            topic: topic.to_owned(),
            shared: shared.clone(),
        };
        let consumer: BaseConsumer<Context> = config.create_with_context(context)?;
        let alone = broker.sharing == Sharing::Alone;
        if !alone {
            consumer.subscribe(&[topic])?;
        }
        let (sender, feed) = mpsc::channel(FEED_CAPACITY);
        let thread = std::thread::Builder::new()
            .name(format!("kafka-{topic}"))
            .spawn({
                let shared = shared.clone();
                let topic = topic.to_owned();
                move || {
                    if alone {
                        take_all(&consumer);
                    }
                    poll(&consumer, &topic, &shared, &sender);
                }
            })
            .map_err(|error| {
                KafkaError::ClientCreation(format!("cannot start a thread: {error}"))
            })?;
        Ok(Self {
            topic: topic.to_owned(),
            feed,
            shared,
            thread: Some(thread),
        })
    }

    /// What happens next; none once the subscription has ended.
    pub async fn next(&mut self) -> Option<Feed> {
        let next = self.feed.recv().await;
        let waiting = self.feed.len() as f64;
        metrics::gauge!(FEED_DEPTH, "topic" => self.topic.clone()).set(waiting);
        next
    }

    /// What has happened already, without waiting.
    pub fn try_next(&mut self) -> Option<Feed> {
        self.feed.try_recv().ok()
    }

    /// Whether the partition is ours at this instant, by the assignment of this epoch: asked
    /// before anything of it is published, so that a revoked partition's open work dies, also
    /// when the partition has come back meanwhile.
    pub fn owns(&self, partition: i32, epoch: u64) -> bool {
        lock(&self.shared.owned).get(&partition) == Some(&epoch) || planted::is("late-fence")
    }

    /// Everything below `next_offset` of the partition is durable; told to the broker soon,
    /// if the partition is ours by that epoch then.
    pub fn commit(&self, partition: i32, epoch: u64, next_offset: i64) {
        lock(&self.shared.positions).insert(partition, (epoch, next_offset));
    }

    /// Leaves the group, or gives up doing so after three seconds.
    pub async fn close(mut self) {
        self.shared.stop.store(true, Ordering::Release);
        self.feed.close();
        let Some(thread) = self.thread.take() else {
            return;
        };
        let deadline = Instant::now() + CLOSE_WITHIN;
        while !thread.is_finished() && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        if thread.is_finished() {
            let _ = thread.join();
        } else {
            tracing::warn!("a Kafka consumer did not close within three seconds; going on without");
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
    }
}

/// Takes every partition of the topic, as a rebalance would give them.
fn take_all(consumer: &BaseConsumer<Context>) {
    let context = consumer.context();
    let found = consumer
        .fetch_metadata(Some(&context.topic), PATIENCE)
        .map(|metadata| {
            let partitions = metadata
                .topics()
                .iter()
                .flat_map(|topic| topic.partitions())
                .map(|p| p.id());
            let mut list = TopicPartitionList::new();
            partitions.for_each(|partition| {
                list.add_partition(&context.topic, partition);
            });
            list
        });
    match found {
        Ok(mut list) if list.count() > 0 => context.take_over(consumer, &mut list),
        Ok(_) => context.fail("it has no partitions".into()),
        Err(error) => context.fail(error.to_string()),
    }
}

fn poll(
    consumer: &BaseConsumer<Context>,
    topic: &str,
    shared: &Shared,
    sender: &mpsc::Sender<Feed>,
) {
    let mut waiting = VecDeque::new();
    let mut paused = false;
    let mut committed_at = Instant::now();
    while !shared.stop.load(Ordering::Acquire) {
        let polled = consumer.poll(Duration::from_millis(if waiting.is_empty() {
            100
        } else {
            5
        }));
        let mut rebalances = std::mem::take(&mut *lock(&shared.rebalances));
        if !rebalances.is_empty() {
            // New partitions come unpaused, and those that stayed must be as they are.
            if std::mem::take(&mut paused) {
                let assigned = consumer.assignment().unwrap_or_default();
                if let Err(error) = consumer.resume(&assigned) {
                    tracing::debug!(%error, topic, "resuming");
                }
            }
            waiting.append(&mut rebalances);
        }
        match polled {
            None => {}
            Some(Ok(message)) => {
                if let Err(injected) = failpoints::before_blocking("kafka.poll", topic) {
                    waiting.push_back(Feed::Failed(injected.to_string()));
                }
                waiting.push_back(Feed::Record(Record {
                    partition: message.partition(),
                    offset: message.offset(),
                    key: message.key().unwrap_or_default().to_vec(),
                    payload: message.payload().unwrap_or_default().to_vec(),
                }));
                if let Err(injected) = failpoints::after_blocking("kafka.poll", topic) {
                    waiting.push_back(Feed::Failed(injected.to_string()));
                }
            }
            Some(Err(KafkaError::MessageConsumption(RDKafkaErrorCode::AutoOffsetReset))) => {
                waiting.push_back(Feed::Failed(format!(
                    "records of topic {topic} that were not processed yet are gone from the broker"
                )));
            }
            Some(Err(KafkaError::MessageConsumptionFatal(code))) => {
                waiting.push_back(Feed::Failed(format!("consuming topic {topic}: {code}")));
            }
            // The broker is away or busy: librdkafka goes on trying.
            Some(Err(error)) => tracing::debug!(%error, topic, "polling"),
        }
        while let Some(next) = waiting.pop_front() {
            match sender.try_send(next) {
                Ok(()) => {}
                Err(mpsc::error::TrySendError::Full(next)) => {
                    waiting.push_front(next);
                    break;
                }
                Err(mpsc::error::TrySendError::Closed(_)) => return,
            }
        }
        if waiting.is_empty() == paused {
            let assigned = consumer.assignment().unwrap_or_default();
            let switched = if paused {
                consumer.resume(&assigned)
            } else {
                consumer.pause(&assigned)
            };
            match switched {
                Ok(()) => paused = !paused,
                Err(error) => tracing::debug!(%error, topic, "pausing or resuming"),
            }
        }
        if committed_at.elapsed() >= COMMIT_EVERY {
            committed_at = Instant::now();
            commit(consumer, topic, shared, CommitMode::Async);
        }
    }
    commit(consumer, topic, shared, CommitMode::Sync);
}

fn commit(consumer: &BaseConsumer<Context>, topic: &str, shared: &Shared, mode: CommitMode) {
    let positions = std::mem::take(&mut *lock(&shared.positions));
    let mut list = TopicPartitionList::new();
    for (partition, (epoch, offset)) in positions {
        if lock(&shared.owned).get(&partition) == Some(&epoch)
            && list
                .add_partition_offset(topic, partition, Offset::Offset(offset))
                .is_err()
        {
            tracing::debug!(
                topic,
                partition,
                offset,
                "an offset that Kafka does not take"
            );
        }
    }
    if list.count() == 0 || failpoints::before_blocking("kafka.commit", topic).is_err() {
        return;
    }
    let committed = consumer.commit(&list, mode);
    // Nobody waits for the answer, so that a lost one is like any other.
    let _ = failpoints::after_blocking("kafka.commit", topic);
    if let Err(error) = committed {
        // Harmless: the next start begins lower and drops what it knows.
        tracing::debug!(%error, topic, "committing positions");
    }
}

struct Context {
    topic: String,
    shared: Arc<Shared>,
}

impl ClientContext for Context {
    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, topic = self.topic, "Kafka consumer");
    }
}

impl Context {
    fn take_over(&self, consumer: &BaseConsumer<Self>, list: &mut TopicPartitionList) {
        if let Err(injected) = failpoints::before_blocking("kafka.assign", &self.topic) {
            return self.fail(injected.to_string());
        }
        let starts = start_offsets(consumer, list);
        // Given anew in every case: whatever was begun in an earlier assignment is void.
        let epoch = self.shared.epoch.fetch_add(1, Ordering::AcqRel) + 1;
        let assigned = match consumer.rebalance_protocol() {
            RebalanceProtocol::Cooperative => consumer.incremental_assign(list),
            RebalanceProtocol::None | RebalanceProtocol::Eager => consumer.assign(list),
        };
        // A partition that was paused when it left is paused when it comes back: nobody would read
        // it, and the group would not notice.
        let assigned = assigned.and_then(|()| consumer.resume(list));
        let starts = starts.and_then(|starts| assigned.map(|()| starts));
        lock(&self.shared.owned).extend(list.elements().iter().map(|e| (e.partition(), epoch)));
        match starts {
            Ok(starts) => {
                let start = |(partition, offset)| Start {
                    partition,
                    offset,
                    epoch,
                };
                let starts = starts.into_iter().map(start).collect();
                lock(&self.shared.rebalances).push_back(Feed::Assigned(starts));
            }
            Err(error) => self.fail(error.to_string()),
        }
        if let Err(injected) = failpoints::after_blocking("kafka.assign", &self.topic) {
            self.fail(injected.to_string());
        }
    }

    fn give_back(&self, consumer: &BaseConsumer<Self>, list: &TopicPartitionList) {
        let partitions: Vec<_> = list.elements().iter().map(|e| e.partition()).collect();
        lock(&self.shared.owned).retain(|partition, _| !partitions.contains(partition));
        lock(&self.shared.positions).retain(|partition, _| !partitions.contains(partition));
        if !planted::is("late-fence") {
            lock(&self.shared.rebalances).push_back(Feed::Revoked(partitions));
        }
        let given_back = match consumer.rebalance_protocol() {
            RebalanceProtocol::Cooperative => consumer.incremental_unassign(list),
            RebalanceProtocol::None | RebalanceProtocol::Eager => consumer.unassign(),
        };
        if let Err(error) = given_back {
            tracing::warn!(%error, topic = self.topic, "giving partitions back");
        }
    }

    fn fail(&self, what: String) {
        let what = format!("taking over partitions of topic {}: {what}", self.topic);
        lock(&self.shared.rebalances).push_back(Feed::Failed(what));
    }
}

impl ConsumerContext for Context {
    /// Takes over the two answers to a rebalance, so that every start offset is chosen
    /// here: where the group left off, or the partition's first record, never "latest".
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Self>,
        error: RDKafkaRespErr,
        list: &mut TopicPartitionList,
    ) {
        match error {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => self.take_over(consumer, list),
            _ => self.give_back(consumer, list),
        }
    }
}

/// Sets, and tells, where each partition of `list` starts.
fn start_offsets(
    consumer: &BaseConsumer<Context>,
    list: &mut TopicPartitionList,
) -> Result<Vec<(i32, i64)>, KafkaError> {
    let committed = consumer.committed_offsets(list.clone(), PATIENCE)?;
    let mut starts = Vec::new();
    for element in committed.elements() {
        let start = match element.offset() {
            _ if planted::is("reset-to-latest") => {
                consumer
                    .fetch_watermarks(element.topic(), element.partition(), PATIENCE)?
                    .1
            }
            Offset::Offset(offset) => offset,
            _ => {
                consumer
                    .fetch_watermarks(element.topic(), element.partition(), PATIENCE)?
                    .0
            }
        };
        list.set_partition_offset(element.topic(), element.partition(), Offset::Offset(start))?;
        starts.push((element.partition(), start));
    }
    Ok(starts)
}

/// A producer with the settings that make its delivery report mean "durable".
///
/// # Errors
/// The settings are refused.
pub fn producer(connection: &KafkaConnection) -> Result<FutureProducer, KafkaError> {
    let mut config = ClientConfig::new();
    for (name, value) in connection.settings() {
        config.set(name, value);
    }
    for (name, value) in topics::PRODUCER {
        config.set(*name, *value);
    }
    config.create()
}

#[cfg(test)]
mod tests;

//! Tansu's storage as the embedded broker uses it: every request goes on to the database,
//! but a fetch that finds nothing waits here until something is produced. Tansu itself asks
//! its database again and again, and holds every answer back for the whole time that
//! the client allows; so clients of this broker allow none, and a lone photo passes
//! three topics without any pause, while an idle process stays idle. What cannot have
//! changed since it was asked for last is not asked for again.
//!
//! Two more promises: a request is carried out to its end though its client may leave
//! (Tansu's storage task ends for good when it cannot hand over an answer), and a capture
//! is on the disk when it is confirmed, safe from a power cut.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use schemas::topics;
use tansu_sans_io::create_topics_request::CreatableTopic;
use tansu_sans_io::delete_groups_response::DeletableGroupResult;
use tansu_sans_io::delete_records_request::DeleteRecordsTopic;
use tansu_sans_io::delete_records_response::DeleteRecordsTopicResult;
use tansu_sans_io::describe_cluster_response::DescribeClusterBroker;
use tansu_sans_io::describe_configs_response::DescribeConfigsResult;
use tansu_sans_io::describe_topic_partitions_response::DescribeTopicPartitionsResponseTopic;
use tansu_sans_io::incremental_alter_configs_request::AlterConfigsResource;
use tansu_sans_io::incremental_alter_configs_response::AlterConfigsResourceResponse;
use tansu_sans_io::list_groups_response::ListedGroup;
use tansu_sans_io::record::deflated::Batch;
use tansu_sans_io::txn_offset_commit_response::TxnOffsetCommitResponseTopic;
use tansu_sans_io::{ConfigResource, ErrorCode, IsolationLevel, ListOffset, ScramMechanism};
use tansu_storage::{
    BrokerRegistrationRequest, Error, GroupDetail, ListOffsetResponse, MetadataResponse,
    NamedGroupDetail, OffsetCommitRequest, OffsetStage, ProducerIdResponse, Result,
    ScramCredential, Storage, StorageContainer, TopicId, Topition, TxnAddPartitionsRequest,
    TxnAddPartitionsResponse, TxnOffsetCommitRequest, UpdateError, Version,
};
use tokio::sync::{RwLock, watch};
use tokio::time::Instant;
use url::Url;
use uuid::Uuid;

use super::flush::Flush;

mod known;
use known::Known;

/// How long an answer to a fetch that finds nothing is held back. Longer only makes an idle
/// process idler; shorter costs a few requests to the database each time.
const HOLD: Duration = Duration::from_secs(1);

/// The storage of the embedded broker; clones share it.
#[derive(Clone, Debug)]
pub(super) struct Attentive {
    inner: StorageContainer,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    topics: Mutex<HashMap<String, Topic>>,
    /// Held to read by every write to the database, and to write by the trimmer, which
    /// has a connection of its own: neither ever finds the database busy.
    gate: Arc<RwLock<()>>,
    flush: Flush,
    known: Known,
}

/// Stands in for a number of records: a partition's last look found some, so its request is to
/// be answered; ...
const FOUND: u64 = u64::MAX;
/// ... and the look behind those found no more.
const ANSWERED: u64 = u64::MAX - 1;

/// What is known of a topic's fetches.
#[derive(Debug)]
struct Topic {
    /// Counts what is produced.
    produced: watch::Sender<u64>,
    /// What had been produced when each partition was last looked at.
    looked: HashMap<i32, u64>,
    /// Until when requests wait, and the partitions that came to wait: a request asks for
    /// its partitions one after the other, and must wait once and not once for each.
    until: Instant,
    waited: HashSet<i32>,
}

impl Topic {
    fn new() -> Self {
        Self {
            produced: watch::Sender::new(0),
            looked: HashMap::new(),
            until: Instant::now(),
            waited: HashSet::new(),
        }
    }

    /// Until when a fetch of a partition that found nothing may wait; `seen` had been
    /// produced before it looked.
    fn wait_until(&mut self, partition: i32, seen: u64) -> Instant {
        // Tansu looks on behind what it found, until it finds nothing.
        if self.looked.get(&partition) == Some(&FOUND) {
            self.looked.insert(partition, ANSWERED);
            return Instant::now();
        }
        self.looked.insert(partition, seen);
        if !self.waited.insert(partition) {
            // The next request. It may only wait if nothing has come since any of its
            // partitions was looked at; if something has, it goes round once without.
            let is_news = self.looked.values().any(|&looked| looked != seen);
            self.looked.values_mut().for_each(|looked| *looked = seen);
            self.waited = HashSet::from([partition]);
            self.until = Instant::now() + if is_news { Duration::ZERO } else { HOLD };
        }
        self.until
    }
}

impl Attentive {
    pub(super) fn new(inner: StorageContainer, gate: Arc<RwLock<()>>, flush: Flush) -> Self {
        let shared = Shared {
            topics: Mutex::default(),
            gate,
            flush,
            known: Known::default(),
        };
        Self {
            inner,
            shared: Arc::new(shared),
        }
    }

    fn topics(&self) -> MutexGuard<'_, HashMap<String, Topic>> {
        let topics = self.shared.topics.lock();
        topics.unwrap_or_else(PoisonError::into_inner)
    }

    fn with_topic<T>(&self, name: &str, act: impl FnOnce(&mut Topic) -> T) -> T {
        let mut topics = self.topics();
        if !topics.contains_key(name) {
            topics.insert(name.to_owned(), Topic::new());
        }
        act(topics.get_mut(name).expect("it was put in a line above"))
    }
}

/// Runs a request to its end on a task of its own, whatever becomes of who asked.
async fn to_its_end<T, E>(work: impl Future<Output = Result<T, E>> + Send + 'static) -> Result<T, E>
where
    T: Send + 'static,
    E: From<Error> + Send + 'static,
{
    tokio::spawn(work)
        .await
        .unwrap_or_else(|error| Err(Error::Message(error.to_string()).into()))
}

/// A request that reads: its arguments, made our own.
macro_rules! read {
    ($self:ident . $call:ident ( $($argument:ident),* )) => {{
        let inner = $self.inner.clone();
        to_its_end(async move { inner.$call($($argument),*).await }).await
    }};
}

/// A request that writes.
macro_rules! write {
    ($self:ident . $call:ident ( $($argument:expr),* )) => {{
        let inner = $self.inner.clone();
        let gate = $self.shared.gate.clone();
        to_its_end(async move {
            let _open = gate.read().await;
            inner.$call($($argument),*).await
        })
        .await
    }};
}

#[async_trait]
impl Storage for Attentive {
    async fn produce(
        &self,
        transaction_id: Option<&str>,
        topition: &Topition,
        batch: Batch,
    ) -> Result<i64> {
        let (asked, own) = (self.clone(), topition.clone());
        let transaction_id = transaction_id.map(str::to_owned);
        to_its_end(async move {
            let produced = {
                let _open = asked.shared.gate.read().await;
                let _forgotten = asked.shared.known.producing(&own);
                let id = transaction_id.as_deref();
                asked.inner.produce(id, &own, batch).await?
            };
            // What the stages produce comes back from the captures if a power cut takes it,
            // and their positions with it: the log loses its end, never its middle.
            if own.topic() == topics::CAPTURES {
                asked.shared.flush.all().await?;
            }
            asked.with_topic(own.topic(), |topic| topic.produced.send_modify(|n| *n += 1));
            Ok(produced)
        })
        .await
    }

    async fn fetch(
        &self,
        topition: &Topition,
        offset: i64,
        min_bytes: u32,
        max_bytes: u32,
        isolation: IsolationLevel,
    ) -> Result<Vec<Batch>> {
        let look = async || {
            let known = &self.shared.known;
            if known.is_empty_from(topition, offset) {
                return Ok(Vec::new());
            }
            let (own, inner) = (topition.clone(), self.inner.clone());
            let version = known.version(topition);
            let found = to_its_end(async move {
                inner
                    .fetch(&own, offset, min_bytes, max_bytes, isolation)
                    .await
            });
            let found: Result<Vec<Batch>> = found.await;
            if found.as_ref().is_ok_and(|found| !has_records(found)) {
                known.found_nothing(topition, offset, version);
            }
            found
        };
        let mut news = self.with_topic(topition.topic(), |topic| topic.produced.subscribe());
        let seen = *news.borrow_and_update();
        let found = look().await?;
        if has_records(&found) {
            self.with_topic(topition.topic(), |topic| {
                topic.looked.insert(topition.partition(), FOUND);
            });
            return Ok(found);
        }
        let until = self.with_topic(topition.topic(), |topic| {
            topic.wait_until(topition.partition(), seen)
        });
        match tokio::time::timeout_at(until, news.changed()).await {
            // What came may be another partition's: nobody of this request waits any more.
            Ok(_) => {
                let found = look().await?;
                self.with_topic(topition.topic(), |topic| {
                    topic.until = Instant::now();
                    if has_records(&found) {
                        topic.looked.insert(topition.partition(), FOUND);
                    }
                });
                Ok(found)
            }
            Err(_) => Ok(found),
        }
    }

    async fn offset_stage(&self, topition: &Topition) -> Result<OffsetStage> {
        let known = &self.shared.known;
        if let Some(stage) = known.stage(topition) {
            return Ok(stage);
        }
        let (own, inner) = (topition.clone(), self.inner.clone());
        let version = known.version(topition);
        let stage: Result<_> = to_its_end(async move { inner.offset_stage(&own).await }).await;
        if let Ok(stage) = &stage {
            known.found_stage(topition, *stage, version);
        }
        stage
    }

    async fn metadata(&self, topics: Option<&[TopicId]>) -> Result<MetadataResponse> {
        let known = &self.shared.known;
        if let Some(description) = topics.and_then(|topics| known.description(topics)) {
            return Ok(description);
        }
        let own = topics.map(<[_]>::to_vec);
        let inner = self.inner.clone();
        let found: Result<MetadataResponse> =
            to_its_end(async move { inner.metadata(own.as_deref()).await }).await;
        // One that is being made is not there yet, and will be.
        let is_there = |found: &&MetadataResponse| {
            let mut topics = found.topics().iter();
            topics.all(|topic| topic.error_code == i16::from(ErrorCode::None))
        };
        if let (Some(topics), Some(found)) = (topics, found.as_ref().ok().filter(is_there)) {
            known.found_description(topics.to_vec(), found.clone());
        }
        found
    }

    async fn list_offsets(
        &self,
        isolation: IsolationLevel,
        offsets: &[(Topition, ListOffset)],
    ) -> Result<Vec<(Topition, ListOffsetResponse)>> {
        let own = offsets.to_vec();
        let inner = self.inner.clone();
        to_its_end(async move { inner.list_offsets(isolation, &own).await }).await
    }

    async fn offset_fetch(
        &self,
        group: Option<&str>,
        topics: &[Topition],
        require_stable: Option<bool>,
    ) -> Result<BTreeMap<Topition, i64>> {
        let (group, own) = (group.map(str::to_owned), topics.to_vec());
        let inner = self.inner.clone();
        to_its_end(async move {
            inner
                .offset_fetch(group.as_deref(), &own, require_stable)
                .await
        })
        .await
    }

    async fn offset_commit(
        &self,
        group: &str,
        retention: Option<Duration>,
        offsets: &[(Topition, OffsetCommitRequest)],
    ) -> Result<Vec<(Topition, ErrorCode)>> {
        let (group, own) = (group.to_owned(), offsets.to_vec());
        write!(self.offset_commit(&group, retention, &own))
    }

    async fn init_producer(
        &self,
        transaction_id: Option<&str>,
        timeout_ms: i32,
        producer_id: Option<i64>,
        epoch: Option<i16>,
    ) -> Result<ProducerIdResponse> {
        let id = transaction_id.map(str::to_owned);
        write!(self.init_producer(id.as_deref(), timeout_ms, producer_id, epoch))
    }

    async fn create_topic(&self, topic: CreatableTopic, validate_only: bool) -> Result<Uuid> {
        let made = write!(self.create_topic(topic, validate_only));
        self.shared.known.forget_descriptions();
        made
    }

    async fn register_broker(&self, registration: BrokerRegistrationRequest) -> Result<()> {
        let registered = write!(self.register_broker(registration));
        self.shared.known.forget_descriptions();
        registered
    }

    async fn update_group(
        &self,
        group: &str,
        detail: GroupDetail,
        version: Option<Version>,
    ) -> Result<Version, UpdateError<GroupDetail>> {
        let group = group.to_owned();
        write!(self.update_group(&group, detail, version))
    }

    /// Tansu's own rules for old records are not used: what every consumer has passed goes.
    async fn maintain(&self, _now: SystemTime) -> Result<()> {
        Ok(())
    }

    async fn brokers(&self) -> Result<Vec<DescribeClusterBroker>> {
        read!(self.brokers())
    }

    async fn cluster_id(&self) -> Result<String> {
        read!(self.cluster_id())
    }

    async fn node(&self) -> Result<i32> {
        read!(self.node())
    }

    async fn advertised_listener(&self) -> Result<Url> {
        read!(self.advertised_listener())
    }

    async fn ping(&self) -> Result<()> {
        read!(self.ping())
    }

    async fn describe_config(
        &self,
        name: &str,
        resource: ConfigResource,
        keys: Option<&[String]>,
    ) -> Result<DescribeConfigsResult> {
        self.inner.describe_config(name, resource, keys).await
    }

    async fn committed_offset_topitions(&self, group: &str) -> Result<BTreeMap<Topition, i64>> {
        self.inner.committed_offset_topitions(group).await
    }

    async fn list_groups(&self, states: Option<&[String]>) -> Result<Vec<ListedGroup>> {
        self.inner.list_groups(states).await
    }

    async fn describe_groups(
        &self,
        groups: Option<&[String]>,
        include_operations: bool,
    ) -> Result<Vec<NamedGroupDetail>> {
        self.inner.describe_groups(groups, include_operations).await
    }

    async fn describe_topic_partitions(
        &self,
        topics: Option<&[TopicId]>,
        limit: i32,
        cursor: Option<Topition>,
    ) -> Result<Vec<DescribeTopicPartitionsResponseTopic>> {
        self.inner
            .describe_topic_partitions(topics, limit, cursor)
            .await
    }

    // Nobody in this process sends these. Tansu's SQLite storage panics on the first one, which
    // would be the end of it.

    async fn delete_records(
        &self,
        _topics: &[DeleteRecordsTopic],
    ) -> Result<Vec<DeleteRecordsTopicResult>> {
        Err(unsupported())
    }

    async fn delete_topic(&self, _topic: &TopicId) -> Result<ErrorCode> {
        Err(unsupported())
    }

    async fn delete_groups(&self, _groups: Option<&[String]>) -> Result<Vec<DeletableGroupResult>> {
        Err(unsupported())
    }

    async fn incremental_alter_resource(
        &self,
        _resource: AlterConfigsResource,
    ) -> Result<AlterConfigsResourceResponse> {
        Err(unsupported())
    }

    async fn upsert_user_scram_credential(
        &self,
        _user: &str,
        _mechanism: ScramMechanism,
        _credential: ScramCredential,
    ) -> Result<()> {
        Err(unsupported())
    }

    async fn delete_user_scram_credential(
        &self,
        _user: &str,
        _mechanism: ScramMechanism,
    ) -> Result<()> {
        Err(unsupported())
    }

    async fn user_scram_credential(
        &self,
        _user: &str,
        _mechanism: ScramMechanism,
    ) -> Result<Option<ScramCredential>> {
        Err(unsupported())
    }

    async fn txn_add_offsets(
        &self,
        _transaction: &str,
        _producer: i64,
        _epoch: i16,
        _group: &str,
    ) -> Result<ErrorCode> {
        Err(unsupported())
    }

    async fn txn_add_partitions(
        &self,
        _partitions: TxnAddPartitionsRequest,
    ) -> Result<TxnAddPartitionsResponse> {
        Err(unsupported())
    }

    async fn txn_offset_commit(
        &self,
        _offsets: TxnOffsetCommitRequest,
    ) -> Result<Vec<TxnOffsetCommitResponseTopic>> {
        Err(unsupported())
    }

    async fn txn_end(
        &self,
        _transaction: &str,
        _producer: i64,
        _epoch: i16,
        _committed: bool,
    ) -> Result<ErrorCode> {
        Err(unsupported())
    }
}

fn has_records(batches: &[Batch]) -> bool {
    batches.iter().any(|batch| batch.record_count > 0)
}

fn unsupported() -> Error {
    Error::Api(ErrorCode::UnsupportedVersion)
}

#[cfg(test)]
mod tests;

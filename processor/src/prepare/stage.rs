//! Topic `captures` comes in, topic `prepared` goes out; in between each original is
//! fetched, checked against its hash and prepared on the decode pool, several at a time.
//!
//! The stage keeps no state: any number of it may run, and a record done twice is a
//! replay that the next stage drops. The group's offset follows the lowest record that is
//! not published yet.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::TryFutureExt as _;
use object_store::{ObjectStore, ObjectStoreExt as _, path::Path};
use prost::Message as _;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::util::Timeout;
use schemas::events::photo_prepared::Result as Prepared;
use schemas::events::{CaptureReceived, PhotoPrepared, Rejection};
use schemas::{DatasetId, ObjectKey, Reason, Sha256, planted, topics};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{DecodePool, PIPELINE_VERSION};
use crate::dead_letters::DeadLetters;
use crate::error::ProcessorError;
use crate::kafka::{Broker, Feed, Record, Start, Subscription, producer};
use crate::metrics;

/// Bytes of originals in memory together. Larger lets the pool run further ahead and costs
/// that memory; smaller than one upload's limit (32 MiB) would block the largest for ever.
const FETCHED_BYTES: usize = 64 << 20;

/// Photos in work per decode thread: one decodes while the next one is fetched and the
/// last one is published. More only holds memory.
const IN_WORK_PER_THREAD: usize = 3;

/// Photos of slow formats that wait for their lane, or are in it. They hold no bytes while they wait;
/// each is one more record that a restart does again. Beyond these they hold up the others.
const PARKED: usize = 256;

/// An original that is not there is looked for this often before that is the verdict: a
/// store may show an object a moment after it was written.
const MISSING_TRIES: u32 = 5;

/// What the stage needs.
#[derive(Clone)]
pub struct PrepareSettings {
    /// Kafka.
    pub broker: Broker,
    /// Where the originals lie.
    pub store: Arc<dyn ObjectStore>,
    /// Where photos are decoded.
    pub pool: Arc<DecodePool>,
    /// Its threads.
    pub num_threads: usize,
    /// Its threads for slow formats.
    pub num_slow_threads: usize,
}

/// Runs until `shutdown`; what is in work then is done again by the next run.
///
/// # Errors
/// Kafka fails: call again, nothing is lost.
pub async fn run(
    settings: &PrepareSettings,
    shutdown: &CancellationToken,
) -> Result<(), ProcessorError> {
    let mut subscription = Subscription::open(&settings.broker, "prepare", topics::CAPTURES)
        .map_err(ProcessorError::kafka("subscribing to topic captures"))?;
    let worker = Worker {
        store: settings.store.clone(),
        dead_letters: DeadLetters::new(settings.store.clone()),
        pool: settings.pool.clone(),
        producer: producer(&settings.broker.connection)
            .map_err(ProcessorError::kafka("making a producer"))?,
        fetched_bytes: Arc::new(Semaphore::new(FETCHED_BYTES)),
        slow: Arc::new(Semaphore::new(settings.num_slow_threads + 1)),
    };
    let mut progress = Progress::default();
    let mut in_work = JoinSet::new();
    let places = Arc::new(Semaphore::new(settings.num_threads * IN_WORK_PER_THREAD));
    let most = settings.num_threads * IN_WORK_PER_THREAD + PARKED;
    let mut place = None;
    let ended = loop {
        tokio::select! {
            () = shutdown.cancelled() => break Ok(()),
            Some(done) = in_work.join_next() => match done {
                Ok(Ok((partition, epoch, offset))) => {
                    if let Some(next) = progress.done(partition, epoch, offset) {
                        subscription.commit(partition, epoch, next);
                    }
                }
                Ok(Err(error)) => break Err(error),
                Err(error) => break Err(ProcessorError::Subscription(format!("a photo's task failed: {error}"))),
            },
            // The semaphore is never closed, so this only ever waits for a free place.
            free = places.clone().acquire_owned(), if place.is_none() => place = free.ok(),
            feed = subscription.next(), if place.is_some() && in_work.len() < most => match feed {
                Some(Feed::Assigned(starts)) => starts.into_iter().for_each(|start| progress.assign(start)),
                Some(Feed::Revoked(partitions)) => progress.revoke(&partitions),
                Some(Feed::Record(record)) => {
                    // A record of a partition that is not ours is its owner's to do.
                    if let Some(epoch) = progress.begin(record.partition, record.offset) {
                        let work = worker.clone().work(record, place.take());
                        in_work.spawn(work.map_ok(move |(partition, offset)| (partition, epoch, offset)));
                    }
                }
                Some(Feed::Failed(what)) => break Err(ProcessorError::Subscription(what)),
                None => break Err(ProcessorError::Subscription("the subscription to topic captures ended".into())),
            },
        }
        ::metrics::gauge!(metrics::PREPARE_IN_WORK).set(in_work.len() as f64);
    };
    in_work.shutdown().await;
    subscription.close().await;
    ended
}

/// Which records of each partition are in work.
#[derive(Default)]
struct Progress(HashMap<i32, InWork>);

/// The records of one partition, in one assignment of it.
struct InWork {
    epoch: u64,
    offsets: BTreeSet<i64>,
    /// The next one to come.
    next: i64,
}

impl Progress {
    fn assign(&mut self, start: Start) {
        let in_work = InWork {
            epoch: start.epoch,
            offsets: BTreeSet::new(),
            next: start.offset,
        };
        self.0.insert(start.partition, in_work);
    }

    fn revoke(&mut self, partitions: &[i32]) {
        self.0
            .retain(|partition, _| !partitions.contains(partition));
    }

    /// The epoch of the assignment that the record is done under.
    fn begin(&mut self, partition: i32, offset: i64) -> Option<u64> {
        let in_work = self.0.get_mut(&partition)?;
        in_work.offsets.insert(offset);
        in_work.next = offset + 1;
        Some(in_work.epoch)
    }

    /// The offset below which all is done, if the partition is still ours by that epoch.
    fn done(&mut self, partition: i32, epoch: u64, offset: i64) -> Option<i64> {
        let in_work = self.0.get_mut(&partition).filter(|w| w.epoch == epoch)?;
        if planted::is("offset-by-maximum") {
            return in_work.offsets.remove(&offset).then_some(offset + 1);
        }
        in_work
            .offsets
            .remove(&offset)
            .then(|| in_work.offsets.first().copied().unwrap_or(in_work.next))
    }
}

#[derive(Clone)]
struct Worker {
    store: Arc<dyn ObjectStore>,
    dead_letters: DeadLetters,
    pool: Arc<DecodePool>,
    producer: FutureProducer,
    fetched_bytes: Arc<Semaphore>,
    /// Who may hold the bytes of a slow format.
    slow: Arc<Semaphore>,
}

/// A photo's place among those in work.
type Place = Option<OwnedSemaphorePermit>;

impl Worker {
    async fn work(self, record: Record, place: Place) -> Result<(i32, i64), ProcessorError> {
        let position = (record.partition, record.offset);
        // Without a dataset no later stage could do anything with it.
        let read = CaptureReceived::decode(record.payload.as_slice())
            .map_err(|error| error.to_string())
            .and_then(|capture| match capture.dataset_id.parse::<DatasetId>() {
                Ok(_) => Ok(capture),
                Err(error) => Err(error.to_string()),
            });
        match read {
            Ok(capture) => {
                let began = Instant::now();
                let result = self.prepare(&capture, place).await?;
                ::metrics::histogram!(metrics::PREPARE_SECONDS)
                    .record(began.elapsed().as_secs_f64());
                if let Err(what) = self.publish(capture, result).await? {
                    self.dead_letters
                        .keep(topics::CAPTURES, &record, what)
                        .await;
                }
            }
            Err(what) => {
                self.dead_letters
                    .keep(topics::CAPTURES, &record, what)
                    .await;
            }
        }
        Ok(position)
    }

    async fn prepare(
        &self,
        capture: &CaptureReceived,
        mut place: Place,
    ) -> Result<Prepared, ProcessorError> {
        let mut turn = None;
        let permits = u32::try_from(capture.num_bytes)
            .unwrap_or(u32::MAX)
            .min(FETCHED_BYTES as u32);
        // The semaphore is never closed; without it the photo is fetched all the same.
        let mut held = self
            .fetched_bytes
            .clone()
            .acquire_many_owned(permits)
            .await
            .ok();
        let mut fetched = self.fetch(capture).await?;
        if fetched.as_deref().is_ok_and(DecodePool::is_slow) {
            // Lets go of everything until its turn comes, so that fast ones pass it.
            drop((fetched, held.take(), place.take()));
            turn = self.slow.acquire().await.ok();
            held = self
                .fetched_bytes
                .clone()
                .acquire_many_owned(permits)
                .await
                .ok();
            fetched = self.fetch(capture).await?;
        }
        let bytes = match fetched {
            Ok(bytes) => bytes,
            Err(detail) => {
                let reason = Reason::OriginalDamaged.to_string();
                return Ok(Prepared::Rejection(Rejection {
                    reason,
                    detail,
                    original: None,
                }));
            }
        };
        let prepared = match self.pool.prepare(bytes).await {
            Ok(photo) => Prepared::Photo(photo),
            Err(rejection) => Prepared::Rejection(rejection),
        };
        drop((turn, held, place));
        Ok(prepared)
    }

    /// The original, if it is there and is what was uploaded; else what is wrong with it.
    /// A store that fails is waited for: the photo can do nothing about it.
    async fn fetch(
        &self,
        capture: &CaptureReceived,
    ) -> Result<Result<Bytes, String>, ProcessorError> {
        let (Ok(dataset), Ok(sha256)) = (
            capture.dataset_id.parse(),
            Sha256::try_from(capture.sha256.as_slice()),
        ) else {
            return Ok(Err("the record names no original".into()));
        };
        let key = Path::from(ObjectKey::Original { dataset, sha256 }.to_string());
        let mut tries = 0;
        let mut missing = 0;
        loop {
            tries += 1;
            let fetched = match self.store.get(&key).await {
                Ok(found) => found.bytes().await,
                Err(error) => Err(error),
            };
            match fetched {
                Ok(bytes) => {
                    let hashed = bytes.clone();
                    let found = tokio::task::spawn_blocking(move || Sha256::of(&hashed)).await;
                    match found {
                        Ok(found) if found == sha256 => return Ok(Ok(bytes)),
                        Ok(found) if tries > 1 => {
                            return Ok(Err(format!(
                                "the stored original {key} now has the hash {found}"
                            )));
                        }
                        _ => {}
                    }
                }
                Err(object_store::Error::NotFound { .. }) => {
                    missing += 1;
                    if missing >= MISSING_TRIES {
                        return Ok(Err(format!("the stored original {key} is missing")));
                    }
                }
                Err(error) => {
                    if tries == 1 || tries % 20 == 0 {
                        tracing::warn!(%error, %key, tries, "the object store does not answer; waiting for it");
                    }
                }
            }
            tokio::time::sleep(Duration::from_millis(50 << tries.min(6))).await;
        }
    }

    /// Publishes until the broker has it; a full queue or a broker that is away is waited for.
    /// What is too large for a record becomes a rejection; if that is so too, it says why.
    async fn publish(
        &self,
        capture: CaptureReceived,
        result: Prepared,
    ) -> Result<Result<(), String>, ProcessorError> {
        let dataset = capture.dataset_id.clone();
        let mut message = PhotoPrepared {
            capture: Some(capture),
            result: Some(result),
            pipeline_version: PIPELINE_VERSION.to_owned(),
        };
        loop {
            let payload = message.encode_to_vec();
            let record = FutureRecord::to(topics::PREPARED)
                .key(&dataset)
                .payload(&payload);
            failpoints::before("kafka.produce", topics::PREPARED).await?;
            let sent = self.producer.send(record, Timeout::Never).await;
            match sent {
                Ok(_) => {
                    failpoints::after("kafka.produce", topics::PREPARED).await?;
                    return Ok(Ok(()));
                }
                Err((KafkaError::MessageProduction(TOO_LARGE), _)) => {
                    let detail = format!(
                        "the prepared photo has {} bytes, too many for a record",
                        payload.len()
                    );
                    if matches!(message.result, Some(Prepared::Rejection(_))) {
                        return Ok(Err(detail));
                    }
                    message.result = Some(Prepared::Rejection(Rejection {
                        reason: Reason::DecoderFailure.to_string(),
                        detail,
                        original: None,
                    }));
                }
                Err((error, _)) => {
                    return Err(ProcessorError::kafka("publishing a prepared photo")(error));
                }
            }
        }
    }
}

/// What librdkafka and the broker say of a record that no retry brings through.
const TOO_LARGE: RDKafkaErrorCode = RDKafkaErrorCode::MessageSizeTooLarge;

#[cfg(test)]
mod tests {
    use super::*;

    fn start(offset: i64, epoch: u64) -> Start {
        Start {
            partition: 0,
            offset,
            epoch,
        }
    }

    #[test]
    fn the_position_never_passes_a_record_that_is_still_in_work() {
        let mut progress = Progress::default();
        progress.assign(start(5, 1));
        for offset in [5, 6, 7] {
            assert_eq!(progress.begin(0, offset), Some(1));
        }
        assert_eq!(progress.done(0, 1, 7), Some(5));
        assert_eq!(progress.done(0, 1, 5), Some(6));
        assert_eq!(progress.done(0, 1, 6), Some(8));
    }

    #[test]
    fn what_finishes_after_a_revocation_moves_nothing_also_when_the_partition_is_back() {
        let mut progress = Progress::default();
        assert_eq!(progress.begin(0, 0), None, "not ours yet");
        progress.assign(start(0, 1));
        progress.begin(0, 0);
        progress.revoke(&[0]);
        assert_eq!(progress.done(0, 1, 0), None);
        progress.assign(start(0, 2));
        assert_eq!(progress.done(0, 1, 0), None);
        progress.begin(0, 0);
        assert_eq!(progress.done(0, 1, 0), None, "begun by another");
        assert_eq!(progress.done(0, 2, 0), Some(1));
    }
}

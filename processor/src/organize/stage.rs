//! Topic `prepared` comes in, one owner per dataset and in order; verdicts go out on
//! topic `outcomes` at once, and rows into the tables shard by shard.
//!
//! The group's offset in Kafka is only the lowest record that somebody still waits for;
//! the truth about progress is the `txn` in each dataset's table. A failure that is not a
//! photo's fault ends the stage, and it begins anew from there.

use std::collections::{HashMap, HashSet, VecDeque};
use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use futures::future::join_all;
use prost::Message as _;
use rdkafka::producer::{FutureProducer, FutureRecord};
use schemas::events::photo_prepared::Result as Prepared;
use schemas::events::{CaptureDecided, PhotoPrepared};
use schemas::{CaptureId, DatasetId, Reason, Status, planted, topics};
use tokio_util::sync::CancellationToken;

use super::batch::{Batch, RollPolicy};
use super::delta::Tables;
use super::fingerprints::Fingerprints;
use super::index::Index;
use super::judge::{Verdict, judge};
use super::load::load;
use super::outcome::outcome;
use super::shard;
use super::snapshot;
use crate::dead_letters::DeadLetters;
use crate::error::ProcessorError;
use crate::kafka::{Broker, Feed, Record, Start, Subscription, producer};
use crate::maintain::is_changed;
use crate::metrics;
use crate::objects::ObjectRoot;

/// Bytes of all open batches together; beyond it the largest is committed early. Larger
/// holds more memory, smaller makes small files when many datasets are busy at once.
const MAX_OPEN_BYTES: usize = 64 << 20;

/// How often positions are told though nothing is due. Rarer only delays what waits for
/// the stream to be worked off.
const TIDY_EVERY: Duration = Duration::from_secs(2);

/// Captures that all indices together may know (about 250 bytes each, embeddings counted as
/// five) before those of
/// idle datasets are dropped; they are read again when a photo comes.
const MAX_INDEXED: usize = 4_000_000;

/// Verdicts whose delivery is awaited together. More only delays noticing that the
/// broker is gone.
const OUTCOMES_IN_FLIGHT: usize = 500;

mod refit;
use refit::awaits_fit;

/// What the stage needs.
#[derive(Clone)]
pub struct OrganizeSettings {
    /// Kafka.
    pub broker: Broker,
    /// Where the tables lie.
    pub objects: ObjectRoot,
    /// Which topics these are (see `Tables`): offsets are compared within one incarnation
    /// only. Empty for a broker that has only one.
    pub incarnation: String,
    /// When shards roll.
    pub roll: RollPolicy,
}

/// Runs until `shutdown`, then commits what is open.
///
/// # Errors
/// Kafka, the store or a table fails: call again, nothing is lost.
pub async fn run(
    settings: &OrganizeSettings,
    shutdown: &CancellationToken,
) -> Result<(), ProcessorError> {
    let subscription = Subscription::open(&settings.broker, "organize", topics::PREPARED)
        .map_err(ProcessorError::kafka("subscribing to topic prepared"))?;
    let producer = producer(&settings.broker.connection)
        .map_err(ProcessorError::kafka("making a producer"))?;
    let mut organizer = Organizer {
        settings: settings.clone(),
        dead_letters: DeadLetters::new(settings.objects.store().clone()),
        subscription,
        producer,
        partitions: HashMap::new(),
        in_flight: VecDeque::new(),
    };
    let ended = organizer.work(shutdown).await;
    let ended = match ended {
        Ok(()) if planted::is("lost-last-batch") => {
            organizer.drop_all();
            Ok(())
        }
        Ok(()) => organizer.commit_all().await,
        error => error,
    };
    organizer.subscription.close().await;
    ended
}

type Delivery = rdkafka::producer::future_producer::DeliveryFuture;

struct Organizer {
    settings: OrganizeSettings,
    dead_letters: DeadLetters,
    subscription: Subscription,
    producer: FutureProducer,
    partitions: HashMap<i32, Partition>,
    in_flight: VecDeque<Delivery>,
}

/// One partition that is ours.
struct Partition {
    /// By which assignment it is.
    epoch: u64,
    /// The next offset to come.
    next: i64,
    /// What Kafka was told last: what stands before it is told as well. At first where we began
    /// to read.
    announced: i64,
    datasets: HashMap<DatasetId, Dataset>,
}

/// One dataset of a partition.
struct Dataset {
    tables: Tables,
    index: Index,
    open: Option<Batch>,
    used_at: Instant,
    /// How many captures the newest snapshot of the index has.
    num_kept: usize,
    /// Files with changed rows that the index has read.
    changed: HashSet<String>,
}

impl Dataset {
    /// Whether rows that the index knows have other values by now.
    fn is_outdated(&self) -> bool {
        let mut files = self.tables.files().into_iter();
        files.any(|file| is_changed(&file) && !self.changed.contains(&file))
    }

    /// Writes a snapshot of the index beside the stage, if enough has come since the last.
    /// Everything that it knows must stand in the tables, and as it knows it.
    fn keep_index(&mut self, id: &DatasetId, partition: i32, objects: &ObjectRoot) {
        let num_known = self.index.len();
        if !snapshot::is_due(num_known.saturating_sub(self.num_kept), num_known) {
            return;
        }
        self.num_kept = num_known;
        let (files, position) = (self.tables.files(), self.tables.position());
        // A second for a million photos, once an eighth more of them have come.
        let Some(encoded) = snapshot::encode(&self.index, files, partition, position) else {
            return;
        };
        let (store, version) = (objects.store().clone(), self.tables.version());
        tokio::spawn(snapshot::write(store, id.clone(), version, encoded));
    }
}

impl Partition {
    fn new(start: Start) -> Self {
        Self {
            epoch: start.epoch,
            next: start.offset,
            announced: start.offset,
            datasets: HashMap::new(),
        }
    }

    /// The lowest offset that still waits for its commit.
    fn low_water(&self) -> i64 {
        if planted::is("offset-before-commit") {
            return self.next;
        }
        let open = self
            .datasets
            .values()
            .filter_map(|dataset| dataset.open.as_ref());
        open.map(|batch| batch.offsets.0).min().unwrap_or(self.next)
    }
}

fn dataset_of<'a>(
    partitions: &'a mut HashMap<i32, Partition>,
    partition: i32,
    id: &DatasetId,
) -> Option<&'a mut Dataset> {
    partitions.get_mut(&partition)?.datasets.get_mut(id)
}

impl Organizer {
    async fn work(&mut self, shutdown: &CancellationToken) -> Result<(), ProcessorError> {
        loop {
            let due = self.next_due();
            tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                feed = self.subscription.next() => match feed {
                    Some(Feed::Assigned(starts)) => {
                        for start in starts {
                            tracing::debug!(?start, "organizing");
                            self.partitions.insert(start.partition, Partition::new(start));
                        }
                    }
                    // What was open there is somebody else's to do again.
                    Some(Feed::Revoked(partitions)) => {
                        self.partitions.retain(|partition, _| !partitions.contains(partition));
                    }
                    Some(Feed::Record(record)) => self.take(record).await?,
                    Some(Feed::Failed(what)) => return Err(ProcessorError::Subscription(what)),
                    None => return Err(ProcessorError::Subscription("the subscription to topic prepared ended".into())),
                },
                () = tokio::time::sleep_until(due.into()) => self.commit_due().await?,
            }
        }
    }

    fn next_due(&self) -> Instant {
        let batches = self
            .partitions
            .values()
            .flat_map(|p| p.datasets.values())
            .filter_map(|d| d.open.as_ref());
        let due = batches.map(|batch| batch.due(&self.settings.roll)).min();
        let most = Instant::now() + TIDY_EVERY;
        due.map_or(most, |due| due.min(most))
    }

    async fn take(&mut self, record: Record) -> Result<(), ProcessorError> {
        let Record {
            partition, offset, ..
        } = record;
        if !self.partitions.contains_key(&partition) {
            return Ok(());
        }
        let prepared = decode(&record.payload);
        if let Err(what) = &prepared {
            // It names no photo, and it must not stall the others. Kept before it is passed.
            self.dead_letters
                .keep(topics::PREPARED, &record, what)
                .await;
        }
        let Some(state) = self.partitions.get_mut(&partition) else {
            return Ok(());
        };
        state.next = offset + 1;
        let Ok(prepared) = prepared else {
            return Ok(());
        };
        let (id, dataset_id, prepared) = prepared;
        if !state.datasets.contains_key(&dataset_id) {
            let opened =
                open_dataset(&self.settings, &dataset_id, partition, state.announced).await?;
            for told in opened.1 {
                if planted::is("committed-not-told-again") {
                    break;
                }
                self.tell(CaptureDecided {
                    dataset_id: dataset_id.to_string(),
                    ..told
                })
                .await?;
            }
            self.forget_idle();
            let mut dataset = opened.0;
            dataset.keep_index(&dataset_id, partition, &self.settings.objects);
            if let Some(state) = self.partitions.get_mut(&partition) {
                state.datasets.insert(dataset_id.clone(), dataset);
            }
        }
        let Some(dataset) = dataset_of(&mut self.partitions, partition, &dataset_id) else {
            return Ok(());
        };
        dataset.used_at = Instant::now();
        // In the table already, perhaps under another offset: a replay.
        if dataset.index.knows(id) && !planted::is("replays-not-dropped") {
            ::metrics::counter!(metrics::REPLAYS).increment(1);
            self.announce(partition);
            return Ok(());
        }
        if offset <= dataset.tables.position() {
            tracing::warn!(dataset = %dataset_id, partition, offset, position = dataset.tables.position(),
                "the stream gives offsets a second time: was an old copy of it restored? going on by ids");
            dataset.tables.begin_anew();
        }
        if let Some(model) = awaits_fit(dataset, &prepared) {
            self.fit_clusters(partition, &dataset_id, model).await?;
        }
        let Some(dataset) = dataset_of(&mut self.partitions, partition, &dataset_id) else {
            return Ok(());
        };
        let verdict = judged(id, &prepared, &dataset.index);
        remember(&mut dataset.index, id, &prepared, &verdict);
        let told = outcome(id, &prepared, &verdict);
        let reason = told.reason.clone().unwrap_or_default();
        ::metrics::counter!(metrics::VERDICTS, "status" => told.status.clone(), "reason" => reason)
            .increment(1);
        let batch = dataset.open.get_or_insert_with(|| Batch::open(offset));
        batch.push(id, offset, prepared, verdict, told.clone());
        let full = batch.is_full(&self.settings.roll);
        self.tell(told).await?;
        if full {
            self.commit(partition, &dataset_id).await?;
        }
        self.make_room().await
    }

    /// Publishes an outcome; its delivery is awaited before the group's offset passes it.
    async fn tell(&mut self, told: CaptureDecided) -> Result<(), ProcessorError> {
        failpoints::before("kafka.produce", topics::OUTCOMES).await?;
        let payload = told.encode_to_vec();
        loop {
            let record = FutureRecord::to(topics::OUTCOMES)
                .key(&told.capture_id)
                .payload(&payload);
            match self.producer.send_result(record) {
                Ok(delivery) => {
                    self.in_flight.push_back(delivery);
                    break;
                }
                Err((
                    rdkafka::error::KafkaError::MessageProduction(
                        rdkafka::types::RDKafkaErrorCode::QueueFull,
                    ),
                    _,
                )) => {
                    self.settle().await?;
                }
                Err((error, _)) => {
                    return Err(ProcessorError::kafka("publishing an outcome")(error));
                }
            }
        }
        if self.in_flight.len() >= OUTCOMES_IN_FLIGHT {
            self.settle().await?;
        }
        Ok(())
    }

    /// Waits until every outcome told so far is durable.
    async fn settle(&mut self) -> Result<(), ProcessorError> {
        let is_any = !self.in_flight.is_empty();
        for delivered in join_all(self.in_flight.drain(..)).await {
            match delivered {
                Ok(Ok(_)) => {}
                Ok(Err((error, _))) => {
                    return Err(ProcessorError::kafka("publishing an outcome")(error));
                }
                Err(_) => {
                    return Err(ProcessorError::Subscription(
                        "the producer of outcomes ended".into(),
                    ));
                }
            }
        }
        if is_any {
            failpoints::after("kafka.produce", topics::OUTCOMES).await?;
        }
        Ok(())
    }

    async fn commit_due(&mut self) -> Result<(), ProcessorError> {
        let due = self.open_batches(|batch, roll| batch.is_full(roll));
        for (partition, dataset, _) in due {
            self.commit(partition, &dataset).await?;
        }
        tell_open(&self.open_batches(|_, _| true));
        // What came last may have been replays, whose end nothing else announces.
        self.settle().await?;
        let partitions: Vec<_> = self.partitions.keys().copied().collect();
        partitions
            .into_iter()
            .for_each(|partition| self.announce(partition));
        Ok(())
    }

    async fn commit_all(&mut self) -> Result<(), ProcessorError> {
        for (partition, dataset, _) in self.open_batches(|_, _| true) {
            self.commit(partition, &dataset).await?;
        }
        self.settle().await
    }

    /// A planted bug: what is open is passed as if it were committed.
    fn drop_all(&mut self) {
        for (partition, state) in &mut self.partitions {
            state.datasets.clear();
            self.subscription
                .commit(*partition, state.epoch, state.next);
        }
    }

    async fn make_room(&mut self) -> Result<(), ProcessorError> {
        let open = self.open_batches(|_, _| true);
        if tell_open(&open) <= MAX_OPEN_BYTES {
            return Ok(());
        }
        match open.into_iter().max_by_key(|(.., num_bytes)| *num_bytes) {
            Some((partition, dataset, _)) => self.commit(partition, &dataset).await,
            None => Ok(()),
        }
    }

    fn open_batches(
        &self,
        pick: impl Fn(&Batch, &RollPolicy) -> bool,
    ) -> Vec<(i32, DatasetId, usize)> {
        let mut picked = Vec::new();
        for (&partition, state) in &self.partitions {
            for (id, dataset) in &state.datasets {
                if let Some(batch) = dataset
                    .open
                    .as_ref()
                    .filter(|batch| pick(batch, &self.settings.roll))
                {
                    picked.push((partition, id.clone(), batch.num_bytes()));
                }
            }
        }
        picked
    }

    /// Turns the open batch of a dataset into files and ONE commit, tells the outcomes with
    /// their table version, and lets the group's offset pass.
    async fn commit(&mut self, partition: i32, id: &DatasetId) -> Result<(), ProcessorError> {
        let Some(state) = self.partitions.get_mut(&partition) else {
            return Ok(());
        };
        if !self.subscription.owns(partition, state.epoch) {
            // Revoked a moment ago: the new owner does these records again. What is open dies.
            self.partitions.remove(&partition);
            return Ok(());
        }
        let Some(dataset) = dataset_of(&mut self.partitions, partition, id) else {
            return Ok(());
        };
        let Some(batch) = dataset.open.take() else {
            return Ok(());
        };
        let began = Instant::now();
        let Batch {
            accepted,
            declined,
            outcomes,
            offsets,
            ..
        } = batch;
        let (num_rows, num_declined) = (accepted.len(), declined.len());
        let of = id.clone();
        let (photos, rejections) = tokio::task::spawn_blocking(move || {
            let photos = (!accepted.is_empty())
                .then(|| shard::photos(&of, partition, accepted))
                .transpose()?;
            let rejections = (!declined.is_empty())
                .then(|| shard::rejections(&of, partition, declined))
                .transpose()?;
            Ok::<_, ProcessorError>((photos, rejections))
        })
        .await
        .map_err(|error| ProcessorError::Subscription(format!("writing a shard: {error}")))??;
        let num_bytes = photos.as_ref().map_or(0, |file| file.bytes.len());
        let version = dataset.tables.commit(offsets, photos, rejections).await?;
        tracing::info!(dataset = %id, version, num_rows, num_declined, num_bytes, ms = began.elapsed().as_millis() as u64, "shard committed");
        ::metrics::histogram!(metrics::COMMIT_SECONDS).record(began.elapsed().as_secs_f64());
        ::metrics::counter!(metrics::SHARD_BYTES).increment(num_bytes as u64);
        let is_outdated = dataset.is_outdated();
        if !is_outdated {
            dataset.keep_index(id, partition, &self.settings.objects);
        }
        for told in outcomes {
            self.tell(CaptureDecided {
                table_version: Some(version),
                ..told
            })
            .await?;
        }
        self.settle().await?;
        self.announce(partition);
        if is_outdated && let Some(state) = self.partitions.get_mut(&partition) {
            tracing::info!(dataset = %id, "rows have changed; they are read again with the next photo");
            state.datasets.remove(id);
        }
        Ok(())
    }

    /// Tells Kafka the low-water mark, if every outcome below it is durable.
    fn announce(&mut self, partition: i32) {
        if self.in_flight.is_empty()
            && let Some(state) = self.partitions.get_mut(&partition)
            && state.low_water() != state.announced
        {
            state.announced = state.low_water();
            self.subscription
                .commit(partition, state.epoch, state.announced);
        }
    }

    /// Drops what is known of datasets that are idle, the longest first.
    fn forget_idle(&mut self) {
        let datasets = || self.partitions.values().flat_map(|p| p.datasets.iter());
        let mut known: usize = datasets().map(|(_, d)| d.index.weight()).sum();
        if known <= MAX_INDEXED {
            return;
        }
        let mut idle: Vec<_> = datasets()
            .filter(|(_, d)| d.open.is_none())
            .map(|(id, d)| (d.used_at, id.clone(), d.index.weight()))
            .collect();
        idle.sort();
        for (_, id, len) in idle {
            if known <= MAX_INDEXED {
                break;
            }
            known -= len;
            self.partitions.values_mut().for_each(|p| {
                p.datasets.remove(&id);
            });
        }
    }
}

/// Tells, and returns, how many bytes the open batches hold.
fn tell_open(open: &[(i32, DatasetId, usize)]) -> usize {
    let num_bytes = open.iter().map(|(.., num_bytes)| num_bytes).sum();
    ::metrics::gauge!(metrics::OPEN_SHARDS_BYTES).set(num_bytes as f64);
    num_bytes
}

fn decode(payload: &[u8]) -> Result<(CaptureId, DatasetId, PhotoPrepared), String> {
    let prepared = PhotoPrepared::decode(payload).map_err(|error| error.to_string())?;
    let capture = prepared.capture.as_ref().ok_or("it names no capture")?;
    let id = capture
        .capture_id
        .parse()
        .map_err(|error: schemas::InvalidId| error.to_string())?;
    let dataset = capture
        .dataset_id
        .parse()
        .map_err(|error: schemas::InvalidId| error.to_string())?;
    Ok((id, dataset, prepared))
}

/// The verdict; a record that makes judging fail is a rejection like any other, committed
/// with the data, and not an outage.
fn judged(id: CaptureId, prepared: &PhotoPrepared, index: &Index) -> Verdict {
    // Nothing is changed by judging, so nothing is left half changed.
    let judging = AssertUnwindSafe(|| judge(id, prepared, index));
    std::panic::catch_unwind(judging).unwrap_or_else(|_| {
        tracing::error!(%id, "judging a photo failed; it is rejected");
        Verdict::Declined {
            status: Status::Rejected,
            reason: Reason::DecoderFailure,
            detail: "judging the photo failed; the log has more".into(),
            twin: None,
        }
    })
}

async fn open_dataset(
    settings: &OrganizeSettings,
    id: &DatasetId,
    partition: i32,
    tell_from: i64,
) -> Result<(Dataset, Vec<CaptureDecided>), ProcessorError> {
    let began = Instant::now();
    let tables = Tables::open(&settings.objects, id, partition, &settings.incarnation).await?;
    let kept = snapshot::newest(settings.objects.store(), id, partition, tell_from).await;
    let loaded = load(&tables, partition, tell_from, kept).await?;
    let (num_known, num_told) = (loaded.index.len(), loaded.outcomes.len());
    let num_read = loaded.num_read;
    let changed = tables.files().into_iter().filter(|file| is_changed(file));
    tracing::info!(dataset = %id, num_known, num_read, num_told, ms = began.elapsed().as_millis() as u64, "dataset opened");
    Ok((
        Dataset {
            num_kept: num_known.saturating_sub(num_read),
            changed: changed.collect(),
            tables,
            index: loaded.index,
            open: None,
            used_at: Instant::now(),
        },
        loaded.outcomes,
    ))
}

/// Adds a judged record to the index, so that the next one is judged against it.
fn remember(index: &mut Index, id: CaptureId, prepared: &PhotoPrepared, verdict: &Verdict) {
    let prints = match (&prepared.result, &prepared.capture) {
        (Some(Prepared::Photo(photo)), Some(capture)) => capture
            .sha256
            .as_slice()
            .try_into()
            .ok()
            .and_then(|sha256| Fingerprints::of(sha256, photo)),
        _ => None,
    };
    match (verdict, prints) {
        (Verdict::Accepted { group, place, .. }, Some(prints)) => {
            index.add_photo(id, *group, &prints);
            if let (Some(Prepared::Photo(photo)), Some(capture)) =
                (&prepared.result, &prepared.capture)
            {
                let model = &photo.embedding_model;
                index.looks.add(model, id, &capture.label, &photo.embedding);
                let place = place.as_ref();
                index.clusters.add(model, id, &photo.embedding, place);
            }
        }
        _ => index.add_judged(id),
    }
}

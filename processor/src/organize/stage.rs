//! Topic `prepared` comes in, one owner per dataset and in order; verdicts go out on
//! topic `outcomes` at once, and rows into the tables shard by shard.
//!
//! The group's offset in Kafka is only the lowest record that somebody still waits for;
//! the truth about progress is the `txn` in each dataset's table. A failure that is not a
//! photo's fault ends the stage, and it begins anew from there.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use prost::Message as _;
use schemas::events::{CaptureDecided, PhotoPrepared};
use schemas::{CaptureId, DatasetId, planted, topics};
use tokio_util::sync::CancellationToken;

use super::batch::{AcceptedRow, Batch, DeclinedRow, RollPolicy};
use super::outcome::outcome;
use super::shard::{self, ShardFile};
use crate::dead_letters::DeadLetters;
use crate::error::ProcessorError;
use crate::kafka::{Broker, Feed, Record, Start, Subscription};
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

mod dataset;
mod outcomes;
mod refit;

pub(crate) use dataset::Dataset;
use outcomes::Outcomes;
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
    let mut organizer = Organizer {
        settings: settings.clone(),
        dead_letters: DeadLetters::new(settings.objects.store().clone()),
        subscription,
        outcomes: Outcomes::open(&settings.broker)?,
        partitions: HashMap::new(),
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

struct Organizer {
    settings: OrganizeSettings,
    dead_letters: DeadLetters,
    subscription: Subscription,
    outcomes: Outcomes,
    partitions: HashMap<i32, Partition>,
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
            let OrganizeSettings {
                objects,
                incarnation,
                ..
            } = &self.settings;
            let from = (partition, state.announced);
            let opened = Dataset::open(objects, incarnation, &dataset_id, from);
            let (mut dataset, untold) = opened.await?;
            for told in untold {
                if planted::is("committed-not-told-again") {
                    break;
                }
                self.outcomes
                    .tell(CaptureDecided {
                        dataset_id: dataset_id.to_string(),
                        ..told
                    })
                    .await?;
            }
            self.forget_idle();
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
        let verdict = dataset.judge(id, &prepared);
        let told = outcome(id, &prepared, &verdict);
        let reason = told.reason.clone().unwrap_or_default();
        ::metrics::counter!(metrics::VERDICTS, "status" => told.status.clone(), "reason" => reason)
            .increment(1);
        let batch = dataset.open.get_or_insert_with(|| Batch::open(offset));
        batch.push(id, offset, prepared, verdict, told.clone());
        let full = batch.is_full(&self.settings.roll);
        self.outcomes.tell(told).await?;
        if full {
            self.commit(partition, &dataset_id).await?;
        }
        self.make_room().await
    }

    async fn commit_due(&mut self) -> Result<(), ProcessorError> {
        let due = self.open_batches(|batch, roll| batch.is_full(roll));
        for (partition, dataset, _) in due {
            self.commit(partition, &dataset).await?;
        }
        tell_open(&self.open_batches(|_, _| true));
        // What came last may have been replays, whose end nothing else announces.
        self.outcomes.settle().await?;
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
        self.outcomes.settle().await
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
        let (photos, rejections) = shards(id, partition, accepted, declined).await?;
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
            self.outcomes
                .tell(CaptureDecided {
                    table_version: Some(version),
                    ..told
                })
                .await?;
        }
        self.outcomes.settle().await?;
        self.announce(partition);
        if is_outdated && let Some(state) = self.partitions.get_mut(&partition) {
            tracing::info!(dataset = %id, "rows have changed; they are read again with the next photo");
            state.datasets.remove(id);
        }
        Ok(())
    }

    /// Tells Kafka the low-water mark, if every outcome below it is durable.
    fn announce(&mut self, partition: i32) {
        if self.outcomes.are_durable()
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

/// The files of a batch, written beside the stage.
async fn shards(
    dataset: &DatasetId,
    partition: i32,
    accepted: Vec<AcceptedRow>,
    declined: Vec<DeclinedRow>,
) -> Result<(Option<ShardFile>, Option<ShardFile>), ProcessorError> {
    let dataset = dataset.clone();
    let written = tokio::task::spawn_blocking(move || {
        let photos = (!accepted.is_empty())
            .then(|| shard::photos(&dataset, partition, accepted))
            .transpose()?;
        let rejections = (!declined.is_empty())
            .then(|| shard::rejections(&dataset, partition, declined))
            .transpose()?;
        Ok((photos, rejections))
    });
    let panicked = |error| ProcessorError::Subscription(format!("writing a shard: {error}"));
    written.await.map_err(panicked)?
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

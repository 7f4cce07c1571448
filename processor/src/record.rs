//! Topic `outcomes` comes in; what it says is written into the catalog, many at a time,
//! where people and live events read it. Writing the same outcome again changes nothing.

use std::collections::HashMap;
use std::time::Duration;

use catalog::Catalog;
use prost::Message as _;
use schemas::events::CaptureDecided;
use schemas::{planted, topics};
use tokio_util::sync::CancellationToken;

use crate::dead_letters::DeadLetters;
use crate::error::ProcessorError;
use crate::kafka::{Broker, Feed, Record, Subscription};

/// Outcomes written in one transaction. More delays the first of them, fewer pays a disk
/// flush for each.
const BATCH: usize = 256;

/// How long to wait for the catalog between tries.
const PAUSE: Duration = Duration::from_millis(500);

/// What the stage needs.
#[derive(Clone)]
pub struct RecordSettings {
    /// Kafka.
    pub broker: Broker,
    /// Where outcomes are written.
    pub catalog: Catalog,
    /// Where those go that the catalog cannot take.
    pub dead_letters: DeadLetters,
}

/// Runs until `shutdown`.
///
/// # Errors
/// Kafka fails: call again, nothing is lost.
pub async fn run(
    settings: &RecordSettings,
    shutdown: &CancellationToken,
) -> Result<(), ProcessorError> {
    let mut subscription = Subscription::open(&settings.broker, "record", topics::OUTCOMES)
        .map_err(ProcessorError::kafka("subscribing to topic outcomes"))?;
    // The assignment of each partition by which its records come.
    let mut epochs: HashMap<i32, u64> = HashMap::new();
    let ended = loop {
        let mut records = Vec::new();
        tokio::select! {
            () = shutdown.cancelled() => break Ok(()),
            feed = subscription.next() => match feed {
                Some(Feed::Record(record)) => records.push(record),
                Some(Feed::Failed(what)) => break Err(ProcessorError::Subscription(what)),
                Some(Feed::Assigned(starts)) => {
                    epochs.extend(starts.iter().map(|start| (start.partition, start.epoch)));
                    continue;
                }
                Some(Feed::Revoked(partitions)) => {
                    epochs.retain(|partition, _| !partitions.contains(partition));
                    continue;
                }
                None => break Err(ProcessorError::Subscription("the subscription to topic outcomes ended".into())),
            },
        }
        while records.len() < BATCH {
            match subscription.try_next() {
                Some(Feed::Record(record)) => records.push(record),
                Some(Feed::Failed(what)) => return Err(ProcessorError::Subscription(what)),
                // Writing is repeatable, also by two; only positions are the owner's to tell.
                Some(Feed::Assigned(starts)) => {
                    epochs.extend(starts.iter().map(|start| (start.partition, start.epoch)));
                    break;
                }
                Some(Feed::Revoked(partitions)) => {
                    epochs.retain(|partition, _| !partitions.contains(partition));
                    break;
                }
                None => break,
            }
        }
        if planted::is("passed-before-recorded") {
            pass(&subscription, &epochs, &records);
            tokio::time::sleep(PAUSE).await;
        }
        if !write(settings, &records, shutdown).await {
            break Ok(());
        }
        pass(&subscription, &epochs, &records);
    };
    subscription.close().await;
    ended
}

/// Tells that all up to these records is written.
fn pass(subscription: &Subscription, epochs: &HashMap<i32, u64>, records: &[Record]) {
    let positions: HashMap<_, _> = records
        .iter()
        .map(|record| (record.partition, record.offset + 1))
        .collect();
    for (partition, next) in positions {
        if let Some(&epoch) = epochs.get(&partition) {
            subscription.commit(partition, epoch, next);
        }
    }
}

/// Writes until the catalog has them; false if told to stop before. What the catalog will
/// never take is kept as a dead letter, and the others are written without it.
async fn write(
    settings: &RecordSettings,
    records: &[Record],
    shutdown: &CancellationToken,
) -> bool {
    let mut outcomes = Vec::with_capacity(records.len());
    for record in records {
        match CaptureDecided::decode(record.payload.as_slice()) {
            Ok(outcome) => outcomes.push((record, outcome)),
            Err(error) => keep(settings, record, error.to_string()).await,
        }
    }
    let mut several = outcomes.as_slice();
    let mut together = true;
    let mut tries = 0_u32;
    while !several.is_empty() {
        let num_written = if together { several.len() } else { 1 };
        let (now, later) = several.split_at(num_written);
        let decided: Vec<_> = now.iter().map(|(_, outcome)| outcome.clone()).collect();
        match settings.catalog.record_outcomes(&decided).await {
            Ok(()) => several = later,
            // One of them is at fault: each goes by itself from here on.
            Err(error) if error.is_lasting() && together => together = false,
            Err(error) if error.is_lasting() => {
                keep(settings, now[0].0, error.to_string()).await;
                several = later;
            }
            Err(error) => {
                if tries.is_multiple_of(20) {
                    tracing::warn!(%error, num_outcomes = several.len(), "the catalog does not take outcomes; waiting for it");
                }
                tries += 1;
                tokio::select! {
                    () = shutdown.cancelled() => return false,
                    () = tokio::time::sleep(PAUSE) => {}
                }
            }
        }
    }
    true
}

async fn keep(settings: &RecordSettings, record: &Record, reason: String) {
    settings
        .dead_letters
        .keep(topics::OUTCOMES, record, reason)
        .await;
}

//! Topic `outcomes` comes in; what it says is written into the catalog, many at a time,
//! where people and live events read it. Writing the same outcome again changes nothing.

use std::collections::HashMap;
use std::time::Duration;

use catalog::Catalog;
use prost::Message as _;
use schemas::events::CaptureDecided;
use schemas::topics;
use tokio_util::sync::CancellationToken;

use crate::error::ProcessorError;
use crate::kafka::{Broker, Feed, Record, Subscription};
use crate::metrics;

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
    let ended = loop {
        let mut records = Vec::new();
        tokio::select! {
            () = shutdown.cancelled() => break Ok(()),
            feed = subscription.next() => match feed {
                Some(Feed::Record(record)) => records.push(record),
                Some(Feed::Failed(what)) => break Err(ProcessorError::Subscription(what)),
                Some(Feed::Assigned(_) | Feed::Revoked(_)) => continue,
                None => break Err(ProcessorError::Subscription("the subscription to topic outcomes ended".into())),
            },
        }
        while records.len() < BATCH {
            match subscription.try_next() {
                Some(Feed::Record(record)) => records.push(record),
                Some(Feed::Failed(what)) => return Err(ProcessorError::Subscription(what)),
                Some(Feed::Assigned(_) | Feed::Revoked(_)) => {}
                None => break,
            }
        }
        if !write(&settings.catalog, &records, shutdown).await {
            break Ok(());
        }
        let positions: HashMap<_, _> = records
            .iter()
            .map(|record| (record.partition, record.offset + 1))
            .collect();
        positions
            .into_iter()
            .for_each(|(partition, next)| subscription.commit(partition, next));
    };
    subscription.close().await;
    ended
}

/// Writes until the catalog has them; false if told to stop before.
async fn write(catalog: &Catalog, records: &[Record], shutdown: &CancellationToken) -> bool {
    let outcomes: Vec<_> = records.iter().filter_map(decode).collect();
    let mut tries = 0_u32;
    loop {
        match catalog.record_outcomes(&outcomes).await {
            Ok(()) => return true,
            Err(error) => {
                if tries.is_multiple_of(20) {
                    tracing::warn!(%error, num_outcomes = outcomes.len(), "the catalog does not take outcomes; waiting for it");
                }
                tries += 1;
            }
        }
        tokio::select! {
            () = shutdown.cancelled() => return false,
            () = tokio::time::sleep(PAUSE) => {}
        }
    }
}

fn decode(record: &Record) -> Option<CaptureDecided> {
    CaptureDecided::decode(record.payload.as_slice())
        .inspect_err(|error| {
            tracing::error!(partition = record.partition, offset = record.offset, %error, "a record of topic outcomes cannot be read; left out");
            ::metrics::counter!(metrics::POISON_RECORDS).increment(1);
        })
        .ok()
}

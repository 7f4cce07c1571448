//! The topic `captures`: an event comes in, and when this says yes, the broker has
//! confirmed this very message with `acks=all`. A full queue refuses at once, and a
//! producer that has broken for good is replaced by a new one.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use prost::Message as _;
use rdkafka::config::{FromClientConfigAndContext as _, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{FutureProducer, FutureRecord, Producer as _};
use rdkafka::{ClientConfig, ClientContext};
use schemas::events::CaptureReceived;
use schemas::{planted, topics};
use tracing::{debug, error, info, warn};

/// How long a delivery report may take: more than librdkafka's own message timeout,
/// so that it answers first.
const REPORT_DEADLINE: Duration = Duration::from_secs(10);
/// How long the broker may take to tell its topics.
const METADATA_DEADLINE: Duration = Duration::from_secs(3);

/// Why an event is not known to be in the topic.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PublishError {
    /// It never left: the queue is full.
    #[error("the producer's queue is full")]
    Full,
    /// It may or may not have arrived.
    #[error("the broker did not confirm the event: {0}")]
    Unconfirmed(#[source] KafkaError),
    /// It may or may not have arrived.
    #[error("the broker did not confirm the event in time")]
    Deadline,
}

/// The producer of the topic `captures`.
pub(crate) struct Publisher {
    config: ClientConfig,
    producer: RwLock<Producer>,
    /// The broker fails on what the producer sends: it may have forgotten the producer.
    is_doubtful: AtomicBool,
}

type Producer = FutureProducer<Log>;

impl Publisher {
    /// # Errors
    /// librdkafka does not accept the settings.
    pub(crate) fn new(kafka: &topics::KafkaConnection) -> Result<Self, KafkaError> {
        let mut config = ClientConfig::new();
        for (name, value) in kafka.settings() {
            config.set(name, value);
        }
        config.set("client.id", "tintype-ingest");
        for (name, value) in topics::PRODUCER {
            config.set(*name, *value);
        }
        let producer = RwLock::new(Producer::from_config_and_context(&config, Log)?);
        Ok(Self {
            config,
            producer,
            is_doubtful: AtomicBool::new(false),
        })
    }

    /// Publishes an event and waits for the delivery report of this message.
    pub(crate) async fn publish(&self, event: &CaptureReceived) -> Result<(), PublishError> {
        let payload = event.encode_to_vec();
        let record = || {
            FutureRecord::to(topics::CAPTURES)
                .key(&event.capture_id)
                .payload(&payload)
        };
        let injected = |_| PublishError::Unconfirmed(KafkaError::Canceled);
        failpoints::before("kafka.produce", topics::CAPTURES)
            .await
            .map_err(injected)?;
        let producer = self.healthy().map_err(PublishError::Unconfirmed)?;
        // Never `send`: it would wait for room in the queue, and so hide that there is none.
        let report = match producer.send_result(record()) {
            Ok(report) => report,
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => {
                return Err(PublishError::Full);
            }
            Err((error, _)) => return Err(PublishError::Unconfirmed(error)),
        };
        if planted::is("ack-before-delivery") {
            return Ok(());
        }
        match tokio::time::timeout(REPORT_DEADLINE, report).await {
            Ok(Ok(Ok(_delivery))) => failpoints::after("kafka.produce", topics::CAPTURES)
                .await
                .map_err(injected),
            Ok(Ok(Err((error, _message)))) => {
                let unknown = KafkaError::MessageProduction(RDKafkaErrorCode::Unknown);
                if error == unknown {
                    self.is_doubtful.store(true, Ordering::Relaxed);
                }
                Err(PublishError::Unconfirmed(error))
            }
            Ok(Err(_)) => Err(PublishError::Unconfirmed(KafkaError::Canceled)),
            Err(_) => Err(PublishError::Deadline),
        }
    }

    /// Whether the broker answers and has the topic.
    pub(crate) async fn check(&self) -> Result<(), KafkaError> {
        let producer = self.healthy()?;
        let ask = move || {
            let client = producer.client();
            let metadata = client.fetch_metadata(Some(topics::CAPTURES), METADATA_DEADLINE)?;
            match metadata.topics().first().map(|topic| topic.error()) {
                Some(None) => Ok(()),
                Some(Some(code)) => Err(KafkaError::MetadataFetch(code.into())),
                None => Err(KafkaError::MetadataFetch(RDKafkaErrorCode::UnknownTopic)),
            }
        };
        let asked = tokio::task::spawn_blocking(ask).await;
        asked.unwrap_or(Err(KafkaError::Canceled))
    }

    /// The producer, after replacing one that has failed for good: an idempotent
    /// producer that lost its place in a partition refuses everything from then on.
    fn healthy(&self) -> Result<Producer, KafkaError> {
        let current = self.producer.read().unwrap_or_else(PoisonError::into_inner);
        let is_doubtful = || self.is_doubtful.load(Ordering::Relaxed);
        if current.client().fatal_error().is_none() && !is_doubtful() {
            return Ok(current.clone());
        }
        drop(current);
        let mut current = self
            .producer
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        let fatal = current.client().fatal_error();
        if fatal.is_some() || self.is_doubtful.swap(false, Ordering::Relaxed) {
            warn!(
                ?fatal,
                "the Kafka producer failed for good; a new one takes over"
            );
            let fresh = Producer::from_config_and_context(&self.config, Log)?;
            let broken = std::mem::replace(&mut *current, fresh);
            // Its end waits for its own thread.
            tokio::task::spawn_blocking(move || drop(broken));
        }
        Ok(current.clone())
    }
}

/// librdkafka's own words, in our log. That a broker is away is told once per upload
/// where it is handled, and here only for those who look for it.
#[derive(Debug, Clone, Copy)]
struct Log;

impl ClientContext for Log {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        match level {
            RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
                error!(facility, "librdkafka: {message}");
            }
            RDKafkaLogLevel::Error | RDKafkaLogLevel::Warning => {
                info!(facility, "librdkafka: {message}");
            }
            _ => debug!(facility, "librdkafka: {message}"),
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        debug!(%error, "librdkafka: {reason}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_full_queue_refuses_at_once() {
        // Nobody listens there, so nothing leaves the queue of 16 MiB.
        let publisher = Publisher::new(&"127.0.0.1:1".into()).unwrap();
        let event = CaptureReceived {
            device: "x".repeat(1_900_000),
            ..CaptureReceived::default()
        };
        let mut waiting = Vec::new();
        let full = loop {
            let mut publishing = Box::pin(publisher.publish(&event));
            match futures::poll!(&mut publishing) {
                std::task::Poll::Ready(answer) => break answer,
                std::task::Poll::Pending => waiting.push(publishing),
            }
            assert!(waiting.len() < 20, "the queue has no end");
        };
        assert!(matches!(full, Err(PublishError::Full)), "{full:?}");
        assert!(!waiting.is_empty());
    }
}

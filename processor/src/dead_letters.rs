//! Records that a stage cannot read go into the object store, with the reason, before the
//! stage passes them: nothing is lost, and no partition stands still for one record.
//!
//! A letter's name is its place in Kafka, and it is written create-only: however often a
//! stage comes by, there is one. Sending it again is somebody's decision, after what was
//! wrong has been mended.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use data_encoding::BASE64;
use futures::TryStreamExt as _;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt as _, PutMode, PutOptions, PutPayload};
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::util::Timeout;
use schemas::{DEAD_LETTERS, ObjectKey};
use serde::{Deserialize, Serialize};

use crate::error::ProcessorError;
use crate::kafka::Record;
use crate::metrics;

/// How long a letter waits between tries to write it.
const PAUSE: Duration = Duration::from_secs(1);

/// A record that could not be worked on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// The topic it stands in.
    pub topic: String,
    /// Its partition.
    pub partition: i32,
    /// Its place there.
    pub offset: i64,
    /// What is wrong with it.
    pub reason: String,
    /// When that was found.
    pub found_at: DateTime<Utc>,
    /// The record's key and value, in base64.
    key: String,
    value: String,
}

impl DeadLetter {
    fn new(topic: &str, record: &Record, reason: String) -> Self {
        Self {
            topic: topic.to_owned(),
            partition: record.partition,
            offset: record.offset,
            reason,
            found_at: Utc::now(),
            key: BASE64.encode(&record.key),
            value: BASE64.encode(&record.payload),
        }
    }

    /// Its name: topic, partition and offset.
    pub fn name(&self) -> String {
        format!("{}-{}-{}", self.topic, self.partition, self.offset)
    }

    /// How many bytes the record has.
    pub fn num_bytes(&self) -> usize {
        BASE64.decode(self.value.as_bytes()).map_or(0, |v| v.len())
    }

    fn path(&self) -> Path {
        let name = format!("{}.json", self.name());
        Path::from(ObjectKey::DeadLetter { name }.to_string())
    }
}

/// All of them.
#[derive(Clone)]
pub struct DeadLetters {
    store: Arc<dyn ObjectStore>,
}

impl DeadLetters {
    /// Those in this store.
    pub fn new(store: Arc<dyn ObjectStore>) -> Self {
        Self { store }
    }

    /// Keeps a record of `topic`. Returns once it is durable, so that its partition may go
    /// on; a store that is away is waited for, as it is for every photo.
    pub(crate) async fn keep(&self, topic: &str, record: &Record, reason: impl Into<String>) {
        let letter = DeadLetter::new(topic, record, reason.into());
        tracing::error!(
            topic,
            partition = letter.partition,
            offset = letter.offset,
            reason = letter.reason,
            "a record cannot be worked on; it is kept as a dead letter (`tintype dead-letters list`)"
        );
        ::metrics::counter!(metrics::POISON_RECORDS, "topic" => topic.to_owned()).increment(1);
        let bytes = serde_json::to_vec(&letter).unwrap_or_default();
        let payload = PutPayload::from(bytes);
        let path = letter.path();
        let mut tries = 0_u32;
        loop {
            let options = PutOptions::from(PutMode::Create);
            let put = self.store.put_opts(&path, payload.clone(), options);
            match put.await {
                // There already: kept when the stage came by before.
                Ok(_) | Err(object_store::Error::AlreadyExists { .. }) => return,
                Err(error) => {
                    if tries.is_multiple_of(20) {
                        tracing::warn!(%error, letter = letter.name(), "the object store takes no dead letter; waiting for it");
                    }
                    tries += 1;
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    /// Every letter, the oldest first.
    ///
    /// # Errors
    /// The store fails, or a letter is none.
    pub async fn list(&self) -> Result<Vec<DeadLetter>, ProcessorError> {
        let doing = || ProcessorError::store("listing dead letters");
        let folder = Path::from(DEAD_LETTERS);
        let mut listed = self.store.list(Some(&folder));
        let mut letters = Vec::new();
        while let Some(object) = listed.try_next().await.map_err(doing())? {
            match self.read(&object.location).await {
                // Sent again by somebody else meanwhile.
                Err(ProcessorError::Store {
                    source: object_store::Error::NotFound { .. },
                    ..
                }) => {}
                letter => letters.push(letter?),
            }
        }
        letters.sort_by(|a, b| {
            (a.found_at, &a.topic, a.partition, a.offset).cmp(&(
                b.found_at,
                &b.topic,
                b.partition,
                b.offset,
            ))
        });
        Ok(letters)
    }

    async fn read(&self, path: &Path) -> Result<DeadLetter, ProcessorError> {
        let doing = || ProcessorError::store(format!("reading {path}"));
        let found = self.store.get(path).await.map_err(doing())?;
        let bytes = found.bytes().await.map_err(doing())?;
        serde_json::from_slice(&bytes)
            .map_err(|error| ProcessorError::Subscription(format!("{path} is no letter: {error}")))
    }

    /// Sends a letter to its topic once more, and forgets it once it is durable there. Dying
    /// in between sends it twice, which its id tells, as with every record.
    ///
    /// # Errors
    /// Kafka or the store fails; then the letter is still there.
    pub async fn replay(
        &self,
        producer: &FutureProducer,
        letter: &DeadLetter,
    ) -> Result<(), ProcessorError> {
        let decode = |text: &str| {
            BASE64.decode(text.as_bytes()).map_err(|error| {
                ProcessorError::Subscription(format!("letter {}: {error}", letter.name()))
            })
        };
        let (key, value) = (decode(&letter.key)?, decode(&letter.value)?);
        let record = FutureRecord::to(&letter.topic).key(&key).payload(&value);
        let sent = producer.send(record, Timeout::Never).await;
        sent.map_err(|(error, _)| {
            ProcessorError::kafka(format!("sending letter {} again", letter.name()))(error)
        })?;
        let path = letter.path();
        let removed = self.store.delete(&path).await;
        removed.map_err(ProcessorError::store(format!("removing {path}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use object_store::memory::InMemory;

    fn record(offset: i64) -> Record {
        Record {
            partition: 3,
            offset,
            key: b"key".to_vec(),
            payload: vec![0, 255, 7],
        }
    }

    #[tokio::test]
    async fn a_letter_is_kept_once_however_often_a_stage_comes_by() {
        let letters = DeadLetters::new(Arc::new(InMemory::new()));
        letters.keep("captures", &record(5), "first").await;
        letters.keep("captures", &record(5), "second").await;
        letters.keep("captures", &record(6), "another").await;
        let found = letters.list().await.unwrap();
        let told: Vec<_> = found
            .iter()
            .map(|letter| (letter.name(), letter.reason.as_str(), letter.num_bytes()))
            .collect();
        assert_eq!(
            told,
            [
                ("captures-3-5".to_owned(), "first", 3),
                ("captures-3-6".to_owned(), "another", 3)
            ]
        );
    }

    #[tokio::test]
    async fn a_letter_that_kafka_does_not_take_stays() {
        let letters = DeadLetters::new(Arc::new(InMemory::new()));
        letters.keep("captures", &record(5), "bad").await;
        let letter = letters.list().await.unwrap().remove(0);
        // Nobody listens there.
        let producer = rdkafka::ClientConfig::new()
            .set("bootstrap.servers", "127.0.0.1:1")
            .set("message.timeout.ms", "200")
            .create()
            .unwrap();
        assert!(letters.replay(&producer, &letter).await.is_err());
        assert_eq!(letters.list().await.unwrap(), [letter]);
    }
}

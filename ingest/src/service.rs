//! The service that the executable builds: catalog, store and broker come in; a
//! router, a readiness check and an orderly end go out.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use axum::Router;
use catalog::{Catalog, CatalogError};
use chrono::{DateTime, Utc};
use object_store::ObjectStore;
use prost::Message as _;
use rdkafka::error::KafkaError;
use schemas::CaptureId;
use schemas::events::CaptureReceived;
use schemas::topics::KafkaConnection;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::warn;

use crate::admission::Admission;
use crate::originals::{Originals, StoreError};
use crate::publish::Publisher;
use crate::uploads::{self, Turns};
use crate::{
    IngestSettings, InvalidSettings, SignPut, dialects, direct, draft, known, metrics, route, tus,
};

/// How long one good readiness check holds. Longer hides an outage from the load
/// balancer; shorter lets whoever asks often make the store write often.
const READY_FOR: Duration = Duration::from_secs(1);

/// How often uploads whose time is over are looked for.
const SWEEP_EVERY: Duration = Duration::from_secs(60);

/// The captures route and what it stands on; clones share it.
#[derive(Clone)]
pub struct Ingest {
    service: Arc<Service>,
}

/// What every upload shares.
pub(crate) struct Service {
    pub catalog: Catalog,
    pub originals: Originals,
    /// Where the parts of uploads go.
    pub store: Arc<dyn ObjectStore>,
    pub turns: Arc<Turns>,
    /// Signs uploads that go to the store directly, where that is possible.
    pub signer: OnceLock<Arc<dyn SignPut>>,
    pub publisher: Publisher,
    pub admission: Admission,
    pub settings: IngestSettings,
    /// Everything that must come to its end though its client may be gone.
    pub tasks: TaskTracker,
    ready_since: Mutex<Option<Instant>>,
}

/// Why the service cannot start, or is not ready.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    /// The settings cannot work.
    #[error("the ingest settings cannot work: {0}")]
    Settings(#[from] InvalidSettings),
    /// The folder of the originals cannot be used.
    #[error("opening the folder of originals {}: {source}", .folder.display())]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// librdkafka does not accept its settings.
    #[error("making a Kafka producer for {brokers}: {source}")]
    Producer {
        /// The brokers it was for.
        brokers: String,
        /// What librdkafka said.
        source: KafkaError,
    },
    /// The object store does not take a byte.
    #[error("the object store is not ready: {0}")]
    Store(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The catalog is away.
    #[error("asking the catalog for captures that no table holds: {0}")]
    Catalog(#[from] CatalogError),
    /// A capture's event on record is none.
    #[error("reading the event of capture {id}: {error}")]
    Event {
        /// Whose.
        id: CaptureId,
        /// What is wrong with it.
        error: prost::DecodeError,
    },
    /// A capture was not published again.
    #[error("publishing capture {id} again: {error}")]
    Republish {
        /// Which.
        id: CaptureId,
        /// What the producer said.
        error: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The broker does not answer, or has no topic `captures`.
    #[error("the Kafka broker is not ready: {0}")]
    Broker(#[source] KafkaError),
}

impl Ingest {
    /// Builds the service; talks to nobody yet.
    ///
    /// `local_root` is the folder behind `store` if it is a local one: originals are
    /// then written with `fsync`, which `store` itself does not do. `kafka` is
    /// how Kafka is reached, or only its addresses.
    ///
    /// # Errors
    /// The settings cannot work, the folder cannot be used, or librdkafka refuses.
    pub fn new(
        catalog: Catalog,
        store: Arc<dyn ObjectStore>,
        local_root: Option<PathBuf>,
        kafka: impl Into<KafkaConnection>,
        settings: IngestSettings,
    ) -> Result<Self, IngestError> {
        let settings = settings.validated()?;
        metrics::describe();
        let folder = local_root.clone().unwrap_or_default();
        let originals = Originals::new(Arc::clone(&store), local_root)
            .map_err(|source| IngestError::Folder { folder, source })?;
        let kafka = kafka.into();
        let publisher = Publisher::new(&kafka).map_err(|source| IngestError::Producer {
            brokers: kafka.addresses().into(),
            source,
        })?;
        Ok(Self {
            service: Arc::new(Service {
                catalog,
                originals,
                store,
                turns: Arc::default(),
                signer: OnceLock::new(),
                publisher,
                admission: Admission::new(&settings),
                settings,
                tasks: TaskTracker::new(),
                ready_since: Mutex::new(None),
            }),
        })
    }

    /// Lets clients write to the object store themselves, by what `signer` signs; to be called
    /// once. Without it they are told to send photos here.
    pub fn offer_direct_uploads(&self, signer: Arc<dyn SignPut>) {
        if self.service.signer.set(signer).is_err() {
            warn!("direct uploads are offered already; the first signer stays");
        }
    }

    /// The routes of uploads, to be merged with the others.
    pub fn router(&self) -> Router {
        route::router(Arc::clone(&self.service))
            .merge(known::router(Arc::clone(&self.service)))
            .merge(draft::router(Arc::clone(&self.service)))
            .merge(tus::router(Arc::clone(&self.service)))
            .merge(direct::router(Arc::clone(&self.service)))
            .merge(dialects::router(&self.service))
    }

    /// Removes uploads that nobody continued in time, every minute until `shutdown`.
    pub async fn sweep_uploads(&self, shutdown: CancellationToken) {
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(SWEEP_EVERY) => {}
            }
            // A removal that is cut short is done again after the next start.
            let swept = tokio::select! {
                () = shutdown.cancelled() => return,
                swept = uploads::sweep(&self.service) => swept,
            };
            if let Err(error) = swept {
                warn!(%error, "looking for uploads whose time is over failed; trying again");
            }
        }
    }

    /// For `/readyz`: whether the broker has the topic and the store takes a byte, now.
    /// The catalog has its own check.
    ///
    /// # Errors
    /// Which of them is away, and why.
    pub async fn check(&self) -> Result<(), IngestError> {
        // One at a time: who asks while a check runs gets its answer.
        let mut ready_since = self.service.ready_since.lock().await;
        if ready_since.is_some_and(|since| since.elapsed() < READY_FOR) {
            return Ok(());
        }
        *ready_since = None;
        let (broker, store) = tokio::join!(
            self.service.publisher.check(),
            self.service.originals.probe()
        );
        broker.map_err(IngestError::Broker)?;
        store.map_err(|error: StoreError| IngestError::Store(Box::new(error)))?;
        *ready_since = Some(Instant::now());
        Ok(())
    }

    /// Publishes the captures that came before `before` and that no table holds once more;
    /// how many. For a start, after everything in the stream has been worked off: what is
    /// open then has lost its event. One that has not is dropped as a replay.
    ///
    /// # Errors
    /// The catalog or the broker is away; those that are published already stay so.
    pub async fn publish_lost(&self, before: DateTime<Utc>) -> Result<u64, IngestError> {
        let service = &self.service;
        let mut num_published = 0;
        let mut last = None;
        loop {
            let events = service.catalog.open_events(before, last).await?;
            let Some((id, _)) = events.last() else {
                return Ok(num_published);
            };
            last = Some(*id);
            for (id, event) in events {
                let event = CaptureReceived::decode(event.as_slice())
                    .map_err(|error| IngestError::Event { id, error })?;
                let published = service.publisher.publish(&event).await;
                published.map_err(|error| IngestError::Republish {
                    id,
                    error: Box::new(error),
                })?;
                num_published += 1;
            }
        }
    }

    /// Waits until every upload that was complete has been taken in or refused; to be
    /// called when no new connections come. What is not done within the time is left:
    /// it was not acknowledged, and its client will send it again.
    pub async fn drain(&self, within: Duration) {
        self.service.tasks.close();
        let done = tokio::time::timeout(within, self.service.tasks.wait()).await;
        if done.is_err() {
            let left = self.service.tasks.len();
            warn!(left, "uploads were still being taken in at the end");
        }
    }
}

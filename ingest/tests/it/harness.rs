//! A whole captures route in a temporary folder, and the words to use it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, Response, StatusCode, request};
use bytes::Bytes;
use catalog::Catalog;
use futures::channel::{mpsc, oneshot};
use futures::stream::{self, StreamExt as _};
use http_body_util::BodyExt as _;
use ingest::{Ingest, IngestSettings};
use object_store::local::LocalFileSystem;
use prost::Message as _;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::{ClientConfig, Message as _, Offset, TopicPartitionList};
use schemas::events::CaptureReceived;
use schemas::http::{CaptureReceipt, CreatedKey, Dataset, Problem};
use schemas::{Sha256, topics};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

const NUM_PARTITIONS: i32 = 2;

pub struct World {
    pub folder: TempDir,
    pub broker: MockCluster<'static, DefaultProducerContext>,
    pub catalog: Catalog,
    pub ingest: Ingest,
    pub app: Router,
    pub token: String,
    pub dataset: String,
    settings: IngestSettings,
}

pub struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Value,
}

/// A JPEG as far as the door can see, and unlike any other.
pub fn jpeg(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = vec![0xff, 0xd8, 0xff, 0xe0];
    bytes.resize_with(len.max(4), || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[0]
    });
    bytes
}

impl World {
    pub async fn new() -> Self {
        Self::with(json!({}), IngestSettings::default()).await
    }

    /// With more of a dataset than its name.
    pub async fn with(dataset: Value, settings: IngestSettings) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let broker = MockCluster::new(1).unwrap();
        broker
            .create_topic(topics::CAPTURES, NUM_PARTITIONS, 1)
            .unwrap();
        let (catalog, ingest, app) = open(&folder, &broker, &settings).await;
        let token = catalog.ensure_first_key().await.unwrap().unwrap().token;
        let mut world = Self {
            folder,
            broker,
            catalog,
            ingest,
            app,
            token,
            dataset: String::new(),
            settings,
        };
        let mut create = json!({"name": "pets"});
        create
            .as_object_mut()
            .unwrap()
            .extend(dataset.as_object().unwrap().clone());
        let created = world.call("POST", "/v1/datasets", create).await;
        assert_eq!(created.status, StatusCode::CREATED, "{}", created.body);
        let created: Dataset = serde_json::from_value(created.body).unwrap();
        world.dataset = created.id.to_string();
        world
    }

    /// As after a restart of the process.
    pub async fn reopen(mut self) -> Self {
        self.ingest.drain(Duration::from_secs(5)).await;
        self.catalog.close().await;
        let (catalog, ingest, app) = open(&self.folder, &self.broker, &self.settings).await;
        catalog.release_requests().await.unwrap();
        (self.catalog, self.ingest, self.app) = (catalog, ingest, app);
        self
    }

    /// A request of the operator with a JSON body.
    pub async fn call(&self, method: &str, path: &str, body: Value) -> Reply {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("authorization", format!("Bearer {}", self.token))
            .header("content-type", "application/json")
            .body(Body::from(body.to_string()));
        self.send(request.unwrap()).await
    }

    pub async fn get(&self, path: &str) -> Reply {
        self.call("GET", path, Value::Null).await
    }

    pub async fn create_key(&self, key: Value) -> CreatedKey {
        let created = self.call("POST", "/v1/keys", key).await;
        assert_eq!(created.status, StatusCode::CREATED, "{}", created.body);
        serde_json::from_value(created.body).unwrap()
    }

    /// The head of an upload by the operator, without a label.
    pub fn upload(&self) -> request::Builder {
        Request::post(format!("/v1/datasets/{}/captures", self.dataset))
            .header("authorization", format!("Bearer {}", self.token))
    }

    /// Sends a photo of a cat.
    pub async fn send_cat(&self, bytes: Vec<u8>) -> Reply {
        let request = self.upload().header("x-label", "cat").body(bytes.into());
        self.send(request.unwrap()).await
    }

    pub async fn send(&self, request: Request<Body>) -> Reply {
        Reply::read(self.app.clone().oneshot(request).await.unwrap()).await
    }

    /// Every event in the topic, in no order.
    pub fn events(&self) -> Vec<CaptureReceived> {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", self.broker.bootstrap_servers())
            .set("group.id", "the test")
            .set("enable.partition.eof", "true")
            .create()
            .unwrap();
        let mut from_start = TopicPartitionList::new();
        for partition in 0..NUM_PARTITIONS {
            from_start
                .add_partition_offset(topics::CAPTURES, partition, Offset::Beginning)
                .unwrap();
        }
        consumer.assign(&from_start).unwrap();
        let (mut events, mut ended) = (Vec::new(), 0);
        let begun = Instant::now();
        while ended < NUM_PARTITIONS {
            assert!(
                begun.elapsed() < Duration::from_secs(20),
                "no end of the topic"
            );
            match consumer.poll(Duration::from_millis(500)) {
                Some(Ok(message)) => {
                    let event = CaptureReceived::decode(message.payload().unwrap()).unwrap();
                    assert_eq!(message.key(), Some(event.capture_id.as_bytes()));
                    events.push(event);
                }
                Some(Err(KafkaError::PartitionEOF(_))) => ended += 1,
                Some(Err(error)) => panic!("{error}"),
                None => {}
            }
        }
        events
    }

    /// The bytes of every stored original; each lies under its hash.
    pub fn originals(&self) -> Vec<Vec<u8>> {
        let mut found = Vec::new();
        let mut folders = vec![self.folder.path().join("originals")];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).into_iter().flatten() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    let bytes = std::fs::read(&path).unwrap();
                    assert!(path.ends_with(Sha256::of(&bytes).to_string()), "{path:?}");
                    found.push(bytes);
                }
            }
        }
        found
    }

    /// How many files of the store are not whole yet.
    pub fn num_unfinished(&self) -> usize {
        let incoming = self.folder.path().join("incoming");
        incoming.read_dir().unwrap().count()
    }

    /// Lets a minute pass, so that uploads are swept, until it `is_done`.
    pub async fn sweep(&self, is_done: impl AsyncFn() -> bool) {
        let shutdown = CancellationToken::new();
        let (ingest, token) = (self.ingest.clone(), shutdown.clone());
        let sweeping = tokio::spawn(async move { ingest.sweep_uploads(token).await });
        tokio::time::pause();
        tokio::task::yield_now().await;
        tokio::time::advance(Duration::from_secs(61)).await;
        tokio::time::resume();
        let done = async {
            while !is_done().await {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), done)
            .await
            .unwrap();
        shutdown.cancel();
        sweeping.await.unwrap();
    }

    /// How many captures the catalog knows.
    pub async fn num_captures(&self) -> u64 {
        let stats = self
            .get(&format!("/v1/datasets/{}/stats", self.dataset))
            .await;
        let statuses = stats.body["statuses"].as_object().unwrap().values();
        statuses.map(|count| count.as_u64().unwrap()).sum()
    }

    pub async fn assert_nothing_stored(&self) {
        assert_eq!(self.originals(), Vec::<Vec<u8>>::new());
        assert_eq!(self.num_unfinished(), 0);
        assert_eq!(self.events(), []);
        assert_eq!(self.num_captures().await, 0);
    }

    /// Puts a file where the store's folder must be, as a broken mount would; this
    /// stops the superuser too, whom a read-only folder would not.
    pub fn break_store(&self) -> PathBuf {
        let originals = self.folder.path().join("originals");
        let aside = self.folder.path().join("aside");
        if originals.exists() {
            std::fs::rename(&originals, &aside).unwrap();
        }
        std::fs::write(&originals, b"not a folder").unwrap();
        aside
    }

    pub fn mend_store(&self, aside: PathBuf) {
        let originals = self.folder.path().join("originals");
        std::fs::remove_file(&originals).unwrap();
        if aside.exists() {
            std::fs::rename(aside, originals).unwrap();
        }
    }
}

async fn open(
    folder: &TempDir,
    broker: &MockCluster<'static, DefaultProducerContext>,
    settings: &IngestSettings,
) -> (Catalog, Ingest, Router) {
    let url = format!("sqlite://{}", folder.path().join("catalog.db").display());
    let catalog = Catalog::open(&url).await.unwrap();
    let store = LocalFileSystem::new_with_prefix(folder.path()).unwrap();
    let ingest = Ingest::new(
        catalog.clone(),
        Arc::new(store),
        Some(folder.path().to_owned()),
        &broker.bootstrap_servers(),
        settings.clone(),
    )
    .unwrap();
    let app = catalog::http::router(catalog.clone(), CancellationToken::new());
    let app = app.merge(ingest.router());
    (catalog, ingest, app)
}

impl Reply {
    pub async fn read(response: Response<Body>) -> Self {
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        Self {
            status: parts.status,
            headers: parts.headers,
            body: serde_json::from_str(&text).unwrap_or(Value::String(text)),
        }
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    /// The receipt; its headers must say the same.
    pub fn receipt(&self) -> CaptureReceipt {
        let receipt: CaptureReceipt = serde_json::from_value(self.body.clone())
            .unwrap_or_else(|_| panic!("{} {}", self.status, self.body));
        let id = receipt.id.to_string();
        assert_eq!(self.header("location"), format!("/v1/captures/{id}"));
        assert_eq!(self.header("x-capture-id"), id);
        assert_eq!(self.header("x-capture-status"), receipt.status.as_str());
        receipt
    }

    pub fn assert_queued(&self) -> CaptureReceipt {
        assert_eq!(self.status, StatusCode::ACCEPTED, "{}", self.body);
        let receipt = self.receipt();
        assert_eq!(receipt.status, schemas::Status::Queued);
        receipt
    }

    pub fn assert_refused(&self, status: u16, code: &str) -> Problem {
        let problem: Problem = serde_json::from_value(self.body.clone())
            .unwrap_or_else(|_| panic!("{} {}", self.status, self.body));
        assert_eq!(
            (self.status.as_u16(), problem.code.as_str()),
            (status, code),
            "{problem:?}"
        );
        assert_eq!(self.header("content-type"), "application/problem+json");
        assert_eq!(problem.status, status);
        problem
    }
}

/// A body whose client waits: it tells when it is first read, and goes on when told to.
pub struct Stalled {
    pub body: Body,
    pub is_read: oneshot::Receiver<()>,
    pub client: mpsc::UnboundedSender<std::io::Result<Bytes>>,
}

impl Stalled {
    pub fn new() -> Self {
        let (client, chunks) = mpsc::unbounded();
        let (read, is_read) = oneshot::channel();
        let first_poll = async move {
            let _ = read.send(());
            Ok(Bytes::new())
        };
        let body = Body::from_stream(stream::once(first_poll).chain(chunks));
        Self {
            body,
            is_read,
            client,
        }
    }
}

/// A form with these parts in this order; a part with a file name is the photo.
pub struct Form {
    boundary: &'static str,
    bytes: Vec<u8>,
}

impl Form {
    pub fn new() -> Self {
        Self {
            boundary: "a-boundary-of-the-test",
            bytes: Vec::new(),
        }
    }

    pub fn part(mut self, name: &str, value: &str) -> Self {
        self.open(&format!("name=\"{name}\""));
        self.bytes.extend_from_slice(value.as_bytes());
        self.bytes.extend_from_slice(b"\r\n");
        self
    }

    pub fn file(self, file_name: &str, photo: &[u8]) -> Self {
        self.file_part("file", file_name, photo)
    }

    pub fn file_part(mut self, name: &str, file_name: &str, photo: &[u8]) -> Self {
        self.open(&format!("name=\"{name}\"; filename=\"{file_name}\""));
        self.bytes.extend_from_slice(photo);
        self.bytes.extend_from_slice(b"\r\n");
        self
    }

    fn open(&mut self, what: &str) {
        let head = format!(
            "--{}\r\nContent-Disposition: form-data; {what}\r\n\r\n",
            self.boundary
        );
        self.bytes.extend_from_slice(head.as_bytes());
    }

    pub fn content_type(&self) -> String {
        format!("multipart/form-data; boundary={}", self.boundary)
    }

    pub fn end(mut self) -> Vec<u8> {
        self.bytes
            .extend_from_slice(format!("--{}--\r\n", self.boundary).as_bytes());
        self.bytes
    }

    pub async fn send(self, world: &World) -> Reply {
        let request = world.upload().header("content-type", self.content_type());
        world.send(request.body(self.end().into()).unwrap()).await
    }
}

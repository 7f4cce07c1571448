//! One role a process: `tintype ingest`, `processor` and `trainer`, any number of each, on
//! the same Kafka, object store and PostgreSQL. They are put together here from the parts
//! that `up` is made of. What `up` may do because it is alone (open leases, take every
//! partition, publish lost events again) is left out: leases run out by themselves, the
//! group shares the partitions, and Kafka's replicas keep the events.

pub mod check;

mod bucket;

pub mod gate;

pub mod init;

pub mod dead_letters;

pub mod objects;

mod presign;

mod wait;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use catalog::Catalog;
use clap::Args;
use ingest::{Ingest, IngestSettings};
use processor::Sharing;
use processor::prepare::Embedding;
use schemas::topics::KafkaConnection;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::cli::{Exit, Failure};
use crate::settings::{Servers, Settings};
use crate::up::{
    self, DRAIN_REQUESTS, DRAIN_STAGES, DRAIN_TRAINING, Signals, embedding, health, preparer,
};
use crate::{serve, telemetry};
use objects::Objects;
use wait::Door;

/// How long closing the catalog may take.
const CLOSE_WITHIN: Duration = Duration::from_secs(1);

/// What `--help` shows for every role.
pub const EXAMPLES: &str = "\
Examples:
  export TINTYPE_KAFKA=kafka-1:9092,kafka-2:9092
  export TINTYPE_OBJECTS=s3://photos/tintype
  export TINTYPE_CATALOG=postgres://tintype:PASSWORD@postgres/tintype
  tintype check-config                       tries all three
  tintype init                               once: topics, tables, the first admin key
  tintype ingest --listen 0.0.0.0:8080       then any number of each of these
  tintype processor --listen 0.0.0.0:8081
  tintype trainer --listen 0.0.0.0:8082

Credentials of the object store come from its usual variables: AWS_ACCESS_KEY_ID,
AWS_ENDPOINT_URL and so on, GOOGLE_APPLICATION_CREDENTIALS, AZURE_STORAGE_ACCOUNT_NAME.
Kafka with TLS and SASL: TINTYPE_KAFKA_TLS=true, TINTYPE_KAFKA_CA (a file), TINTYPE_KAFKA_SASL
(plain, scram-sha-256, scram-sha-512 or oauthbearer), TINTYPE_KAFKA_USER, TINTYPE_KAFKA_PASSWORD.
Every role answers /healthz, /readyz and /metrics, from its first moment on; what is away is
waited for. Of processors, TINTYPE_KAFKA_GROUP_PROTOCOL (eager, cooperative or consumer; the
same for all) says how partitions move, and TINTYPE_KAFKA_INSTANCE, a name that one process keeps,
gives it its own partitions back after a restart. Other settings: see `tintype up --help`.";

/// What this process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The HTTP API.
    Ingest,
    /// The stages.
    Processor,
    /// Trainings.
    Trainer,
}

/// Where the servers are, and where to listen.
#[derive(Debug, Args)]
pub struct RoleArgs {
    /// Kafka's addresses, host:port, with commas between
    #[arg(long, value_name = "ADDRS", env = "TINTYPE_KAFKA")]
    pub kafka: Option<String>,
    /// Where photos, tables and models lie: s3://, gs://, az:// or file:///
    #[arg(long, value_name = "URL", env = "TINTYPE_OBJECTS")]
    pub objects: Option<String>,
    /// The catalog: postgres://USER:PASSWORD@HOST/DATABASE
    #[arg(
        long,
        value_name = "URL",
        env = "TINTYPE_CATALOG",
        hide_env_values = true
    )]
    pub catalog: Option<String>,
    /// Where to listen; 127.0.0.1:8080 if not said
    #[arg(long, value_name = "ADDR", env = "TINTYPE_LISTEN")]
    pub listen: Option<SocketAddr>,
    /// A local folder for what may be lost: fetched weights, photos of the running training
    #[arg(
        long,
        value_name = "DIR",
        env = "TINTYPE_DATA",
        default_value = "tintype-cache"
    )]
    pub data: PathBuf,
    /// A settings file in TOML
    #[arg(long, value_name = "FILE", env = "TINTYPE_CONFIG")]
    pub config: Option<PathBuf>,
}

impl Servers {
    /// How Kafka is reached.
    pub fn kafka(&self) -> anyhow::Result<KafkaConnection> {
        let missing = "no Kafka is named: set TINTYPE_KAFKA or --kafka to host:port";
        self.kafka_security
            .connection(self.kafka.as_deref().context(missing)?)
    }

    /// The object store's address.
    pub fn objects(&self) -> anyhow::Result<&str> {
        let missing =
            "no object store is named: set TINTYPE_OBJECTS or --objects, such as s3://bucket";
        self.objects.as_deref().context(missing)
    }

    /// The catalog's address.
    pub fn catalog(&self) -> anyhow::Result<&str> {
        let missing = "no catalog is named: set TINTYPE_CATALOG or --catalog, such as \
                       postgres://user:password@host/database";
        self.catalog.as_deref().context(missing)
    }
}

/// Runs one role until Ctrl-C or SIGTERM, then drains. A second signal ends it at once.
pub async fn run(role: Role, args: RoleArgs) -> anyhow::Result<Exit> {
    let settings = Settings::read_role(&args)?;
    telemetry::init_logs(&settings.log, settings.log_json);
    telemetry::metrics();
    let mut signals = Signals::listen()?;
    let running = tokio::select! {
        running = start(role, &settings) => running?,
        () = signals.next() => return Ok(Exit::Interrupted),
    };
    println!(
        "tintype {} is up, listening on {}",
        role.name(),
        running.url
    );
    signals.next().await;
    eprintln!("stopping: finishing what was begun (Ctrl-C again to stop at once)");
    tokio::select! {
        () = running.stop() => Ok(Exit::Fine),
        () = signals.next() => Ok(Exit::Interrupted),
    }
}

impl Role {
    fn name(self) -> &'static str {
        match self {
            Self::Ingest => "ingest",
            Self::Processor => "processor",
            Self::Trainer => "trainer",
        }
    }
}

/// One role, running.
struct Running {
    url: String,
    shutdown: CancellationToken,
    server: tokio::task::JoinHandle<()>,
    work: Option<tokio::task::JoinHandle<()>>,
    embedding: Option<tokio::task::JoinHandle<()>>,
    ingest: Option<Ingest>,
    catalog: Catalog,
    /// How long its work may take to end.
    drain: Duration,
}

async fn start(role: Role, settings: &Settings) -> anyhow::Result<Running> {
    let listener = TcpListener::bind(settings.listen).await.with_context(|| {
        format!(
            "cannot listen on {}; is something else there? choose another address with --listen",
            settings.listen
        )
    })?;
    let url = format!("http://{}", listener.local_addr()?);
    let objects = Objects::open(settings.servers.objects()?)?;
    settings.servers.kafka()?;
    let (door, shutdown) = (Door::default(), CancellationToken::new());
    let server = tokio::spawn(serve::serve(
        listener,
        door.router(),
        shutdown.clone(),
        DRAIN_REQUESTS,
    ));
    // Kafka is waited for by those who use it. Exactly once stands on create-only PUT: a
    // store without is refused, with the evidence.
    let ((), catalog) = tokio::try_join!(
        door.wait_for("object store", async || gate::pass(&objects).await),
        door.wait_for("catalog", async || open_catalog(&settings.servers).await),
    )?;
    let ingest = match role {
        Role::Trainer => None,
        Role::Ingest | Role::Processor => Some(Ingest::new(
            catalog.clone(),
            objects.root.store().clone(),
            objects.folder.clone(),
            settings.servers.kafka()?,
            IngestSettings {
                max_body_bytes: settings.max_body_bytes,
                ..IngestSettings::default()
            },
        )?),
    };
    if let (Some(ingest), Some(s3)) = (&ingest, &objects.s3) {
        let public = settings.servers.public_objects.clone();
        let presigner = presign::Presigner::new(s3.clone(), objects.root.url(), public)?;
        ingest.offer_direct_uploads(Arc::new(presigner));
    }
    let weights = trainer::WeightsSource {
        own: settings.weights.clone(),
        cache: settings.data.join("weights"),
        fetch: settings.fetch_weights,
    };
    let embedding = Embedding::default();
    let begun = match role {
        Role::Processor => {
            let (weights, token) = (weights.clone(), shutdown.clone());
            let begun = embedding::begin(settings.embed, weights, embedding.clone(), token);
            Some(begun.await)
        }
        Role::Ingest | Role::Trainer => None,
    };
    let (status, embedding_task) = begun.map(|begun| (begun.status, begun.task)).unzip();
    let health = health::Health {
        catalog: catalog.clone(),
        ingest: ingest.clone(),
        embedding: status,
    };
    tokio::spawn(wait::tell_outages(health.clone(), shutdown.clone()));
    let mut router = health::router(health);
    let work = match role {
        Role::Ingest => {
            // For photos to predict: those get no embedding.
            let (pool, _) = up::decode_pool(settings, embedding)?;
            let trainer_api = trainer::http::ApiSettings {
                catalog: catalog.clone(),
                objects: objects.root.store().clone(),
                preparer: Arc::new(preparer::PoolPreparer(pool)),
                max_body_bytes: settings.max_body_bytes,
            };
            router = router
                .merge(catalog::http::router(catalog.clone(), shutdown.clone()))
                .merge(trainer::http::router(trainer_api, shutdown.clone()));
            if let Some(ingest) = &ingest {
                router = router.merge(ingest.router());
            }
            ingest.clone().map(|ingest| {
                let shutdown = shutdown.clone();
                tokio::spawn(async move { ingest.sweep_uploads(shutdown).await })
            })
        }
        Role::Processor => {
            let kafka = processor::Broker {
                connection: settings.servers.kafka()?,
                sharing: Sharing::Group(settings.servers.membership.clone()),
            };
            let decoding = up::decode_pool(settings, embedding)?;
            // Kafka's topics are made once; should they ever be made anew, ids tell replays.
            let pipeline = up::pipeline(settings, kafka, &objects.root, "", decoding, &catalog);
            Some(tokio::spawn(processor::run(pipeline, shutdown.clone())))
        }
        Role::Trainer => {
            let name = worker_name();
            let worker = trainer::WorkerSettings {
                catalog: catalog.clone(),
                stores: trainer::Stores {
                    objects: objects.root.store().clone(),
                    bucket: objects.root.outer(),
                    url: objects.root.url().clone(),
                },
                // Its own: other trainers may use the same folder.
                scratch: settings.data.join("scratch").join(&name),
                weights,
                kernels: settings.data.join("kernels"),
                name,
            };
            Some(tokio::spawn(trainer::run(worker, shutdown.clone())))
        }
    };
    let router = catalog::http::with_fallbacks(router);
    door.open(crate::cors::with_cors(router, &settings.cors_origins));
    Ok(Running {
        url,
        shutdown,
        server,
        work,
        embedding: embedding_task,
        ingest,
        catalog,
        drain: match role {
            Role::Trainer => DRAIN_STAGES + DRAIN_TRAINING,
            Role::Ingest | Role::Processor => DRAIN_STAGES,
        },
    })
}

impl Running {
    async fn stop(self) {
        self.shutdown.cancel();
        // Stages and trainings were told with that, and work on their end from now on.
        let deadline = tokio::time::Instant::now() + self.drain;
        // The server bounds itself; a task that failed has nothing left to drain.
        let _ = self.server.await;
        if let Some(embedding) = self.embedding {
            let _ = embedding.await;
        }
        if let Some(ingest) = self.ingest {
            ingest.drain(DRAIN_REQUESTS).await;
        }
        if let Some(work) = self.work
            && tokio::time::timeout_at(deadline, work).await.is_err()
        {
            tracing::warn!("some work was not finished in time; another process does it again");
        }
        // A database that does not answer must not hold up the end.
        let _ = tokio::time::timeout(CLOSE_WITHIN, self.catalog.close()).await;
    }
}

/// Opens the catalog that the processes share.
pub async fn open_catalog(servers: &Servers) -> anyhow::Result<Catalog> {
    let url = servers.catalog()?;
    if !url.starts_with("postgres") {
        return Err(Failure::usage(
            "the roles share their catalog, which must be a PostgreSQL",
            "set TINTYPE_CATALOG to postgres://user:password@host/database; `tintype up` runs \
             all roles in one process, with a catalog of its own",
        )
        .into());
    }
    Catalog::open(url).await.context("cannot open the catalog")
}

/// Who works on a training: the machine and the process.
fn worker_name() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host: String = host
        .trim()
        .chars()
        .filter(|c| c.is_alphanumeric() || *c == '-')
        .collect();
    format!("{host}-{}", std::process::id())
}

//! `tintype up`: everything in one process. The embedded broker, a local folder as object
//! store, the SQLite catalog, ingest and the processor are put together here, in the
//! order in which they depend on each other, and taken down in the reverse order.

pub mod folder;

mod broker;

mod durable;

pub mod embedding;

pub mod health;

pub mod preparer;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use catalog::Catalog;
use clap::Args;
use ingest::{Ingest, IngestSettings};
use processor::maintain::{MaintainSettings, MergePolicy};
use processor::organize::{OrganizeSettings, RollPolicy};
use processor::prepare::stage::PrepareSettings;
use processor::prepare::{DecodePool, Embedding, PoolSettings};
use processor::record::RecordSettings;
use processor::{ObjectRoot, PipelineSettings, Sharing};
use schemas::http::CreatedKey;
use schemas::topics::KafkaConnection;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::cli::Exit;
use crate::settings::Settings;
use crate::{serve, telemetry};
use broker::{EmbeddedBroker, Progress};
use durable::DurableFolder;
use folder::DataFolder;

/// How long open requests may take to finish at the end, ...
pub const DRAIN_REQUESTS: Duration = Duration::from_secs(2);
/// ... and the stages to put their work down, so that a processor is gone within five seconds.
/// What is not finished by then is done again at the next start, and nothing is lost.
pub const DRAIN_STAGES: Duration = Duration::from_millis(4500);
/// How much longer a training may take to write its checkpoint.
pub const DRAIN_TRAINING: Duration = Duration::from_secs(2);

const EXAMPLES: &str = "\
Examples:
  tintype up                                       keeps everything in ./tintype-data
  tintype up --data /srv/photos --listen 0.0.0.0:8080
  TINTYPE_LOG=info tintype up                      says what it does

Other settings, in FILE or as TINTYPE_NAME: max_body_bytes, decode_threads, shard_max_rows,
shard_max_bytes, shard_max_age_s, weights (a file or folder of pretrained weights),
fetch_weights, embed, maintain_every_s, keep_files_days, keep_verdicts_days,
keep_events_days, cors_origins, log, log_json";

/// Run everything in one process: broker, object store, catalog, ingest, processor, trainer
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct UpArgs {
    /// Where everything is kept; made if it is not there
    #[arg(long, value_name = "DIR", env = "TINTYPE_DATA")]
    pub data: Option<PathBuf>,
    /// Where to listen
    #[arg(long, value_name = "ADDR", env = "TINTYPE_LISTEN")]
    pub listen: Option<SocketAddr>,
    /// A settings file in TOML; `tintype.toml` in the data folder if there is one
    #[arg(long, value_name = "FILE", env = "TINTYPE_CONFIG")]
    pub config: Option<PathBuf>,
}

/// Runs until Ctrl-C or SIGTERM, then drains. A second Ctrl-C ends it at once.
pub async fn run(args: UpArgs) -> anyhow::Result<Exit> {
    let settings = Settings::read(&args)?;
    telemetry::init_logs(&settings.log, settings.log_json);
    let mut signals = Signals::listen()?;
    let running = tokio::select! {
        running = start(&settings) => running?,
        () = signals.next() => return Ok(Exit::Interrupted),
    };
    greet(&running);
    signals.next().await;
    eprintln!("stopping: finishing what was acknowledged (Ctrl-C again to stop at once)");
    tokio::select! {
        () = running.stop() => Ok(Exit::Fine),
        () = signals.next() => Ok(Exit::Interrupted),
    }
}

fn greet(running: &Running) {
    let url = &running.url;
    println!(
        "tintype is up\n\n  listening on  {url}\n  data in       {}",
        running.data.display()
    );
    let key = match &running.admin_token {
        Some(token) => {
            println!(
                "  admin key     {token}\n\nKeep the key: it is shown this once. Then try\n\n  export TINTYPE_KEY={token}"
            );
            "$TINTYPE_KEY"
        }
        None => {
            println!("\nThe admin key was shown at the first start. With it in TINTYPE_KEY, try\n");
            "$TINTYPE_KEY"
        }
    };
    let flag = if url == crate::cli::DEFAULT_URL {
        String::new()
    } else {
        format!(" --url {url}")
    };
    println!(
        "  tintype dataset create cats{flag}\n  tintype upload photo.jpg --dataset cats --label tabby --wait{flag}\n  \
         curl -H \"Authorization: Bearer {key}\" -H 'X-Label: tabby' --data-binary @photo.jpg {url}/v1/datasets/cats/captures\n\n\
         Ctrl-C stops it; started again on the same folder it goes on where it was."
    );
}

/// Ctrl-C and SIGTERM.
pub struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

impl Signals {
    /// Listens from now on.
    pub fn listen() -> anyhow::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Waits for the next one.
    pub async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// Everything, running.
pub struct Running {
    /// Where the API answers.
    pub url: String,
    /// The operator's key, if this was the first start.
    pub admin_token: Option<String>,
    /// The data folder.
    pub data: PathBuf,
    shutdown: CancellationToken,
    stages_shutdown: CancellationToken,
    server: JoinHandle<()>,
    stages: JoinHandle<()>,
    trainer: JoinHandle<()>,
    lost: JoinHandle<()>,
    sweep: JoinHandle<()>,
    embedding: JoinHandle<()>,
    ingest: Ingest,
    catalog: Catalog,
    broker: EmbeddedBroker,
    folder: DataFolder,
}

/// Starts everything, and returns once an upload would succeed.
pub async fn start(settings: &Settings) -> anyhow::Result<Running> {
    telemetry::metrics();
    let folder = DataFolder::take(&settings.data)?;
    // Bound first: a port that is taken is the most usual mistake, and the cheapest to tell.
    let listener = TcpListener::bind(settings.listen).await.with_context(|| {
        format!(
            "cannot listen on {}; is something else there? choose another address with --listen",
            settings.listen
        )
    })?;
    let url = format!("http://{}", listener.local_addr()?);
    let broker = EmbeddedBroker::start(&folder.broker()).await?;
    let catalog_file = folder.catalog();
    let catalog = Catalog::open(&catalog::sqlite_url(&catalog_file))
        .await
        .with_context(|| format!("cannot open the catalog {}", catalog_file.display()))?;
    // The folder is ours alone, so a request that is open in the catalog died with its process.
    catalog.release_requests().await?;
    catalog.release_trainings().await?;
    let first_key: Option<CreatedKey> = catalog.ensure_first_key().await?;

    let objects = object_root(&folder.objects())?;
    let ingest = Ingest::new(
        catalog.clone(),
        objects.store().clone(),
        Some(folder.objects()),
        broker.bootstrap_servers(),
        IngestSettings {
            max_body_bytes: settings.max_body_bytes,
            ..IngestSettings::default()
        },
    )?;
    let (shutdown, stages_shutdown) = (CancellationToken::new(), CancellationToken::new());
    let weights = trainer::WeightsSource {
        own: settings.weights.clone(),
        cache: folder.weights(),
        fetch: settings.fetch_weights,
    };
    let embedding = Embedding::default();
    let begun = embedding::begin(
        settings.embed,
        weights.clone(),
        embedding.clone(),
        shutdown.clone(),
    )
    .await;
    let (pool, num_slow_threads) = decode_pool(settings, embedding)?;
    let kafka = processor::Broker {
        connection: KafkaConnection::at(broker.bootstrap_servers()),
        sharing: Sharing::Alone,
    };
    let decoding = (pool.clone(), num_slow_threads);
    let incarnation = broker.incarnation();
    let pipeline = pipeline(settings, kafka, &objects, incarnation, decoding, &catalog);
    let started_at = chrono::Utc::now();
    let stages = tokio::spawn(processor::run(pipeline, stages_shutdown.clone()));
    let worker = trainer::WorkerSettings {
        catalog: catalog.clone(),
        stores: trainer::Stores {
            objects: objects.store().clone(),
            bucket: objects.outer(),
            url: objects.url().clone(),
        },
        scratch: folder.scratch(),
        weights,
        kernels: folder.kernels(),
        name: format!("process {}", std::process::id()),
    };
    let trainer = tokio::spawn(trainer::run(worker, shutdown.clone()));
    let trainer_api = trainer::http::ApiSettings {
        catalog: catalog.clone(),
        objects: objects.store().clone(),
        preparer: Arc::new(preparer::PoolPreparer(pool)),
        max_body_bytes: settings.max_body_bytes,
    };
    let router = health::router(health::Health {
        catalog: catalog.clone(),
        ingest: Some(ingest.clone()),
        embedding: Some(begun.status),
    })
    .merge(ingest.router())
    .merge(catalog::http::router(catalog.clone(), shutdown.clone()))
    .merge(trainer::http::router(trainer_api, shutdown.clone()));
    let router = catalog::http::with_fallbacks(router);
    let router = crate::cors::with_cors(router, &settings.cors_origins);
    let server = tokio::spawn(serve::serve(
        listener,
        router,
        shutdown.clone(),
        DRAIN_REQUESTS,
    ));
    let sweep = tokio::spawn({
        let (ingest, shutdown) = (ingest.clone(), shutdown.clone());
        async move { ingest.sweep_uploads(shutdown).await }
    });
    let lost = tokio::spawn({
        let (progress, ingest) = (broker.progress(), ingest.clone());
        let shutdown = shutdown.clone();
        async move {
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = publish_lost(&progress, &ingest, started_at) => {}
            }
        }
    });
    Ok(Running {
        url,
        admin_token: first_key.map(|key| key.token),
        data: folder.root().to_owned(),
        shutdown,
        stages_shutdown,
        server,
        stages,
        trainer,
        lost,
        sweep,
        embedding: begun.task,
        ingest,
        catalog,
        broker,
        folder,
    })
}

impl Running {
    /// Takes no more requests, finishes those that are open, commits what is judged, and
    /// lets everything go.
    pub async fn stop(self) {
        self.shutdown.cancel();
        // The server bounds itself; a task that failed has nothing left to drain.
        let _ = self.server.await;
        let _ = self.lost.await;
        let _ = self.sweep.await;
        let _ = self.embedding.await;
        self.ingest.drain(DRAIN_REQUESTS).await;
        self.stages_shutdown.cancel();
        if tokio::time::timeout(DRAIN_STAGES, self.stages)
            .await
            .is_err()
        {
            tracing::warn!("some work was not finished in time; the next start does it again");
        }
        // It was told with the first line, and may be within a long step.
        if tokio::time::timeout(DRAIN_TRAINING, self.trainer)
            .await
            .is_err()
        {
            tracing::warn!("a training goes on from its last checkpoint at the next start");
        }
        self.catalog.close().await;
        let (broker, folder) = (self.broker, self.folder);
        // Joins a thread; the folder's lock goes last.
        let _ = tokio::task::spawn_blocking(move || {
            drop(broker);
            drop(folder);
        })
        .await;
    }
}

/// The threads that decode, and how many of them may be with slow photos.
///
/// What they make gets its embedding by `embedding`.
///
/// # Errors
/// A thread cannot be had.
pub fn decode_pool(
    settings: &Settings,
    embedding: Embedding,
) -> anyhow::Result<(Arc<DecodePool>, usize)> {
    let decoding = PoolSettings {
        embedding,
        threads: settings.decode_threads,
        slow_threads: settings.decode_threads.div_ceil(2),
        #[cfg(feature = "heic")]
        limits: processor::prepare::Limits {
            heif_program: Some(this_program()?),
            ..processor::prepare::Limits::default()
        },
        ..PoolSettings::default()
    };
    let num_slow_threads = decoding.slow_threads;
    let pool = DecodePool::new(decoding).context("cannot start the decode threads")?;
    Ok((Arc::new(pool), num_slow_threads))
}

/// The stages of the processor, on these servers.
pub fn pipeline(
    settings: &Settings,
    kafka: processor::Broker,
    objects: &ObjectRoot,
    incarnation: &str,
    (pool, num_slow_threads): (Arc<DecodePool>, usize),
    catalog: &Catalog,
) -> PipelineSettings {
    PipelineSettings {
        prepare: PrepareSettings {
            broker: kafka.clone(),
            store: objects.store().clone(),
            pool,
            num_threads: settings.decode_threads,
            num_slow_threads,
        },
        organize: OrganizeSettings {
            broker: kafka.clone(),
            objects: objects.clone(),
            incarnation: incarnation.to_owned(),
            roll: RollPolicy {
                max_rows: settings.shard_max_rows,
                max_bytes: settings.shard_max_bytes,
                max_age: settings.shard_max_age,
            },
        },
        record: RecordSettings {
            broker: kafka,
            catalog: catalog.clone(),
            dead_letters: processor::DeadLetters::new(objects.store().clone()),
        },
        maintain: (!settings.maintain_every.is_zero())
            .then(|| maintenance(settings, objects, catalog)),
    }
}

/// What maintenance runs with.
pub fn maintenance(
    settings: &Settings,
    objects: &ObjectRoot,
    catalog: &Catalog,
) -> MaintainSettings {
    MaintainSettings {
        catalog: catalog.clone(),
        objects: objects.clone(),
        every: settings.maintain_every,
        keep: settings.keep,
        merge: MergePolicy::default(),
    }
}

/// What to start for decoding beside this process: this very program, also when its file
/// has been replaced meanwhile.
#[cfg(feature = "heic")]
fn this_program() -> anyhow::Result<PathBuf> {
    let running = PathBuf::from("/proc/self/exe");
    if running.exists() {
        return Ok(running);
    }
    std::env::current_exe().context("cannot tell where this program lies")
}

/// Captures that no table holds though all that was in the topics at the start is worked
/// off have lost their event: the machine lost power, or the broker's database is gone.
/// They are published again.
async fn publish_lost(progress: &Progress, ingest: &Ingest, before: chrono::DateTime<chrono::Utc>) {
    const AGAIN_AFTER: Duration = Duration::from_secs(10);
    loop {
        let published = match progress.all_passed().await {
            Ok(()) => ingest
                .publish_lost(before)
                .await
                .map_err(anyhow::Error::from),
            Err(error) => Err(error),
        };
        match published {
            Ok(0) => return,
            Ok(num_published) => {
                tracing::warn!(
                    num_published,
                    "captures whose event was lost are published again"
                );
                return;
            }
            Err(error) => {
                tracing::warn!(%error, "looking for captures whose event was lost; trying again")
            }
        }
        tokio::time::sleep(AGAIN_AFTER).await;
    }
}

/// A local folder as the store of everything.
pub fn object_root(folder: &Path) -> anyhow::Result<ObjectRoot> {
    let url = Url::from_directory_path(folder)
        .ok()
        .context("the data folder's path must be absolute")?;
    Ok(ObjectRoot::new(Arc::new(DurableFolder::new(folder)), url))
}

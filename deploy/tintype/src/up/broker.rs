//! The embedded broker: Tansu on SQLite, speaking the Kafka protocol on loopback to the
//! same client that a real Kafka gets. It runs on a runtime of its own, because its
//! database calls block.
//!
//! Tansu's storage task ends for good when a request fails in a way that it did not expect,
//! for instance when the disk fills up in the middle of a transaction. So a watch asks it
//! every second whether it still answers, and builds it anew on the same database and
//! port if it does not: clients only see a short absence.
//!
//! It must be started before the catalog is opened: both use SQLite, the process links
//! one copy of it (libsql's), and libsql insists on configuring that copy first.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use rama::{Context, Service as _};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::types::RDKafkaErrorCode;
use schemas::topics;
use tansu_broker::coordinator::group::administrator::Controller;
use tansu_storage::{BrokerRegistrationRequest, Storage as _, StorageContainer};
use tokio::sync::{RwLock, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use url::Url;

mod attentive;
use attentive::Attentive;

mod database;
use database::Database;

mod flush;
use flush::Flush;

mod trim;

/// Threads of the broker's runtime. One would let a slow write hold up every fetch; more
/// than a few only wait for each other at the database.
const THREADS: usize = 2;

/// How long the broker may take to answer for the first time.
const START_WITHIN: Duration = Duration::from_secs(20);

/// How often the watch asks, how long it waits for the answer, and after how many missing
/// ones the broker is built anew. Sooner would take a busy disk for a dead broker.
const WATCH_EVERY: Duration = Duration::from_secs(1);
const ANSWER_WITHIN: Duration = Duration::from_secs(3);
const MISSING_ANSWERS: u32 = 2;

/// Partitions of each topic. One process uses them all, so a few suffice to keep
/// datasets apart; a dataset's partition never changes, so neither does this number.
const PARTITIONS: [(&str, i32); 3] = [
    (topics::CAPTURES, 4),
    (topics::PREPARED, 4),
    (topics::OUTCOMES, 1),
];

/// The name that Tansu keeps everything under.
const CLUSTER: &str = "tintype";

/// A running broker; it ends when this is dropped.
pub struct EmbeddedBroker {
    bootstrap_servers: String,
    incarnation: String,
    database: Arc<Database>,
    stop: CancellationToken,
    threads: Vec<std::thread::JoinHandle<()>>,
}

impl EmbeddedBroker {
    /// Starts the broker on its database and makes sure that the topics are there.
    pub async fn start(path: &Path) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))
            .and_then(|listener| listener.set_nonblocking(true).map(|()| listener))
            .context("cannot find a free port for the embedded broker")?;
        let bootstrap_servers = format!("127.0.0.1:{}", listener.local_addr()?.port());
        let database = Database::open(path).await?;
        if let Err(error) = database.let_it_shrink().await {
            // A full disk, most likely: it works all the same, and only does not shrink.
            tracing::warn!(%error, "the broker's database cannot be made smaller");
        }
        let incarnation = database.incarnation(&boot()).await?;
        let database = Arc::new(database);
        let (ready, started) = oneshot::channel();
        let (restart, restarts) = mpsc::channel(1);
        let stop = CancellationToken::new();
        let spawn = |name: &str, work: Box<dyn FnOnce() + Send>| {
            std::thread::Builder::new()
                .name(name.into())
                .spawn(work)
                .context("cannot start the embedded broker's threads")
        };
        let serving = {
            let server = Server {
                listener,
                advertised: Url::parse(&format!("tcp://{bootstrap_servers}"))?,
                path: PlainPath::of(path)?,
                flush: Flush::of(path),
                gate: Arc::default(),
                database: database.clone(),
                stop: stop.clone(),
            };
            spawn("broker", Box::new(move || server.run(ready, restarts)))?
        };
        let mut broker = Self {
            bootstrap_servers: bootstrap_servers.clone(),
            incarnation,
            database,
            stop: stop.clone(),
            threads: vec![serving],
        };
        started
            .await
            .map_err(|_| anyhow!("the embedded broker ended at once"))??;
        broker.make_topics().await?;
        let watch = spawn(
            "broker-watch",
            Box::new(move || watch(&bootstrap_servers, &restart, &stop)),
        )?;
        broker.threads.push(watch);
        Ok(broker)
    }

    /// Which topics these are: another name after the database was made anew, or the
    /// machine was.
    pub fn incarnation(&self) -> &str {
        &self.incarnation
    }

    /// For asking how far the consumers are, while the broker runs.
    pub fn progress(&self) -> Progress {
        Progress {
            database: self.database.clone(),
        }
    }

    /// Where clients reach it.
    pub fn bootstrap_servers(&self) -> &str {
        &self.bootstrap_servers
    }

    async fn make_topics(&self) -> anyhow::Result<()> {
        let admin: AdminClient<DefaultClientContext> = ClientConfig::new()
            .set("bootstrap.servers", &self.bootstrap_servers)
            .create()?;
        let topics = PARTITIONS
            .map(|(name, partitions)| NewTopic::new(name, partitions, TopicReplication::Fixed(1)));
        let options = AdminOptions::new()
            .operation_timeout(Some(START_WITHIN))
            .request_timeout(Some(START_WITHIN));
        let made = admin
            .create_topics(&topics, &options)
            .await
            .context("cannot make the topics")?;
        for topic in made {
            match topic {
                Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
                Err((name, error)) => bail!("cannot make topic {name}: {error}"),
            }
        }
        Ok(())
    }
}

impl Drop for EmbeddedBroker {
    fn drop(&mut self) {
        self.stop.cancel();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// How far the consumers are.
pub struct Progress {
    database: Arc<Database>,
}

impl Progress {
    /// Returns once everything that is in the topics now has gone all the way through them.
    pub async fn all_passed(&self) -> anyhow::Result<()> {
        const EVERY: Duration = Duration::from_millis(500);
        for topic in topics::ALL {
            let ends = self.database.ends(topic).await?;
            while !self.database.has_passed(topic, &ends).await? {
                tokio::time::sleep(EVERY).await;
            }
        }
        Ok(())
    }
}

/// What the broker's own runtime works with.
struct Server {
    listener: TcpListener,
    advertised: Url,
    path: PlainPath,
    flush: Flush,
    gate: Arc<RwLock<()>>,
    database: Arc<Database>,
    stop: CancellationToken,
}

impl Server {
    fn run(self, ready: oneshot::Sender<anyhow::Result<()>>, restarts: mpsc::Receiver<()>) {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(THREADS)
            .thread_name("broker")
            .enable_all()
            .build();
        let runtime = match runtime {
            Ok(runtime) => runtime,
            Err(error) => {
                let _ = ready.send(Err(
                    anyhow!(error).context("cannot start the embedded broker's runtime")
                ));
                return;
            }
        };
        runtime.block_on(async {
            tokio::join!(
                self.serve(ready, restarts),
                trim::run(&self.database, &self.gate, &self.stop)
            )
        });
        // What still runs is a request that nobody waits for; its transaction is whole or not there.
        runtime.shutdown_timeout(Duration::from_secs(1));
    }

    async fn serve(
        &self,
        ready: oneshot::Sender<anyhow::Result<()>>,
        mut restarts: mpsc::Receiver<()>,
    ) {
        // Somebody waits for the first build only; later ones go on trying.
        let mut ready = Some(ready);
        while !self.stop.is_cancelled() {
            let ended = CancellationToken::new();
            let storage = match self.build(&ended).await {
                Ok(storage) => storage,
                Err(error) => {
                    if let Some(ready) = ready.take() {
                        let _ = ready.send(Err(error));
                        self.stop.cancel();
                        return;
                    }
                    tracing::warn!(%error, "the embedded broker does not start; trying again");
                    tokio::time::sleep(WATCH_EVERY).await;
                    continue;
                }
            };
            if let Some(ready) = ready.take() {
                let _ = ready.send(Ok(()));
            }
            tokio::select! {
                error = self.accept(storage) => tracing::warn!(?error, "the embedded broker ended"),
                Some(()) = restarts.recv() => tracing::warn!("the embedded broker does not answer; building it anew"),
                () = self.stop.cancelled() => {}
            }
            ended.cancel();
        }
    }

    /// Opens the database and says that the broker is there.
    async fn build(&self, ended: &CancellationToken) -> anyhow::Result<Attentive> {
        let storage = StorageContainer::builder()
            .cluster_id(CLUSTER)
            .node_id(1)
            .advertised_listener(self.advertised.clone())
            .schema_registry(None)
            .lake_house(None)
            .storage(self.path.url()?)
            .cancellation(ended.clone())
            .silent(true)
            .build()
            .await
            .map_err(|error| anyhow!("the embedded broker cannot open its database: {error}"))?;
        let storage = Attentive::new(storage, self.gate.clone(), self.flush.clone());
        let registration = BrokerRegistrationRequest {
            broker_id: 1,
            cluster_id: CLUSTER.into(),
            incarnation_id: uuid::Uuid::now_v7(),
            rack: None,
        };
        storage
            .register_broker(registration)
            .await
            .map_err(|error| anyhow!("the embedded broker cannot use its database: {error}"))?;
        Ok(storage)
    }

    /// Serves connections until that fails; all of them end with this.
    async fn accept(&self, storage: Attentive) -> anyhow::Result<()> {
        let listener = tokio::net::TcpListener::from_std(self.listener.try_clone()?)?;
        let groups = Controller::with_storage(storage.clone())
            .map_err(|error| anyhow!("the embedded broker's groups: {error}"))?;
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                accepted = listener.accept() => {
                    let (stream, _) = accepted?;
                    stream.set_nodelay(true)?;
                    let service = tansu_broker::service::services(CLUSTER, groups.clone(), storage.clone(), None)
                        .map_err(|error| anyhow!("the embedded broker's services: {error}"))?;
                    connections.spawn(async move {
                        if let Err(error) = service.serve(Context::default(), stream).await {
                            // Clients that leave are no news.
                            tracing::debug!(%error, "a connection to the embedded broker ended");
                        }
                    });
                }
                Some(_) = connections.join_next() => {}
            }
        }
    }
}

/// Asks the broker for the ends of a partition, which takes it through its database.
fn watch(bootstrap_servers: &str, restart: &mpsc::Sender<()>, stop: &CancellationToken) {
    let client: Result<BaseConsumer, _> = ClientConfig::new()
        .set("bootstrap.servers", bootstrap_servers)
        .create();
    let client = match client {
        Ok(client) => client,
        Err(error) => return tracing::error!(%error, "the embedded broker cannot be watched"),
    };
    let mut missing = 0;
    while !stop.is_cancelled() {
        match client.fetch_watermarks(topics::CAPTURES, 0, ANSWER_WITHIN) {
            Ok(_) => missing = 0,
            Err(_) => missing += 1,
        }
        if missing >= MISSING_ANSWERS && !stop.is_cancelled() {
            missing = 0;
            // Full means that the last order is not carried out yet.
            let _ = restart.try_send(());
        }
        std::thread::sleep(WATCH_EVERY);
    }
}

/// Which start of the machine this is; empty where the system does not tell.
fn boot() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .map(|id| id.trim().to_owned())
        .unwrap_or_default()
}

/// The database's path in a form that Tansu understands: it takes the path from a URL as it
/// stands there, without decoding it. Where that would be another one (a space, an umlaut),
/// the folder is reached through a descriptor that is open for as long as this lives.
struct PlainPath {
    path: String,
    _folder: Option<std::fs::File>,
}

impl PlainPath {
    fn of(database: &Path) -> anyhow::Result<Self> {
        let plain = database.to_str().map(str::to_owned);
        if let Some(path) = plain.filter(|path| Self::survives(path)) {
            return Ok(Self {
                path,
                _folder: None,
            });
        }
        let open = || {
            let folder = std::fs::File::open(database.parent()?).ok()?;
            let number = std::os::fd::AsRawFd::as_raw_fd(&folder);
            let path = PathBuf::from(format!("/proc/self/fd/{number}")).join(database.file_name()?);
            path.parent()?.is_dir().then_some((folder, path))
        };
        let Some((folder, path)) = open() else {
            bail!(
                "the data folder's path {} has signs in it (such as spaces) that the embedded broker can only take on Linux; choose another with --data",
                database.display()
            );
        };
        Ok(Self {
            path: path.to_string_lossy().into_owned(),
            _folder: Some(folder),
        })
    }

    fn survives(path: &str) -> bool {
        Self::parse(path).is_ok_and(|url| url.path() == format!("/{path}"))
    }

    /// Below the working directory unless it begins with two slashes.
    fn parse(path: &str) -> Result<Url, url::ParseError> {
        Url::parse(&format!("sqlite:///{path}"))
    }

    fn url(&self) -> anyhow::Result<Url> {
        Ok(Self::parse(&self.path)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_the_broker_would_misread_is_reached_another_way() {
        let plain = PlainPath::of(Path::new("/a/b.db")).unwrap();
        assert_eq!(plain.url().unwrap().path(), "//a/b.db");
        let folder = tempfile::tempdir().unwrap();
        for name in ["a b", "c?d#e", "é%20"] {
            let strange = folder.path().join(name);
            std::fs::create_dir(&strange).unwrap();
            std::fs::write(strange.join("x.db"), name).unwrap();
            let path = PlainPath::of(&strange.join("x.db")).unwrap();
            let as_tansu_reads_it = path.url().unwrap().path()[1..].to_owned();
            assert_eq!(std::fs::read_to_string(as_tansu_reads_it).unwrap(), name);
        }
    }
}

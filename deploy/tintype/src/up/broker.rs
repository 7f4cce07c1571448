//! The embedded broker: Tansu on SQLite, speaking the Kafka protocol on loopback to the
//! same client that a real Kafka gets. It runs on a runtime of its own, because its
//! database calls block.
//!
//! Tansu's storage task ends for good when a request fails in a way that it did not expect
//! (the disk fills up in the middle of a transaction) or when a client leaves before its
//! answer. So a watch asks it every second whether it still answers, and builds it anew
//! on the same database and port if it does not: clients only see a short absence.
//!
//! It must be started before the catalog is opened: both use SQLite, the process links
//! one copy of it (libsql's), and libsql insists on configuring that copy first.

use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::types::RDKafkaErrorCode;
use schemas::topics;
use tansu_broker::broker::Broker;
use tansu_broker::coordinator::group::administrator::Controller;
use tansu_storage::StorageContainer;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use url::Url;

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

/// A running broker; it ends when this is dropped.
pub struct EmbeddedBroker {
    bootstrap_servers: String,
    stop: CancellationToken,
    threads: Vec<std::thread::JoinHandle<()>>,
}

impl EmbeddedBroker {
    /// Starts the broker on its database and makes sure that the topics are there.
    pub async fn start(database: &Path) -> anyhow::Result<Self> {
        let port = free_port().context("cannot find a free port for the embedded broker")?;
        let listener = Url::parse(&format!("tcp://127.0.0.1:{port}"))?;
        let storage = storage_url(database)?;
        let (ready, started) = oneshot::channel();
        let (restart, restarts) = mpsc::channel(1);
        let stop = CancellationToken::new();
        let bootstrap_servers = format!("127.0.0.1:{port}");
        let spawn = |name: &str, work: Box<dyn FnOnce() + Send>| {
            std::thread::Builder::new()
                .name(name.into())
                .spawn(work)
                .context("cannot start the embedded broker's threads")
        };
        let serving = {
            let stop = stop.clone();
            spawn(
                "broker",
                Box::new(move || serve(&listener, &storage, ready, restarts, stop)),
            )?
        };
        let mut broker = Self {
            bootstrap_servers: bootstrap_servers.clone(),
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

fn serve(
    listener: &Url,
    storage: &Url,
    ready: oneshot::Sender<anyhow::Result<()>>,
    mut restarts: mpsc::Receiver<()>,
    stop: CancellationToken,
) {
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
    runtime.block_on(async move {
        // Somebody waits for the first build only; later ones go on trying.
        let mut ready = Some(ready);
        while !stop.is_cancelled() {
            let broker = match build(listener, storage).await {
                Ok(broker) => broker,
                Err(error) => {
                    if let Some(ready) = ready.take() {
                        let _ = ready.send(Err(error));
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
                ended = broker.listen(tokio::time::Instant::now()) => tracing::warn!(?ended, "the embedded broker ended"),
                Some(()) = restarts.recv() => tracing::warn!("the embedded broker does not answer; building it anew"),
                () = stop.cancelled() => {}
            }
        }
    });
    // What still runs is a request that nobody waits for; its transaction is whole or not there.
    runtime.shutdown_timeout(Duration::from_secs(1));
}

async fn build(
    listener: &Url,
    storage: &Url,
) -> anyhow::Result<Broker<Controller<StorageContainer>, StorageContainer>> {
    let mut broker = Broker::<Controller<StorageContainer>, StorageContainer>::builder()
        .node_id(1)
        .cluster_id("tintype")
        .incarnation_id(uuid::Uuid::now_v7())
        .advertised_listener(listener.clone())
        .listener(listener.clone())
        .storage(storage.clone())
        .silent(true)
        .build()
        .await
        .map_err(|error| anyhow!("the embedded broker cannot open its database: {error}"))?;
    broker
        .register()
        .await
        .map_err(|error| anyhow!("the embedded broker cannot use its database: {error}"))?;
    Ok(broker)
}

/// Asks the broker for its topics, which takes it through its database.
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
        match client.fetch_metadata(Some(topics::CAPTURES), ANSWER_WITHIN) {
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

fn free_port() -> std::io::Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

/// Tansu takes the path from the URL as it stands there, without decoding it, and below
/// the working directory unless it begins with two slashes.
fn storage_url(database: &Path) -> anyhow::Result<Url> {
    let path = database
        .to_str()
        .context("the data folder's path must be UTF-8")?;
    let url = Url::parse(&format!("sqlite:///{path}"))?;
    if url.path() != format!("/{path}") {
        bail!(
            "the data folder {path:?} has signs in its path that the embedded broker cannot take (such as spaces); choose another with --data"
        );
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_the_broker_would_misread_is_refused() {
        assert_eq!(
            storage_url(Path::new("/a/b.db")).unwrap().path(),
            "//a/b.db"
        );
        assert!(storage_url(Path::new("/a b/c.db")).is_err());
        assert!(storage_url(Path::new("/a?b/c.db")).is_err());
    }
}

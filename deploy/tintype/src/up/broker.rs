//! The embedded broker: Tansu on SQLite, speaking the Kafka protocol on loopback to the
//! same client that a real Kafka gets. It runs on a runtime of its own, because its
//! database calls block.
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
use rdkafka::types::RDKafkaErrorCode;
use schemas::topics;
use tansu_broker::broker::Broker;
use tansu_broker::coordinator::group::administrator::Controller;
use tansu_storage::StorageContainer;
use tokio::sync::oneshot;
use url::Url;

/// Threads of the broker's runtime. One would let a slow write hold up every fetch; more
/// than a few only wait for each other at the database.
const THREADS: usize = 2;

/// How long the broker may take to answer for the first time.
const START_WITHIN: Duration = Duration::from_secs(20);

/// Partitions of each topic. One process uses them all, so a few suffice to keep
/// datasets apart; a dataset's partition never changes, so neither does this number.
const PARTITIONS: [(&str, i32); 3] = [(topics::CAPTURES, 4), (topics::PREPARED, 4), (topics::OUTCOMES, 1)];

/// A running broker; it ends when this is dropped.
pub struct EmbeddedBroker {
    bootstrap_servers: String,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl EmbeddedBroker {
    /// Starts the broker on its database and makes sure that the topics are there.
    pub async fn start(database: &Path) -> anyhow::Result<Self> {
        let port = free_port().context("cannot find a free port for the embedded broker")?;
        let listener = Url::parse(&format!("tcp://127.0.0.1:{port}"))?;
        let storage = storage_url(database)?;
        let (ready, started) = oneshot::channel();
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new()
            .name("broker".into())
            .spawn(move || serve(listener, storage, ready, stopped))
            .context("cannot start the embedded broker's thread")?;
        started.await.map_err(|_| anyhow!("the embedded broker ended at once"))??;
        let broker =
            Self { bootstrap_servers: format!("127.0.0.1:{port}"), stop: Some(stop), thread: Some(thread) };
        broker.make_topics().await?;
        Ok(broker)
    }

    /// Where clients reach it.
    pub fn bootstrap_servers(&self) -> &str {
        &self.bootstrap_servers
    }

    async fn make_topics(&self) -> anyhow::Result<()> {
        let admin: AdminClient<DefaultClientContext> =
            ClientConfig::new().set("bootstrap.servers", &self.bootstrap_servers).create()?;
        let topics = PARTITIONS.map(|(name, partitions)| NewTopic::new(name, partitions, TopicReplication::Fixed(1)));
        let options = AdminOptions::new().operation_timeout(Some(START_WITHIN)).request_timeout(Some(START_WITHIN));
        let made = admin.create_topics(&topics, &options).await.context("cannot make the topics")?;
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
        // A send that nobody receives means that it has ended by itself.
        let _ = self.stop.take().map(|stop| stop.send(()));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn serve(listener: Url, storage: Url, ready: oneshot::Sender<anyhow::Result<()>>, stop: oneshot::Receiver<()>) {
    let runtime =
        match tokio::runtime::Builder::new_multi_thread().worker_threads(THREADS).thread_name("broker").enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => {
                let _ = ready.send(Err(anyhow!(error).context("cannot start the embedded broker's runtime")));
                return;
            }
        };
    runtime.block_on(async move {
        let built = Broker::<Controller<StorageContainer>, StorageContainer>::builder()
            .node_id(1)
            .cluster_id("tintype")
            .incarnation_id(uuid::Uuid::now_v7())
            .advertised_listener(listener.clone())
            .listener(listener)
            .storage(storage)
            .silent(true)
            .build()
            .await;
        let mut broker = match built {
            Ok(broker) => broker,
            Err(error) => {
                let _ = ready.send(Err(anyhow!("the embedded broker cannot open its database: {error}")));
                return;
            }
        };
        if let Err(error) = broker.register().await {
            let _ = ready.send(Err(anyhow!("the embedded broker cannot use its database: {error}")));
            return;
        }
        let _ = ready.send(Ok(()));
        tokio::select! {
            ended = broker.listen(tokio::time::Instant::now()) => {
                tracing::error!(?ended, "the embedded broker ended");
            }
            _ = stop => {}
        }
    });
    // What still runs is a request that nobody waits for; its transaction is whole or not there.
    runtime.shutdown_timeout(Duration::from_secs(1));
}

fn free_port() -> std::io::Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

/// Tansu takes the path from the URL as it stands there, without decoding it, and below
/// the working directory unless it begins with two slashes.
fn storage_url(database: &Path) -> anyhow::Result<Url> {
    let path = database.to_str().context("the data folder's path must be UTF-8")?;
    let url = Url::parse(&format!("sqlite:///{path}"))?;
    if url.path() != format!("/{path}") {
        bail!("the data folder {path:?} has signs in its path that the embedded broker cannot take (such as spaces); choose another with --data");
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_the_broker_would_misread_is_refused() {
        assert_eq!(storage_url(Path::new("/a/b.db")).unwrap().path(), "//a/b.db");
        assert!(storage_url(Path::new("/a b/c.db")).is_err());
        assert!(storage_url(Path::new("/a?b/c.db")).is_err());
    }
}

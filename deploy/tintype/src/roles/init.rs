//! `tintype init`: the bucket, Kafka's topics, the catalog's tables and the first admin key. It may be
//! run any number of times: what is there stays, and what differs is told.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::{Context as _, bail};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::types::RDKafkaErrorCode;
use schemas::topics::{self, KafkaConnection};

use super::objects::Objects;
use super::{RoleArgs, bucket, gate, open_catalog};
use crate::cli::Exit;
use crate::settings::Settings;
use crate::telemetry;

/// How long Kafka may take for each answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);

/// Partitions: as many processes can share the work of a topic. Adding some later moves
/// datasets to other partitions, which is safe (ids tell replays) and costs reading anew.
const PARTITIONS: [(&str, i32); 3] = [
    (topics::CAPTURES, 24),
    (topics::PREPARED, 24),
    (topics::OUTCOMES, 6),
];

/// Copies of each record, if there are as many brokers: one may be lost, and one may be
/// restarted meanwhile.
const MAX_REPLICATION: usize = 3;

/// How long records are kept, in ms: a processor that is away for longer loses work that
/// nobody took in. Two weeks outlast holidays.
const RETENTION_MS: &str = "1209600000";

/// Below the producers' own `message.max.bytes` nothing is refused by the broker.
const MAX_MESSAGE_BYTES: &str = "2097152";

/// Prepares everything.
pub async fn run(args: &RoleArgs) -> anyhow::Result<Exit> {
    let settings = Settings::read_role(args)?;
    telemetry::init_logs("warn", settings.log_json);
    let servers = &settings.servers;
    let kafka = servers.kafka()?;
    let objects = Objects::open(servers.objects()?)?;
    // The store is made, if need be, and looked at before anything else is.
    for line in bucket::prepare(objects.root.url()).await? {
        println!("{line}");
    }
    gate::pass(&objects).await?;
    println!("object store: passed its probe");
    let catalog = open_catalog(servers).await?;
    println!("catalog: its tables are up to date");
    make_topics(&kafka).await?;
    let first_key = catalog.ensure_first_key().await?;
    catalog.close().await;
    match first_key {
        Some(key) => println!("the first admin key, shown this once:\n{}", key.token),
        None => println!("admin key: made before, and shown then"),
    }
    Ok(Exit::Fine)
}

async fn make_topics(kafka: &KafkaConnection) -> anyhow::Result<()> {
    let mut config = ClientConfig::new();
    for (name, value) in kafka.settings() {
        config.set(name, value);
    }
    let admin: AdminClient<DefaultClientContext> = config.create()?;
    let options = AdminOptions::new()
        .operation_timeout(Some(ANSWER_WITHIN))
        .request_timeout(Some(ANSWER_WITHIN));
    let (admin, num_brokers) = tokio::task::spawn_blocking(move || {
        let metadata = admin.inner().fetch_metadata(None, ANSWER_WITHIN);
        metadata.map(|metadata| (admin, metadata.brokers().len()))
    })
    .await?
    .with_context(|| format!("cannot reach Kafka at {}", kafka.addresses()))?;
    let replication = num_brokers.clamp(1, MAX_REPLICATION);
    // With one copy less than all, a broker's restart stops nobody, and still two have it.
    let min_in_sync = replication.saturating_sub(1).max(1).to_string();
    let config = [
        ("min.insync.replicas", min_in_sync.as_str()),
        ("retention.ms", RETENTION_MS),
        ("max.message.bytes", MAX_MESSAGE_BYTES),
        ("cleanup.policy", "delete"),
    ];
    let new = PARTITIONS.map(|(name, partitions)| {
        let replication = TopicReplication::Fixed(i32::try_from(replication).unwrap_or(1));
        let topic = NewTopic::new(name, partitions, replication);
        config
            .iter()
            .fold(topic, |topic, (name, value)| topic.set(name, value))
    });
    let made = admin.create_topics(&new, &options).await;
    for topic in made.context("cannot make the topics")? {
        match topic {
            Ok(name) => println!("topic {name}: made, with {replication} copies of each record"),
            Err((name, RDKafkaErrorCode::TopicAlreadyExists)) => {
                println!("topic {name}: there already");
            }
            Err((name, error)) => bail!("cannot make topic {name}: {error}"),
        }
    }
    tell_differences(admin, &options, &config).await
}

/// What an earlier hand has made otherwise: it may have had its reasons, so it stays.
async fn tell_differences(
    admin: AdminClient<DefaultClientContext>,
    options: &AdminOptions,
    wanted: &[(&str, &str)],
) -> anyhow::Result<()> {
    let specifiers = topics::ALL.map(ResourceSpecifier::Topic);
    let described = admin.describe_configs(specifiers.iter(), options).await;
    let described = described.context("cannot read the topics' settings")?;
    for (topic, found) in topics::ALL.iter().zip(described) {
        let Ok(found) = found else { continue };
        let found: HashMap<_, _> = found
            .entries
            .iter()
            .map(|entry| (entry.name.as_str(), entry.value.as_deref().unwrap_or("")))
            .collect();
        for (name, value) in wanted {
            if let Some(found) = found.get(name)
                && found != value
            {
                println!("topic {topic}: {name} is {found}; init would make it {value}");
            }
        }
    }
    let metadata = tokio::task::spawn_blocking(move || {
        let metadata = admin.inner().fetch_metadata(None, ANSWER_WITHIN)?;
        Ok::<_, rdkafka::error::KafkaError>(
            metadata
                .topics()
                .iter()
                .map(|topic| (topic.name().to_owned(), topic.partitions().len()))
                .collect::<HashMap<_, _>>(),
        )
    })
    .await??;
    for (topic, partitions) in PARTITIONS {
        let found = metadata.get(topic).copied().unwrap_or(0);
        if i32::try_from(found).ok() != Some(partitions) {
            println!("topic {topic}: {found} partitions; init would make {partitions}");
        }
    }
    Ok(())
}

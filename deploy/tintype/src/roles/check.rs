//! `tintype check-config`: what a role would connect to, without secrets, and whether each
//! of it answers.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::TryStreamExt as _;
use object_store::ObjectStore as _;
use rdkafka::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use schemas::topics;
use serde_json::json;
use url::Url;

use super::objects::Objects;
use super::{RoleArgs, open_catalog};
use crate::cli::{Exit, Global};
use crate::settings::{Servers, Settings};
use crate::telemetry;

/// How long each server may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// Tries all connections, and tells of each.
pub async fn run(global: &Global, args: &RoleArgs) -> anyhow::Result<Exit> {
    let settings = Settings::read_role(args)?;
    telemetry::init_logs("error", settings.log_json);
    let servers = &settings.servers;
    let (kafka, objects, catalog) = tokio::join!(
        try_kafka(servers),
        try_objects(servers),
        try_catalog(servers)
    );
    let tried = [
        ("kafka", servers.kafka.as_deref(), kafka),
        ("objects", servers.objects.as_deref(), objects),
        ("catalog", servers.catalog.as_deref(), catalog),
    ];
    let all_fine = tried.iter().all(|(.., outcome)| outcome.is_ok());
    let lines = tried.map(|(name, address, outcome)| {
        let address = address.map_or("not set".into(), without_secrets);
        let (fine, what) = match outcome {
            Ok(what) => (true, what),
            Err(error) => (false, format!("{error:#}")),
        };
        (name, address, fine, what)
    });
    if global.json {
        let parts = lines.map(|(name, address, fine, what)| {
            json!({"name": name, "address": address, "ok": fine, "detail": what})
        });
        crate::cli::print_json(&json!({
            "ok": all_fine, "listen": settings.listen.to_string(), "connections": parts,
        }))?;
    } else {
        for (name, address, fine, what) in lines {
            let verdict = if fine { "ok" } else { "FAILED" };
            crate::cli::print(format!("{name:8} {address}\n         {verdict}: {what}"))?;
        }
        crate::cli::print(format!("listen   {}", settings.listen))?;
    }
    Ok(if all_fine { Exit::Fine } else { Exit::Failed })
}

/// The address without its user's password and without parameters, which may hold others.
fn without_secrets(address: &str) -> String {
    match Url::parse(address) {
        Ok(mut url) if url.has_host() => {
            if url.password().is_some() {
                let _ = url.set_password(Some("***"));
            }
            if url.query().is_some() {
                url.set_query(Some("***"));
            }
            url.to_string()
        }
        // host:port, which has none.
        _ => address.to_owned(),
    }
}

async fn try_kafka(servers: &Servers) -> anyhow::Result<String> {
    let mut config = ClientConfig::new();
    let connection = servers.kafka()?;
    for (name, value) in connection.settings() {
        config.set(name, value);
    }
    let consumer: BaseConsumer<Listener> = config.create_with_context(Listener::default())?;
    let security = servers.kafka_security.words();
    tokio::task::spawn_blocking(move || {
        let asked_at = Instant::now();
        let metadata = loop {
            match consumer.fetch_metadata(None, ASK_FOR) {
                Ok(metadata) => break metadata,
                Err(error) => {
                    // What librdkafka has met meanwhile is told only to who polls.
                    while consumer.poll(Duration::ZERO).is_some() {}
                    if asked_at.elapsed() >= ANSWER_WITHIN {
                        let told = consumer.context().last();
                        anyhow::bail!("{} ({security})", told.unwrap_or_else(|| error.to_string()));
                    }
                }
            }
        };
        let found = metadata.topics();
        let missing: Vec<_> = topics::ALL
            .into_iter()
            .filter(|wanted| found.iter().all(|topic| topic.name() != *wanted))
            .collect();
        anyhow::ensure!(
            missing.is_empty(),
            "it answers, and has no topic {}; `tintype init` makes them",
            missing.join(", ")
        );
        Ok(format!(
            "{} brokers, and all topics, with {security}",
            metadata.brokers().len()
        ))
    })
    .await?
}

/// How long one question to Kafka may take, before what it met is listened to.
const ASK_FOR: Duration = Duration::from_secs(2);

/// Hears what librdkafka says of a connection that fails: a certificate, a password.
#[derive(Default)]
struct Listener(Mutex<Option<String>>);

impl Listener {
    fn hear(&self, words: &str) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(words.to_owned());
    }

    fn last(&self) -> Option<String> {
        let last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        last.clone()
    }
}

impl ClientContext for Listener {
    fn log(&self, level: RDKafkaLogLevel, _facility: &str, message: &str) {
        if (level as i32) <= RDKafkaLogLevel::Warning as i32 {
            self.hear(message);
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        // That all brokers are down says less than why the last one was.
        if error.rdkafka_error_code() != Some(RDKafkaErrorCode::AllBrokersDown) {
            self.hear(reason);
        }
    }
}

impl ConsumerContext for Listener {}

async fn try_objects(servers: &Servers) -> anyhow::Result<String> {
    let objects = Objects::open(servers.objects()?)?;
    let list = async { objects.root.store().list(None).try_next().await };
    match tokio::time::timeout(ANSWER_WITHIN, list).await {
        Ok(Ok(_)) => {}
        Ok(Err(error)) if error.to_string().contains("NoSuchBucket") => {
            anyhow::bail!("it answers, and has no such bucket; `tintype init` makes it")
        }
        Ok(Err(error)) => return Err(error.into()),
        Err(_) => anyhow::bail!("no answer within {} s", ANSWER_WITHIN.as_secs()),
    }
    Ok("it can be listed; `tintype check-store` tests what it promises".into())
}

async fn try_catalog(servers: &Servers) -> anyhow::Result<String> {
    let catalog = open_catalog(servers).await?;
    let checked = catalog.check().await;
    catalog.close().await;
    checked?;
    Ok("it takes a write and reads it back".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_shown_without_their_secrets() {
        let shown = without_secrets("postgres://me:s3cret@db/tintype?sslpassword=s3cret");
        assert!(!shown.contains("s3cret") && shown.contains("me"), "{shown}");
        assert_eq!(
            without_secrets("kafka-1:9092,kafka-2:9092"),
            "kafka-1:9092,kafka-2:9092"
        );
    }
}

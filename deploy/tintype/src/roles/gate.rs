//! The storage gate: a probe of an object store comes before any trust in it. Racing
//! create-only PUTs must have exactly one winner, a wrong digest must be refused with the
//! old object intact, and what was written must be read and listed at once. Stores that
//! call themselves compatible fail this (PITFALLS P18), and then every other promise is void.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use bytes::Bytes;
use clap::Args;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use object_store::path::Path;
use object_store::signer::Signer as _;
use object_store::{ObjectStore, ObjectStoreExt as _, PutMode, PutOptions};
use serde_json::json;

use super::objects::Objects;
use crate::cli::{Exit, Global};

/// How long the probe at a role's start may race: with 16 writers a store that has two
/// winners in 1 of 50 rounds is caught all but surely. `check-store` takes longer on request.
const RACE_FOR: Duration = Duration::from_secs(2);
const MAX_START_ROUNDS: u32 = 100;
const START_WRITERS: usize = 16;
/// A store that takes longer than this for the whole probe is not fit to start on.
const PROBE_WITHIN: Duration = Duration::from_secs(30);

/// Where the store is marked as one that passed, and for how long that is believed. Without
/// it a hundred pods that start together would race hundreds of thousands of PUTs, and a
/// store that is behind would be kept there. Longer believes a store that was changed since.
const MARK: &str = "probes/passed";
const BELIEVED_FOR: Duration = Duration::from_secs(3600);

const EXAMPLES: &str = "\
Examples:
  tintype check-store s3://photos                       may Tintype trust this store?
  tintype check-store s3://photos --writers 64 --rounds 1000
  tintype check-store file:///srv/photos --json

Exit code 0: it passed; 1: it failed, with the evidence.";

/// Test whether an object store keeps the promises that exactly-once stands on
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct CheckStoreArgs {
    /// Which: s3://, gs://, az:// or file:///
    #[arg(value_name = "URL", env = "TINTYPE_OBJECTS")]
    store: String,
    /// Writers that race for one name
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u16).range(2..=512))]
    writers: u16,
    /// Races, at most
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    rounds: u32,
    /// Seconds, at most
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    seconds: u64,
}

/// How hard to try.
#[derive(Debug, Clone, Copy)]
struct Effort {
    writers: usize,
    rounds: u32,
    race_for: Duration,
}

/// A store that breaks a promise, with the evidence. No waiting mends it.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Untrusted(pub String);

/// What a race showed.
enum Race {
    OneWinner,
    /// More than one winner, or an object that is none of theirs.
    Broken(String),
    /// Nobody was told of a win, and the object is there: the store broke a promise, or a
    /// connection broke and the client repeated a request that had succeeded.
    Unclear(String),
}

/// What was found.
#[derive(Debug, Default)]
struct Findings {
    rounds: u32,
    one_winner: u32,
    /// Rounds that nobody is known to have won.
    unclear: Vec<String>,
    /// Rounds with this many winners, where it was not one.
    evidence: Vec<String>,
    /// Checks that this kind of store has no way to make.
    left_out: Vec<&'static str>,
}

/// Probes the store and tells.
pub async fn run(global: &Global, args: &CheckStoreArgs) -> anyhow::Result<Exit> {
    let objects = Objects::open(&args.store)?;
    let began = Instant::now();
    let findings = probe(
        &objects,
        Effort {
            writers: args.writers.into(),
            rounds: args.rounds,
            race_for: Duration::from_secs(args.seconds),
        },
    )
    .await
    .with_context(|| format!("cannot probe {}", args.store))?;
    let passed = findings.evidence.is_empty() && findings.unclear.is_empty();
    if global.json {
        crate::cli::print_json(&json!({
            "store": args.store,
            "passed": passed,
            "writers": args.writers,
            "rounds": findings.rounds,
            "rounds_with_one_winner": findings.one_winner,
            "evidence": findings.evidence,
            "unclear": findings.unclear,
            "left_out": findings.left_out,
            "seconds": began.elapsed().as_secs_f64(),
        }))?;
    } else {
        crate::cli::print(format!(
            "{} create-only races of {} writers: exactly one winner in {}",
            findings.rounds, args.writers, findings.one_winner
        ))?;
        for line in findings.evidence.iter().chain(&findings.unclear) {
            crate::cli::print(format!("  failed: {line}"))?;
        }
        for line in &findings.left_out {
            crate::cli::print(format!("  not checked: {line}"))?;
        }
        crate::cli::print(if passed {
            "passed: Tintype can keep its promise on this store"
        } else {
            "FAILED: on this store nothing is exactly once; the roles refuse it"
        })?;
    }
    Ok(if passed { Exit::Fine } else { Exit::Failed })
}

/// Lets a store pass that keeps its promises: one that did so within the hour, as a mark in
/// it says, or else one that does so now.
///
/// # Errors
/// It does not, or does not answer.
pub async fn pass(objects: &Objects) -> anyhow::Result<()> {
    let effort = Effort {
        writers: START_WRITERS,
        rounds: MAX_START_ROUNDS,
        race_for: RACE_FOR,
    };
    let url = objects.root.url();
    if passed_lately(objects).await? {
        tracing::info!(%url, "the object store passed its probe within the hour");
        return Ok(());
    }
    let probed = tokio::time::timeout(PROBE_WITHIN, probe(objects, effort)).await;
    let findings = probed
        .ok()
        .with_context(|| {
            format!(
                "the object store {url} did not finish the probe within {} s",
                PROBE_WITHIN.as_secs()
            )
        })?
        .with_context(|| format!("cannot probe the object store {url}"))?;
    if !findings.evidence.is_empty() {
        let untrusted = Untrusted(format!(
            "the object store {url} cannot be trusted: {}; see `tintype check-store`",
            findings.evidence.join("; ")
        ));
        return Err(untrusted.into());
    }
    if let Some(what) = findings.unclear.first() {
        bail!("the probe of the object store {url} was disturbed: {what}");
    }
    tracing::info!(%url, rounds = findings.rounds, "the object store passed its probe");
    let mark = Bytes::from(env!("CARGO_PKG_VERSION"));
    let marked = objects
        .root
        .store()
        .put(&Path::from(MARK), mark.into())
        .await;
    marked.context("cannot mark the object store")?;
    Ok(())
}

/// Whether some role has seen this store pass within [`BELIEVED_FOR`].
async fn passed_lately(objects: &Objects) -> anyhow::Result<bool> {
    let url = objects.root.url();
    match objects.root.store().head(&Path::from(MARK)).await {
        Ok(mark) => Ok((chrono::Utc::now() - mark.last_modified)
            .to_std()
            .is_ok_and(|age| age < BELIEVED_FOR)),
        Err(object_store::Error::NotFound { .. }) => Ok(false),
        Err(error) => Err(error).with_context(|| format!("cannot read the object store {url}")),
    }
}

async fn probe(objects: &Objects, effort: Effort) -> anyhow::Result<Findings> {
    let store = objects.root.store().as_ref();
    let folder = format!("probes/{}", uuid::Uuid::now_v7().simple());
    let mut findings = Findings::default();
    let probed = probe_in(objects, &folder, effort, &mut findings).await;
    // Whatever came of it, nothing stays; a store that cannot delete says so in the log.
    let listed = store
        .list(Some(&Path::from(folder)))
        .map_ok(|object| object.location);
    let removed = listed
        .try_for_each_concurrent(16, |object| async move { store.delete(&object).await })
        .await;
    if let Err(error) = removed {
        tracing::warn!(%error, "objects of the probe could not be removed");
    }
    probed.map(|()| findings)
}

async fn probe_in(
    objects: &Objects,
    folder: &str,
    effort: Effort,
    findings: &mut Findings,
) -> anyhow::Result<()> {
    let store = objects.root.store().as_ref();
    let began = Instant::now();
    while findings.rounds < effort.rounds && began.elapsed() < effort.race_for {
        let key = Path::from(format!("{folder}/race-{:07}", findings.rounds));
        findings.rounds += 1;
        // A handful convinces; a thousand lines would not be read.
        match race(store, &key, effort.writers).await? {
            Race::OneWinner => findings.one_winner += 1,
            Race::Broken(what) if findings.evidence.len() < 5 => findings.evidence.push(what),
            Race::Unclear(what) if findings.unclear.len() < 5 => findings.unclear.push(what),
            Race::Broken(_) | Race::Unclear(_) => {}
        }
    }
    // Listed at once, and completely.
    let num_listed = store
        .list(Some(&Path::from(folder)))
        .try_fold(0_u32, |count, _| async move { Ok(count + 1) })
        .await?;
    if num_listed != findings.rounds {
        findings.evidence.push(format!(
            "{} objects were written and {num_listed} are listed",
            findings.rounds
        ));
    }
    match &objects.s3 {
        Some(s3) => {
            let key = Path::from(format!("{folder}/digest"));
            if let Some(what) = wrong_digest(objects, s3, &key).await? {
                findings.evidence.push(what);
            }
        }
        None => findings
            .left_out
            .push("a wrong digest (this kind of store is not asked over HTTP by S3's rules)"),
    }
    Ok(())
}

/// Writers race for one name.
async fn race(store: &dyn ObjectStore, key: &Path, writers: usize) -> anyhow::Result<Race> {
    let body = |writer: usize| Bytes::from(format!("writer {writer:04} of {key}"));
    let outcomes: Vec<(usize, object_store::Result<_>)> = stream::iter(0..writers)
        .map(|writer| async move {
            let options = PutOptions::from(PutMode::Create);
            (
                writer,
                store.put_opts(key, body(writer).into(), options).await,
            )
        })
        .buffer_unordered(writers)
        .collect()
        .await;
    let mut winners = Vec::new();
    let mut unclear = Vec::new();
    for (writer, outcome) in outcomes {
        match outcome {
            Ok(_) => winners.push(writer),
            Err(object_store::Error::AlreadyExists { .. }) => {}
            Err(error) => unclear.push((writer, error)),
        }
    }
    let found = match store.get(key).await {
        Ok(found) => found.bytes().await?,
        Err(object_store::Error::NotFound { .. }) if winners.is_empty() => match unclear.pop() {
            Some((_, error)) => return Err(error.into()),
            None => {
                return Ok(Race::Broken(format!(
                    "{key}: every writer was told that it exists; it does not"
                )));
            }
        },
        Err(object_store::Error::NotFound { .. }) => {
            return Ok(Race::Broken(format!(
                "{key}: written, and not there to be read"
            )));
        }
        Err(error) => return Err(error.into()),
    };
    // An error is no verdict, and its writer may have won: only the object tells.
    Ok(match winners.as_slice() {
        [] if unclear.iter().any(|(writer, _)| body(*writer) == found) => Race::OneWinner,
        [] => Race::Unclear(format!(
            "{key}: it is there, and nobody was told that it is theirs"
        )),
        [winner] if body(*winner) == found => Race::OneWinner,
        [_] => Race::Broken(format!("{key}: what is read is not what the winner wrote")),
        many => {
            let many = many.len();
            Race::Broken(format!(
                "{key}: {many} of {writers} writers were told that they created it"
            ))
        }
    })
}

/// A PUT that declares the digest of other bytes must fail and change nothing.
async fn wrong_digest(
    objects: &Objects,
    s3: &object_store::aws::AmazonS3,
    key: &Path,
) -> anyhow::Result<Option<String>> {
    const FOR: Duration = Duration::from_secs(60);
    let store = objects.root.store();
    let good = Bytes::from_static(b"the bytes that stay");
    store.put(key, good.clone().into()).await?;
    let prefix = Path::from_url_path(objects.root.url().path())?;
    let whole = Path::from_iter(prefix.parts().chain(key.parts()));
    let url = s3.signed_url(reqwest::Method::PUT, &whole, FOR).await?;
    let answer = reqwest::Client::new()
        .put(url)
        // The MD5 of nothing, which the bytes are not.
        .header("content-md5", "1B2M2Y8AsgTpgAmY7PhCfg==")
        .body("bytes that are not what their digest says")
        .timeout(FOR)
        .send()
        .await?;
    let status = answer.status();
    if status.is_server_error() {
        bail!("a PUT with a wrong Content-MD5 was answered {status}, which says nothing");
    }
    let now = store.get(key).await?.bytes().await?;
    Ok(match (status.is_success(), now == good) {
        (false, true) => None,
        (true, _) => Some(format!(
            "a PUT with a wrong Content-MD5 was answered {status}"
        )),
        (false, false) => Some(format!(
            "a PUT with a wrong Content-MD5 was answered {status}, and replaced the object all the same"
        )),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use url::Url;

    #[tokio::test]
    async fn a_local_folder_passes_and_nothing_of_the_probe_stays() {
        let folder = tempfile::tempdir().unwrap();
        let objects = Objects::open(Url::from_file_path(folder.path()).unwrap().as_str()).unwrap();
        let effort = Effort {
            writers: 8,
            rounds: 20,
            race_for: Duration::from_secs(60),
        };
        let findings = probe(&objects, effort).await.unwrap();
        assert_eq!(findings.evidence, Vec::<String>::new());
        assert_eq!((findings.rounds, findings.one_winner), (20, 20));
        let left: Vec<_> = objects.root.store().list(None).try_collect().await.unwrap();
        assert!(left.is_empty(), "{left:?}");
    }

    #[tokio::test]
    async fn a_store_that_passed_is_believed_for_a_while() {
        let folder = tempfile::tempdir().unwrap();
        let objects = Objects::open(Url::from_file_path(folder.path()).unwrap().as_str()).unwrap();
        assert!(!passed_lately(&objects).await.unwrap());
        pass(&objects).await.unwrap();
        assert!(passed_lately(&objects).await.unwrap());
        let mark = std::fs::File::open(folder.path().join(MARK)).unwrap();
        let old = std::time::SystemTime::now() - 2 * BELIEVED_FOR;
        mark.set_modified(old).unwrap();
        assert!(!passed_lately(&objects).await.unwrap());
    }
}

//! `tintype simulate`: thousands of phones from one seed send photos to a server as phones
//! do: offline for a while, over slow links, cut off, trying again, sending the same
//! photo twice, with clocks that are off by hours. At the end every photo that was
//! acknowledged is asked for: each must have exactly one verdict.

mod network;
mod phone;
mod picture;
mod tally;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::Args;
use futures::StreamExt as _;
use schemas::{CaptureId, Label, Status};
use tokio::sync::{Mutex, Semaphore};
use tokio::task::{JoinHandle, JoinSet};

use crate::cli::{Exit, Failure, Global, print, print_json};
use crate::client::{Backoff, Client, Verdicts};
use phone::{Phone, World};
use tally::Sent;

/// How long the last verdicts are waited for once every phone is done.
const PATIENCE: Duration = Duration::from_secs(600);
/// Questions for verdicts at a time.
const ASKED_AT_ONCE: usize = 16;
/// Labels as large open collections have them; the first are the most frequent.
const LABELS: [&str; 24] = [
    "Person",
    "Tree",
    "Car",
    "Dog",
    "Cat",
    "Flower",
    "Bird",
    "Chair",
    "Bicycle",
    "Food",
    "Building",
    "Boat",
    "Horse",
    "Cup",
    "Shoe",
    "Guitar",
    "Traffic light",
    "Sunglasses",
    "Strawberry",
    "Butterfly",
    "猫",
    "Straßenschild",
    "Crème brûlée",
    "Teapot",
];

/// Send photos as thousands of phones would, and check what became of each
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tintype simulate --dataset crowd                       500 phones, a minute
  tintype simulate --dataset crowd --phones 5000 --over 300 --seed 7
  tintype simulate --dataset crowd --labels names.txt --json")]
pub struct SimulateArgs {
    /// The dataset, by name or id; made if it is not there
    #[arg(long)]
    dataset: String,
    /// How many phones
    #[arg(long, default_value_t = 500, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    phones: u32,
    /// Photos that a phone takes, on average
    #[arg(long, default_value_t = 2, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    photos: u32,
    /// Seconds over which the photos are taken
    #[arg(long, default_value_t = 60, value_name = "S")]
    over: u64,
    /// Phones that send at the same time
    #[arg(long, default_value_t = 64, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=2000))]
    at_once: u32,
    /// Of everything random
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// A file with a label a line, the most frequent first
    #[arg(long, value_name = "FILE")]
    labels: Option<std::path::PathBuf>,
}

/// Runs the command.
///
/// # Errors
/// The server cannot be reached or refuses, or the labels cannot be read.
pub async fn run(global: &Global, args: SimulateArgs) -> anyhow::Result<Exit> {
    let client = global.client()?;
    let dataset = make_sure_of(&client, &args.dataset).await?;
    let verdicts = follow(&client, &dataset);
    let world = Arc::new(World {
        client: client.clone(),
        dataset,
        labels: labels(&args)?,
        seed: args.seed,
        over: Duration::from_secs(args.over),
        online: Semaphore::new(args.at_once as usize),
        tally: Mutex::default(),
    });
    let begun = Instant::now();
    let mut phones = JoinSet::new();
    for number in 0..args.phones {
        let phone = Phone::new(Arc::clone(&world), number, args.photos);
        phones.spawn(phone.live());
    }
    while let Some(ended) = phones.join_next().await {
        ended.context("a phone failed")?;
    }
    let sending = begun.elapsed();
    let tally = std::mem::take(&mut *world.tally.lock().await);
    let fates = fates(&client, &tally.sent).await;
    let times = verdicts.stop().await;
    let report = tally.report(sending, &times, &fates);
    if global.json {
        print_json(&report)?;
    } else {
        print(report.text(&args.dataset))?;
    }
    Ok(if report.is_well() {
        Exit::Fine
    } else {
        Exit::Failed
    })
}

fn labels(args: &SimulateArgs) -> anyhow::Result<Vec<Label>> {
    let text = match &args.labels {
        None => LABELS.join("\n"),
        Some(path) => std::fs::read_to_string(path)
            .with_context(|| format!("cannot read the labels in {}", path.display()))?,
    };
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    let labels: Vec<Label> = lines.map(str::parse).collect::<Result<_, _>>()?;
    if labels.is_empty() {
        return Err(Failure::usage("the file of labels is empty", "one label a line").into());
    }
    Ok(labels)
}

/// The dataset's id.
async fn make_sure_of(client: &Client, name: &str) -> anyhow::Result<String> {
    let there = client.datasets().await?;
    let found = there
        .datasets
        .iter()
        .find(|dataset| dataset.name == name || dataset.id.as_str() == name);
    if let Some(dataset) = found {
        return Ok(dataset.id.to_string());
    }
    let new = schemas::http::CreateDataset {
        name: name.into(),
        labels: Vec::new(),
        policy: schemas::http::DatasetPolicy::default(),
    };
    Ok(client.create_dataset(&new).await?.id.to_string())
}

/// When each verdict was told.
struct Followed {
    times: Arc<Mutex<HashMap<CaptureId, Instant>>>,
    reader: JoinHandle<()>,
}

fn follow(client: &Client, dataset: &str) -> Followed {
    let times: Arc<Mutex<HashMap<CaptureId, Instant>>> = Arc::default();
    let mut verdicts = Verdicts::follow(client, dataset);
    let reader = tokio::spawn({
        let times = Arc::clone(&times);
        async move {
            loop {
                let capture = verdicts.next().await;
                if capture.status != Status::Queued {
                    let mut times = times.lock().await;
                    times.entry(capture.id).or_insert_with(Instant::now);
                }
            }
        }
    });
    Followed { times, reader }
}

impl Followed {
    async fn stop(self) -> HashMap<CaptureId, Instant> {
        self.reader.abort();
        let _ = self.reader.await;
        std::mem::take(&mut *self.times.lock().await)
    }
}

/// What the server says became of every photo that it acknowledged.
async fn fates(client: &Client, sent: &[Sent]) -> HashMap<CaptureId, Option<Status>> {
    let ids: HashSet<CaptureId> = sent.iter().map(|sent| sent.capture).collect();
    let deadline = Instant::now() + PATIENCE;
    let asking = futures::stream::iter(ids).map(async |id| {
        let retry = Backoff { retries: 5 };
        loop {
            let capture = retry.run(|| client.capture(id)).await;
            match capture {
                Ok(capture) if capture.status != Status::Queued => {
                    return (id, Some(capture.status));
                }
                Ok(_) if Instant::now() < deadline => {
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
                _ => return (id, None),
            }
        }
    });
    asking.buffer_unordered(ASKED_AT_ONCE).collect().await
}

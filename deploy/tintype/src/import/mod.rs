//! `tintype import`: a folder per class comes in; every file in it is sent, each
//! gets its verdict, and what became of them is told. What is there is not sent
//! again, however often the command is run or cut short.

mod walk;

mod journal;
pub use journal::{Header, Journal, Line};

mod send;

mod awaited;

mod tally;

mod progress;
use progress::Progress;

mod transfer;
use transfer::transfer;
pub use transfer::{Ended, Finished, Order};

mod report;
pub use report::report;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use schemas::Label;
use schemas::http::{CreateDataset, DatasetPolicy};

use crate::cli::{Exit, Failure, Global};
use crate::client::{Backoff, Client, ClientError};

/// Send a folder of photos: one folder per class
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tintype import photos/ --dataset cats --create
  tintype import photos/ --dataset cats --json > report.json
  tintype import photos/ --dataset cats --no-wait     only send; run it again for the verdicts

A file's label is the name of the first folder on the way to it: photos/siamese/2024/a.jpg is a
siamese. Every file is sent, whatever its name; hidden ones are not, and no link is followed out of
the folder. It can be cut short at any time: the same command goes on where it was, and sends only
what is missing. A photo that is rejected is a verdict, not a failure.

Ends with 6 if some files could not be sent, with 130 after Ctrl-C.")]
pub struct ImportArgs {
    /// The folder
    dir: PathBuf,
    /// The dataset, by name or id
    #[arg(long)]
    dataset: String,
    /// Make the dataset if there is none of this name
    #[arg(long)]
    create: bool,
    /// Files on their way at once, 1 to 64
    #[arg(long, default_value_t = 8, value_name = "N",
        value_parser = clap::value_parser!(u8).range(1..=64))]
    concurrency: u8,
    /// How often a file is tried again when the server is away or busy
    #[arg(long, default_value_t = 5, value_name = "N")]
    retries: u32,
    /// Wait for the verdicts; the default
    #[arg(long, overrides_with = "no_wait")]
    wait: bool,
    /// Only send
    #[arg(long)]
    no_wait: bool,
    /// Give up waiting when no verdict has come for so many seconds
    #[arg(long, default_value_t = 120, value_name = "SECONDS")]
    timeout: u64,
    /// The label of files that lie in no class folder
    #[arg(long, default_value = "unsorted", value_name = "LABEL")]
    unsorted: Label,
    /// Where to keep track of what is sent [default: in the folder for state,
    /// ~/.local/state/tintype/imports]
    #[arg(long, value_name = "FILE")]
    journal: Option<PathBuf>,
}

/// Runs the command.
///
/// # Errors
/// The folder, the journal or the server are not to be had, or the server refuses
/// in a way that holds for every file.
pub async fn run(global: &Global, args: ImportArgs) -> anyhow::Result<Exit> {
    let client = global.client()?;
    let folder = readable_folder(&args.dir)?;
    let dataset = dataset_id(&client, &args.dataset, args.create).await?;
    let header = Header {
        dataset: dataset.clone(),
        folder: folder.display().to_string(),
    };
    let journal = match args.journal {
        Some(path) => path,
        None => default_journal(client.url(), &header)?,
    };
    let order = Order {
        client,
        dataset,
        folder,
        unsorted: args.unsorted,
        concurrency: args.concurrency.into(),
        backoff: Backoff {
            retries: args.retries,
        },
        wait: (!args.no_wait).then_some(Duration::from_secs(args.timeout)),
    };
    let (finished, header) = bring_in(order, journal, header, ctrl_c()).await?;
    let json = global.json;
    tokio::task::spawn_blocking(move || report(finished, &header.dataset, &header.folder, json))
        .await?
}

/// Opens the journal and imports; the header comes back for the report.
///
/// # Errors
/// As of [`Journal::open`] and [`transfer`].
pub async fn bring_in(
    order: Order,
    journal: PathBuf,
    header: Header,
    interrupt: impl Future<Output = ()>,
) -> anyhow::Result<(Finished, Header)> {
    let open = move || Journal::open(&journal, &header).map(|journal| (journal, header));
    let (journal, header) = tokio::task::spawn_blocking(open).await??;
    let progress = Progress::begin(&order);
    let finished = transfer(order, journal, progress, interrupt).await?;
    Ok((finished, header))
}

/// Resolves at Ctrl-C.
pub async fn ctrl_c() {
    // Without a handler the system ends the process at Ctrl-C, which is as safe.
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending().await
    }
}

/// The folder's one true path.
///
/// # Errors
/// It is none, or cannot be read.
pub fn readable_folder(dir: &Path) -> anyhow::Result<PathBuf> {
    let folder = std::fs::canonicalize(dir);
    let folder = folder.with_context(|| format!("reading the folder {}", dir.display()))?;
    if !folder.is_dir() {
        let message = format!("{} is no folder", dir.display());
        let hint = "single files go with `tintype upload`";
        return Err(Failure::usage(message, hint).into());
    }
    Ok(folder)
}

/// The id of the dataset, which is made if it is not there and may be.
///
/// # Errors
/// There is none, or the server refuses.
pub async fn dataset_id(client: &Client, name: &str, create: bool) -> Result<String, ClientError> {
    let body = || CreateDataset {
        name: name.into(),
        labels: Vec::new(),
        policy: DatasetPolicy::default(),
    };
    match client.dataset(name).await {
        Ok(dataset) => Ok(dataset.id.to_string()),
        Err(error) if create && error.status() == Some(404) => {
            let made = client.create_dataset(&body()).await;
            Ok(made?.id.to_string())
        }
        // A key that may only upload does not see the dataset, and need not.
        Err(error) if error.status() == Some(403) => Ok(name.into()),
        Err(error) => Err(error),
    }
}

/// Where the journal of this import lies unless the person says otherwise.
fn default_journal(url: &str, header: &Header) -> anyhow::Result<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let state = match (set("XDG_STATE_HOME"), set("HOME")) {
        (Some(state), _) => PathBuf::from(state),
        (None, Some(home)) => PathBuf::from(home).join(".local").join("state"),
        (None, None) => {
            let hint = "name a file for it with --journal";
            return Err(Failure::usage("there is no folder for the journal", hint).into());
        }
    };
    let whole = serde_json::to_string(&(url, header))?;
    let hash = schemas::Sha256::of(whole.as_bytes()).to_string();
    // The dataset's name is for people; a key that may only upload can name anything.
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let name: String = header.dataset.chars().filter(|c| plain(*c)).collect();
    let file = format!("{name}-{}.jsonl", &hash[..16]);
    Ok(state.join("tintype").join("imports").join(file))
}

#[cfg(test)]
mod tests;

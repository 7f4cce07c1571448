//! `tintype demo`: the whole product in a minute or two. It starts everything in a
//! folder, makes labelled photos (or takes the user's), imports them over HTTP, waits for
//! every verdict and for the table, trains on it, and shows what came of it. All that it prints
//! is read back from the server and from the shards on disk.

mod canvas;

mod scenes;

mod pictures;

mod query;

mod training;

mod show;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use schemas::Label;
use tokio_util::sync::CancellationToken;

use crate::cli::{Exit, Failure, Global, count, print};
use crate::client::{Backoff, Client};
use crate::import::{self, Ended, Finished, Header, Order};
use crate::settings::Settings;
use crate::{telemetry, up};
use query::PhotosTable;

/// The demo's dataset.
const DATASET: &str = "demo";

/// How long a judged photo waits for its shard. Longer, and the demo seems to stand
/// still at its end; shorter makes many small shards.
const SHARD_AGE: Duration = Duration::from_secs(3);

/// How long the table is waited for once all verdicts are there.
const TABLE_PATIENCE: Duration = Duration::from_secs(60);

/// See the whole of it work: photos in, verdicts, a table and a model out
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tintype demo                              with photos that it makes itself
  tintype demo --data demo-data             keeps the data
  tintype demo --photos ~/Pictures/cats     with your own: a folder per class")]
pub struct DemoArgs {
    /// Where everything is kept [default: a temporary folder, deleted at the end]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Take the photos of this folder, one folder per class
    #[arg(long, value_name = "DIR")]
    photos: Option<PathBuf>,
    /// Another seed makes other photos
    #[arg(long, default_value_t = 1, value_name = "N")]
    seed: u64,
    /// Train no model
    #[arg(long)]
    no_training: bool,
    /// End at once, even on a terminal
    #[arg(long)]
    exit: bool,
}

/// A server to show, and where its objects lie.
struct Stage {
    client: Client,
    data: PathBuf,
}

impl Stage {
    /// Where the photos table of this dataset lies.
    fn table(&self, dataset: &str) -> anyhow::Result<PathBuf> {
        let dataset = dataset.parse().context("reading the dataset's id")?;
        let key = schemas::ObjectKey::PhotosTable { dataset };
        Ok(self.data.join("objects").join(key.to_string()))
    }
}

/// What the demo has to show.
struct Shown {
    finished: Finished,
    header: Header,
    table: Option<PhotosTable>,
    trained: Option<training::Trained>,
}

/// Runs the command.
///
/// # Errors
/// Something does not start, or a photo gets no verdict.
pub async fn run(global: &Global, args: DemoArgs) -> anyhow::Result<Exit> {
    let interrupt = CancellationToken::new();
    let on_ctrl_c = interrupt.clone();
    let watch = tokio::spawn(async move {
        import::ctrl_c().await;
        on_ctrl_c.cancel();
    });
    let (data, temporary) = match &args.data {
        Some(data) => (data.clone(), None),
        None => {
            let folder = tempfile::Builder::new().prefix("tintype-demo-").tempdir()?;
            (folder.path().to_owned(), Some(folder))
        }
    };
    let mut settings = Settings::new(data, SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
    settings.shard_max_age = SHARD_AGE;
    settings.take_weights_from_environment()?;
    telemetry::init_logs(&settings.log, settings.log_json);
    tell(
        global,
        "starting broker, object store, catalog, ingest and processor in one process",
    );
    let running = tokio::select! {
        running = up::start(&settings) => running?,
        () = interrupt.cancelled() => return Ok(Exit::Interrupted),
    };
    let url = running.url.clone();
    let key = running.admin_token.clone();
    let exit = perform(global, &args, &running, &interrupt).await;
    if exit.is_ok() && !global.json && !interrupt.is_cancelled() {
        let kept = temporary.is_none();
        let stays = !kept && !args.exit && is_watched();
        let farewell = show::farewell(&url, key.as_deref(), &running.data, kept, stays);
        // Whether or not it can be read, what was started is stopped.
        let told = print(farewell);
        if stays && told.is_ok() {
            interrupt.cancelled().await;
        }
    }
    running.stop().await;
    watch.abort();
    if let Some(folder) = temporary {
        let path = folder.path().to_owned();
        let deleted = tokio::task::spawn_blocking(move || folder.close()).await?;
        deleted.with_context(|| format!("deleting {}", path.display()))?;
        tell(global, &format!("{} is deleted", path.display()));
    }
    exit
}

/// On a terminal the server stays, so that what the demo suggests can be tried.
fn is_watched() -> bool {
    use std::io::IsTerminal as _;
    std::io::stdout().is_terminal() && std::io::stdin().is_terminal()
}

async fn perform(
    global: &Global,
    args: &DemoArgs,
    running: &up::Running,
    interrupt: &CancellationToken,
) -> anyhow::Result<Exit> {
    let key = running.admin_token.clone().or(global.key.clone());
    let Some(key) = key else {
        let message = format!(
            "{} has been used before, and its key is not known here",
            running.data.display()
        );
        let hint = "set TINTYPE_KEY to the admin key of its first start, or take another --data";
        return Err(Failure::new(Exit::NotAuthorised, "no_key", message)
            .hint(hint)
            .into());
    };
    let stage = Stage {
        client: Client::new(&running.url, Some(&key))?,
        data: running.data.clone(),
    };
    let folder = match &args.photos {
        Some(photos) => import::readable_folder(photos)?,
        None => {
            let folder = stage
                .data
                .join("demo")
                .join(format!("photos-{}", args.seed));
            tell(global, &format!("drawing photos into {}", folder.display()));
            let (seed, target) = (args.seed, folder.clone());
            let stop = interrupt.clone();
            let num_files =
                tokio::task::spawn_blocking(move || draw(seed, &target, &stop)).await??;
            tell(
                global,
                &format!(
                    "{} drawn; sending them to {}",
                    count(num_files, "file"),
                    running.url
                ),
            );
            folder
        }
    };
    let Some(mut shown) = bring_in(global, &stage, folder, interrupt).await? else {
        return Ok(Exit::Interrupted);
    };
    if shown.table.is_some() && !args.no_training {
        let dataset = &shown.header.dataset;
        shown.trained = training::train(global, &stage.client, dataset, interrupt).await?;
        if interrupt.is_cancelled() {
            return Ok(Exit::Interrupted);
        }
    }
    let json = global.json;
    let url = running.url.clone();
    tokio::task::spawn_blocking(move || show::show(shown, &url, json)).await?
}

/// Draws the demo's photos. Those that are there already stay as they are, so that a
/// second demo on the same folder goes on instead of sending all again.
fn draw(seed: u64, folder: &Path, stop: &CancellationToken) -> anyhow::Result<u64> {
    let mut num_files = 0;
    for picture in pictures::pictures(seed) {
        if stop.is_cancelled() {
            break;
        }
        let picture = picture?;
        let class = folder.join(picture.label);
        let path = class.join(&picture.name);
        let what = || format!("writing {}", path.display());
        std::fs::create_dir_all(&class).with_context(what)?;
        if std::fs::read(&path).ok().as_deref() != Some(&picture.bytes) {
            std::fs::write(&path, &picture.bytes).with_context(what)?;
        }
        num_files += 1;
    }
    Ok(num_files)
}

/// Imports the folder and waits until the table holds what was accepted; `None` if
/// interrupted.
async fn bring_in(
    global: &Global,
    stage: &Stage,
    folder: PathBuf,
    interrupt: &CancellationToken,
) -> anyhow::Result<Option<Shown>> {
    let dataset = import::dataset_id(&stage.client, DATASET, true).await?;
    let header = Header {
        dataset: dataset.clone(),
        folder: folder.display().to_string(),
    };
    let hash = schemas::Sha256::of(header.folder.as_bytes()).to_string();
    let journal = stage
        .data
        .join("demo")
        .join(format!("import-{}.jsonl", &hash[..16]));
    let order = Order {
        client: stage.client.clone(),
        dataset: dataset.clone(),
        folder,
        unsorted: "unsorted".parse::<Label>()?,
        concurrency: 8,
        backoff: Backoff { retries: 5 },
        wait: Some(Duration::from_secs(120)),
    };
    let stop = interrupt.clone().cancelled_owned();
    let (finished, header) = import::bring_in(order, journal, header, stop).await?;
    if matches!(finished.ended, Ended::Interrupted) {
        return Ok(None);
    }
    tell(global, "every photo has its verdict; waiting for the table");
    tokio::select! {
        waited = table_has_all(&stage.client, &dataset) => waited?,
        () = interrupt.cancelled() => return Ok(None),
    }
    let table = PhotosTable::read(&stage.table(&dataset)?).await?;
    Ok(Some(Shown {
        finished,
        header,
        table,
        trained: None,
    }))
}

/// Waits until every accepted photo is a row of a committed version.
async fn table_has_all(client: &Client, dataset: &str) -> anyhow::Result<()> {
    let deadline = tokio::time::Instant::now() + TABLE_PATIENCE;
    loop {
        let waiting = client.stats(dataset).await?.awaiting_shard;
        if waiting == 0 {
            return Ok(());
        }
        if tokio::time::Instant::now() > deadline {
            let message = format!(
                "{} did not reach the table in time",
                count(waiting, "accepted photo")
            );
            return Err(Failure::new(Exit::Failed, "no_table", message).into());
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// A line about what is going on; programs that read the output do not get it.
fn tell(global: &Global, text: &str) {
    if !global.json {
        eprintln!("{text}");
    }
}

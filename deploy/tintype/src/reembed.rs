//! `tintype reembed`: gives the photos of a dataset the embeddings of today's model, in the
//! table itself. What is done is kept, and a second start does the rest.

use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use processor::maintain::{self, Mode, ReembedReport, Round};
use schemas::DatasetId;
use tokio_util::sync::CancellationToken;
use trainer::WeightsSource;

use crate::cli::{Exit, Failure, Global, count, print, print_json};
use crate::place::{Place, PlaceArgs, busy};
use crate::up::{Signals, embedding};

/// How often the bar is drawn when nothing happens, so that it is seen to live.
const REDRAW: Duration = Duration::from_millis(200);

/// What a person does whose tables are in other hands.
const BUSY: &str = "try again when it is done; of one that was killed this is known after a minute";

/// Compute the embeddings of a dataset's photos anew, with the model that is set now
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tintype reembed cats --dry-run               how many photos it would be, on the roles' servers
  tintype reembed cats
  tintype reembed cats --folder tintype-data   the folder of a `tintype up` that does not run

Photos get their embedding as they come in. Those that came while there were no weights have none,
and those that came while there were others (TINTYPE_WEIGHTS) have one that cannot be compared
with today's. This computes both from the table's own pictures: some 100 photos a second on two
cores. Files are written anew and put into the table one after the other; photos may come in
meanwhile. It may be interrupted: what is done stays, and a second start does the rest.

Processors that run read the new embeddings after their next commit to the dataset. The new files
take the place of the old ones, which `maintain` removes after 7 days (keep_files_days).")]
pub struct ReembedArgs {
    /// The dataset, by name or id
    dataset: String,
    /// Say how many photos it would be, and do nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    place: PlaceArgs,
}

/// Embeds what is to be embedded, or says how much it is.
///
/// # Errors
/// The servers cannot be reached, there is no such dataset, there are no weights, or
/// another process maintains the tables.
pub async fn run(global: &Global, args: ReembedArgs) -> anyhow::Result<Exit> {
    let meanwhile = "stop the `up` on this folder, re-embed, and start it again";
    let place = Place::open(&args.place, meanwhile).await?;
    let done = work(&place, &args).await;
    place.catalog.close().await;
    let report = done?;
    if global.json {
        print_json(&report)?;
    } else {
        show(&report, args.dry_run)?;
    }
    Ok(match report.left {
        0 => Exit::Fine,
        _ => Exit::Failed,
    })
}

async fn work(place: &Place, args: &ReembedArgs) -> anyhow::Result<ReembedReport> {
    let dataset = find(place, &args.dataset).await?;
    let weights = WeightsSource {
        own: place.settings.weights.clone(),
        cache: place.weights.clone(),
        fetch: place.settings.fetch_weights,
    };
    let embedder = Arc::new(embedding::embedder(&weights).await?);
    let mode = match args.dry_run {
        true => Mode::Look,
        false => Mode::Act,
    };
    let bar = ProgressBar::new(0);
    let style = "{bar:24} {pos}/{len} photos  {elapsed_precise}, {eta} left";
    if let Ok(style) = ProgressStyle::with_template(style) {
        bar.set_style(style);
    }
    bar.enable_steady_tick(REDRAW);
    let progress = |num_done, num_due| {
        bar.set_length(num_due);
        bar.set_position(num_done);
    };
    let (settings, shutdown) = (place.maintenance(), CancellationToken::new());
    let mut signals = Signals::listen()?;
    let work = maintain::reembed(&settings, &dataset, &embedder, mode, &progress, &shutdown);
    tokio::pin!(work);
    let round = tokio::select! {
        round = &mut work => round,
        () = signals.next() => {
            // What is begun is finished or left as if it had not been.
            shutdown.cancel();
            work.await
        }
    };
    bar.finish_and_clear();
    match round? {
        Round::Done(report) if shutdown.is_cancelled() && report.left > 0 => {
            let message = format!(
                "interrupted: {} of {} done",
                report.embedded,
                count(report.due, "photo")
            );
            Err(Failure::new(Exit::Interrupted, "interrupted", message)
                .hint("the same command does the rest")
                .into())
        }
        Round::Done(report) => Ok(report),
        Round::Elsewhere(holder) => Err(busy(&holder, BUSY)),
    }
}

async fn find(place: &Place, id_or_name: &str) -> anyhow::Result<DatasetId> {
    let mut found = place.catalog.living_named(id_or_name).await?;
    match (found.pop(), found.is_empty()) {
        (Some(dataset), true) => Ok(dataset),
        (Some(_), false) => Err(Failure::usage(
            format!("several owners have a dataset {id_or_name}"),
            "name it by its id: `tintype dataset list` shows the ids",
        )
        .into()),
        (None, _) => {
            let message = format!("there is no dataset {id_or_name}");
            Err(Failure::new(Exit::NotFound, "not_found", message)
                .hint("`tintype dataset list` shows what there is")
                .into())
        }
    }
}

fn show(report: &ReembedReport, is_dry: bool) -> anyhow::Result<()> {
    let ReembedReport {
        dataset,
        model,
        photos,
        due,
        ..
    } = report;
    let of = count(*photos, "photo");
    if is_dry {
        print(format!(
            "{due} of {of} of {dataset} have no embedding by {model}"
        ))?;
        print("nothing was done: --dry-run")?;
        return Ok(());
    }
    if *due == 0 {
        print(format!(
            "all {of} of {dataset} have their embedding by {model}"
        ))?;
        return Ok(());
    }
    print(format!(
        "{} of {of} of {dataset} embedded by {model}, in {:.0} s",
        report.embedded, report.seconds
    ))?;
    if report.unreadable > 0 {
        print(format!(
            "{} with a picture that cannot be read stay as they are",
            report.unreadable
        ))?;
    }
    if report.left > 0 {
        print(format!(
            "{} left: their files are in other hands, or of a newer version; start it again",
            report.left
        ))?;
    }
    Ok(())
}

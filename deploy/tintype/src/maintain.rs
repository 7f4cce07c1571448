//! `tintype maintain`: one round of maintenance now. The processors, and `up`, do one by
//! themselves every hour; this is for those who want it now, or want to see what it would do.

use std::time::Duration;

use clap::Args;
use processor::maintain::{self, Report, Round};
use schemas::DatasetId;
use tokio_util::sync::CancellationToken;

use crate::cli::{Column, Exit, Failure, Global, Table, count, print, print_json};
use crate::place::{Place, PlaceArgs, busy};
use crate::up::Signals;

/// Merge small files of tables, and remove what nothing needs any more
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tintype maintain --dry-run                   what a round would do, on the roles' servers
  tintype maintain --dataset cats-3f8k2m
  tintype maintain --folder tintype-data       the folder of a `tintype up` that does not run

The processors, and `up`, do a round every hour (maintain_every_s), one of them at a time. A
round merges small files, removes files that no version of the last 7 days names
(keep_files_days), shortens logs, removes verdicts of refused photos after 90 days
(keep_verdicts_days) and live events after 30 (keep_events_days), and deletes uploaded files of
datasets whose policy says so.")]
pub struct MaintainArgs {
    /// Only this dataset, by its id
    #[arg(long, value_name = "ID")]
    dataset: Option<DatasetId>,
    /// Say what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    place: PlaceArgs,
}

/// Does one round, or says what it would do.
///
/// # Errors
/// The servers cannot be reached, or another process is at it.
pub async fn run(global: &Global, args: MaintainArgs) -> anyhow::Result<Exit> {
    let meanwhile = "a running `up` maintains its folder by itself, every hour (maintain_every_s)";
    let place = Place::open(&args.place, meanwhile).await?;
    let settings = place.maintenance();
    let shutdown = CancellationToken::new();
    let mut signals = Signals::listen()?;
    let work = async {
        let only = args.dataset.as_ref();
        if args.dry_run {
            return anyhow::Ok(maintain::look(&settings, only, &shutdown).await?);
        }
        match maintain::round(&settings, Duration::ZERO, only, &shutdown).await? {
            Round::Done(report) => Ok(report),
            Round::Elsewhere(holder) => Err(busy(
                &holder,
                "it does what this would do; try again in a minute",
            )),
        }
    };
    tokio::pin!(work);
    let report = tokio::select! {
        report = &mut work => report,
        () = signals.next() => {
            // What is begun is finished or left as if it had not been.
            shutdown.cancel();
            work.await
        }
    };
    place.catalog.close().await;
    let report = report?;
    if let Some(wanted) = &args.dataset
        && report.failures.is_empty()
        && report.datasets.is_empty()
        && !shutdown.is_cancelled()
    {
        return Err(Failure::new(
            Exit::NotFound,
            "not_found",
            format!("there is no dataset with the id {wanted}"),
        )
        .hint("`tintype dataset list` shows the ids")
        .into());
    }
    show(global, &report, args.dry_run)?;
    Ok(
        match (shutdown.is_cancelled(), report.failures.is_empty()) {
            (true, _) => Exit::Interrupted,
            (false, true) => Exit::Fine,
            (false, false) => Exit::Failed,
        },
    )
}

fn show(global: &Global, report: &Report, is_dry: bool) -> anyhow::Result<()> {
    if global.json {
        print_json(report)?;
        return Ok(());
    }
    let mut table = Table::new(vec![
        Column::text("dataset"),
        Column::text("table"),
        Column::figures("merged"),
        Column::figures("into"),
        Column::figures("MB"),
        Column::figures("removed"),
        Column::figures("MB"),
        Column::figures("log"),
    ]);
    for dataset in &report.datasets {
        for (name, of) in [
            ("photos", &dataset.photos),
            ("rejections", &dataset.rejections),
        ] {
            if *of == Default::default() {
                continue;
            }
            table.row([
                dataset.dataset.clone(),
                name.to_owned(),
                of.files_merged.to_string(),
                of.files_written.to_string(),
                format!("{:.1}", of.bytes_merged as f64 / 1e6),
                of.files_removed.to_string(),
                format!("{:.1}", of.bytes_removed as f64 / 1e6),
                of.log_files_removed.to_string(),
            ]);
        }
    }
    let total = report.total();
    if total == Default::default() {
        print(format!(
            "{}: nothing to do",
            count(report.datasets.len() as u64, "dataset")
        ))?;
    } else {
        print(table.plain())?;
    }
    let originals = report.originals_removed();
    if originals > 0 {
        print(format!("uploaded files deleted: {originals}"))?;
    }
    let rows = &report.catalog;
    if rows.verdicts_removed + rows.events_removed + rows.answers_removed > 0 {
        print(format!(
            "catalog rows removed: {} verdicts, {} events, {} answers",
            rows.verdicts_removed, rows.events_removed, rows.answers_removed
        ))?;
    }
    for (dataset, failure) in &report.failures {
        eprintln!("{dataset}: {failure}");
    }
    if is_dry {
        print("nothing was done: --dry-run")?;
    }
    Ok(())
}

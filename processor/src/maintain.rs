//! Maintenance: the tables that the stages only ever append to come in; out come fewer,
//! larger files, short logs, and nothing left of files that no version needs.
//!
//! One process at a time does a round (`Catalog::take_turn`), so that nobody works in vain.
//! Nothing rests on that: a merge is a commit that fails when anybody else has touched its
//! files, and what a vacuum removes is named by no version within the retention.

mod compact;

mod log;

mod merge;

mod originals;

mod plan;
pub use plan::MergePolicy;

mod reembed;
pub use reembed::{ReembedReport, reembed};

mod replace;
pub(crate) use replace::{is_changed, is_merged};

mod report;
pub use report::{CatalogReport, DatasetReport, Report, TableReport};

mod table;

mod vacuum;

use std::time::{Duration, Instant};

use catalog::{Catalog, TURN_LEASE, Turn};
use schemas::http::DatasetPolicy;
use schemas::{DatasetId, ObjectKey};
use tokio_util::sync::CancellationToken;

use crate::error::ProcessorError;
use crate::metrics;
use crate::objects::ObjectRoot;
use table::Kind;

/// The turn's name in the catalog.
const TURN: &str = "maintenance";

/// How often to ask whether a round is due. Rarer only delays the round after a kill.
const ASK_EVERY: Duration = Duration::from_secs(60);

const DAY: Duration = Duration::from_secs(24 * 3600);

/// What maintenance needs, and what it keeps.
#[derive(Clone)]
pub struct MaintainSettings {
    /// Whose turn it is, and the rows that age.
    pub catalog: Catalog,
    /// Where tables and originals lie.
    pub objects: ObjectRoot,
    /// How long after a whole round the next one begins.
    pub every: Duration,
    /// What is kept for how long.
    pub keep: Keep,
    /// Which files are merged.
    pub merge: MergePolicy,
}

/// What is kept for how long.
#[derive(Debug, Clone, Copy)]
pub struct Keep {
    /// Files that the newest version of a table no longer names, and files that no version
    /// names: far beyond the longest commit and the longest query.
    pub files: Duration,
    /// Verdicts `duplicate` and `rejected` in the catalog.
    pub verdicts: Duration,
    /// Live events in the catalog.
    pub events: Duration,
}

impl Default for Keep {
    fn default() -> Self {
        Self {
            files: 7 * DAY,
            verdicts: 90 * DAY,
            events: 30 * DAY,
        }
    }
}

/// Whether to do it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Do it.
    Act,
    /// Only say what would be done.
    Look,
}

/// What became of a round that was asked for.
#[derive(Debug)]
pub enum Round<T = Report> {
    /// It was done, to its end or to the shutdown.
    Done(T),
    /// Not due, or not ours: this process has the turn, or had it last.
    Elsewhere(String),
}

/// Does a round whenever one is due, until `shutdown`. A failure is logged and tried again.
pub async fn run(settings: &MaintainSettings, shutdown: &CancellationToken) {
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(ASK_EVERY.min(settings.every)) => {}
        }
        let round = round(settings, settings.every, None, shutdown).await;
        let result = match &round {
            Ok(Round::Elsewhere(_)) => continue,
            Ok(Round::Done(report)) if report.failures.is_empty() => "done",
            _ => "failed",
        };
        ::metrics::counter!(metrics::MAINTENANCE_ROUNDS, "result" => result).increment(1);
        match round {
            Ok(Round::Done(report)) => {
                for (dataset, failure) in &report.failures {
                    tracing::warn!(
                        dataset,
                        failure,
                        "maintenance failed; the next round tries again"
                    );
                }
                let total = report.total();
                tracing::info!(
                    merged = total.files_merged,
                    removed = total.files_removed,
                    logs = total.log_files_removed,
                    originals = report.originals_removed(),
                    verdicts = report.catalog.verdicts_removed,
                    seconds = report.seconds,
                    "maintenance done"
                );
            }
            Ok(Round::Elsewhere(_)) => {}
            Err(error) => tracing::warn!(%error, "maintenance failed; trying again"),
        }
    }
}

/// Does one round now, unless another process has the turn or a round ended less than `every`
/// ago; of one dataset, if `only` names one.
///
/// # Errors
/// The catalog fails. What fails on one dataset stands in the report.
pub async fn round(
    settings: &MaintainSettings,
    every: Duration,
    only: Option<&DatasetId>,
    shutdown: &CancellationToken,
) -> Result<Round, ProcessorError> {
    let stop = shutdown.child_token();
    let work = work(settings, only, Mode::Act, &stop);
    in_turn(settings, every, only.is_none(), &stop, work).await
}

/// Does `work` unless another process has the turn, and tells it to `stop` should the turn be
/// lost. Only work that `is_round` counts as one when it came to its end.
async fn in_turn<T>(
    settings: &MaintainSettings,
    every: Duration,
    is_round: bool,
    stop: &CancellationToken,
    work: impl Future<Output = Result<T, ProcessorError>>,
) -> Result<Round<T>, ProcessorError> {
    let catalog = &settings.catalog;
    let holder = format!("process {}", std::process::id());
    let Some(turn) = catalog.take_turn(TURN, &holder, every).await? else {
        let holder = catalog.turn_holder(TURN).await?.unwrap_or_default();
        return Ok(Round::Elsewhere(holder));
    };
    let done = tokio::select! {
        done = work => done,
        () = hold(catalog, &turn, stop) => unreachable!("held until the work is dropped"),
    };
    let is_whole = is_round && !stop.is_cancelled() && done.is_ok();
    if let Err(error) = catalog.end_turn(turn, is_whole).await {
        tracing::warn!(%error, "the turn of maintenance could not be given back; it runs out");
    }
    done.map(Round::Done)
}

/// Says what a round would do. Nothing is written, and no turn is taken.
///
/// # Errors
/// As [`round`].
pub async fn look(
    settings: &MaintainSettings,
    only: Option<&DatasetId>,
    shutdown: &CancellationToken,
) -> Result<Report, ProcessorError> {
    work(settings, only, Mode::Look, shutdown).await
}

/// Renews the turn for as long as this is polled; when it is lost, the work is told to stop.
async fn hold(catalog: &Catalog, turn: &Turn, stop: &CancellationToken) {
    let mut renewed_at = Instant::now();
    loop {
        tokio::time::sleep(TURN_LEASE / 4).await;
        match catalog.renew_turn(turn).await {
            Ok(true) => renewed_at = Instant::now(),
            Err(_) if renewed_at.elapsed() < TURN_LEASE => {}
            Ok(false) | Err(_) => stop.cancel(),
        }
    }
}

async fn work(
    settings: &MaintainSettings,
    only: Option<&DatasetId>,
    mode: Mode,
    stop: &CancellationToken,
) -> Result<Report, ProcessorError> {
    let began = Instant::now();
    let mut report = Report::default();
    for (dataset, policy) in settings.catalog.living_datasets().await? {
        if stop.is_cancelled() {
            break;
        }
        if only.is_some_and(|only| *only != dataset) {
            continue;
        }
        match one_dataset(settings, &dataset, &policy, mode, stop).await {
            Ok(done) => report.datasets.push(done),
            // The others are not its fault.
            Err(error) => {
                report
                    .failures
                    .insert(dataset.to_string(), error.to_string());
            }
        }
        if mode == Mode::Act {
            let catalog = &settings.catalog;
            let verdicts = catalog.remove_aged_verdicts(&dataset, settings.keep.verdicts);
            report.catalog.verdicts_removed += verdicts.await?;
            let events = catalog.remove_aged_events(&dataset, settings.keep.events);
            report.catalog.events_removed += events.await?;
        }
    }
    if mode == Mode::Act && only.is_none() && !stop.is_cancelled() {
        report.catalog.answers_removed = settings.catalog.remove_aged_answers().await?;
    }
    report.seconds = began.elapsed().as_secs_f64();
    let total = report.total();
    if mode == Mode::Act {
        let files = |action: &'static str, count: u64| {
            ::metrics::counter!(metrics::MAINTENANCE_FILES, "action" => action).increment(count);
        };
        files("merged", total.files_merged);
        files("written", total.files_written);
        files("removed", total.files_removed);
        files("log_removed", total.log_files_removed);
        files("original_removed", report.originals_removed());
        ::metrics::histogram!(metrics::MAINTENANCE_SECONDS).record(report.seconds);
    }
    Ok(report)
}

async fn one_dataset(
    settings: &MaintainSettings,
    dataset: &DatasetId,
    policy: &DatasetPolicy,
    mode: Mode,
    stop: &CancellationToken,
) -> Result<DatasetReport, ProcessorError> {
    let mut report = DatasetReport {
        dataset: dataset.to_string(),
        ..DatasetReport::default()
    };
    let photos = ObjectKey::PhotosTable {
        dataset: dataset.clone(),
    };
    let rejections = ObjectKey::RejectionsTable {
        dataset: dataset.clone(),
    };
    let pinned = settings.catalog.pinned_versions(dataset).await?;
    let Some(mut table) = table::open(&settings.objects, &photos).await? else {
        // Nothing was accepted or refused yet.
        return Ok(report);
    };
    // Before anything is removed: a file of rejections that only a commit to photos names.
    let unfollowed = log::unfollowed(&table).await?;
    let kept = vacuum::Kept {
        pinned,
        names: Vec::new(),
    };
    report.photos = one_table(settings, &mut table, Kind::Photos, &kept, mode, stop).await?;
    if let Some(mut table) = table::open(&settings.objects, &rejections).await? {
        let kept = vacuum::Kept {
            pinned: Vec::new(),
            names: unfollowed,
        };
        report.rejections =
            one_table(settings, &mut table, Kind::Rejections, &kept, mode, stop).await?;
    }
    if policy.keep_originals_days > 0 && !stop.is_cancelled() {
        let older_than = DAY * policy.keep_originals_days;
        report.originals_removed =
            originals::remove(settings, dataset, older_than, mode, stop).await?;
    }
    Ok(report)
}

/// Merge, then vacuum, then the log: each begins from what the one before has left.
async fn one_table(
    settings: &MaintainSettings,
    table: &mut table::Open,
    kind: Kind,
    kept: &vacuum::Kept,
    mode: Mode,
    stop: &CancellationToken,
) -> Result<TableReport, ProcessorError> {
    let mut report = TableReport::default();
    compact::compact(table, kind, &settings.merge, mode, stop, &mut report).await?;
    if stop.is_cancelled() {
        return Ok(report);
    }
    vacuum::vacuum(table, settings.keep.files, kept, mode, &mut report).await?;
    if mode == Mode::Act && !stop.is_cancelled() {
        log::tidy(table, kept, &mut report).await?;
    }
    Ok(report)
}

#[cfg(test)]
mod tests;

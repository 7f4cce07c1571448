//! The worker: takes trainings from the catalog, one at a time, and brings each to an
//! end, or back to the queue.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use catalog::{Catalog, MAX_ATTEMPTS, Standing, TRAINING_LEASE, TrainingEnd, TrainingLease};
use schemas::ModelId;
use tokio_util::sync::CancellationToken;

use crate::backbone::WeightsSource;
use crate::error::TrainerError;
use crate::job;
use crate::leftovers;
use crate::metrics as names;
use crate::reporter::{Reporter, Stop};
use crate::table::Stores;

/// How often an idle worker looks for work. Longer makes people wait, shorter costs
/// queries for nothing.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// How often a running training reports. A good part of its lease, so that a few reports
/// may fail; often enough for a person to watch.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);
/// After a store or a disk has failed.
const RETRY_WAIT: Duration = Duration::from_secs(10);
/// Failures of stores and disks in one training before it is given up.
const MAX_FAILURES: u32 = 5;

/// What a worker works with.
#[derive(Clone)]
pub struct WorkerSettings {
    /// The queue.
    pub catalog: Catalog,
    /// Where tables, checkpoints and models lie.
    pub stores: Stores,
    /// A local folder for photos of the training that runs.
    pub scratch: PathBuf,
    /// Where pretrained weights come from.
    pub weights: WeightsSource,
    /// Where a GPU's kernels and the timings that chose them are kept; see
    /// [`model::Device::keep_kernels_in`].
    pub kernels: PathBuf,
    /// Who this is, for the log.
    pub name: String,
}

/// Works until `shutdown`; the training that runs then writes a checkpoint and goes back
/// to the queue.
pub async fn run(settings: WorkerSettings, shutdown: CancellationToken) {
    model::Device::keep_kernels_in(&settings.kernels);
    let settings = Arc::new(settings);
    let mut failures = 0;
    while !shutdown.is_cancelled() {
        let wait = match settings.catalog.lease_training(&settings.name).await {
            Ok(Some(lease)) => match work(&settings, &lease, failures, &shutdown).await {
                Next::Look => {
                    failures = 0;
                    continue;
                }
                Next::Retry => {
                    failures += 1;
                    RETRY_WAIT
                }
            },
            Ok(None) => LOOK_INTERVAL,
            Err(error) => {
                tracing::warn!(%error, "looking for trainings failed; trying again");
                RETRY_WAIT
            }
        };
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = tokio::time::sleep(wait) => {}
        }
    }
}

/// What the worker does after a training.
enum Next {
    /// Looks for another.
    Look,
    /// Waits, and then tries again.
    Retry,
}

async fn work(
    settings: &Arc<WorkerSettings>,
    lease: &TrainingLease,
    failures: u32,
    shutdown: &CancellationToken,
) -> Next {
    let id = lease.training.id;
    tracing::info!(training = %id, attempt = lease.training.attempts, "training begins");
    let reporter = Arc::new(Reporter::default());
    let thread = {
        let (settings, lease) = (settings.clone(), lease.clone());
        let (reporter, runtime) = (reporter.clone(), tokio::runtime::Handle::current());
        tokio::task::spawn_blocking(move || job::run(&settings, &lease, &reporter, &runtime))
    };
    let ended = watch(settings, lease, &reporter, thread, shutdown).await;
    let end = match ended {
        Ok(model) => TrainingEnd::Model(model),
        Err(TrainerError::Stopped) => match reporter.stopped() {
            Some(Stop::CalledOff) => TrainingEnd::Cancelled,
            Some(Stop::Lost) => return Next::Look,
            Some(Stop::Shutdown) | None => {
                give_back(settings, lease).await;
                return Next::Look;
            }
        },
        Err(error)
            if error.is_transient()
                && failures < MAX_FAILURES
                && lease.training.attempts < MAX_ATTEMPTS =>
        {
            tracing::warn!(training = %id, %error, "a training failed; it will be tried again");
            give_back(settings, lease).await;
            return Next::Retry;
        }
        // What cannot be trained is told to whoever asked; it is no failure of ours.
        Err(error @ TrainerError::Refused { .. }) => {
            tracing::info!(training = %id, %error, "a training cannot be done");
            TrainingEnd::Fault(error.fault())
        }
        Err(error) => {
            tracing::error!(training = %id, %error, "a training failed");
            TrainingEnd::Fault(error.fault())
        }
    };
    let name = match &end {
        TrainingEnd::Model(_) => "succeeded",
        TrainingEnd::Fault(_) => "failed",
        TrainingEnd::Cancelled => "cancelled",
    };
    metrics::counter!(names::TRAININGS, "end" => name).increment(1);
    tracing::info!(training = %id, end = name, "training ended");
    let model = match &end {
        TrainingEnd::Model(model) => Some(*model),
        TrainingEnd::Fault(_) | TrainingEnd::Cancelled => None,
    };
    let objects = settings.stores.objects.as_ref();
    if let Err(error) = leftovers::clear(objects, &lease.training, model).await {
        tracing::warn!(training = %id, %error, "files of a training are left over");
    }
    let progress = reporter.progress();
    if let Err(error) = settings.catalog.end_training(lease, &progress, &end).await {
        // The lease runs out, another attempt finds the model, or the same fault.
        tracing::warn!(training = %id, %error, "the end of a training could not be entered");
        return Next::Retry;
    }
    Next::Look
}

async fn give_back(settings: &WorkerSettings, lease: &TrainingLease) {
    if let Err(error) = settings.catalog.return_training(lease).await {
        tracing::warn!(training = %lease.training.id, %error, "a training could not be given back");
    }
}

/// Renews the lease while the thread works, and hands on what the catalog says.
async fn watch(
    settings: &WorkerSettings,
    lease: &TrainingLease,
    reporter: &Reporter,
    mut thread: tokio::task::JoinHandle<Result<ModelId, TrainerError>>,
    shutdown: &CancellationToken,
) -> Result<ModelId, TrainerError> {
    let mut reported_at = tokio::time::Instant::now();
    loop {
        tokio::select! {
            ended = &mut thread => {
                return ended.unwrap_or_else(|panic| Err(TrainerError::Network {
                    doing: "training".into(),
                    fault: panic.to_string(),
                }));
            }
            () = tokio::time::sleep(REPORT_INTERVAL) => {}
            () = shutdown.cancelled(), if reporter.stopped().is_none() => {
                reporter.stop(Stop::Shutdown);
            }
        }
        match settings
            .catalog
            .report_training(lease, &reporter.progress())
            .await
        {
            Ok(Standing::Held) => reported_at = tokio::time::Instant::now(),
            Ok(Standing::CalledOff) => {
                reported_at = tokio::time::Instant::now();
                reporter.stop(Stop::CalledOff);
            }
            Ok(Standing::Lost) => reporter.stop(Stop::Lost),
            // Past its end the lease may be another's: what we would write is refused, so
            // that going on is only a waste.
            Err(_) if reported_at.elapsed() > TRAINING_LEASE => reporter.stop(Stop::Lost),
            Err(error) => {
                tracing::warn!(training = %lease.training.id, %error, "a report failed");
            }
        }
    }
}

//! The processor as a list: prepare, organize, record, and purge and maintenance beside them.
//! Each stage runs until shutdown; one that fails is started again from its last durable
//! position after a pause.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures::FutureExt as _;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::error::ProcessorError;
use crate::{lag, maintain, organize, prepare, purge, record};

/// What the stages need.
#[derive(Clone)]
pub struct PipelineSettings {
    /// Stage one.
    pub prepare: prepare::stage::PrepareSettings,
    /// Stage two.
    pub organize: organize::OrganizeSettings,
    /// Verdicts into the catalog.
    pub record: record::RecordSettings,
    /// Merging, vacuum and the end of old rows; none if somebody else sees to it.
    pub maintain: Option<maintain::MaintainSettings>,
}

/// How long a failed stage rests: long enough not to spin, short enough that nobody
/// notices once the cause is gone.
const REST: Duration = Duration::from_secs(1);

/// Runs the stages until `shutdown`, and returns when each has put its work down safely.
pub async fn run(settings: PipelineSettings, shutdown: CancellationToken) {
    let PipelineSettings {
        prepare,
        organize,
        record,
        maintain,
    } = settings;
    let mut stages = JoinSet::new();
    let (catalog, objects, token) = (
        record.catalog.clone(),
        organize.objects.clone(),
        shutdown.clone(),
    );
    stages.spawn(async move { purge::run(&catalog, &objects, &token).await });
    let (broker, token) = (record.broker.clone(), shutdown.clone());
    stages.spawn(async move { lag::run(&broker, &token).await });
    if let Some(maintain) = maintain {
        let token = shutdown.clone();
        stages.spawn(async move { maintain::run(&maintain, &token).await });
    }
    stages.spawn(keep_running(
        "prepare",
        shutdown.clone(),
        REST,
        async move |token| prepare::stage::run(&prepare, token).await,
    ));
    stages.spawn(keep_running(
        "organize",
        shutdown.clone(),
        REST,
        async move |token| organize::run(&organize, token).await,
    ));
    stages.spawn(keep_running("record", shutdown, REST, async move |token| {
        record::run(&record, token).await
    }));
    stages.join_all().await;
}

async fn keep_running(
    stage: &'static str,
    shutdown: CancellationToken,
    rest: Duration,
    run: impl AsyncFn(&CancellationToken) -> Result<(), ProcessorError>,
) {
    while !shutdown.is_cancelled() {
        // A panic is a failure like any other: the stage's state goes with it, and all that
        // counts is in Kafka and in the tables.
        let ended = AssertUnwindSafe(run(&shutdown)).catch_unwind().await;
        match ended {
            Ok(Ok(())) => return,
            Ok(Err(error)) => {
                tracing::error!(stage, %error, "stage stopped; it starts again from its last durable position");
            }
            Err(_) => {
                tracing::error!(
                    stage,
                    "stage panicked; it starts again from its last durable position"
                );
            }
        }
        ::metrics::counter!(crate::metrics::STAGE_RESTARTS, "stage" => stage).increment(1);
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = tokio::time::sleep(rest) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    #[tokio::test]
    async fn a_stage_that_panics_or_fails_is_started_again() {
        let runs = AtomicU32::new(0);
        let run = async |_: &CancellationToken| match runs.fetch_add(1, Ordering::Relaxed) {
            0 => panic!("a stage panics"),
            1 => Err(ProcessorError::Subscription("a stage fails".into())),
            _ => Ok(()),
        };
        keep_running("test", CancellationToken::new(), Duration::ZERO, run).await;
        assert_eq!(runs.into_inner(), 3);
    }
}

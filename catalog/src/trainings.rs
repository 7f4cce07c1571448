//! Trainings: asked for once, worked on by one worker at a time, whatever dies.
//!
//! A worker holds a [`TrainingLease`] and renews it with every report; one that is not
//! renewed in time is another's to take. Everything a worker writes is compared with
//! its lease, so that one that was thought dead and wakes up changes nothing.

use std::time::Duration;

use schemas::training::{Training, TrainingFault, TrainingProgress, TrainingSpec, TrainingState};
use schemas::{DatasetId, ModelId, TrainingId};
use sqlx::Row;
use sqlx::any::AnyRow;

use crate::catalog::time;
use crate::database::Change;
use crate::datasets::{may_see, read_id};
use crate::error::Doing;
use crate::{Catalog, CatalogError, Principal};

/// How long a worker is believed to live after its last report. Longer leaves a training
/// without a worker for that long after a machine is lost; shorter takes it away from one
/// that is only busy.
pub const TRAINING_LEASE: Duration = Duration::from_secs(30);

/// Trainings of one owner that wait or run. More is a script gone wild.
const MAX_OPEN_TRAININGS: i64 = 100;
/// Trainings on a page.
const MAX_LISTED: i64 = 200;
/// A training that was begun so often and never ended kills its workers.
pub const MAX_ATTEMPTS: u32 = 1_000;

const COLUMNS: &str = "id, dataset_id, spec, state, progress, error, model_id, attempts, \
    CASE WHEN state = 'queued' THEN (SELECT COUNT(*) FROM trainings AS earlier \
    WHERE earlier.state = 'queued' AND earlier.id < trainings.id) END AS queued_before, \
                       created_at_us, started_at_us, finished_at_us";

/// The right to work on a training.
#[derive(Debug, Clone)]
pub struct TrainingLease {
    /// The training, as it was when the lease was taken.
    pub training: Training,
    /// Whose it is.
    pub owner: String,
    attempt: u32,
}

/// What a worker is told when it reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Go on.
    Held,
    /// Somebody has called the training off.
    CalledOff,
    /// Another worker has it, or it is over.
    Lost,
}

/// How a training ends.
#[derive(Debug, Clone)]
pub enum TrainingEnd {
    /// With this model, which is in the catalog.
    Model(ModelId),
    /// With a reason.
    Fault(TrainingFault),
    /// Called off.
    Cancelled,
}

impl Catalog {
    /// Puts a training in the queue.
    ///
    /// # Errors
    /// The owner has too many that wait or run; the database fails.
    pub async fn create_training(
        &self,
        owner: &str,
        dataset: &DatasetId,
        spec: &TrainingSpec,
    ) -> Result<Training, CatalogError> {
        let now_us = self.now_us();
        let training = Training {
            id: TrainingId::new(),
            dataset: dataset.clone(),
            state: TrainingState::Queued,
            spec: spec.clone(),
            progress: TrainingProgress {
                stage: "waiting for a worker".into(),
                ..TrainingProgress::default()
            },
            error: None,
            model_id: None,
            attempts: 0,
            queued_before: None,
            created_at: time(now_us),
            started_at: None,
            finished_at: None,
        };
        let (owner, row) = (owner.to_owned(), training.clone());
        self.write("create_training", Change::None, move |db| {
            Box::pin(async move {
                let doing = || "queueing a training".into();
                let open = sqlx::query_scalar::<_, i64>(
                    "SELECT COUNT(*) FROM trainings WHERE owner = $1 \
                     AND state IN ('queued', 'running')",
                );
                let open = open.bind(&owner).fetch_one(&mut *db).await.doing(doing)?;
                if open >= MAX_OPEN_TRAININGS {
                    return Err(CatalogError::Limit {
                        owner: "an owner",
                        limit: MAX_OPEN_TRAININGS.cast_unsigned(),
                        things: "trainings that wait or run",
                    });
                }
                sqlx::query(
                    "INSERT INTO trainings (id, owner, dataset_id, spec, state, progress, \
                     created_at_us) VALUES ($1, $2, $3, $4, $5, $6, $7)",
                )
                .bind(row.id.to_string())
                .bind(&owner)
                .bind(row.dataset.as_str())
                .bind(json(&row.spec))
                .bind(row.state.as_str())
                .bind(json(&row.progress))
                .bind(now_us)
                .execute(db)
                .await
                .doing(doing)?;
                Ok(())
            })
        })
        .await?;
        Ok(training)
    }

    /// The training with this id, if the caller may see it.
    ///
    /// # Errors
    /// The database fails.
    pub async fn find_training(
        &self,
        principal: &Principal,
        id: TrainingId,
    ) -> Result<Option<Training>, CatalogError> {
        let sql = format!("SELECT {COLUMNS} FROM trainings WHERE id = $1 AND owner = $2");
        let found = sqlx::query(sqlx::AssertSqlSafe(sql));
        let found = found.bind(id.to_string()).bind(&principal.owner);
        let row = found.fetch_optional(self.readers());
        let row = self.read("find_training", row).await?;
        let training = row.as_ref().map(read_training).transpose()?;
        Ok(training.filter(|training| may_see(principal, &training.dataset)))
    }

    /// The newest trainings that the caller may see, of one dataset or of all.
    ///
    /// # Errors
    /// The database fails.
    pub async fn list_trainings(
        &self,
        principal: &Principal,
        dataset: Option<&DatasetId>,
    ) -> Result<Vec<Training>, CatalogError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM trainings WHERE owner = $1 \
             AND ($2 = '' OR dataset_id = $2) ORDER BY id DESC LIMIT $3"
        );
        let found = sqlx::query(sqlx::AssertSqlSafe(sql));
        let only = dataset.or(principal.dataset.as_ref());
        let found = found
            .bind(&principal.owner)
            .bind(only.map_or("", DatasetId::as_str))
            .bind(MAX_LISTED);
        let rows = self.read("list_trainings", found.fetch_all(self.readers()));
        let trainings: Vec<Training> = rows
            .await?
            .iter()
            .map(read_training)
            .collect::<Result<_, CatalogError>>()?;
        let visible = |training: &Training| may_see(principal, &training.dataset);
        Ok(trainings.into_iter().filter(visible).collect())
    }

    /// Calls a training off. One that waits ends at once; one that runs ends when its
    /// worker next reports; one that is over stays as it is.
    ///
    /// # Errors
    /// The database fails.
    pub async fn cancel_training(&self, id: TrainingId) -> Result<(), CatalogError> {
        let now_us = self.now_us();
        self.write("cancel_training", Change::None, move |db| {
            Box::pin(async move {
                let doing = || format!("calling off training {id}");
                sqlx::query(
                    "UPDATE trainings SET state = 'cancelled', finished_at_us = $2 \
                     WHERE id = $1 AND state = 'queued'",
                )
                .bind(id.to_string())
                .bind(now_us)
                .execute(&mut *db)
                .await
                .doing(doing)?;
                sqlx::query("UPDATE trainings SET cancel = 1 WHERE id = $1 AND state = 'running'")
                    .bind(id.to_string())
                    .execute(db)
                    .await
                    .doing(doing)?;
                Ok(())
            })
        })
        .await
    }

    /// Takes the oldest training that waits, or whose worker is not heard of any more.
    ///
    /// # Errors
    /// The database fails.
    pub async fn lease_training(
        &self,
        worker: &str,
    ) -> Result<Option<TrainingLease>, CatalogError> {
        // Asked first: the writer is not disturbed by every worker's every look.
        if !self.has_training_to_lease().await? {
            return Ok(None);
        }
        let (worker, now_us) = (worker.to_owned(), self.now_us());
        self.write("lease_training", Change::None, move |db| {
            Box::pin(async move {
                let doing = || "taking a training".into();
                let sql = format!(
                    "SELECT {COLUMNS}, owner FROM trainings WHERE state = 'queued' \
                     OR (state = 'running' AND lease_until_us < $1) ORDER BY id LIMIT 1"
                );
                let found = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(now_us);
                let Some(row) = found.fetch_optional(&mut *db).await.doing(doing)? else {
                    return Ok(None);
                };
                let mut training = read_training(&row)?;
                let owner: String = row.try_get("owner").doing(doing)?;
                let taken = sqlx::query(
                    "UPDATE trainings SET state = 'running', worker = $2, lease_until_us = $3, \
                     attempts = attempts + 1, started_at_us = COALESCE(started_at_us, $4) \
                     WHERE id = $1 AND attempts = $5",
                )
                .bind(training.id.to_string())
                .bind(worker)
                .bind(lease_end(now_us))
                .bind(now_us)
                .bind(i64::from(training.attempts))
                .execute(db)
                .await
                .doing(doing)?;
                // Another process was faster.
                if taken.rows_affected() == 0 {
                    return Ok(None);
                }
                training.state = TrainingState::Running;
                training.attempts += 1;
                let attempt = training.attempts;
                Ok(Some(TrainingLease {
                    training,
                    owner,
                    attempt,
                }))
            })
        })
        .await
    }

    async fn has_training_to_lease(&self) -> Result<bool, CatalogError> {
        let found = sqlx::query_scalar::<_, i64>(
            "SELECT COUNT(*) FROM trainings WHERE state = 'queued' \
             OR (state = 'running' AND lease_until_us < $1)",
        );
        let count = found.bind(self.now_us()).fetch_one(self.readers());
        Ok(self.read("has_training", count).await? > 0)
    }

    /// Renews the lease and tells how far the training is.
    ///
    /// # Errors
    /// The database fails; the lease may run out meanwhile.
    pub async fn report_training(
        &self,
        lease: &TrainingLease,
        progress: &TrainingProgress,
    ) -> Result<Standing, CatalogError> {
        let (id, attempt, now_us) = (lease.training.id, lease.attempt, self.now_us());
        let progress = json(progress);
        self.write("report_training", Change::None, move |db| {
            Box::pin(async move {
                let doing = || format!("reporting on training {id}");
                let held = sqlx::query(
                    "UPDATE trainings SET progress = $3, lease_until_us = $4 \
                     WHERE id = $1 AND attempts = $2 AND state = 'running'",
                )
                .bind(id.to_string())
                .bind(i64::from(attempt))
                .bind(progress)
                .bind(lease_end(now_us))
                .execute(&mut *db)
                .await
                .doing(doing)?;
                if held.rows_affected() == 0 {
                    return Ok(Standing::Lost);
                }
                let cancel =
                    sqlx::query_scalar::<_, i64>("SELECT cancel FROM trainings WHERE id = $1")
                        .bind(id.to_string())
                        .fetch_one(db)
                        .await
                        .doing(doing)?;
                Ok(if cancel == 0 {
                    Standing::Held
                } else {
                    Standing::CalledOff
                })
            })
        })
        .await
    }

    /// Puts a spec in place that names the table's version, so that every attempt reads
    /// the same photos.
    ///
    /// # Errors
    /// The database fails.
    pub async fn pin_training(
        &self,
        lease: &TrainingLease,
        spec: &TrainingSpec,
    ) -> Result<Standing, CatalogError> {
        let (id, attempt, spec) = (lease.training.id, lease.attempt, json(spec));
        self.write("pin_training", Change::None, move |db| {
            Box::pin(async move {
                let held = sqlx::query(
                    "UPDATE trainings SET spec = $3 \
                     WHERE id = $1 AND attempts = $2 AND state = 'running'",
                )
                .bind(id.to_string())
                .bind(i64::from(attempt))
                .bind(spec)
                .execute(db)
                .await
                .doing(|| format!("pinning training {id}"))?;
                Ok(if held.rows_affected() == 0 {
                    Standing::Lost
                } else {
                    Standing::Held
                })
            })
        })
        .await
    }

    /// Gives the training back to the queue, for the next worker to go on with.
    ///
    /// # Errors
    /// The database fails; the lease then runs out by itself.
    pub async fn return_training(&self, lease: &TrainingLease) -> Result<(), CatalogError> {
        let (id, attempt) = (lease.training.id, lease.attempt);
        self.write("return_training", Change::None, move |db| {
            Box::pin(async move {
                sqlx::query(
                    "UPDATE trainings SET lease_until_us = 0 \
                     WHERE id = $1 AND attempts = $2 AND state = 'running'",
                )
                .bind(id.to_string())
                .bind(i64::from(attempt))
                .execute(db)
                .await
                .doing(|| format!("returning training {id}"))?;
                Ok(())
            })
        })
        .await
    }

    /// Ends a training. One that another worker has taken stays as it is.
    ///
    /// # Errors
    /// The database fails.
    pub async fn end_training(
        &self,
        lease: &TrainingLease,
        progress: &TrainingProgress,
        end: &TrainingEnd,
    ) -> Result<(), CatalogError> {
        let (id, attempt, now_us) = (lease.training.id, lease.attempt, self.now_us());
        let (state, error, model) = match end {
            TrainingEnd::Model(model) => (TrainingState::Succeeded, None, Some(model.to_string())),
            TrainingEnd::Fault(fault) => (TrainingState::Failed, Some(json(fault)), None),
            TrainingEnd::Cancelled => (TrainingState::Cancelled, None, None),
        };
        let progress = json(progress);
        self.write("end_training", Change::None, move |db| {
            Box::pin(async move {
                sqlx::query(
                    "UPDATE trainings SET state = $3, error = $4, model_id = $5, progress = $6, \
                     finished_at_us = $7 WHERE id = $1 AND attempts = $2 AND state = 'running'",
                )
                .bind(id.to_string())
                .bind(i64::from(attempt))
                .bind(state.as_str())
                .bind(error)
                .bind(model)
                .bind(progress)
                .bind(now_us)
                .execute(db)
                .await
                .doing(|| format!("ending training {id}"))?;
                Ok(())
            })
        })
        .await
    }

    /// Lets trainings go whose worker was this process's predecessor: where one process
    /// has everything, whoever held them is dead.
    ///
    /// # Errors
    /// The database fails.
    pub async fn release_trainings(&self) -> Result<(), CatalogError> {
        self.write("release_trainings", Change::None, move |db| {
            Box::pin(async move {
                sqlx::query("UPDATE trainings SET lease_until_us = 0 WHERE state = 'running'")
                    .execute(db)
                    .await
                    .doing(|| "releasing trainings".into())?;
                Ok(())
            })
        })
        .await
    }
}

fn lease_end(now_us: i64) -> i64 {
    let lease_us = i64::try_from(TRAINING_LEASE.as_micros()).unwrap_or(i64::MAX);
    now_us.saturating_add(lease_us)
}

fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).expect("texts and numbers have a JSON form")
}

fn read_training(row: &AnyRow) -> Result<Training, CatalogError> {
    let doing = || "reading a training".into();
    let text = |column: &str| row.try_get::<String, _>(column).doing(doing);
    let maybe = |column: &str| row.try_get::<Option<String>, _>(column).doing(doing);
    let maybe_time = |column: &str| {
        let us = row.try_get::<Option<i64>, _>(column).doing(doing)?;
        Ok::<_, CatalogError>(us.map(time))
    };
    let id = text("id")?;
    let damaged = |fault: &dyn std::fmt::Display| CatalogError::Damaged {
        what: "training",
        id: id.clone(),
        fault: fault.to_string(),
    };
    let state = text("state")?;
    let attempts: i64 = row.try_get("attempts").doing(doing)?;
    Ok(Training {
        dataset: read_id(&text("dataset_id")?)?,
        state: TrainingState::from_name(&state).ok_or_else(|| damaged(&state))?,
        spec: serde_json::from_str(&text("spec")?).map_err(|fault| damaged(&fault))?,
        progress: serde_json::from_str(&text("progress")?).map_err(|fault| damaged(&fault))?,
        error: maybe("error")?
            .map(|text| serde_json::from_str(&text).map_err(|fault| damaged(&fault)))
            .transpose()?,
        model_id: maybe("model_id")?
            .map(|text| text.parse().map_err(|fault| damaged(&fault)))
            .transpose()?,
        attempts: u32::try_from(attempts).unwrap_or(u32::MAX),
        queued_before: row
            .try_get::<Option<i64>, _>("queued_before")
            .doing(doing)?
            .map(|count| u32::try_from(count).unwrap_or(u32::MAX)),
        created_at: time(row.try_get("created_at_us").doing(doing)?),
        started_at: maybe_time("started_at_us")?,
        finished_at: maybe_time("finished_at_us")?,
        id: id.parse().map_err(|fault| damaged(&fault))?,
    })
}

#[cfg(test)]
mod tests;

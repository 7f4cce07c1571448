//! What maintenance asks of the catalog: which tables there are, which of their versions
//! trainings still read, which originals may go, and the end of rows that nobody needs.
//!
//! Rows go a few thousand at a time, so that uploads never wait long behind them. A verdict of
//! an accepted photo, and of one that waits for a look, stays as long as its dataset:
//! statistics, groups of duplicates and the answer "this file is here already" are read from
//! them.

use std::time::Duration;

use futures::future::BoxFuture;
use schemas::http::DatasetPolicy;
use schemas::{DatasetId, Sha256};
use sqlx::{AnyConnection, Row};

use crate::catalog::before;
use crate::database::Change;
use crate::datasets::{damaged, read_id};
use crate::error::Doing;
use crate::requests::KEEP_ANSWERS;
use crate::{Catalog, CatalogError};

/// Rows removed in one commit. More would make uploads wait behind it.
const REMOVED_PER_COMMIT: i64 = 2_000;

impl Catalog {
    /// All living datasets of all owners, with their policies.
    ///
    /// # Errors
    /// The database fails.
    pub async fn living_datasets(&self) -> Result<Vec<(DatasetId, DatasetPolicy)>, CatalogError> {
        let found =
            sqlx::query("SELECT id, policy FROM datasets WHERE deleted_at_us IS NULL ORDER BY id");
        let rows = found.fetch_all(self.readers());
        let rows = self.read("living_datasets", rows).await?;
        let datasets = rows.iter().map(|row| {
            let doing = || "reading a dataset".into();
            let id: String = row.try_get("id").doing(doing)?;
            let policy: String = row.try_get("policy").doing(doing)?;
            let policy = serde_json::from_str(&policy).map_err(|fault| damaged(&id, fault))?;
            Ok((read_id(&id)?, policy))
        });
        datasets.collect()
    }

    /// The datasets with this id or this name that are not deleted: more than one where several
    /// owners use the name.
    ///
    /// # Errors
    /// The database fails.
    pub async fn living_named(&self, id_or_name: &str) -> Result<Vec<DatasetId>, CatalogError> {
        let found = sqlx::query_scalar::<_, String>(
            "SELECT id FROM datasets WHERE deleted_at_us IS NULL AND (id = $1 OR name = $1) \
             ORDER BY id",
        );
        let ids = found.bind(id_or_name).fetch_all(self.readers());
        let ids = self.read("living_named", ids).await?;
        ids.iter().map(|id| read_id(id)).collect()
    }

    /// Versions of the dataset's table that trainings which are not over are pinned to.
    ///
    /// # Errors
    /// The database fails.
    pub async fn pinned_versions(&self, dataset: &DatasetId) -> Result<Vec<i64>, CatalogError> {
        let found = sqlx::query_scalar::<_, String>(
            "SELECT spec FROM trainings WHERE dataset_id = $1 AND state IN ('queued', 'running')",
        );
        let specs = found.bind(dataset.as_str()).fetch_all(self.readers());
        let specs = self.read("pinned_versions", specs).await?;
        let versions = specs.iter().map(|spec| {
            let spec: serde_json::Value =
                serde_json::from_str(spec).map_err(|fault| damaged(dataset.as_str(), fault))?;
            Ok(spec
                .get("table_version")
                .and_then(serde_json::Value::as_i64))
        });
        let versions: Vec<Option<i64>> = versions.collect::<Result<_, CatalogError>>()?;
        Ok(versions.into_iter().flatten().collect())
    }

    /// Whether the original with these bytes has done its work: a table version has had its
    /// accepted photo, or its duplicate, for at least `older_than`, and no capture of the
    /// same bytes waits for anything.
    ///
    /// # Errors
    /// The database fails.
    pub async fn is_original_done(
        &self,
        dataset: &DatasetId,
        sha256: Sha256,
        older_than: Duration,
    ) -> Result<bool, CatalogError> {
        let found = sqlx::query(
            "SELECT COUNT(*) AS num_captures, \
             SUM(CASE WHEN status IN ('accepted', 'duplicate') AND table_version IS NOT NULL \
             AND decided_at_us <= $3 THEN 1 ELSE 0 END) AS num_in_table, \
             SUM(CASE WHEN status = 'duplicate' AND reason = 'exact_duplicate' AND NOT \
             (table_version IS NOT NULL AND decided_at_us <= $3) THEN 1 ELSE 0 END) AS num_again \
             FROM captures WHERE dataset_id = $1 AND sha256 = $2",
        );
        let found = found
            .bind(dataset.as_str())
            .bind(sha256.to_string())
            .bind(before(self.now_us(), older_than));
        let row = self
            .read("is_original_done", found.fetch_one(self.readers()))
            .await?;
        let doing = || format!("reading the captures of {sha256}");
        let count = |name| row.try_get::<Option<i64>, _>(name).doing(doing);
        let num_in_table = count("num_in_table")?.unwrap_or(0);
        // Whoever sends the same bytes again is told so, and needs no original.
        let num_again = count("num_again")?.unwrap_or(0);
        let num_captures = count("num_captures")?.unwrap_or(0);
        Ok(num_in_table > 0 && num_in_table + num_again == num_captures)
    }

    /// Removes a dataset's verdicts `duplicate` and `rejected` that are at least this old; how
    /// many went. The tables keep what was refused.
    ///
    /// # Errors
    /// The database fails; those that went before stay away.
    pub async fn remove_aged_verdicts(
        &self,
        dataset: &DatasetId,
        older_than: Duration,
    ) -> Result<u64, CatalogError> {
        let before_us = before(self.now_us(), older_than);
        // Ids begin with their time, so that only rows that may go are looked at.
        let before_id = format!("{:012x}", before_us.max(0) / 1_000);
        let before_id = format!("{}-{}", &before_id[..8], &before_id[8..]);
        let mut num_removed = 0;
        for status in ["duplicate", "rejected"] {
            let dataset = dataset.clone();
            let before_id = before_id.clone();
            num_removed += self
                .remove_all(move |db| {
                    let (dataset, before_id) = (dataset.clone(), before_id.clone());
                    Box::pin(async move {
                        // With an event it is not in a table yet.
                        let removed = sqlx::query(
                            "DELETE FROM captures WHERE id IN (SELECT id FROM captures \
                             WHERE dataset_id = $1 AND status = $2 AND id < $3 \
                             AND decided_at_us <= $4 AND event IS NULL ORDER BY id LIMIT $5)",
                        )
                        .bind(dataset.as_str())
                        .bind(status)
                        .bind(before_id)
                        .bind(before_us)
                        .bind(REMOVED_PER_COMMIT)
                        .execute(db)
                        .await;
                        let removed =
                            removed.doing(|| format!("removing old verdicts of {dataset}"))?;
                        Ok(removed.rows_affected())
                    })
                })
                .await?;
        }
        Ok(num_removed)
    }

    /// Removes answers to requests that are at least this old; how many went. Each new request
    /// removes a few as well; this is for datasets that get none any more.
    ///
    /// # Errors
    /// The database fails; those that went before stay away.
    pub async fn remove_aged_answers(&self) -> Result<u64, CatalogError> {
        let before_us = before(self.now_us(), KEEP_ANSWERS);
        self.remove_all(move |db| {
            Box::pin(async move {
                let removed = sqlx::query(
                    "DELETE FROM requests WHERE (dataset_id, idempotency_key) IN (\
                     SELECT dataset_id, idempotency_key FROM requests WHERE begun_at_us < $1 \
                     AND lease_until_us < $1 ORDER BY begun_at_us LIMIT $2)",
                )
                .bind(before_us)
                .bind(REMOVED_PER_COMMIT)
                .execute(db)
                .await;
                let removed = removed.doing(|| "removing old answers".into())?;
                Ok(removed.rows_affected())
            })
        })
        .await
    }

    /// Removes a dataset's oldest events up to the first whose capture was decided less than
    /// `older_than` ago: who follows from an earlier number is told so. How many went.
    ///
    /// # Errors
    /// The database fails; those that went before stay away.
    pub async fn remove_aged_events(
        &self,
        dataset: &DatasetId,
        older_than: Duration,
    ) -> Result<u64, CatalogError> {
        let before_us = before(self.now_us(), older_than);
        let dataset = dataset.clone();
        self.remove_all(move |db| {
            let dataset = dataset.clone();
            Box::pin(async move {
                // An event whose capture is gone is older than that verdict was.
                let removed = sqlx::query(
                    "DELETE FROM capture_events WHERE dataset_id = $1 AND seq IN (\
                     SELECT seq FROM (SELECT oldest.seq, \
                     SUM(CASE WHEN captures.id IS NULL OR captures.decided_at_us <= $2 \
                     THEN 0 ELSE 1 END) OVER (ORDER BY oldest.seq) AS num_young \
                     FROM (SELECT seq, capture_id FROM capture_events \
                     WHERE dataset_id = $1 ORDER BY seq LIMIT $3) AS oldest \
                     LEFT JOIN captures ON captures.id = oldest.capture_id) \
                     AS counted WHERE num_young = 0)",
                )
                .bind(dataset.as_str())
                .bind(before_us)
                .bind(REMOVED_PER_COMMIT)
                .execute(db)
                .await;
                let removed = removed.doing(|| format!("removing old events of {dataset}"))?;
                Ok(removed.rows_affected())
            })
        })
        .await
    }

    /// Repeats a removal of at most [`REMOVED_PER_COMMIT`] rows until there are no more.
    async fn remove_all(
        &self,
        remove: impl for<'c> Fn(&'c mut AnyConnection) -> BoxFuture<'c, Result<u64, CatalogError>>
        + Clone
        + Send
        + 'static,
    ) -> Result<u64, CatalogError> {
        let mut num_removed = 0;
        loop {
            let remove = remove.clone();
            let removed = self.write("remove_aged", Change::None, move |db| remove(db));
            let removed = removed.await?;
            num_removed += removed;
            if removed < REMOVED_PER_COMMIT.cast_unsigned() {
                return Ok(num_removed);
            }
        }
    }
}

#[cfg(test)]
mod tests;

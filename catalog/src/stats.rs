//! A dataset in numbers, counted from one index in one pass.

use std::time::Duration;

use schemas::http::DatasetStats;
use schemas::{DatasetId, Status};
use sqlx::Row;

use crate::error::Doing;
use crate::{Catalog, CatalogError};

/// The longest that a request for statistics waits for those before it.
const MAX_TURN_WAIT: Duration = Duration::from_secs(5);

impl Catalog {
    /// The dataset's captures by status, label and reason.
    ///
    /// # Errors
    /// Too many ask at once; the database fails.
    pub async fn dataset_stats(&self, dataset: &DatasetId) -> Result<DatasetStats, CatalogError> {
        let turn = self.inner.statistics_turn.acquire();
        let turn = tokio::time::timeout(MAX_TURN_WAIT, turn).await;
        let _turn = turn.map_err(|_| CatalogError::Timeout {
            doing: "waiting for other statistics".into(),
            seconds: MAX_TURN_WAIT.as_secs(),
        })?;
        let counted = sqlx::query(
            "SELECT label, status, reason, COUNT(*) AS num, COUNT(table_version) AS num_in_table, \
             MAX(table_version) AS newest FROM captures WHERE dataset_id = $1 \
             GROUP BY label, status, reason",
        );
        let counted = counted.bind(dataset.as_str()).fetch_all(self.readers());
        let rows = self.read("dataset_stats", counted).await?;
        let doing = || format!("reading the statistics of {dataset}");
        let mut stats = DatasetStats::default();
        for row in rows {
            let label: String = row.try_get("label").doing(doing)?;
            let status: String = row.try_get("status").doing(doing)?;
            let reason: Option<String> = row.try_get("reason").doing(doing)?;
            let num: i64 = row.try_get("num").doing(doing)?;
            let num_in_table: i64 = row.try_get("num_in_table").doing(doing)?;
            let newest: Option<i64> = row.try_get("newest").doing(doing)?;
            let num = num.cast_unsigned();
            if status == Status::Accepted.as_str() {
                stats.awaiting_shard += num.saturating_sub(num_in_table.cast_unsigned());
            }
            stats.table_version = stats.table_version.max(newest);
            *stats.statuses.entry(status.clone()).or_default() += num;
            *stats
                .labels
                .entry(label)
                .or_default()
                .entry(status)
                .or_default() += num;
            if let Some(reason) = reason {
                *stats.reasons.entry(reason).or_default() += num;
            }
        }
        Ok(stats)
    }
}

//! The end of datasets: a tombstone at once, which hides everything, and the rows
//! later, after the files that they describe.

use std::time::Duration;

use schemas::DatasetId;

use crate::catalog::before;
use crate::database::Change;
use crate::error::Doing;
use crate::{Catalog, CatalogError, datasets};

/// Rows removed in one commit. More would make uploads wait behind it.
const FORGOTTEN_PER_COMMIT: i64 = 2_000;

impl Catalog {
    /// Deletes a dataset for everybody; its name is free at once.
    ///
    /// # Errors
    /// The database fails.
    pub async fn delete_dataset(&self, dataset: &DatasetId) -> Result<(), CatalogError> {
        let (dataset, now_us) = (dataset.clone(), self.now_us());
        self.write("delete_dataset", Change::Datasets, move |db| {
            Box::pin(async move {
                sqlx::query(
                    "UPDATE datasets SET deleted_at_us = $2 \
                     WHERE id = $1 AND deleted_at_us IS NULL",
                )
                .bind(dataset.as_str())
                .bind(now_us)
                .execute(db)
                .await
                .doing(|| format!("deleting dataset {dataset}"))?;
                Ok(())
            })
        })
        .await
    }

    /// Datasets that were deleted at least this long ago and are not forgotten yet.
    ///
    /// # Errors
    /// The database fails.
    pub async fn deleted_datasets(
        &self,
        older_than: Duration,
    ) -> Result<Vec<DatasetId>, CatalogError> {
        let found = sqlx::query_scalar::<_, String>(
            "SELECT id FROM datasets WHERE deleted_at_us <= $1 ORDER BY deleted_at_us",
        );
        let found = found.bind(before(self.now_us(), older_than));
        let ids = self
            .read("deleted_datasets", found.fetch_all(self.readers()))
            .await?;
        ids.iter().map(|id| datasets::read_id(id)).collect()
    }

    /// Removes all rows of a deleted dataset, a few thousand at a time; a living one
    /// stays untouched. To be called once its files are gone, and again after an error.
    ///
    /// # Errors
    /// The database fails.
    pub async fn forget_dataset(&self, id: &DatasetId) -> Result<(), CatalogError> {
        // The dataset itself last: until then the next call finds what is left.
        const PARTS: [&str; 7] = [
            "DELETE FROM capture_events WHERE dataset_id = $1 AND seq IN (SELECT seq \
             FROM capture_events WHERE dataset_id = $1 AND EXISTS (SELECT 1 FROM datasets \
             WHERE id = $1 AND deleted_at_us IS NOT NULL) LIMIT $2)",
            "DELETE FROM captures WHERE id IN (SELECT id \
             FROM captures WHERE dataset_id = $1 AND EXISTS (SELECT 1 FROM datasets \
             WHERE id = $1 AND deleted_at_us IS NOT NULL) LIMIT $2)",
            "DELETE FROM requests WHERE dataset_id = $1 AND idempotency_key IN (SELECT \
             idempotency_key FROM requests WHERE dataset_id = $1 AND EXISTS (SELECT 1 FROM \
             datasets WHERE id = $1 AND deleted_at_us IS NOT NULL) LIMIT $2)",
            "DELETE FROM uploads WHERE id IN (SELECT id \
             FROM uploads WHERE dataset_id = $1 AND EXISTS (SELECT 1 FROM datasets \
             WHERE id = $1 AND deleted_at_us IS NOT NULL) LIMIT $2)",
            "DELETE FROM checksums WHERE dataset_id = $1 AND sha1 IN (SELECT sha1 \
             FROM checksums WHERE dataset_id = $1 AND EXISTS (SELECT 1 FROM datasets \
             WHERE id = $1 AND deleted_at_us IS NOT NULL) LIMIT $2)",
            "DELETE FROM labels WHERE dataset_id = $1 AND label IN (SELECT label \
             FROM labels WHERE dataset_id = $1 AND EXISTS (SELECT 1 FROM datasets \
             WHERE id = $1 AND deleted_at_us IS NOT NULL) LIMIT $2)",
            "DELETE FROM datasets WHERE id IN (SELECT id FROM datasets \
             WHERE id = $1 AND deleted_at_us IS NOT NULL LIMIT $2)",
        ];
        for part in PARTS {
            while self.forget_some(id, part).await? > 0 {}
        }
        Ok(())
    }

    async fn forget_some(&self, id: &DatasetId, part: &'static str) -> Result<u64, CatalogError> {
        let id = id.clone();
        self.write("forget_dataset", Change::Datasets, move |db| {
            Box::pin(async move {
                let removed = sqlx::query(part)
                    .bind(id.as_str())
                    .bind(FORGOTTEN_PER_COMMIT)
                    .execute(db)
                    .await;
                let removed = removed.doing(|| format!("forgetting dataset {id}"))?;
                Ok(removed.rows_affected())
            })
        })
        .await
    }
}

#[cfg(test)]
mod tests;

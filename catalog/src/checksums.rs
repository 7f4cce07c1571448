//! Hashes that clients ask about before they send: which photos a dataset has already.

use std::collections::HashMap;

use schemas::{CaptureId, DatasetId, Sha256};
use sqlx::{AssertSqlSafe, Row};

use crate::database::Change;
use crate::error::Doing;
use crate::{Catalog, CatalogError, datasets};

/// Hashes asked for in one statement. More makes statements that no database plans
/// well; fewer only makes more of them.
const HASHES_PER_QUERY: usize = 100;

impl Catalog {
    /// The captures that these hashes already stand for, as
    /// [`Catalog::find_by_hash`] has it for one.
    ///
    /// # Errors
    /// The database fails.
    pub async fn find_by_hashes(
        &self,
        dataset: &DatasetId,
        hashes: &[Sha256],
    ) -> Result<HashMap<Sha256, CaptureId>, CatalogError> {
        let mut found = HashMap::new();
        for some in hashes.chunks(HASHES_PER_QUERY) {
            let sql = format!(
                "SELECT sha256, CASE WHEN status = 'duplicate' THEN twin_id ELSE id END AS known \
                 FROM captures WHERE dataset_id = $1 AND sha256 IN ({}) \
                 AND status <> 'rejected' AND (status <> 'duplicate' OR twin_id IS NOT NULL) \
                 ORDER BY CASE WHEN status = 'duplicate' THEN 1 ELSE 0 END, id",
                placeholders(some.len())
            );
            let mut query = sqlx::query(AssertSqlSafe(sql)).bind(dataset.as_str());
            for hash in some {
                query = query.bind(hash.to_string());
            }
            let rows = query.fetch_all(self.readers());
            for row in self.read("find_by_hashes", rows).await? {
                let doing = || "reading a known hash".into();
                let hash: String = row.try_get("sha256").doing(doing)?;
                let known: String = row.try_get("known").doing(doing)?;
                let hash = hash.parse().map_err(|fault| damaged(&known, fault))?;
                let id = known.parse().map_err(|fault| damaged(&known, fault))?;
                found.entry(hash).or_insert(id);
            }
        }
        Ok(found)
    }

    /// The SHA-256 of photos whose SHA-1, 40 lower-case hex digits, is on record.
    ///
    /// # Errors
    /// The database fails.
    pub async fn find_by_sha1(
        &self,
        dataset: &DatasetId,
        sha1: &[String],
    ) -> Result<HashMap<String, Sha256>, CatalogError> {
        let mut found = HashMap::new();
        for some in sha1.chunks(HASHES_PER_QUERY) {
            let sql = format!(
                "SELECT sha1, sha256 FROM checksums WHERE dataset_id = $1 AND sha1 IN ({})",
                placeholders(some.len())
            );
            let mut query = sqlx::query(AssertSqlSafe(sql)).bind(dataset.as_str());
            for hash in some {
                query = query.bind(hash.as_str());
            }
            let rows = query.fetch_all(self.readers());
            for row in self.read("find_by_sha1", rows).await? {
                let doing = || "reading a checksum".into();
                let sha1: String = row.try_get("sha1").doing(doing)?;
                let sha256: String = row.try_get("sha256").doing(doing)?;
                let sha256 = sha256.parse().map_err(|fault| damaged(&sha1, fault))?;
                found.insert(sha1, sha256);
            }
        }
        Ok(found)
    }

    /// Records what the SHA-1 of a photo is.
    ///
    /// # Errors
    /// The database fails.
    pub async fn record_sha1(
        &self,
        dataset: &DatasetId,
        sha1: &str,
        sha256: Sha256,
    ) -> Result<(), CatalogError> {
        let (dataset, sha1) = (dataset.clone(), sha1.to_owned());
        self.write("record_sha1", Change::None, move |db| {
            Box::pin(async move {
                if !datasets::is_living(db, &dataset).await? {
                    return Ok(());
                }
                sqlx::query(
                    "INSERT INTO checksums (dataset_id, sha1, sha256) VALUES ($1, $2, $3) \
                     ON CONFLICT DO NOTHING",
                )
                .bind(dataset.as_str())
                .bind(&sha1)
                .bind(sha256.to_string())
                .execute(db)
                .await
                .doing(|| format!("recording a checksum of {dataset}"))?;
                Ok(())
            })
        })
        .await
    }
}

/// `$2, $3, ...`
fn placeholders(num: usize) -> String {
    let names: Vec<_> = (0..num).map(|i| format!("${}", i + 2)).collect();
    names.join(", ")
}

fn damaged(id: &str, fault: impl ToString) -> CatalogError {
    CatalogError::Damaged {
        what: "hash",
        id: id.into(),
        fault: fault.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TestCatalog;

    #[tokio::test]
    async fn many_hashes_are_told_apart_at_once() {
        let test = TestCatalog::open().await;
        let dataset = test.dataset("main", "cats", &[]).await;
        let other = test.dataset("main", "dogs", &[]).await;
        let known = test.queued(&dataset, "7").await;
        let hashes: Vec<_> = (0..250)
            .map(|i: u32| Sha256::of(i.to_string().as_bytes()))
            .collect();
        let found = test
            .catalog
            .find_by_hashes(&dataset.id, &hashes)
            .await
            .unwrap();
        assert_eq!(found, HashMap::from([(known.sha256, known.id)]));
        assert!(
            test.catalog
                .find_by_hashes(&other.id, &hashes)
                .await
                .unwrap()
                .is_empty()
        );

        let sha1 = "da39a3ee5e6b4b0d3255bfef95601890afd80709".to_owned();
        test.catalog
            .record_sha1(&dataset.id, &sha1, known.sha256)
            .await
            .unwrap();
        let asked = [sha1.clone(), "0".repeat(40)];
        let found = test
            .catalog
            .find_by_sha1(&dataset.id, &asked)
            .await
            .unwrap();
        assert_eq!(found, HashMap::from([(sha1, known.sha256)]));
        assert!(
            test.catalog
                .find_by_sha1(&other.id, &asked)
                .await
                .unwrap()
                .is_empty()
        );
    }
}

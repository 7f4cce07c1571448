//! The memory of uploads that clients repeat: an `Idempotency-Key` stands for one
//! request and one answer, also across restarts.
//!
//! A request holds a lease while it runs. Whoever takes it over after the lease has
//! run out uses the same capture id, so that the stream drops the second event as a
//! replay of the first.

use std::time::Duration;

use schemas::{CaptureId, DatasetId, Sha256};
use sqlx::AnyConnection;
use sqlx::Row;
use sqlx::any::AnyRow;

use crate::catalog::before;
use crate::database::Change;
use crate::error::Doing;
use crate::{Catalog, CatalogError};

/// How long a request may be silent before another may take it over; it renews its
/// lease every 5 s. Longer, and clients wait for a request that was killed; shorter,
/// and a slow flush of the disk looks like death.
pub const REQUEST_LEASE: Duration = Duration::from_secs(15);

/// How long answers are kept: a client that comes back after a week of no network
/// still gets its first answer. The bytes' hash finds the twin after that.
pub(crate) const KEEP_ANSWERS: Duration = Duration::from_secs(7 * 24 * 3600);

/// Old answers removed with each new request; any number above 1 keeps up.
const PRUNED_PER_REQUEST: i64 = 4;

/// What one `Idempotency-Key` stands for: the key is the client's, hence it counts
/// within a dataset only.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RequestScope {
    /// The dataset that is uploaded to.
    pub dataset: DatasetId,
    /// The `Idempotency-Key`, 1 to 255 bytes.
    pub key: String,
}

/// An answer that is given again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredAnswer {
    /// The HTTP status.
    pub status: u16,
    /// The body.
    pub body: String,
}

/// What is known of a request that begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Begun {
    /// Go on, with this new id for the capture.
    Fresh(CaptureId),
    /// Go on, with the id of a try that died: how far it came is not known, and its event
    /// may be on its way already.
    TakenOver(CaptureId),
    /// Another try holds the lease: 409 with `Retry-After`.
    InProgress,
    /// It was answered before: to be answered alike if the fingerprints are equal.
    Done {
        /// The hash of what was sent then.
        fingerprint: Sha256,
        /// What was answered then.
        answer: StoredAnswer,
    },
}

impl Catalog {
    /// Begins a request, or finds out how it stands.
    ///
    /// # Errors
    /// The database fails.
    pub async fn begin_request(&self, scope: &RequestScope) -> Result<Begun, CatalogError> {
        let (scope, now_us) = (scope.clone(), self.now_us());
        self.write("begin_request", Change::None, move |db| {
            Box::pin(async move { begin(db, &scope, now_us).await })
        })
        .await
    }

    /// Holds the lease for another 15 s. A request that is over, or of another
    /// capture, stays as it is.
    ///
    /// # Errors
    /// The database fails.
    pub async fn renew_request(
        &self,
        scope: &RequestScope,
        capture: CaptureId,
    ) -> Result<(), CatalogError> {
        let lease_until_us = self.now_us() + lease_us();
        let scope = scope.clone();
        self.write("renew_request", Change::None, move |db| {
            Box::pin(async move {
                sqlx::query(
                    "UPDATE requests SET lease_until_us = $4 WHERE dataset_id = $1 \
                     AND idempotency_key = $2 AND capture_id = $3 AND fingerprint IS NULL",
                )
                .bind(scope.dataset.as_str())
                .bind(&scope.key)
                .bind(capture.to_string())
                .bind(lease_until_us)
                .execute(db)
                .await
                .doing(|| format!("renewing the request of capture {capture}"))?;
                Ok(())
            })
        })
        .await
    }

    /// Keeps the answer, which every later request with this key gets. The first
    /// answer stays, should two tries of one request both come to an end.
    ///
    /// # Errors
    /// The database fails.
    pub async fn finish_request(
        &self,
        scope: &RequestScope,
        capture: CaptureId,
        fingerprint: Sha256,
        answer: &StoredAnswer,
    ) -> Result<(), CatalogError> {
        let (scope, answer) = (scope.clone(), answer.clone());
        self.write("finish_request", Change::None, move |db| {
            Box::pin(async move {
                sqlx::query(
                    "UPDATE requests SET fingerprint = $4, status = $5, body = $6 \
                     WHERE dataset_id = $1 AND idempotency_key = $2 AND capture_id = $3 \
                     AND fingerprint IS NULL",
                )
                .bind(scope.dataset.as_str())
                .bind(&scope.key)
                .bind(capture.to_string())
                .bind(fingerprint.to_string())
                .bind(i64::from(answer.status))
                .bind(&answer.body)
                .execute(db)
                .await
                .doing(|| format!("keeping the answer for capture {capture}"))?;
                Ok(())
            })
        })
        .await
    }

    /// Frees the key after a refusal, when nothing was published: the next request
    /// with it is a new one.
    ///
    /// # Errors
    /// The database fails.
    pub async fn abandon_request(
        &self,
        scope: &RequestScope,
        capture: CaptureId,
    ) -> Result<(), CatalogError> {
        let scope = scope.clone();
        self.write("abandon_request", Change::None, move |db| {
            Box::pin(async move {
                sqlx::query(
                    "DELETE FROM requests WHERE dataset_id = $1 AND idempotency_key = $2 \
                     AND capture_id = $3 AND fingerprint IS NULL",
                )
                .bind(scope.dataset.as_str())
                .bind(&scope.key)
                .bind(capture.to_string())
                .execute(db)
                .await
                .doing(|| format!("abandoning the request of capture {capture}"))?;
                Ok(())
            })
        })
        .await
    }

    /// Ends every lease, for a process that starts and is alone on its catalog: who
    /// held them is dead. Each request keeps its capture id. The answer is how many.
    ///
    /// # Errors
    /// The database fails.
    pub async fn release_requests(&self) -> Result<u64, CatalogError> {
        self.write("release_requests", Change::None, move |db| {
            Box::pin(async move {
                let released = sqlx::query(
                    "UPDATE requests SET lease_until_us = 0 \
                     WHERE fingerprint IS NULL AND lease_until_us > 0",
                )
                .execute(db)
                .await
                .doing(|| "releasing requests".into())?;
                Ok(released.rows_affected())
            })
        })
        .await
    }
}

fn lease_us() -> i64 {
    before(0, REQUEST_LEASE).abs()
}

async fn begin(
    db: &mut AnyConnection,
    scope: &RequestScope,
    now_us: i64,
) -> Result<Begun, CatalogError> {
    let doing = || format!("beginning a request to {}", scope.dataset);
    sqlx::query(
        "DELETE FROM requests WHERE (dataset_id, idempotency_key) IN (SELECT dataset_id, \
         idempotency_key FROM requests WHERE begun_at_us < $1 ORDER BY begun_at_us LIMIT $2)",
    )
    .bind(before(now_us, KEEP_ANSWERS))
    .bind(PRUNED_PER_REQUEST)
    .execute(&mut *db)
    .await
    .doing(doing)?;

    let capture = CaptureId::new();
    let inserted = sqlx::query(
        "INSERT INTO requests (dataset_id, idempotency_key, capture_id, begun_at_us, \
         lease_until_us) VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING",
    )
    .bind(scope.dataset.as_str())
    .bind(&scope.key)
    .bind(capture.to_string())
    .bind(now_us)
    .bind(now_us + lease_us())
    .execute(&mut *db)
    .await
    .doing(doing)?;
    if inserted.rows_affected() == 1 {
        return Ok(Begun::Fresh(capture));
    }

    let known = sqlx::query(
        "SELECT capture_id, lease_until_us, fingerprint, status, body FROM requests \
         WHERE dataset_id = $1 AND idempotency_key = $2",
    );
    let known = known.bind(scope.dataset.as_str()).bind(&scope.key);
    let row = known.fetch_one(&mut *db).await.doing(doing)?;
    if let Some(done) = read_done(&row)? {
        return Ok(done);
    }
    let lease_until_us: i64 = row.try_get("lease_until_us").doing(doing)?;
    // A lease far beyond the longest that is ever given was given before the clock was
    // set back; without this the key would be blocked until the clock catches up. It may be
    // a little beyond: other processes' clocks differ, and this request's time was taken
    // before it waited for its turn to write.
    if (now_us + 1..=now_us + 2 * lease_us()).contains(&lease_until_us) {
        return Ok(Begun::InProgress);
    }
    let capture: String = row.try_get("capture_id").doing(doing)?;
    let taken = sqlx::query(
        "UPDATE requests SET lease_until_us = $4 WHERE dataset_id = $1 \
         AND idempotency_key = $2 AND lease_until_us = $3 AND fingerprint IS NULL",
    )
    .bind(scope.dataset.as_str())
    .bind(&scope.key)
    .bind(lease_until_us)
    .bind(now_us + lease_us())
    .execute(&mut *db)
    .await
    .doing(doing)?;
    if taken.rows_affected() == 0 {
        return Ok(Begun::InProgress);
    }
    capture
        .parse()
        .map(Begun::TakenOver)
        .map_err(|fault| damaged(&capture, fault))
}

fn read_done(row: &AnyRow) -> Result<Option<Begun>, CatalogError> {
    let doing = || "reading a request".into();
    let capture: String = row.try_get("capture_id").doing(doing)?;
    let fingerprint: Option<String> = row.try_get("fingerprint").doing(doing)?;
    let Some(fingerprint) = fingerprint else {
        return Ok(None);
    };
    let status: i64 = row.try_get("status").doing(doing)?;
    Ok(Some(Begun::Done {
        fingerprint: fingerprint.parse().map_err(|e| damaged(&capture, e))?,
        answer: StoredAnswer {
            status: u16::try_from(status).map_err(|e| damaged(&capture, e))?,
            body: row.try_get("body").doing(doing)?,
        },
    }))
}

fn damaged(capture: &str, fault: impl ToString) -> CatalogError {
    CatalogError::Damaged {
        what: "request of capture",
        id: capture.into(),
        fault: fault.to_string(),
    }
}

#[cfg(test)]
mod tests;

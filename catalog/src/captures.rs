//! Captures: what came in, and where it stands.
//!
//! A row exists only for a capture whose event is durable, or that was answered
//! `duplicate` at the door. Rows of deleted datasets are neither written nor found.

use chrono::{DateTime, Utc};
use data_encoding::BASE64;
use schemas::http::{Capture, CapturePlace, Scores};
use schemas::{CaptureId, DatasetId, Label, Reason, Sha256, Split, Status};
use sqlx::AnyConnection;
use sqlx::any::AnyRow;
use sqlx::{Decode, Row, Type};

use crate::catalog::time;
use crate::database::Change;
use crate::error::Doing;
use crate::{Catalog, CatalogError, Principal, datasets, outcomes};

/// A capture that has just arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewCapture {
    /// Its id.
    pub id: CaptureId,
    /// The dataset it was sent to.
    pub dataset: DatasetId,
    /// Its label.
    pub label: Label,
    /// The hash of its bytes as they arrived.
    pub sha256: Sha256,
    /// When it arrived.
    pub received_at: DateTime<Utc>,
}

/// A part of a dataset's captures, the newest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CapturePage {
    /// Only those with this status.
    pub status: Option<Status>,
    /// Only those older than this one, which ended the page before.
    pub after: Option<CaptureId>,
    /// How many at most.
    pub limit: u32,
}

impl Catalog {
    /// The capture that these bytes already stand for: one that is queued, accepted or
    /// under review; the twin of one that is a duplicate; none for a rejected one.
    ///
    /// # Errors
    /// The database fails.
    pub async fn find_by_hash(
        &self,
        dataset: &DatasetId,
        sha256: Sha256,
    ) -> Result<Option<CaptureId>, CatalogError> {
        let found = sqlx::query_scalar::<_, String>(
            "SELECT CASE WHEN status = 'duplicate' THEN twin_id ELSE id END FROM captures \
             WHERE dataset_id = $1 AND sha256 = $2 AND status <> 'rejected' \
             AND (status <> 'duplicate' OR twin_id IS NOT NULL) \
             ORDER BY CASE WHEN status = 'duplicate' THEN 1 ELSE 0 END, id LIMIT 1",
        );
        let found = found.bind(dataset.as_str()).bind(sha256.to_string());
        let found = found.fetch_optional(self.readers());
        let id = self.read("find_by_hash", found).await?;
        id.map(|id| read_id(&id)).transpose()
    }

    /// Records a capture whose event is durable, and the event, until the table version is
    /// known. A verdict that came first stays.
    ///
    /// # Errors
    /// The database fails.
    pub async fn record_queued(
        &self,
        capture: &NewCapture,
        event: &[u8],
    ) -> Result<(), CatalogError> {
        let capture = capture.clone();
        let event = BASE64.encode(event);
        self.write("record_queued", Change::None, move |db| {
            Box::pin(async move {
                if datasets::is_living(db, &capture.dataset).await? {
                    insert_queued(db, &capture, &event).await?;
                }
                Ok(())
            })
        })
        .await
    }

    /// Records a capture that was answered `duplicate` at the door, because the
    /// dataset has its very bytes, and tells it to those who follow the events.
    ///
    /// # Errors
    /// The database fails.
    pub async fn record_known(
        &self,
        capture: &NewCapture,
        twin: CaptureId,
    ) -> Result<(), CatalogError> {
        let verdict = Capture {
            id: capture.id,
            dataset: capture.dataset.clone(),
            label: capture.label.clone(),
            status: Status::Duplicate,
            reason: Some(Reason::ExactDuplicate),
            detail: Some(format!("the same bytes as capture {twin}")),
            twin_id: Some(twin),
            phash_distance: None,
            pdq_distance: None,
            scores: None,
            group_id: None,
            split: None,
            cluster: None,
            table_version: None,
            sha256: capture.sha256.to_string(),
            received_at: capture.received_at,
            decided_at: Some(self.now()),
        };
        let recorded = self.write("record_known", Change::Events, move |db| {
            Box::pin(async move {
                let is_new = datasets::is_living(db, &verdict.dataset).await?
                    && outcomes::insert_verdict(db, &verdict).await?;
                if is_new {
                    outcomes::append_event(db, &verdict.dataset, verdict.id).await?;
                }
                Ok(is_new)
            })
        });
        if recorded.await? {
            let status = Status::Duplicate.as_str();
            metrics::counter!(crate::metrics::VERDICTS, "status" => status).increment(1);
        }
        Ok(())
    }

    /// Events of captures that came before `before` and that no table version holds yet, in
    /// the order of their ids; those after `after`, a few hundred at a time. Deleted
    /// datasets want none.
    ///
    /// # Errors
    /// The database fails.
    pub async fn open_events(
        &self,
        before: DateTime<Utc>,
        after: Option<CaptureId>,
    ) -> Result<Vec<(CaptureId, Vec<u8>)>, CatalogError> {
        let found = sqlx::query(
            "SELECT captures.id, captures.event FROM captures \
             JOIN datasets ON datasets.id = captures.dataset_id \
             WHERE captures.event IS NOT NULL \
             AND captures.received_at_us < $1 AND captures.id > $2 \
             AND datasets.deleted_at_us IS NULL ORDER BY captures.id LIMIT 256",
        );
        let found = found
            .bind(before.timestamp_micros())
            .bind(after.map_or(String::new(), |id| id.to_string()));
        let rows = self
            .read("open_events", found.fetch_all(self.readers()))
            .await?;
        let mut events = Vec::with_capacity(rows.len());
        for row in &rows {
            let id: String = get(row, "id")?;
            let event: String = get(row, "event")?;
            let event = BASE64.decode(event.as_bytes());
            events.push((read_id(&id)?, event.map_err(|fault| damaged(&id, fault))?));
        }
        Ok(events)
    }

    /// The capture, if the caller may see its dataset.
    ///
    /// # Errors
    /// The database fails.
    pub async fn find_capture(
        &self,
        principal: &Principal,
        id: CaptureId,
    ) -> Result<Option<Capture>, CatalogError> {
        let found = sqlx::query(
            "SELECT captures.* FROM captures JOIN datasets ON datasets.id = captures.dataset_id \
             WHERE captures.id = $1 AND datasets.owner = $2 AND datasets.deleted_at_us IS NULL",
        );
        let found = found.bind(id.to_string()).bind(&principal.owner);
        let found = found.fetch_optional(self.readers());
        let row = self.read("find_capture", found).await?;
        let capture = row.as_ref().map(read_capture).transpose()?;
        Ok(capture.filter(|capture| datasets::may_see(principal, &capture.dataset)))
    }

    /// A page of the dataset's captures.
    ///
    /// # Errors
    /// The database fails.
    pub async fn list_captures(
        &self,
        dataset: &DatasetId,
        page: CapturePage,
    ) -> Result<Vec<Capture>, CatalogError> {
        let sql = match page.status {
            None => {
                "SELECT * FROM captures WHERE dataset_id = $1 AND id < $2 \
                 ORDER BY id DESC LIMIT $3"
            }
            Some(_) => {
                "SELECT * FROM captures WHERE dataset_id = $1 AND id < $2 AND status = $4 \
                 ORDER BY id DESC LIMIT $3"
            }
        };
        // Every id is below a letter that no hex digit reaches.
        let after = page.after.map_or("g".into(), |id| id.to_string());
        let mut found = sqlx::query(sql)
            .bind(dataset.as_str())
            .bind(after)
            .bind(i64::from(page.limit));
        if let Some(status) = page.status {
            found = found.bind(status.as_str());
        }
        let rows = self
            .read("list_captures", found.fetch_all(self.readers()))
            .await?;
        rows.iter().map(read_capture).collect()
    }
}

async fn insert_queued(
    db: &mut AnyConnection,
    capture: &NewCapture,
    event: &str,
) -> Result<(), CatalogError> {
    sqlx::query(
        "INSERT INTO captures (id, dataset_id, label, sha256, received_at_us, status, event) \
         VALUES ($1, $2, $3, $4, $5, 'queued', $6) ON CONFLICT DO NOTHING",
    )
    .bind(capture.id.to_string())
    .bind(capture.dataset.as_str())
    .bind(capture.label.as_str())
    .bind(capture.sha256.to_string())
    .bind(capture.received_at.timestamp_micros())
    .bind(event)
    .execute(db)
    .await
    .doing(|| format!("recording capture {}", capture.id))?;
    Ok(())
}

/// The capture in a row of `captures`.
pub(crate) fn read_capture(row: &AnyRow) -> Result<Capture, CatalogError> {
    let id: String = get(row, "id")?;
    let damaged = |fault: String| damaged(&id, fault);
    let named = |fault: &str, name: &str| damaged(format!("{name:?} is not a {fault}"));
    let dataset: String = get(row, "dataset_id")?;
    let label: String = get(row, "label")?;
    let status: String = get(row, "status")?;
    let reason: Option<String> = get(row, "reason")?;
    let reason = reason.map(|name| Reason::from_name(&name).ok_or_else(|| named("reason", &name)));
    let split: Option<String> = get(row, "split")?;
    let split = split.map(|name| Split::from_name(&name).ok_or_else(|| named("split", &name)));
    let scores: Option<String> = get(row, "scores")?;
    let scores = scores.map(|json| serde_json::from_str::<Scores>(&json));
    let twin_id: Option<String> = get(row, "twin_id")?;
    let group_id: Option<String> = get(row, "group_id")?;
    let decided_at_us: Option<i64> = get(row, "decided_at_us")?;
    Ok(Capture {
        id: read_id(&id)?,
        dataset: dataset.parse().map_err(|e| damaged(format!("{e}")))?,
        label: label.parse().map_err(|e| damaged(format!("{e}")))?,
        status: Status::from_name(&status).ok_or_else(|| named("status", &status))?,
        reason: reason.transpose()?,
        detail: get(row, "detail")?,
        twin_id: twin_id.map(|id| read_id(&id)).transpose()?,
        phash_distance: read_distance(row, "phash_distance")?,
        pdq_distance: read_distance(row, "pdq_distance")?,
        scores: scores.transpose().map_err(|e| damaged(e.to_string()))?,
        group_id: group_id.map(|id| read_id(&id)).transpose()?,
        split: split.transpose()?,
        cluster: read_place(row)?,
        table_version: get(row, "table_version")?,
        sha256: get(row, "sha256")?,
        received_at: time(get(row, "received_at_us")?),
        decided_at: decided_at_us.map(time),
    })
}

fn read_place(row: &AnyRow) -> Result<Option<CapturePlace>, CatalogError> {
    let cluster_id: Option<i64> = get(row, "cluster_id")?;
    let distance: Option<f64> = get(row, "cluster_distance")?;
    let outlier: Option<i64> = get(row, "outlier")?;
    Ok(cluster_id.map(|cluster_id| CapturePlace {
        cluster_id,
        distance: distance.unwrap_or_default(),
        outlier: outlier.is_some_and(|outlier| outlier != 0),
    }))
}

fn read_distance(row: &AnyRow, column: &'static str) -> Result<Option<u32>, CatalogError> {
    let num_bits: Option<i64> = get(row, column)?;
    Ok(num_bits.and_then(|num_bits| u32::try_from(num_bits).ok()))
}

fn get<'r, T>(row: &'r AnyRow, column: &'static str) -> Result<T, CatalogError>
where
    T: Decode<'r, sqlx::Any> + Type<sqlx::Any>,
{
    row.try_get(column)
        .doing(|| format!("reading a capture's {column}"))
}

fn read_id(id: &str) -> Result<CaptureId, CatalogError> {
    id.parse().map_err(|fault| damaged(id, fault))
}

fn damaged(id: &str, fault: impl ToString) -> CatalogError {
    CatalogError::Damaged {
        what: "capture",
        id: id.into(),
        fault: fault.to_string(),
    }
}

#[cfg(test)]
mod tests;

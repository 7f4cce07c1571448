//! Verdicts from the stream, and the log of events that they leave.
//!
//! Verdicts come more than once and in any order against the rows of uploads. A row
//! that has a verdict keeps it; `table_version` is only ever filled in; each real change appends one
//! event. What cannot be used is logged and dropped: it must never hold up the rest.

use std::collections::{BTreeMap, BTreeSet};

use schemas::events::CaptureDecided;
use schemas::http::{Capture, Scores};
use schemas::{CaptureId, DatasetId, Reason, Sha256, Split, Status};
use sqlx::AnyConnection;

use crate::catalog::time;
use crate::clusters::{self, Relocation};
use crate::database::Change;
use crate::error::Doing;
use crate::{Catalog, CatalogError, datasets, metrics as names};

/// Events kept for each dataset, the newest ones: a client that was away resumes
/// after an import of this many photos. More only fills the disk.
pub(crate) const MAX_EVENTS: i64 = 100_000;

/// How often old events are removed: after each so many new ones.
const PRUNE_INTERVAL: i64 = 256;

/// The longest `detail` that is kept, in bytes; it stands in lists and events.
const MAX_DETAIL_BYTES: usize = 1_000;

/// What an outcome says.
enum Told {
    Verdict(Box<Capture>),
    /// Where an accepted photo belongs by now.
    Relocation(Relocation),
}

impl Told {
    fn dataset(&self) -> &DatasetId {
        match self {
            Self::Verdict(verdict) => &verdict.dataset,
            Self::Relocation(relocation) => &relocation.dataset,
        }
    }
}

/// What a verdict did to the record.
enum Effect {
    /// The capture has a verdict now, or its table version.
    Changed(Status),
    /// It was told before.
    Repeated,
    /// It says otherwise than the verdict on record.
    Conflicting,
}

impl Catalog {
    /// Records verdicts in one transaction. Repeating it changes nothing. A few hundred
    /// at a time are cheap; with thousands, uploads wait behind them.
    ///
    /// # Errors
    /// The database fails; then none of them is recorded.
    pub async fn record_outcomes(&self, outcomes: &[CaptureDecided]) -> Result<(), CatalogError> {
        let verdicts: Vec<Told> = outcomes.iter().filter_map(read_told).collect();
        if verdicts.is_empty() {
            return Ok(());
        }
        let recorded = self.write("record_outcomes", Change::Events, move |db| {
            Box::pin(async move { record(db, &verdicts).await })
        });
        for (status, count) in recorded.await? {
            metrics::counter!(names::VERDICTS, "status" => status.as_str()).increment(count);
        }
        Ok(())
    }
}

async fn record(
    db: &mut AnyConnection,
    told: &[Told],
) -> Result<BTreeMap<Status, u64>, CatalogError> {
    let mut changes = BTreeMap::new();
    let mut living = BTreeSet::new();
    for told in told {
        let dataset = told.dataset();
        if !living.contains(dataset) {
            if !datasets::is_living(db, dataset).await? {
                tracing::debug!(%dataset, "a verdict for a deleted or unknown dataset is dropped");
                continue;
            }
            living.insert(dataset.clone());
        }
        let verdict = match told {
            Told::Verdict(verdict) => verdict,
            Told::Relocation(relocation) => {
                clusters::relocate(db, relocation).await?;
                continue;
            }
        };
        match record_one(db, verdict).await? {
            Effect::Changed(status) => {
                append_event(db, &verdict.dataset, verdict.id).await?;
                *changes.entry(status).or_default() += 1;
            }
            Effect::Repeated => {}
            Effect::Conflicting => {
                metrics::counter!(names::CONFLICTING_VERDICTS).increment(1);
                tracing::warn!(capture = %verdict.id, dataset = %verdict.dataset,
                    told = %verdict.status, "a second verdict differs; the first one stays");
            }
        }
    }
    Ok(changes)
}

async fn record_one(db: &mut AnyConnection, verdict: &Capture) -> Result<Effect, CatalogError> {
    if insert_verdict(db, verdict).await? || decide_queued(db, verdict).await? {
        return Ok(Effect::Changed(verdict.status));
    }
    let doing = || format!("recording the table version of capture {}", verdict.id);
    if let Some(version) = verdict.table_version {
        let filled = sqlx::query(
            "UPDATE captures SET table_version = $4, event = NULL WHERE id = $1 AND dataset_id = $2 \
             AND status = $3 AND table_version IS NULL",
        )
        .bind(verdict.id.to_string())
        .bind(verdict.dataset.as_str())
        .bind(verdict.status.as_str())
        .bind(version)
        .execute(&mut *db)
        .await;
        if filled.doing(doing)?.rows_affected() > 0 {
            return Ok(Effect::Changed(verdict.status));
        }
    }
    let agreeing = sqlx::query_scalar::<_, i64>(
        "SELECT COUNT(*) FROM captures WHERE id = $1 AND dataset_id = $2 AND status = $3",
    );
    let agreeing = agreeing
        .bind(verdict.id.to_string())
        .bind(verdict.dataset.as_str())
        .bind(verdict.status.as_str());
    Ok(match agreeing.fetch_one(db).await.doing(doing)? {
        0 => Effect::Conflicting,
        _ => Effect::Repeated,
    })
}

/// Inserts a capture with its verdict; whether there was none of this id.
pub(crate) async fn insert_verdict(
    db: &mut AnyConnection,
    verdict: &Capture,
) -> Result<bool, CatalogError> {
    let inserted = sqlx::query(
        "INSERT INTO captures (id, dataset_id, status, reason, detail, twin_id, phash_distance, \
         pdq_distance, scores, group_id, split, table_version, decided_at_us, cluster_id, \
         cluster_distance, outlier, label, sha256, received_at_us) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, \
         $19) \
         ON CONFLICT DO NOTHING",
    );
    let inserted = bind_verdict(inserted, verdict)
        .bind(verdict.label.as_str())
        .bind(&verdict.sha256)
        .bind(verdict.received_at.timestamp_micros())
        .execute(db)
        .await;
    let inserted = inserted.doing(|| format!("recording the verdict on {}", verdict.id))?;
    Ok(inserted.rows_affected() > 0)
}

/// Gives its verdict to a capture that waits for one; whether there was one.
async fn decide_queued(db: &mut AnyConnection, verdict: &Capture) -> Result<bool, CatalogError> {
    let decided = sqlx::query(
        "UPDATE captures SET status = $3, reason = $4, detail = $5, twin_id = $6, \
         phash_distance = $7, pdq_distance = $8, scores = $9, group_id = $10, split = $11, \
         table_version = $12, decided_at_us = $13, cluster_id = $14, cluster_distance = $15, \
         outlier = $16, \
         event = CASE WHEN $12 IS NULL THEN event END \
         WHERE id = $1 AND dataset_id = $2 AND status = 'queued'",
    );
    let decided = bind_verdict(decided, verdict).execute(db).await;
    let decided = decided.doing(|| format!("recording the verdict on {}", verdict.id))?;
    Ok(decided.rows_affected() > 0)
}

type Query<'q> = sqlx::query::Query<'q, sqlx::Any, sqlx::any::AnyArguments>;

/// `$1` to `$16`.
fn bind_verdict<'q>(query: Query<'q>, verdict: &'q Capture) -> Query<'q> {
    let scores = verdict.scores.as_ref();
    let scores = scores.map(|s| serde_json::to_string(s).expect("numbers have a JSON form"));
    query
        .bind(verdict.id.to_string())
        .bind(verdict.dataset.as_str())
        .bind(verdict.status.as_str())
        .bind(verdict.reason.map(Reason::as_str))
        .bind(verdict.detail.as_deref())
        .bind(verdict.twin_id.map(|id| id.to_string()))
        .bind(verdict.phash_distance.map(i64::from))
        .bind(verdict.pdq_distance.map(i64::from))
        .bind(scores)
        .bind(verdict.group_id.map(|id| id.to_string()))
        .bind(verdict.split.map(Split::as_str))
        .bind(verdict.table_version)
        .bind(verdict.decided_at.map(|at| at.timestamp_micros()))
        .bind(verdict.cluster.map(|place| place.cluster_id))
        .bind(verdict.cluster.map(|place| place.distance))
        .bind(verdict.cluster.map(|place| i64::from(place.outlier)))
}

/// Appends an event under the dataset's next number, and now and then removes the oldest.
pub(crate) async fn append_event(
    db: &mut AnyConnection,
    dataset: &DatasetId,
    capture: CaptureId,
) -> Result<(), CatalogError> {
    let doing = || format!("appending an event of capture {capture}");
    let next = sqlx::query_scalar::<_, i64>(
        "UPDATE datasets SET last_event_seq = last_event_seq + 1 WHERE id = $1 \
         RETURNING last_event_seq",
    );
    let seq = next
        .bind(dataset.as_str())
        .fetch_one(&mut *db)
        .await
        .doing(doing)?;
    sqlx::query("INSERT INTO capture_events (dataset_id, seq, capture_id) VALUES ($1, $2, $3)")
        .bind(dataset.as_str())
        .bind(seq)
        .bind(capture.to_string())
        .execute(&mut *db)
        .await
        .doing(doing)?;
    if seq % PRUNE_INTERVAL == 0 {
        sqlx::query("DELETE FROM capture_events WHERE dataset_id = $1 AND seq <= $2")
            .bind(dataset.as_str())
            .bind(seq - MAX_EVENTS)
            .execute(db)
            .await
            .doing(doing)?;
    }
    Ok(())
}

/// What an event says; none, with a warning, if it cannot be read.
fn read_told(event: &CaptureDecided) -> Option<Told> {
    let told = if event.status.is_empty() && event.cluster_id.is_some() {
        clusters::parse_relocation(event).map(Told::Relocation)
    } else {
        parse_verdict(event).map(|verdict| Told::Verdict(Box::new(verdict)))
    };
    if let Err(fault) = &told {
        tracing::warn!(capture = %event.capture_id.escape_debug(), fault,
            "an unreadable verdict is dropped");
    }
    told.ok()
}

fn parse_verdict(event: &CaptureDecided) -> Result<Capture, String> {
    let id = |text: &String| text.parse::<CaptureId>().map_err(|e| e.to_string());
    let status = Status::from_name(&event.status).filter(|status| *status != Status::Queued);
    let reason = event.reason.as_deref().map(Reason::from_name);
    let split = event.split.as_deref().map(Split::from_name);
    let finite = |scores: &Scores| {
        serde_json::to_value(scores).is_ok_and(|json| {
            json.as_object()
                .is_some_and(|scores| scores.values().all(serde_json::Value::is_number))
        })
    };
    Ok(Capture {
        id: id(&event.capture_id)?,
        dataset: event.dataset_id.parse().map_err(|e| format!("{e}"))?,
        label: event.label.parse().map_err(|e| format!("{e}"))?,
        status: status.ok_or_else(|| format!("{:?} is not a verdict", event.status))?,
        // A newer processor may know reasons that this version does not: the verdict
        // and its detail hold without.
        reason: reason.flatten(),
        detail: event.detail.as_ref().map(|detail| shortened(detail)),
        twin_id: event.twin_id.as_ref().map(id).transpose()?,
        phash_distance: event.phash_distance,
        pdq_distance: event.pdq_distance,
        // Not-a-number has no JSON form; such scores say nothing.
        scores: event.scores.map(Scores::from).filter(finite),
        group_id: event.group_id.as_ref().map(id).transpose()?,
        split: split.flatten(),
        cluster: clusters::place(event),
        table_version: event.table_version,
        sha256: Sha256::try_from(event.sha256.as_slice())
            .map_err(|e| e.to_string())?
            .to_string(),
        received_at: time(event.received_at_us),
        decided_at: Some(time(event.decided_at_us)),
    })
}

fn shortened(detail: &str) -> String {
    let mut end = detail.len().min(MAX_DETAIL_BYTES);
    while !detail.is_char_boundary(end) {
        end -= 1;
    }
    // PostgreSQL has no way to keep a NUL in a text.
    detail[..end].replace('\0', "\u{fffd}")
}

#[cfg(test)]
mod tests;

//! One dataset as the stage works on it: its tables, what is known of its photos, and the
//! batch that is open.

use std::collections::HashSet;
use std::panic::AssertUnwindSafe;
use std::time::Instant;

use schemas::events::photo_prepared::Result as Prepared;
use schemas::events::{CaptureDecided, PhotoPrepared};
use schemas::{CaptureId, DatasetId, Reason, Status};

use crate::error::ProcessorError;
use crate::maintain::is_changed;
use crate::objects::ObjectRoot;
use crate::organize::batch::Batch;
use crate::organize::delta::Tables;
use crate::organize::fingerprints::Fingerprints;
use crate::organize::index::Index;
use crate::organize::judge::{Verdict, judge};
use crate::organize::load::load;
use crate::organize::snapshot;

/// One dataset of a partition.
pub(crate) struct Dataset {
    pub(crate) tables: Tables,
    pub(crate) index: Index,
    pub(crate) open: Option<Batch>,
    pub(crate) used_at: Instant,
    /// How many captures the newest snapshot of the index has.
    num_kept: usize,
    /// Files with changed rows that the index has read.
    changed: HashSet<String>,
}

impl Dataset {
    /// Opens it, and finds the outcomes that are committed and perhaps not told: those of records
    /// from `tell_from` on.
    ///
    /// # Errors
    /// The store or a table cannot be read or written.
    pub(crate) async fn open(
        objects: &ObjectRoot,
        incarnation: &str,
        id: &DatasetId,
        (partition, tell_from): (i32, i64),
    ) -> Result<(Self, Vec<CaptureDecided>), ProcessorError> {
        let began = Instant::now();
        let tables = Tables::open(objects, id, partition, incarnation).await?;
        let kept = snapshot::newest(objects.store(), id, partition, tell_from).await;
        let loaded = load(&tables, partition, tell_from, kept).await?;
        let (num_known, num_told) = (loaded.index.len(), loaded.outcomes.len());
        let num_read = loaded.num_read;
        let changed = tables.files().into_iter().filter(|file| is_changed(file));
        tracing::info!(dataset = %id, num_known, num_read, num_told, ms = began.elapsed().as_millis() as u64, "dataset opened");
        Ok((
            Self {
                num_kept: num_known.saturating_sub(num_read),
                changed: changed.collect(),
                tables,
                index: loaded.index,
                open: None,
                used_at: Instant::now(),
            },
            loaded.outcomes,
        ))
    }

    /// The verdict on a photo, which the next one is judged against.
    pub(crate) fn judge(&mut self, id: CaptureId, prepared: &PhotoPrepared) -> Verdict {
        let verdict = judged(id, prepared, &self.index);
        remember(&mut self.index, id, prepared, &verdict);
        verdict
    }

    /// Whether rows that the index knows have other values by now.
    pub(crate) fn is_outdated(&self) -> bool {
        let mut files = self.tables.files().into_iter();
        files.any(|file| is_changed(&file) && !self.changed.contains(&file))
    }

    /// Writes a snapshot of the index beside the stage, if enough has come since the last.
    /// Everything that it knows must stand in the tables, and as it knows it.
    pub(crate) fn keep_index(&mut self, id: &DatasetId, partition: i32, objects: &ObjectRoot) {
        let num_known = self.index.len();
        if !snapshot::is_due(num_known.saturating_sub(self.num_kept), num_known) {
            return;
        }
        self.num_kept = num_known;
        let (files, position) = (self.tables.files(), self.tables.position());
        // A second for a million photos, once an eighth more of them have come.
        let Some(encoded) = snapshot::encode(&self.index, files, partition, position) else {
            return;
        };
        let (store, version) = (objects.store().clone(), self.tables.version());
        tokio::spawn(snapshot::write(store, id.clone(), version, encoded));
    }
}

/// The verdict; a record that makes judging fail is a rejection like any other, committed
/// with the data, and not an outage.
fn judged(id: CaptureId, prepared: &PhotoPrepared, index: &Index) -> Verdict {
    // Nothing is changed by judging, so nothing is left half changed.
    let judging = AssertUnwindSafe(|| judge(id, prepared, index));
    std::panic::catch_unwind(judging).unwrap_or_else(|_| {
        tracing::error!(%id, "judging a photo failed; it is rejected");
        Verdict::Declined {
            status: Status::Rejected,
            reason: Reason::DecoderFailure,
            detail: "judging the photo failed; the log has more".into(),
            twin: None,
        }
    })
}

/// Adds a judged record to the index, so that the next one is judged against it.
fn remember(index: &mut Index, id: CaptureId, prepared: &PhotoPrepared, verdict: &Verdict) {
    let prints = match (&prepared.result, &prepared.capture) {
        (Some(Prepared::Photo(photo)), Some(capture)) => capture
            .sha256
            .as_slice()
            .try_into()
            .ok()
            .and_then(|sha256| Fingerprints::of(sha256, photo)),
        _ => None,
    };
    match (verdict, prints) {
        (Verdict::Accepted { group, place, .. }, Some(prints)) => {
            index.add_photo(id, *group, &prints);
            if let (Some(Prepared::Photo(photo)), Some(capture)) =
                (&prepared.result, &prepared.capture)
            {
                let model = &photo.embedding_model;
                index.looks.add(model, id, &capture.label, &photo.embedding);
                let place = place.as_ref();
                index.clusters.add(model, id, &photo.embedding, place);
            }
        }
        _ => index.add_judged(id),
    }
}

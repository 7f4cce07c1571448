//! A verdict, in the words of topic `outcomes`.

use schemas::events::photo_prepared::Result as Prepared;
use schemas::events::{CaptureDecided, PhotoPrepared};
use schemas::{CaptureId, Status};

use super::clusters::Moved;
use super::judge::Verdict;

/// The outcome of a record that was judged just now.
pub fn outcome(id: CaptureId, prepared: &PhotoPrepared, verdict: &Verdict) -> CaptureDecided {
    let capture = prepared.capture.clone().unwrap_or_default();
    let scores = match &prepared.result {
        Some(Prepared::Photo(photo)) => photo.scores,
        _ => None,
    };
    let told = CaptureDecided {
        capture_id: id.to_string(),
        dataset_id: capture.dataset_id,
        label: capture.label,
        sha256: capture.sha256,
        received_at_us: capture.received_at_us,
        decided_at_us: chrono::Utc::now().timestamp_micros(),
        scores,
        ..CaptureDecided::default()
    };
    match verdict {
        Verdict::Accepted {
            group,
            split,
            place,
            ..
        } => CaptureDecided {
            status: Status::Accepted.to_string(),
            group_id: Some(group.to_string()),
            split: Some(split.to_string()),
            cluster_id: place.map(|place| place.cluster),
            cluster_distance: place.map(|place| place.distance),
            outlier: place.map(|place| place.is_outlier),
            ..told
        },
        Verdict::Declined {
            status,
            reason,
            detail,
            twin,
        } => CaptureDecided {
            status: status.to_string(),
            reason: Some(reason.to_string()),
            detail: Some(detail.clone()),
            twin_id: twin.map(|twin| twin.id.to_string()),
            phash_distance: twin.and_then(|twin| twin.phash_distance),
            pdq_distance: twin.and_then(|twin| twin.pdq_distance),
            ..told
        },
    }
}

/// Says where a photo that was accepted before belongs by now.
pub fn relocation(moved: &Moved) -> CaptureDecided {
    CaptureDecided {
        capture_id: moved.id.to_string(),
        cluster_id: Some(moved.place.cluster),
        cluster_distance: Some(moved.place.distance),
        outlier: Some(moved.place.is_outlier),
        ..CaptureDecided::default()
    }
}

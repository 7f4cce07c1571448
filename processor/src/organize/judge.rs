//! The verdict on one prepared photo. It depends on nothing but the record itself, the
//! policy stamped into it and the photos before it, so that a replay after a crash
//! decides exactly as the first run did: that is why a verdict may be told before its
//! shard is committed.

use schemas::events::photo_prepared::Result as Prepared;
use schemas::events::policy::{NearDuplicates, Quality};
use schemas::events::{PhotoPrepared, Policy, Rejection};
use schemas::{CaptureId, Reason, Split, Status};

use super::index::{Fingerprints, Index, Twin};

/// What becomes of a photo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It becomes a row.
    Accepted {
        /// Its near-duplicate group: the id of the group's first photo.
        group: CaptureId,
        /// By the group's hash.
        split: Split,
    },
    /// It does not.
    Declined {
        /// `duplicate`, `review` or `rejected`.
        status: Status,
        /// Why.
        reason: Reason,
        /// The same for a person.
        detail: String,
        /// What it is a copy of.
        twin: Option<Twin>,
    },
}

/// Judges a capture against the photos that the dataset has.
pub fn judge(id: CaptureId, prepared: &PhotoPrepared, index: &Index) -> Verdict {
    let Some(capture) = &prepared.capture else {
        return declined(Reason::Corrupt, "the record names no capture".into(), None);
    };
    let policy = capture.policy.unwrap_or(Policy {
        max_phash_distance: Policy::DEFAULT_MAX_PHASH_DISTANCE,
        max_pdq_distance: Policy::DEFAULT_MAX_PDQ_DISTANCE,
        ..Policy::default()
    });
    let photo = match &prepared.result {
        Some(Prepared::Photo(photo)) => photo,
        Some(Prepared::Rejection(rejection)) => return rejected(rejection),
        None => return declined(Reason::Corrupt, "the record holds no photo".into(), None),
    };
    let prints = capture.sha256.as_slice().try_into().ok().and_then(|sha256| Fingerprints::of(sha256, photo));
    let Some(prints) = prints else {
        return declined(Reason::Corrupt, "the record's fingerprints are incomplete".into(), None);
    };

    let twin = index.find_twin(&prints, &policy);
    if let Some(twin) = twin
        && (twin.reason != Reason::NearDuplicate || policy.near_duplicates() == NearDuplicates::Drop)
    {
        return declined(twin.reason, describe(&twin), Some(twin));
    }
    let findings = photo.scores.as_ref().and_then(crate::prepare::quality_findings);
    if let Some((reason, detail)) = findings
        && policy.quality() != Quality::Keep
    {
        let mut verdict = declined(reason, detail, None);
        if let Verdict::Declined { status, .. } = &mut verdict
            && policy.quality() == Quality::Reject
        {
            *status = Status::Rejected;
        }
        return verdict;
    }
    if capture.unknown_label {
        let detail = format!("label {:?} is not among the dataset's labels", capture.label);
        return declined(Reason::UnknownLabel, detail, None);
    }
    let group = twin.map_or(id, |twin| twin.group);
    Verdict::Accepted { group, split: Split::of_group(group) }
}

fn rejected(rejection: &Rejection) -> Verdict {
    let reason = Reason::from_name(&rejection.reason).unwrap_or(Reason::DecoderFailure);
    declined(reason, rejection.detail.clone(), None)
}

fn declined(reason: Reason, detail: String, twin: Option<Twin>) -> Verdict {
    Verdict::Declined { status: reason.status(), reason, detail, twin }
}

fn describe(twin: &Twin) -> String {
    match (twin.phash_distance, twin.pdq_distance) {
        (Some(phash), Some(pdq)) => {
            format!("{phash} of 64 phash bits and {pdq} of 256 pdq bits differ from {}", twin.id)
        }
        _ if twin.reason == Reason::PixelDuplicate => format!("the same pixels as {}", twin.id),
        _ => format!("the same file as {}", twin.id),
    }
}

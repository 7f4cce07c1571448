//! The verdict on one prepared photo. It depends on nothing but the record itself, the
//! policy stamped into it and the photos before it, so that a replay after a crash
//! decides exactly as the first run did: that is why a verdict may be told before its
//! shard is committed.

use schemas::events::photo_prepared::Result as Prepared;
use schemas::events::policy::{NearDuplicates, Quality};
use schemas::events::{PhotoPrepared, Policy, Rejection};
use schemas::{CaptureId, Reason, Split, Status};

use super::clusters::Place;
use super::fingerprints::Fingerprints;
use super::index::{Index, Twin};
use super::plausibility::Fit;

/// What becomes of a photo.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// It becomes a row.
    Accepted {
        /// Its near-duplicate group: the id of the group's first photo.
        group: CaptureId,
        /// By the group's hash.
        split: Split,
        /// How well it fits its label, if that can be told.
        label_score: Option<f32>,
        /// What kind of photo it is, if that can be told.
        place: Option<Place>,
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
    let prints = capture
        .sha256
        .as_slice()
        .try_into()
        .ok()
        .and_then(|sha256| Fingerprints::of(sha256, photo));
    let Some(prints) = prints else {
        return declined(
            Reason::Corrupt,
            "the record's fingerprints are incomplete".into(),
            None,
        );
    };

    let twin = index.find_twin(&prints, &policy);
    if let Some(twin) = twin
        && (twin.reason != Reason::NearDuplicate
            || policy.near_duplicates() == NearDuplicates::Drop)
    {
        return declined(twin.reason, describe(&twin), Some(twin));
    }
    let findings = photo
        .scores
        .as_ref()
        .and_then(crate::prepare::quality_findings);
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
        let detail = format!(
            "label {:?} is not among the dataset's labels",
            capture.label
        );
        return declined(Reason::UnknownLabel, detail, None);
    }
    let (model, label) = (&photo.embedding_model, &capture.label);
    let fit = index.looks.fit(model, label, &photo.embedding);
    if let Some(fit) = &fit
        && is_below(fit, policy.min_label_score_percent)
    {
        return declined(Reason::ImplausibleLabel, implausible(label, fit), None);
    }
    let label_score = fit.map(|fit| fit.score);
    let place = index.clusters.place(model, &photo.embedding);
    let Some(twin) = twin else {
        return Verdict::Accepted {
            group: id,
            split: Split::of_group(id),
            label_score,
            place,
        };
    };
    // One that is near photos of several groups joins the oldest. That must not put one
    // picture into two splits: rows stay where they are, so this one cannot stay.
    let groups = index.near_groups(&prints, &policy);
    let group = groups.first().copied().unwrap_or(twin.group);
    let mut splits = groups.iter().map(|group| Split::of_group(*group));
    if splits.any(|split| split != Split::of_group(group)) {
        let detail = format!(
            "{}; other near-duplicates of it stand in another split than that one",
            describe(&twin)
        );
        return declined(twin.reason, detail, Some(twin));
    }
    Verdict::Accepted {
        group,
        split: Split::of_group(group),
        label_score,
        place,
    }
}

fn is_below(fit: &Fit, percent: u32) -> bool {
    fit.score * 100.0 < percent as f32
}

fn implausible(label: &str, fit: &Fit) -> String {
    format!(
        "it looks like {:?} rather than {label:?}: the label is right with a probability of {:.2}",
        fit.looks_like, fit.score
    )
}

fn rejected(rejection: &Rejection) -> Verdict {
    let reason = Reason::from_name(&rejection.reason).unwrap_or(Reason::DecoderFailure);
    declined(reason, rejection.detail.clone(), None)
}

fn declined(reason: Reason, detail: String, twin: Option<Twin>) -> Verdict {
    Verdict::Declined {
        status: reason.status(),
        reason,
        detail,
        twin,
    }
}

fn describe(twin: &Twin) -> String {
    let id = twin.id;
    if let (Some(percent), Some(pdq)) = (twin.likeness_percent, twin.pdq_distance) {
        return format!(
            "{pdq} of 256 pdq bits differ from {id}, and the embeddings are alike: \
             the cosine of their angle is {:.2}",
            f64::from(percent) / 100.0
        );
    }
    match (twin.phash_distance, twin.pdq_distance, twin.turn.words()) {
        (Some(phash), Some(pdq), _) => {
            format!("{phash} of 64 phash bits and {pdq} of 256 pdq bits differ from {id}")
        }
        (None, Some(pdq), Some(words)) => {
            format!("{words}, {pdq} of 256 pdq bits differ from {id}")
        }
        _ if twin.reason == Reason::PixelDuplicate => format!("the same pixels as {id}"),
        _ => format!("the same file as {id}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use schemas::Sha256;
    use schemas::events::{CaptureReceived, Photo, Scores};

    fn photo(seed: u8, phash: u64, policy: Policy) -> PhotoPrepared {
        let mut pdq = vec![0; 32];
        pdq[..8].copy_from_slice(&phash.to_be_bytes());
        PhotoPrepared {
            capture: Some(CaptureReceived {
                sha256: vec![seed; 32],
                label: "cat".into(),
                policy: Some(policy),
                ..CaptureReceived::default()
            }),
            result: Some(Prepared::Photo(Photo {
                phash,
                pdq,
                pdq_quality: 100,
                pixel_sha256: vec![seed ^ 0xff; 32],
                scores: Some(Scores {
                    dark: 1.0,
                    light: 1.0,
                    blurry: 1.0,
                    low_information: 1.0,
                    odd_aspect_ratio: 1.0,
                    odd_size: 1.0,
                    grayscale: 1.0,
                }),
                ..Photo::default()
            })),
            pipeline_version: String::new(),
        }
    }

    fn policy() -> Policy {
        Policy {
            max_phash_distance: 4,
            max_pdq_distance: 10,
            ..Policy::default()
        }
    }

    fn index_with(id: CaptureId, prepared: &PhotoPrepared) -> Index {
        let mut index = Index::default();
        if let (Some(Prepared::Photo(photo)), Some(capture)) = (&prepared.result, &prepared.capture)
        {
            let sha256 = capture.sha256.as_slice().try_into().unwrap();
            index.add_photo(id, id, &Fingerprints::of(sha256, photo).unwrap());
        }
        index
    }

    fn reason_of(verdict: &Verdict) -> Option<(Status, Reason)> {
        match verdict {
            Verdict::Accepted { .. } => None,
            Verdict::Declined { status, reason, .. } => Some((*status, *reason)),
        }
    }

    #[test]
    fn the_first_photo_founds_its_group_and_the_split_is_that_of_the_group() {
        let id = CaptureId::new();
        let verdict = judge(id, &photo(1, 0, policy()), &Index::default());
        assert_eq!(
            verdict,
            Verdict::Accepted {
                group: id,
                split: Split::of_group(id),
                label_score: None,
                place: None,
            }
        );
    }

    #[test]
    fn a_near_duplicate_is_dropped_or_joins_the_group_as_the_policy_says() {
        let first = CaptureId::new();
        let index = index_with(first, &photo(1, 0, policy()));
        let dropped = judge(CaptureId::new(), &photo(2, 0b11, policy()), &index);
        assert_eq!(
            reason_of(&dropped),
            Some((Status::Duplicate, Reason::NearDuplicate))
        );
        assert!(matches!(dropped, Verdict::Declined { twin: Some(twin), .. } if twin.id == first));
        let group = Policy {
            near_duplicates: NearDuplicates::Group.into(),
            ..policy()
        };
        let grouped = judge(CaptureId::new(), &photo(2, 0b11, group), &index);
        assert_eq!(
            grouped,
            Verdict::Accepted {
                group: first,
                split: Split::of_group(first),
                label_score: None,
                place: None,
            }
        );
        // The same file adds nothing to a group.
        let copy = judge(CaptureId::new(), &photo(1, 0, group), &index);
        assert_eq!(
            reason_of(&copy),
            Some((Status::Duplicate, Reason::ExactDuplicate))
        );
    }

    #[test]
    fn one_that_is_near_two_groups_joins_the_older_if_that_keeps_splits_apart() {
        let group = Policy {
            near_duplicates: NearDuplicates::Group.into(),
            ..policy()
        };
        let prints = |seed, phash| {
            let prepared = photo(seed, phash, group);
            let Some(Prepared::Photo(photo)) = &prepared.result else {
                unreachable!("a photo was made");
            };
            Fingerprints::of(Sha256::of(&[seed]), photo).unwrap()
        };
        // Four bits on either side of the new one; eight apart, so strangers to each other.
        let (low, high) = (prints(1, 0x0f), prints(2, 0xf0));
        let bridge = photo(3, 0, group);
        let mut num_joined = 0;
        for _ in 0..40 {
            let mut index = Index::default();
            let (older, younger) = (CaptureId::new(), CaptureId::new());
            // Equally near: the one that was added first is the twin.
            index.add_photo(younger, younger, &high);
            index.add_photo(older, older, &low);
            assert_eq!(index.find_twin(&low, &group).unwrap().id, older);
            let verdict = judge(CaptureId::new(), &bridge, &index);
            if Split::of_group(older) == Split::of_group(younger) {
                num_joined += 1;
                let split = Split::of_group(older);
                assert_eq!(
                    verdict,
                    Verdict::Accepted {
                        group: older,
                        split,
                        label_score: None,
                        place: None,
                    }
                );
            } else {
                let found = reason_of(&verdict);
                assert_eq!(found, Some((Status::Duplicate, Reason::NearDuplicate)));
            }
        }
        assert!(
            (1..40).contains(&num_joined),
            "{num_joined} of 40 show one side only"
        );
    }

    #[test]
    fn a_poor_photo_waits_or_goes_or_stays_as_the_policy_says() {
        let poor = |policy| {
            let mut prepared = photo(1, 0, policy);
            if let Some(Prepared::Photo(photo)) = &mut prepared.result {
                photo.scores.as_mut().unwrap().dark = 0.0;
            }
            reason_of(&judge(CaptureId::new(), &prepared, &Index::default()))
        };
        assert_eq!(poor(policy()), Some((Status::Review, Reason::Dark)));
        assert_eq!(
            poor(Policy {
                quality: Quality::Reject.into(),
                ..policy()
            }),
            Some((Status::Rejected, Reason::Dark))
        );
        assert_eq!(
            poor(Policy {
                quality: Quality::Keep.into(),
                ..policy()
            }),
            None
        );
    }

    #[test]
    fn an_unknown_label_waits_for_a_person_and_a_damaged_file_is_rejected_first() {
        let mut prepared = photo(1, 0, policy());
        prepared.capture.as_mut().unwrap().unknown_label = true;
        let verdict = judge(CaptureId::new(), &prepared, &Index::default());
        assert_eq!(
            reason_of(&verdict),
            Some((Status::Review, Reason::UnknownLabel))
        );
        let reason = Reason::Truncated.to_string();
        prepared.result = Some(Prepared::Rejection(Rejection {
            reason,
            detail: "at byte 7".into(),
            original: None,
        }));
        let verdict = judge(CaptureId::new(), &prepared, &Index::default());
        assert_eq!(
            reason_of(&verdict),
            Some((Status::Rejected, Reason::Truncated))
        );
    }

    #[test]
    fn a_photo_that_looks_like_another_label_waits_only_if_the_policy_says_so() {
        let mut index = Index::default();
        let embedding = |label: &str| match label {
            "cat" => vec![1.0, 0.1],
            _ => vec![0.1, 1.0],
        };
        for label in ["cat", "dog"] {
            for _ in 0..10 {
                let id = CaptureId::new();
                index.looks.add("net", id, label, &embedding(label));
            }
        }
        let verdict = |percent, looks_like| {
            let policy = Policy {
                min_label_score_percent: percent,
                ..policy()
            };
            let mut prepared = photo(1, 0, policy);
            if let Some(Prepared::Photo(photo)) = &mut prepared.result {
                photo.embedding = embedding(looks_like);
                photo.embedding_model = "net".into();
            }
            judge(CaptureId::new(), &prepared, &index)
        };
        let declined = verdict(50, "dog");
        let reason = Some((Status::Review, Reason::ImplausibleLabel));
        assert_eq!(reason_of(&declined), reason);
        assert!(
            matches!(&declined, Verdict::Declined { detail, .. } if detail.contains("\"dog\"")),
            "{declined:?}"
        );
        assert_eq!(reason_of(&verdict(50, "cat")), None);
        // Off: accepted, and the score says what was seen.
        let Verdict::Accepted { label_score, .. } = verdict(0, "dog") else {
            panic!("declined without being asked to");
        };
        assert!(label_score.unwrap() < 0.1);
    }
}

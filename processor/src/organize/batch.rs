//! The open shard of one dataset: judged records that no table version holds yet.

use std::time::{Duration, Instant};

use schemas::events::photo_prepared::Result as Prepared;
use schemas::events::{CaptureDecided, CaptureReceived, Original, Photo, PhotoPrepared};
use schemas::{CaptureId, Reason, Split, Status};

use super::clusters::Place;
use super::judge::Verdict;

/// When a shard is full.
#[derive(Debug, Clone)]
pub struct RollPolicy {
    /// Rows of a shard. Larger delays rows and holds more memory; smaller makes small files.
    pub max_rows: usize,
    /// Bytes of pictures in a shard. The shard is written by one create-only PUT of about
    /// this size, and two copies of it are in memory while it is; 64 MiB is the most.
    pub max_bytes: usize,
    /// How long a judged record waits for its table version.
    pub max_age: Duration,
}

impl Default for RollPolicy {
    fn default() -> Self {
        Self {
            max_rows: 4096,
            max_bytes: 32 << 20,
            max_age: Duration::from_secs(15),
        }
    }
}

/// An accepted photo on its way into the table.
pub struct AcceptedRow {
    /// Its id.
    pub id: CaptureId,
    /// What was uploaded.
    pub capture: CaptureReceived,
    /// What became of it.
    pub photo: Photo,
    /// Its near-duplicate group.
    pub group: CaptureId,
    /// By the group's hash.
    pub split: Split,
    /// How well it fits its label, 0 to 1; none where that cannot be told.
    pub label_score: Option<f32>,
    /// What kind of photo it is; none where that cannot be told.
    pub place: Option<Place>,
    /// Which code prepared it.
    pub pipeline_version: String,
    /// Its offset in the partition.
    pub offset: i64,
}

/// A capture that does not become a row of `photos`.
pub struct DeclinedRow {
    /// Its id.
    pub id: CaptureId,
    /// What was uploaded.
    pub capture: CaptureReceived,
    /// The file's own facts, as far as they could be read.
    pub original: Option<Original>,
    /// `duplicate`, `review` or `rejected`.
    pub status: Status,
    /// Why.
    pub reason: Reason,
    /// The same for a person.
    pub detail: String,
    /// What it is a copy of.
    pub twin: Option<CaptureId>,
    /// Its offset in the partition.
    pub offset: i64,
}

/// Judged records that wait for their commit.
pub struct Batch {
    /// Rows of `photos`.
    pub accepted: Vec<AcceptedRow>,
    /// Rows of `rejections`.
    pub declined: Vec<DeclinedRow>,
    /// What to tell once the commit is done.
    pub outcomes: Vec<CaptureDecided>,
    /// The first and the last offset in it.
    pub offsets: (i64, i64),
    num_bytes: usize,
    opened_at: Instant,
}

impl Batch {
    /// A batch that begins with the record at `offset`.
    pub fn open(offset: i64) -> Self {
        Self {
            accepted: Vec::new(),
            declined: Vec::new(),
            outcomes: Vec::new(),
            offsets: (offset, offset),
            num_bytes: 0,
            opened_at: Instant::now(),
        }
    }

    /// Takes in a judged record.
    pub fn push(
        &mut self,
        id: CaptureId,
        offset: i64,
        prepared: PhotoPrepared,
        verdict: Verdict,
        outcome: CaptureDecided,
    ) {
        self.offsets.1 = offset;
        self.outcomes.push(outcome);
        let capture = prepared.capture.unwrap_or_default();
        match (verdict, prepared.result) {
            (
                Verdict::Accepted {
                    group,
                    split,
                    label_score,
                    place,
                },
                Some(Prepared::Photo(photo)),
            ) => {
                self.num_bytes += photo.jpeg.len() + photo.embedding.len() * 4 + 2048;
                let pipeline_version = prepared.pipeline_version;
                self.accepted.push(AcceptedRow {
                    id,
                    capture,
                    photo,
                    group,
                    split,
                    label_score,
                    place,
                    pipeline_version,
                    offset,
                });
            }
            (
                Verdict::Declined {
                    status,
                    reason,
                    detail,
                    twin,
                },
                result,
            ) => {
                let original = match result {
                    Some(Prepared::Photo(photo)) => photo.original,
                    Some(Prepared::Rejection(rejection)) => rejection.original,
                    None => None,
                };
                self.num_bytes += 1024 + detail.len();
                let twin = twin.map(|twin| twin.id);
                self.declined.push(DeclinedRow {
                    id,
                    capture,
                    original,
                    status,
                    reason,
                    detail,
                    twin,
                    offset,
                });
            }
            (Verdict::Accepted { .. }, _) => unreachable!("only a photo is accepted"),
        }
    }

    /// Bytes of memory it holds, about.
    pub fn num_bytes(&self) -> usize {
        self.num_bytes
    }

    /// When it must be committed at the latest.
    pub fn due(&self, policy: &RollPolicy) -> Instant {
        self.opened_at + policy.max_age
    }

    /// Whether it must be committed now.
    pub fn is_full(&self, policy: &RollPolicy) -> bool {
        self.outcomes.len() >= policy.max_rows
            || self.num_bytes >= policy.max_bytes
            || self.opened_at.elapsed() >= policy.max_age
    }
}

//! An item of the queue: what was taken in and never changes (the ticket), how far it is,
//! and the records by which both come back after a restart.

use std::collections::BTreeMap;

use schemas::Format;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::photo::Hint;

/// A photo in the queue, as an app shows it.
#[derive(Debug, Clone, PartialEq, uniffi::Record)]
pub struct Item {
    /// Its id on this device, which is also the `Idempotency-Key` of its upload.
    pub id: String,
    /// Its label.
    pub label: String,
    /// Where it stands.
    pub state: ItemState,
    /// Why it is not further, if there is something to say.
    pub reason: Option<ItemReason>,
    /// How often it was tried.
    pub attempts: u32,
    /// How large it is, as it is sent.
    pub num_bytes: u64,
    /// The hash of the bytes as they are sent, 64 hex digits.
    pub sha256: String,
    /// Where its file is while it waits.
    pub path: Option<String>,
    /// The server's id for it.
    pub capture_id: Option<String>,
    /// The capture that the server had already.
    pub duplicate_of: Option<String>,
    /// What became of it in the dataset.
    pub verdict: Option<Verdict>,
    /// What a person could have done better.
    pub hints: Vec<Hint>,
}

/// Where a photo stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, uniffi::Enum)]
pub enum ItemState {
    /// It waits for its turn, or for a network that the policy allows.
    Queued,
    /// It is on its way.
    Uploading,
    /// It failed for a reason that passes, and is tried again by itself.
    Retrying,
    /// The server has it safe; a verdict follows.
    Sent,
    /// The server had it already; nothing was sent, or nothing was kept twice.
    AlreadyThere,
    /// It is not taken. The photo stays on the device until it is removed or retried.
    Refused,
}

/// Why a photo is where it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, uniffi::Record)]
pub struct ItemReason {
    /// A stable word for programs, such as `no_connection` or `unknown_label`.
    pub code: String,
    /// What happened, for a person.
    pub detail: String,
    /// What to do about it.
    pub hint: Option<String>,
}

/// What became of a photo in its dataset.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, uniffi::Record)]
pub struct Verdict {
    /// `accepted`, `duplicate`, `review` or `rejected`.
    pub status: String,
    /// Why it is not accepted: one of a closed list of words.
    pub reason: Option<String>,
    /// The same for a person.
    pub detail: Option<String>,
}

/// What was taken in. Never changes; also written beside the photo, for the day on which
/// the journal is damaged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Ticket {
    pub(crate) id: Uuid,
    /// The order of arrival.
    pub(crate) number: u64,
    pub(crate) label: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) captured_at: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) metadata: BTreeMap<String, String>,
    pub(crate) format: Format,
    pub(crate) num_bytes: u64,
    pub(crate) sha256: schemas::Sha256,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) phash: Option<u64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) hints: Vec<Hint>,
}

/// How far it is.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Progress {
    pub(crate) stage: Stage,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) attempts: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<ItemReason>,
    /// Where the server keeps the part that it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) upload: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) capture_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) duplicate_of: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) verdict: Option<Verdict>,
}

/// The durable part of an item's state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Stage {
    #[default]
    Waiting,
    Sent,
    AlreadyThere,
    Refused,
}

impl Stage {
    /// Whether the server has it, so that the file may go.
    pub(crate) fn is_there(self) -> bool {
        matches!(self, Self::Sent | Self::AlreadyThere)
    }
}

/// A line of the journal.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Record {
    /// A photo was taken in.
    Added(Box<Ticket>),
    /// A photo is further.
    Progress(Uuid, Box<Progress>),
    /// A photo is no longer listed.
    Removed(Uuid),
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

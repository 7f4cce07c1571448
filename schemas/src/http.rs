//! The JSON of the HTTP API under `/v1`. Times are RFC 3339 in UTC.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{CaptureId, DatasetId, Label, Reason, Split, Status, UploadId, events};

/// An error, as RFC 9457 has it; sent as `application/problem+json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// `about:blank`: `code` tells the kinds apart.
    #[serde(rename = "type")]
    pub kind: String,
    /// The HTTP status in words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// A stable word for programs, such as `unknown_dataset`.
    pub code: String,
    /// What was wrong with this request.
    pub detail: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Of `too_few_photos`: how many photos each label still needs.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub shortfall: BTreeMap<String, u64>,
}

/// What an API key may do.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Send photos and ask what became of those; safe inside an app.
    Upload,
    /// Read datasets, captures, events and statistics.
    Read,
    /// Start and cancel trainings.
    Train,
    /// Everything the owner may do, keys included.
    Admin,
}

impl Scope {
    /// Every scope, the narrowest first.
    pub const ALL: [Self; 4] = [Self::Upload, Self::Read, Self::Train, Self::Admin];

    /// The scope's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Upload => "upload",
            Self::Read => "read",
            Self::Train => "train",
            Self::Admin => "admin",
        }
    }

    /// The scope with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == name)
    }
}

/// Body of `POST /v1/keys`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateKey {
    /// What the key is for, in the owner's words.
    pub name: String,
    /// What it may do.
    pub scopes: Vec<Scope>,
    /// The only dataset it may touch, by name or id; every one of the owner's if absent.
    #[serde(default)]
    pub dataset: Option<String>,
    /// Another owner to make the key for; only the operator's own keys may.
    #[serde(default)]
    pub owner: Option<String>,
}

/// An API key, without its secret.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Key {
    /// The id, by which it is revoked.
    pub id: String,
    /// What it is for.
    pub name: String,
    /// Whose data it opens.
    pub owner: String,
    /// What it may do.
    pub scopes: Vec<Scope>,
    /// The only dataset it may touch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dataset: Option<DatasetId>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it was revoked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<DateTime<Utc>>,
}

/// Answer to `POST /v1/keys`: the only time that the secret is told.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct CreatedKey {
    /// The key.
    #[serde(flatten)]
    pub key: Key,
    /// `tt_` and 40 more characters, for `Authorization: Bearer`.
    pub token: String,
}

/// Answer to `GET /v1/keys`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct KeyList {
    /// The owner's keys, the newest first.
    pub keys: Vec<Key>,
}

/// What happens to near-duplicates.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum NearDuplicates {
    /// The first one stays, later ones become `duplicate`.
    #[default]
    Drop,
    /// All stay, under one `group_id`.
    Group,
}

/// What a mirrored or turned copy of a photo is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TurnedCopies {
    /// A near-duplicate like any other.
    #[default]
    Same,
    /// Another photo: for labels that a mirror would change, such as left and right.
    Different,
}

/// What happens to a photo whose label the dataset does not list.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum UnknownLabels {
    /// The label joins the list.
    #[default]
    Add,
    /// The photo waits as `review`.
    Review,
    /// The upload is refused with 422 and the nearest known names.
    Reject,
}

/// What happens to a photo that is plainly dark, washed out, blurred or empty.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Quality {
    /// It waits as `review`.
    #[default]
    Review,
    /// It is `rejected`.
    Reject,
    /// It is kept; the scores stand in the table either way.
    Keep,
}

/// How a dataset judges photos. A change holds for photos that arrive after it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DatasetPolicy {
    /// What happens to near-duplicates.
    pub near_duplicates: NearDuplicates,
    /// Two photos are near-duplicates if no more than this many of the 64 bits of `phash` differ, ...
    pub max_phash_distance: u32,
    /// ... and no more than this many of the 256 bits of `pdq`; or up to 24 more, and half as many of
    /// `phash`; or up to 32 more, and the cosine of their embeddings' angle is at least 0.9.
    /// 0: only equal hashes are those of copies.
    pub max_pdq_distance: u32,
    /// Whether mirrored and turned copies count; those are compared by `pdq` alone, of which no
    /// more than 31 bits may differ, or `max_pdq_distance` if that is less.
    pub turned_copies: TurnedCopies,
    /// What happens to labels that are not listed.
    pub unknown_labels: UnknownLabels,
    /// What happens to poor photos.
    pub quality: Quality,
    /// A photo whose label is right with less than this probability, in percent, waits for a
    /// look (reason `implausible_label`): by its embedding, among those of ten or more photos
    /// of each label. 0: none does; the score stands in the table all the same.
    pub min_label_score_percent: u32,
    /// How many days after its photo is in the table an uploaded file is deleted; the table
    /// keeps the resized picture. 0: never. Files of rejected photos and of those that wait for a
    /// look stay.
    pub keep_originals_days: u32,
}

impl Default for DatasetPolicy {
    fn default() -> Self {
        Self {
            near_duplicates: NearDuplicates::default(),
            max_phash_distance: events::Policy::DEFAULT_MAX_PHASH_DISTANCE,
            max_pdq_distance: events::Policy::DEFAULT_MAX_PDQ_DISTANCE,
            turned_copies: TurnedCopies::default(),
            unknown_labels: UnknownLabels::default(),
            quality: Quality::default(),
            min_label_score_percent: 0,
            keep_originals_days: 0,
        }
    }
}

impl From<&DatasetPolicy> for events::Policy {
    fn from(policy: &DatasetPolicy) -> Self {
        use events::policy;
        Self {
            near_duplicates: match policy.near_duplicates {
                NearDuplicates::Drop => policy::NearDuplicates::Drop,
                NearDuplicates::Group => policy::NearDuplicates::Group,
            }
            .into(),
            max_phash_distance: policy.max_phash_distance,
            max_pdq_distance: policy.max_pdq_distance,
            turned_copies: match policy.turned_copies {
                TurnedCopies::Same => policy::TurnedCopies::Same,
                TurnedCopies::Different => policy::TurnedCopies::Different,
            }
            .into(),
            quality: match policy.quality {
                Quality::Review => policy::Quality::Review,
                Quality::Reject => policy::Quality::Reject,
                Quality::Keep => policy::Quality::Keep,
            }
            .into(),
            min_label_score_percent: policy.min_label_score_percent,
        }
    }
}

/// Body of `POST /v1/datasets`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateDataset {
    /// 1 to 64 of `a-z`, `0-9`, `-` and `_`; unique among the owner's.
    pub name: String,
    /// The labels that it begins with.
    #[serde(default)]
    #[schema(value_type = Vec<String>)]
    pub labels: Vec<Label>,
    /// How it judges photos.
    #[serde(default)]
    pub policy: DatasetPolicy,
}

/// Body of `PATCH /v1/datasets/{dataset}`; what is absent stays.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PatchDataset {
    /// Labels to add.
    #[serde(default)]
    #[schema(value_type = Vec<String>)]
    pub add_labels: Vec<Label>,
    /// The whole new policy.
    #[serde(default)]
    pub policy: Option<DatasetPolicy>,
}

/// A dataset.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Dataset {
    /// Its id: the name and six characters.
    pub id: DatasetId,
    /// Its name among the owner's.
    pub name: String,
    /// Its labels, sorted.
    #[schema(value_type = Vec<String>)]
    pub labels: Vec<Label>,
    /// How it judges photos.
    pub policy: DatasetPolicy,
    /// When it was made.
    pub created_at: DateTime<Utc>,
}

/// Answer to `GET /v1/datasets`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct DatasetList {
    /// The owner's datasets by name.
    pub datasets: Vec<Dataset>,
}

/// Answer to `GET /v1/datasets/{dataset}/stats`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
pub struct DatasetStats {
    /// Captures by status.
    pub statuses: BTreeMap<String, u64>,
    /// Captures by label and status.
    pub labels: BTreeMap<String, BTreeMap<String, u64>>,
    /// Captures by reason.
    pub reasons: BTreeMap<String, u64>,
    /// The newest version of the photos table that a verdict has named.
    pub table_version: Option<i64>,
    /// Accepted photos that no table version holds yet.
    pub awaiting_shard: u64,
}

/// Answer to `POST /v1/datasets/{dataset}/captures`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CaptureReceipt {
    /// The capture's id.
    pub id: CaptureId,
    /// `queued`, or `duplicate` if the dataset has these bytes already.
    pub status: Status,
    /// The hash of the bytes as they arrived, 64 hex digits.
    pub sha256: String,
    /// The capture that brought these bytes first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duplicate_of: Option<CaptureId>,
}

/// Body of `POST /v1/datasets/{dataset}/captures/check`: 1 to 1,000 hashes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CheckCaptures {
    /// SHA-256 of files that might be sent, 64 hex digits each.
    pub sha256: Vec<String>,
}

/// Answer to [`CheckCaptures`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CheckedCaptures {
    /// One for each hash, in the order asked.
    pub results: Vec<CheckedCapture>,
}

/// Whether a dataset has a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CheckedCapture {
    /// The hash, 64 lower-case hex digits.
    pub sha256: String,
    /// Whether the dataset has these bytes, so that sending them is of no use.
    pub known: bool,
    /// The capture that brought them first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capture: Option<CaptureId>,
}

/// Body of `POST /v1/datasets/{dataset}/captures/presign`: a photo that its client writes into
/// the object store itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PresignCapture {
    /// How many bytes it has.
    pub bytes: u64,
    /// Their SHA-256, 64 hex digits.
    pub sha256: String,
    /// What it shows: 1 to 256 bytes of UTF-8 on one line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Tells the label, up to its first dot, if nothing else does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_name: Option<String>,
    /// When it was taken, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub captured_at: Option<String>,
    /// Which device took it, at most 128 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_id: Option<String>,
    /// At most 32 entries and 4 KiB.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
}

/// Answer to [`PresignCapture`]: the one request that brings the photo into the object store,
/// to be made without any key, and where to say that it was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PresignedCapture {
    /// The upload's id.
    pub id: UploadId,
    /// The method of the request: `PUT`.
    pub method: String,
    /// Where it goes. Whoever has this address may write the photo until `expires_at`.
    pub url: String,
    /// Its headers, exactly so; they are part of the signature.
    pub headers: BTreeMap<String, String>,
    /// When it must have begun.
    pub expires_at: DateTime<Utc>,
    /// The path to `POST` to, with the key, once the store has answered 200, or 412 to a repetition.
    pub confirm: String,
}

/// CleanVision's quality scores: 0 to 1, low is worse.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Scores {
    /// Low: too dark.
    pub dark_score: f32,
    /// Low: washed out.
    pub light_score: f32,
    /// Low: out of focus or shaken.
    pub blurry_score: f32,
    /// Low: next to nothing in it.
    pub low_information_score: f32,
    /// Low: far longer than wide, or the other way round.
    pub odd_aspect_ratio_score: f32,
    /// Low: far smaller or larger than the others.
    pub odd_size_score: f32,
    /// 0: no colour.
    pub grayscale_score: f32,
}

impl From<events::Scores> for Scores {
    fn from(scores: events::Scores) -> Self {
        Self {
            dark_score: scores.dark,
            light_score: scores.light,
            blurry_score: scores.blurry,
            low_information_score: scores.low_information,
            odd_aspect_ratio_score: scores.odd_aspect_ratio,
            odd_size_score: scores.odd_size,
            grayscale_score: scores.grayscale,
        }
    }
}

/// What became of a photo: answer to `GET /v1/captures/{id}`, and the data of each
/// event of `GET /v1/datasets/{dataset}/events`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Capture {
    /// The capture's id.
    pub id: CaptureId,
    /// The dataset it was sent to.
    pub dataset: DatasetId,
    /// Its label.
    #[schema(value_type = String)]
    pub label: Label,
    /// Where it stands.
    pub status: Status,
    /// Why it is not accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// The same for a person, with the numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// The capture that it is a duplicate of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub twin_id: Option<CaptureId>,
    /// How many of the 64 bits of `phash` differ from the twin's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phash_distance: Option<u32>,
    /// How many of the 256 bits of `pdq` differ from the twin's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pdq_distance: Option<u32>,
    /// Quality scores.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scores: Option<Scores>,
    /// The near-duplicate group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group_id: Option<CaptureId>,
    /// The part of the data it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub split: Option<Split>,
    /// What kind of photo it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<CapturePlace>,
    /// The version of the photos table from which on it is a row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table_version: Option<i64>,
    /// The hash of the bytes as they arrived, 64 hex digits.
    pub sha256: String,
    /// When it arrived.
    pub received_at: DateTime<Utc>,
    /// When it was judged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decided_at: Option<DateTime<Utc>>,
}

/// Where an accepted photo stands among the others, by its looks alone.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct CapturePlace {
    /// Its kind of photo.
    pub cluster_id: i64,
    /// 1 less the cosine of the angle between its embedding and the middle of its kind.
    pub distance: f64,
    /// It looked like nothing seen before.
    pub outlier: bool,
}

/// Answer to `GET /v1/datasets/{dataset}/captures`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct CaptureList {
    /// The dataset's captures, the newest first.
    pub captures: Vec<Capture>,
    /// What to give as `after` for the next page; absent at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<CaptureId>,
}

/// Photos that are the same, or nearly.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DuplicateGroup {
    /// The group, which is the id of its first photo.
    pub group_id: CaptureId,
    /// The others, the oldest first: `accepted` ones stand beside the first, `duplicate` ones
    /// were dropped.
    pub copies: Vec<Capture>,
}

/// Answer to `GET /v1/datasets/{dataset}/duplicates`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DuplicateList {
    /// The groups, the oldest first. A long group goes on on the next page.
    pub groups: Vec<DuplicateGroup>,
    /// What to give as `after` for the next page; absent at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// A kind of photo, found by looks alone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Cluster {
    /// Its id, which it keeps while the dataset grows.
    pub cluster_id: i64,
    /// How many accepted photos are of this kind.
    pub num_photos: u64,
    /// Of these, how many looked like nothing seen before when they were placed.
    pub num_outliers: u64,
    /// How many of its photos have which label, the most frequent first; ten at most.
    pub labels: Vec<ClusterLabel>,
    /// The photos nearest to its middle, the nearest first; five at most.
    pub representatives: Vec<CaptureId>,
}

/// A label within a kind of photo.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ClusterLabel {
    /// The label.
    pub label: String,
    /// How many photos of the kind have it.
    pub num_photos: u64,
}

/// Answer to `GET /v1/datasets/{dataset}/clusters`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ClusterList {
    /// The largest first; a thousand at most.
    pub clusters: Vec<Cluster>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_given_in_part_keeps_the_other_defaults_and_refuses_a_misspelling() {
        let policy: DatasetPolicy = serde_json::from_str(r#"{"near_duplicates":"group"}"#).unwrap();
        assert_eq!(policy.near_duplicates, NearDuplicates::Group);
        assert_eq!(policy.max_pdq_distance, 47);
        assert!(serde_json::from_str::<DatasetPolicy>(r#"{"near_duplicate":"group"}"#).is_err());
    }
}

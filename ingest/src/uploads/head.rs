//! What a client said when its upload began: kept as text beside the bytes, until they
//! are complete and it is acted upon.

use catalog::Upload;
use schemas::Sha256;
use serde::{Deserialize, Serialize};

use crate::fields::Details;
use crate::refusal;
use crate::uploads::Trouble;

/// What was said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Head {
    /// What becomes of the bytes.
    pub kind: Kind,
    /// What the photo shows and so on; absent for bytes that are no photo yet.
    pub details: Option<Details>,
    /// The client's own name for this upload.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<String>,
    /// What the photo must hash to, 64 hex digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// `Upload-Metadata` as a tus client sent it, to be told again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tus_metadata: Option<String>,
}

/// What becomes of an upload's bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    /// They are a photo.
    Photo,
    /// They are a piece of a photo that others complete.
    Piece,
    /// They are the bytes of other uploads, as this `Upload-Concat` lists them.
    Joined(String),
    /// They are a photo whose label is told later.
    Unlabelled,
    /// They are a photo that the client writes into the object store itself.
    Direct,
}

impl Head {
    /// As it is kept.
    pub(crate) fn to_text(&self) -> String {
        serde_json::to_string(self).expect("texts have a JSON form")
    }

    /// As it was kept.
    pub(crate) fn of(upload: &Upload) -> Result<Self, Trouble> {
        serde_json::from_str(&upload.head).map_err(|error| {
            tracing::error!(%error, upload = %upload.id, "what was said of an upload cannot be read");
            Trouble::from(refusal::internal())
        })
    }

    /// What the photo must hash to.
    pub(crate) fn sha256(&self) -> Option<Sha256> {
        self.sha256.as_ref().and_then(|hex| hex.parse().ok())
    }
}

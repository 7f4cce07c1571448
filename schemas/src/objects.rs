//! Object keys: one enum builds and parses them all, so no two parts of the
//! system can disagree on where a thing lies.

use std::fmt;
use std::str::FromStr;

use crate::{DatasetId, ModelId, Sha256, TrainingId, UploadId};

/// The folder of all dead letters.
pub const DEAD_LETTERS: &str = "dead-letters";

/// The folder of all snapshots.
pub const SNAPSHOTS: &str = "snapshots";

/// Where something lies in the object store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ObjectKey {
    /// An uploaded file, under its own hash: written once, never changed.
    Original {
        /// The dataset it was sent to.
        dataset: DatasetId,
        /// The hash of its bytes.
        sha256: Sha256,
    },
    /// Some bytes of an upload that is not complete yet: written once, never changed.
    UploadPart {
        /// The dataset it is sent to.
        dataset: DatasetId,
        /// The upload.
        upload: UploadId,
        /// Where in the upload its first byte belongs.
        first_byte: u64,
        /// Under which turn it was written, so that two writers never meet in one object.
        fence: u64,
    },
    /// The root of the Delta table of accepted photos.
    PhotosTable {
        /// Whose photos.
        dataset: DatasetId,
    },
    /// The root of the Delta table of everything that was not accepted.
    RejectionsTable {
        /// Whose rejections.
        dataset: DatasetId,
    },
    /// What a dataset's index knew at some version of its tables: written once, never changed,
    /// and no loss.
    Snapshot {
        /// Whose index.
        dataset: DatasetId,
        /// The file's name, which sorts by the version; no slash.
        name: String,
    },
    /// A record of a topic that no stage could work on: written once, removed when it is sent
    /// again.
    DeadLetter {
        /// The file's name; no slash.
        name: String,
    },
    /// A part of a training's checkpoints: written once, never changed.
    Checkpoint {
        /// The training.
        training: TrainingId,
        /// The file's name; no slash.
        name: String,
    },
    /// A file of a model: written once, never changed.
    ModelFile {
        /// The model.
        model: ModelId,
        /// The file's name; no slash.
        name: String,
    },
}

/// A key that names none of our objects.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no object key of ours")]
pub struct InvalidObjectKey(String);

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Original { dataset, sha256 } => {
                let hex = sha256.to_string();
                write!(f, "originals/{dataset}/{}/{hex}", &hex[..2])
            }
            Self::UploadPart {
                dataset,
                upload,
                first_byte,
                fence,
            } => write!(f, "uploads/{dataset}/{upload}/{first_byte}-{fence}"),
            Self::PhotosTable { dataset } => write!(f, "tables/{dataset}/photos"),
            Self::RejectionsTable { dataset } => write!(f, "tables/{dataset}/rejections"),
            Self::Snapshot { dataset, name } => write!(f, "{SNAPSHOTS}/{dataset}/{name}"),
            Self::DeadLetter { name } => write!(f, "{DEAD_LETTERS}/{name}"),
            Self::Checkpoint { training, name } => write!(f, "checkpoints/{training}/{name}"),
            Self::ModelFile { model, name } => write!(f, "models/{model}/{name}"),
        }
    }
}

impl FromStr for ObjectKey {
    type Err = InvalidObjectKey;

    fn from_str(text: &str) -> Result<Self, InvalidObjectKey> {
        let parsed = match text.split('/').collect::<Vec<_>>()[..] {
            ["originals", dataset, prefix, hex] if hex.starts_with(prefix) && prefix.len() == 2 => {
                match (dataset.parse(), hex.parse()) {
                    (Ok(dataset), Ok(sha256)) => Some(Self::Original { dataset, sha256 }),
                    _ => None,
                }
            }
            ["uploads", dataset, upload, part] => upload_part(dataset, upload, part),
            ["tables", dataset, "photos"] => dataset
                .parse()
                .ok()
                .map(|dataset| Self::PhotosTable { dataset }),
            ["tables", dataset, "rejections"] => dataset
                .parse()
                .ok()
                .map(|dataset| Self::RejectionsTable { dataset }),
            [SNAPSHOTS, dataset, name] if !name.is_empty() => {
                let name = name.to_owned();
                let dataset = dataset.parse().ok();
                dataset.map(|dataset| Self::Snapshot { dataset, name })
            }
            [DEAD_LETTERS, name] if !name.is_empty() => {
                let name = name.to_owned();
                Some(Self::DeadLetter { name })
            }
            ["checkpoints", training, name] if !name.is_empty() => {
                let name = name.to_owned();
                let training = training.parse().ok();
                training.map(|training| Self::Checkpoint { training, name })
            }
            ["models", model, name] if !name.is_empty() => {
                let name = name.to_owned();
                let model = model.parse().ok();
                model.map(|model| Self::ModelFile { model, name })
            }
            _ => None,
        };
        parsed.ok_or_else(|| InvalidObjectKey(text.into()))
    }
}

fn upload_part(dataset: &str, upload: &str, part: &str) -> Option<ObjectKey> {
    let (first_byte, fence) = part.split_once('-')?;
    Some(ObjectKey::UploadPart {
        dataset: dataset.parse().ok()?,
        upload: upload.parse().ok()?,
        first_byte: first_byte.parse().ok()?,
        fence: fence.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_parses_back() {
        let dataset = DatasetId::for_name("cats").unwrap();
        let keys = [
            ObjectKey::Original {
                dataset: dataset.clone(),
                sha256: Sha256::of(b"x"),
            },
            ObjectKey::UploadPart {
                dataset: dataset.clone(),
                upload: UploadId::new(),
                first_byte: 4 << 20,
                fence: 3,
            },
            ObjectKey::PhotosTable {
                dataset: dataset.clone(),
            },
            ObjectKey::RejectionsTable {
                dataset: dataset.clone(),
            },
            ObjectKey::Snapshot {
                dataset,
                name: "00000000000000000007-x".into(),
            },
            ObjectKey::DeadLetter {
                name: "captures-0-17.json".into(),
            },
            ObjectKey::Checkpoint {
                training: TrainingId::new(),
                name: "000001.json".into(),
            },
            ObjectKey::ModelFile {
                model: ModelId::new(),
                name: "model.onnx".into(),
            },
        ];
        for key in keys {
            assert_eq!(key.to_string().parse::<ObjectKey>().unwrap(), key);
        }
        assert!("originals/../x".parse::<ObjectKey>().is_err());
    }
}

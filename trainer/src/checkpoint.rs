//! Checkpoints of a training, in the object store.
//!
//! A checkpoint is a few parts, each written once under a name of its own, and a manifest
//! with their hashes, written last and only if it is not there: where the manifest is,
//! all is. The newest one that is whole is gone on from; damaged ones are passed over
//! and said so. Older than the last three are removed.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt as _;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt as _, PutMode, PutOptions};
use schemas::{ObjectKey, Sha256, TrainingId};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;

use crate::error::TrainerError;

/// Checkpoints that stay. One would do, were it never damaged.
const KEPT: usize = 3;

/// A training's checkpoints.
pub struct Checkpoints {
    objects: Arc<dyn ObjectStore>,
    training: TrainingId,
    runtime: Handle,
    /// The next one's number: above every one that was ever begun.
    next: u64,
}

/// What `NNNNNNNN.json` says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest<P> {
    position: P,
    parts: BTreeMap<String, Part>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Part {
    name: String,
    bytes: u64,
    sha256: String,
}

/// A whole checkpoint.
#[derive(Debug)]
pub struct Checkpoint<P> {
    /// Where the training stood.
    pub position: P,
    /// The parts by name.
    pub parts: BTreeMap<String, Bytes>,
}

/// A training's checkpoints, looked through.
pub struct Opened<P> {
    /// Where the next one is written.
    pub checkpoints: Checkpoints,
    /// The newest whole one.
    pub found: Option<Checkpoint<P>>,
    /// What is wrong with newer ones.
    pub damaged: Vec<String>,
}

/// Finds the newest whole checkpoint.
///
/// # Errors
/// The store fails.
pub fn open<P: DeserializeOwned>(
    objects: Arc<dyn ObjectStore>,
    training: TrainingId,
    runtime: Handle,
) -> Result<Opened<P>, TrainerError> {
    let mut checkpoints = Checkpoints {
        objects,
        training,
        runtime,
        next: 1,
    };
    let names = checkpoints.names()?;
    checkpoints.next = names
        .iter()
        .filter_map(|name| number(name))
        .max()
        .unwrap_or(0)
        + 1;
    let mut manifests: Vec<&String> = names
        .iter()
        .filter(|name| name.ends_with(".json"))
        .collect();
    manifests.sort();
    let mut damaged = Vec::new();
    for name in manifests.into_iter().rev() {
        match checkpoints.read(name) {
            Ok(checkpoint) => {
                return Ok(Opened {
                    checkpoints,
                    found: Some(checkpoint),
                    damaged,
                });
            }
            Err(TrainerError::Damaged { what, fault }) => damaged.push(format!("{what}: {fault}")),
            Err(error) => return Err(error),
        }
    }
    Ok(Opened {
        checkpoints,
        found: None,
        damaged,
    })
}

impl Checkpoints {
    /// Writes a checkpoint; when it returns, the checkpoint is there. Parts that are the
    /// same as before are not written again.
    ///
    /// # Errors
    /// The store fails; the checkpoint before stays the newest.
    pub fn write<P: Serialize>(
        &mut self,
        position: &P,
        parts: &BTreeMap<String, Bytes>,
    ) -> Result<(), TrainerError> {
        let seq = self.next;
        self.next += 1;
        let mut manifest = Manifest {
            position,
            parts: BTreeMap::new(),
        };
        let known = self.names()?;
        for (part, bytes) in parts {
            let sha256 = Sha256::of(bytes).to_string();
            let same = known
                .iter()
                .find(|name| name.ends_with(&format!("-{sha256}")));
            let name = match same {
                Some(name) => name.clone(),
                None => {
                    let name = format!("{seq:08}-{part}-{sha256}");
                    self.put(&name, bytes.clone(), PutMode::Overwrite)?;
                    name
                }
            };
            let entry = Part {
                name,
                bytes: bytes.len() as u64,
                sha256,
            };
            manifest.parts.insert(part.clone(), entry);
        }
        let json = serde_json::to_vec(&manifest).map_err(|fault| TrainerError::Network {
            doing: "writing a checkpoint".into(),
            fault: fault.to_string(),
        })?;
        self.put(&format!("{seq:08}.json"), json.into(), PutMode::Create)?;
        self.remove_old()
    }

    fn read<P: DeserializeOwned>(&self, name: &str) -> Result<Checkpoint<P>, TrainerError> {
        let damaged = |what: &str, fault: String| TrainerError::Damaged {
            what: format!("checkpoint {what} of training {}", self.training),
            fault,
        };
        let json = self
            .get(name)?
            .ok_or_else(|| damaged(name, "it is gone".into()))?;
        let manifest: Manifest<P> =
            serde_json::from_slice(&json).map_err(|fault| damaged(name, fault.to_string()))?;
        let mut parts = BTreeMap::new();
        for (part, entry) in manifest.parts {
            let bytes = self
                .get(&entry.name)?
                .ok_or_else(|| damaged(name, format!("its part {} is gone", entry.name)))?;
            if bytes.len() as u64 != entry.bytes || Sha256::of(&bytes).to_string() != entry.sha256 {
                let fault = format!("its part {} is not as it was written", entry.name);
                return Err(damaged(name, fault));
            }
            parts.insert(part, bytes);
        }
        Ok(Checkpoint {
            position: manifest.position,
            parts,
        })
    }

    /// Keeps the last manifests and what they name.
    fn remove_old(&self) -> Result<(), TrainerError> {
        let names = self.names()?;
        let mut manifests: Vec<&String> = names
            .iter()
            .filter(|name| name.ends_with(".json"))
            .collect();
        manifests.sort();
        let old = manifests.len().saturating_sub(KEPT);
        let (old, kept) = manifests.split_at(old);
        let mut needed: Vec<String> = Vec::new();
        for manifest in kept {
            let Some(json) = self.get(manifest)? else {
                continue;
            };
            let Ok(manifest) = serde_json::from_slice::<Manifest<serde_json::Value>>(&json) else {
                continue;
            };
            needed.extend(manifest.parts.into_values().map(|part| part.name));
        }
        for name in old {
            self.delete(name)?;
        }
        let is_old = |name: &&String| {
            !name.ends_with(".json")
                && !needed.contains(name)
                && number(name).is_some_and(|seq| seq + 1 < self.next)
        };
        names
            .iter()
            .filter(is_old)
            .try_for_each(|name| self.delete(name))
    }

    fn names(&self) -> Result<Vec<String>, TrainerError> {
        let folder = Path::from(format!("checkpoints/{}", self.training));
        let listed = self.runtime.block_on(async {
            let objects = self.objects.list(Some(&folder));
            objects.try_collect::<Vec<_>>().await
        });
        let listed = listed.map_err(TrainerError::store(format!("listing {folder}")))?;
        let name = |object: object_store::ObjectMeta| object.location.filename().map(str::to_owned);
        Ok(listed.into_iter().filter_map(name).collect())
    }

    fn key(&self, name: &str) -> Path {
        let key = ObjectKey::Checkpoint {
            training: self.training,
            name: name.to_owned(),
        };
        Path::from(key.to_string())
    }

    fn put(&self, name: &str, bytes: Bytes, mode: PutMode) -> Result<(), TrainerError> {
        let key = self.key(name);
        let options = PutOptions::from(mode);
        self.runtime
            .block_on(self.objects.put_opts(&key, bytes.into(), options))
            .map_err(TrainerError::store(format!("writing {key}")))?;
        Ok(())
    }

    fn get(&self, name: &str) -> Result<Option<Bytes>, TrainerError> {
        let key = self.key(name);
        let read = self.runtime.block_on(async {
            let object = self.objects.get(&key).await?;
            object.bytes().await
        });
        match read {
            Ok(bytes) => Ok(Some(bytes)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(TrainerError::store(format!("reading {key}"))(error)),
        }
    }

    fn delete(&self, name: &str) -> Result<(), TrainerError> {
        let key = self.key(name);
        match self.runtime.block_on(self.objects.delete(&key)) {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(TrainerError::store(format!("deleting {key}"))(error)),
        }
    }
}

fn number(name: &str) -> Option<u64> {
    name.get(..8)?.parse().ok()
}

#[cfg(test)]
mod tests;

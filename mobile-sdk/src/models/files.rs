//! A model's files in their folder: the manifest, and whether everything is as it says.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use schemas::{ModelId, Sha256};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use sha2::Digest as _;

use super::InstalledModel;
use crate::TintypeError;

/// What every model needs here beside the file that the app runs.
pub(super) const NEEDED: [&str; 3] = ["labels.txt", "preprocess.json", "golden.json"];

/// `manifest.json`, as much of it as a phone reads.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(super) struct Manifest {
    pub(super) format: u32,
    pub(super) name: String,
    pub(super) num_classes: usize,
    pub(super) files: Vec<Entry>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) bytes: u64,
    pub(super) sha256: Sha256,
    pub(super) parity: Option<Parity>,
}

/// How far the file is from the trained network, by the trainer's own proof.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
pub(super) struct Parity {
    pub(super) max_logit_difference: f32,
}

impl Manifest {
    pub(super) fn entry(&self, name: &str) -> Result<&Entry, TintypeError> {
        let entry = self.files.iter().find(|entry| entry.name == name);
        entry.ok_or_else(|| {
            let names: Vec<&str> = self.files.iter().map(|entry| entry.name.as_str()).collect();
            TintypeError::model(format!(
                "model {} has no file {name}; it has {}",
                self.name,
                names.join(", ")
            ))
        })
    }

    /// How far a runtime's logits may be from the golden ones: twice what the trainer found
    /// on photos, for the drawn picture is none, and what runtimes add in the last bits.
    pub(super) fn tolerance(&self, file: &str) -> Result<f32, TintypeError> {
        const RUNTIMES: f32 = 2e-3;
        let Some(parity) = self.entry(file)?.parity else {
            return Err(TintypeError::model(format!("{file} is no model to run")));
        };
        Ok(2.0 * parity.max_logit_difference + RUNTIMES)
    }

    pub(super) fn check(&self) -> Result<(), TintypeError> {
        let is_plain = |name: &str| !name.is_empty() && !name.contains(['/', '\\']) && name != "..";
        let fault = if self.format != 1 {
            format!("its format is {}; this app reads 1", self.format)
        } else if !self.files.iter().all(|entry| is_plain(&entry.name)) {
            "it names a file that is no plain name".into()
        } else {
            return Ok(());
        };
        Err(TintypeError::model(format!(
            "the model's manifest: {fault}"
        )))
    }
}

/// Whether every file that is there has the length and hash of the manifest.
pub(super) fn verify(
    folder: &Path,
    id: ModelId,
    wanted: &[String],
) -> Result<InstalledModel, TintypeError> {
    let manifest: Manifest = read_json(&folder.join("manifest.json"))?;
    manifest.check()?;
    let mut files = Vec::new();
    for entry in &manifest.files {
        let path = folder.join(&entry.name);
        let is_needed = NEEDED.contains(&entry.name.as_str()) || wanted.contains(&entry.name);
        if !is_needed && !path.exists() {
            continue;
        }
        verify_file(&path, entry)?;
        files.push(entry.name.clone());
    }
    for name in NEEDED.into_iter().chain(wanted.iter().map(String::as_str)) {
        manifest.entry(name)?;
    }
    let path = folder.join("labels.txt");
    let labels = std::fs::read_to_string(&path)
        .map_err(|error| TintypeError::io("reading", &path, &error))?;
    let labels: Vec<String> = labels.lines().map(str::to_owned).collect();
    if labels.len() != manifest.num_classes {
        let found = labels.len();
        let detail = format!("{found} labels for {} classes", manifest.num_classes);
        return Err(TintypeError::model(detail));
    }
    Ok(InstalledModel {
        id: id.to_string(),
        name: manifest.name,
        labels,
        folder: folder.display().to_string(),
        files,
    })
}

/// Whether a file has its length and hash.
pub(super) fn verify_file(path: &Path, entry: &Entry) -> Result<(), TintypeError> {
    const PIECE_BYTES: usize = 64 << 10;
    let failed = |error| TintypeError::io("reading", path, &error);
    let mut file = File::open(path).map_err(failed)?;
    let mut hash = sha2::Sha256::new();
    let mut piece = vec![0; PIECE_BYTES];
    let mut num_bytes = 0;
    loop {
        let num = file.read(&mut piece).map_err(failed)?;
        if num == 0 {
            break;
        }
        num_bytes += num as u64;
        hash.update(&piece[..num]);
    }
    let found = Sha256::from(<[u8; 32]>::from(hash.finalize()));
    if num_bytes == entry.bytes && found == entry.sha256 {
        return Ok(());
    }
    let detail = format!(
        "{} is damaged: it has {num_bytes} bytes with the hash {found}, and should have {} with {}; fetch the model again",
        entry.name, entry.bytes, entry.sha256
    );
    Err(TintypeError::model(detail))
}

/// Reads a small JSON file of a model.
pub(super) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, TintypeError> {
    let json = std::fs::read(path).map_err(|error| TintypeError::io("reading", path, &error))?;
    serde_json::from_slice(&json)
        .map_err(|error| TintypeError::model(format!("{} is damaged: {error}", path.display())))
}

/// Removes the folders of models that are no longer kept, and what a kill has left.
pub(super) fn sweep(folder: &Path, kept: &[String]) {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let is_kept = name
            .to_str()
            .is_some_and(|name| kept.iter().any(|kept| kept == name));
        if entry.path().is_dir() && !is_kept {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

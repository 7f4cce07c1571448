//! Fetching a model: everything into a folder of its own, each file verified, then the
//! folder gets its name. What is here already and still right is not fetched again: the
//! server is asked with the hash as `If-None-Match`.

use std::fs::File;
use std::io;
use std::path::Path;

use schemas::{ModelId, Sha256};

use super::Models;
use super::files::{Entry, Manifest, NEEDED, read_json, verify_file};
use crate::TintypeError;
use crate::queue::write_whole;
use crate::transport::HttpRequest;

/// The largest manifest: ten thousand classes have none of their names in it.
const MAX_MANIFEST_BYTES: u64 = 1 << 20;

impl Models {
    /// Brings a model's files here. Once this returns, its folder has its name and all files
    /// in it are as the manifest says; before, there is no such folder, or it is as it was.
    pub(super) fn fetch(&self, id: ModelId, wanted: &[String]) -> Result<(), TintypeError> {
        let place = self.place(id);
        let incoming = self.folder.join(format!("incoming-{id}"));
        let failed = |error: io::Error| TintypeError::io("making", &incoming, &error);
        std::fs::create_dir_all(&incoming).map_err(failed)?;
        let manifest = self.fetch_manifest(id, &place, &incoming)?;
        let names = NEEDED.into_iter().chain(wanted.iter().map(String::as_str));
        for name in names {
            let entry = manifest.entry(name)?;
            self.fetch_file(id, entry, &place, &incoming)?;
        }
        let flushed = File::open(&incoming).and_then(|folder| folder.sync_all());
        flushed.map_err(failed)?;
        // Only a folder that is damaged is in the way here.
        match std::fs::remove_dir_all(&place) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(TintypeError::io("replacing", &place, &error));
            }
            _ => {}
        }
        std::fs::rename(&incoming, &place).map_err(failed)?;
        let flushed = File::open(&self.folder).and_then(|folder| folder.sync_all());
        flushed.map_err(failed)
    }

    fn fetch_manifest(
        &self,
        id: ModelId,
        place: &Path,
        incoming: &Path,
    ) -> Result<Manifest, TintypeError> {
        let mut request = HttpRequest::new("GET", self.file_url(id, "manifest.json"));
        request.max_response_bytes = MAX_MANIFEST_BYTES;
        let here = std::fs::read(place.join("manifest.json"));
        if let Ok(json) = &here {
            request = request.header("If-None-Match", format!("\"{}\"", Sha256::of(json)));
        }
        let response = self.get(request)?;
        let json = match (response.status, here) {
            (304, Ok(json)) => json,
            _ => {
                let told = response
                    .header("ETag")
                    .map(|tag| tag.trim_matches('"').to_owned());
                let found = Sha256::of(&response.body).to_string();
                if told.is_some_and(|told| told != found) {
                    let detail = "the model's manifest arrived damaged; try again";
                    return Err(TintypeError::model(detail));
                }
                response.body
            }
        };
        let path = incoming.join("manifest.json");
        write_whole(&path, &json).map_err(|error| TintypeError::io("writing", &path, &error))?;
        let manifest: Manifest = read_json(&path)?;
        manifest.check()?;
        Ok(manifest)
    }

    fn fetch_file(
        &self,
        id: ModelId,
        entry: &Entry,
        place: &Path,
        incoming: &Path,
    ) -> Result<(), TintypeError> {
        let target = incoming.join(&entry.name);
        // From an update that was cut short, or from the model itself.
        if verify_file(&target, entry).is_ok() {
            return Ok(());
        }
        let here = place.join(&entry.name);
        if verify_file(&here, entry).is_ok() && std::fs::copy(&here, &target).is_ok() {
            return verify_file(&target, entry);
        }
        let mut request = HttpRequest::new("GET", self.file_url(id, &entry.name));
        request.save_to = Some(target.display().to_string());
        request.max_response_bytes = entry.bytes;
        self.get(request)?;
        verify_file(&target, entry)?;
        File::open(&target)
            .and_then(|file| file.sync_all())
            .map_err(|error| TintypeError::io("writing", &target, &error))
    }

    fn file_url(&self, id: ModelId, name: &str) -> String {
        crate::settings::url(&self.server, &format!("/v1/models/{id}/files/{name}"))
    }
}

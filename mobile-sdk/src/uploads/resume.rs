//! Uploads that go on where they broke off, after the IETF draft "Resumable Uploads for
//! HTTP" (draft-ietf-httpbis-resumable-upload), where the server offers it: created with an
//! empty body, whose answer names the upload; asked for its offset; the rest appended. The
//! upload's name is written down before the first byte goes, so that the next life of the
//! process goes on as well.

use schemas::CaptureId;
use uuid::Uuid;

use super::Uploads;
use super::send::Job;
use crate::queue::Stage;
use crate::transport::{HttpRequest, HttpResponse, TransportError};
use crate::upload;

/// Smaller photos are sent whole: asking first costs as much as sending them again.
const MIN_RESUMABLE_BYTES: u64 = 1 << 20;

/// Appends within one attempt, and offsets that the server corrects. More are an endless talk.
const MAX_STEPS: usize = 64;

/// Where an upload stands.
enum Place {
    /// The server has so many bytes, and takes so many at a time.
    At { offset: u64, max_append: u64 },
    /// It has all of them: its receipt.
    Complete(HttpResponse),
    /// It knows nothing of it (any more).
    Gone,
}

impl Uploads {
    /// Sends a photo, or the rest of it: the server's last answer.
    pub(super) fn deliver(&self, job: &Job) -> Result<HttpResponse, TransportError> {
        if job.ticket.num_bytes < MIN_RESUMABLE_BYTES || !self.offers_resumption()? {
            let request = upload::request(&self.settings, &job.ticket, &job.photo);
            return self.transport.send(request);
        }
        let mut place = match &job.upload {
            Some(url) => self.place(url)?,
            None => Place::Gone,
        };
        let mut url = job.upload.clone().unwrap_or_default();
        for _ in 0..MAX_STEPS {
            let (offset, max_append) = match place {
                Place::Complete(response) => return Ok(response),
                Place::At { offset, max_append } => (offset, max_append),
                Place::Gone => {
                    let response = self.create(job)?;
                    let Some(location) = location(&self.settings.server, &response) else {
                        return Ok(response); // a refusal, or a receipt
                    };
                    self.remember(job.ticket.id, &location);
                    url = location;
                    place = place_of(&response);
                    continue;
                }
            };
            let response = self.append(job, &url, offset, max_append)?;
            let is_complete = response.header("Upload-Complete") == Some("?1");
            let code = upload::problem(&response).code;
            place = match response.status {
                _ if is_complete => return Ok(response),
                204 => place_of(&response),
                404 | 410 => Place::Gone,
                409 if code == "mismatching_upload_offset" => place_of(&response),
                409 if code == "upload_taken_over" => self.place(&url)?,
                400 if code == "inconsistent_upload_length" => Place::Gone,
                _ => return Ok(response),
            };
        }
        Err(TransportError::Connection {
            detail: "the server keeps changing its mind on how much it has".into(),
        })
    }

    /// Whether the server can resume; asked once in the life of the process.
    fn offers_resumption(&self) -> Result<bool, TransportError> {
        if let Some(known) = self.state().offers.resumption {
            return Ok(known);
        }
        let path = format!("/v1/datasets/{}/captures", self.settings.dataset);
        let request = HttpRequest::new("OPTIONS", self.settings.url(&path));
        let response = self
            .transport
            .send(request.authorized(&self.settings.key))?;
        let accepted = response.header("Accept-Patch").unwrap_or_default();
        let is_offered = accepted.contains("application/partial-upload");
        if response.status < 500 {
            self.state().offers.resumption = Some(is_offered);
        }
        Ok(is_offered)
    }

    fn create(&self, job: &Job) -> Result<HttpResponse, TransportError> {
        let mut request = upload::request(&self.settings, &job.ticket, &job.photo)
            .header("Upload-Complete", "?0")
            .header("Upload-Length", job.ticket.num_bytes.to_string());
        request.body_file = None;
        request.body_length = 0;
        request.body = Some(Vec::new());
        self.transport.send(request)
    }

    fn place(&self, url: &str) -> Result<Place, TransportError> {
        let request = HttpRequest::new("HEAD", url.into()).authorized(&self.settings.key);
        let response = self.transport.send(request)?;
        Ok(match response.status {
            200..300 if response.header("Upload-Complete") == Some("?1") => {
                match response.header("X-Capture-Id").map(str::parse::<CaptureId>) {
                    Some(Ok(_)) => Place::Complete(response),
                    _ => Place::Gone,
                }
            }
            200..300 => place_of(&response),
            404 | 410 => Place::Gone,
            status => {
                return Err(TransportError::Connection {
                    detail: format!("the server answered {status} when asked how much it has"),
                });
            }
        })
    }

    fn append(
        &self,
        job: &Job,
        url: &str,
        offset: u64,
        max_append: u64,
    ) -> Result<HttpResponse, TransportError> {
        let rest = job.ticket.num_bytes.saturating_sub(offset);
        let length = rest.min(max_append.max(1));
        let completes = if length == rest { "?1" } else { "?0" };
        let mut request = HttpRequest::new("PATCH", url.into())
            .authorized(&self.settings.key)
            .header("Content-Type", "application/partial-upload")
            .header("Upload-Offset", offset.to_string())
            .header("Upload-Complete", completes);
        if length == 0 {
            request.body = Some(Vec::new());
        } else {
            request.body_file = Some(job.photo.display().to_string());
            request.body_offset = offset;
            request.body_length = length;
        }
        self.transport.send(request)
    }

    /// Writes an upload's name down. If there is no room for it, a cut costs a new start.
    fn remember(&self, id: Uuid, url: &str) {
        let mut state = self.state();
        let Some(entry) = state.queue.find(id) else {
            return;
        };
        if entry.progress.stage == Stage::Waiting {
            let mut progress = entry.progress.clone();
            progress.upload = Some(url.into());
            let _ = state.queue.record(id, progress);
        }
    }
}

/// Where a new upload is: only for an answer that says that it was created.
fn location(server: &str, response: &HttpResponse) -> Option<String> {
    if response.status != 201 {
        return None;
    }
    let location = response.header("Location")?;
    if location.starts_with('/') {
        // Relative to the host, whatever path the server's address has.
        let host_at = server.find("://").map_or(0, |at| at + 3);
        let host_end = server[host_at..]
            .find('/')
            .map_or(server.len(), |at| host_at + at);
        return Some(format!("{}{location}", &server[..host_end]));
    }
    // The key goes to no other server than the app's own.
    location
        .starts_with(server.trim_end_matches('/'))
        .then(|| location.into())
}

fn place_of(response: &HttpResponse) -> Place {
    let offset = response.header("Upload-Offset");
    let Some(offset) = offset.and_then(|text| text.parse().ok()) else {
        return Place::Gone;
    };
    let limits = response.header("Upload-Limit").unwrap_or_default();
    let max_append = limits.split(',').find_map(|limit| {
        let number = limit.trim().strip_prefix("max-append-size=")?;
        number.parse().ok()
    });
    Place::At {
        offset,
        max_append: max_append.unwrap_or(u64::MAX),
    }
}

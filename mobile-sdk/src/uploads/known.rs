//! The pre-check: hashes go first, in one request for many photos, and what the server has
//! already costs no upload.

use schemas::CaptureId;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Uploads;
use crate::TintypeError;
use crate::queue::{Progress, Stage};
use crate::transport::HttpRequest;

/// Hashes in one request, as the server has it.
const MAX_HASHES: usize = 1_000;

#[derive(Serialize)]
struct Question {
    sha256: Vec<String>,
}

#[derive(Deserialize)]
struct Answers {
    results: Vec<Answer>,
}

#[derive(Deserialize)]
struct Answer {
    sha256: schemas::Sha256,
    known: bool,
    #[serde(default)]
    capture: Option<CaptureId>,
}

#[uniffi::export]
impl Uploads {
    /// Asks the server which of the waiting photos it has already; those are done. How many.
    /// A run does this by itself; hosts that send by [`Uploads::next_request`] do it before.
    /// Photos that were asked about are not asked about again in this life of the process.
    pub fn check_known(&self) -> Result<u32, TintypeError> {
        let asked = self.unasked();
        if asked.is_empty() {
            return Ok(0);
        }
        let path = format!("/v1/datasets/{}/captures/check", self.settings.dataset);
        let question = Question {
            sha256: asked.iter().map(|(_, sha256)| sha256.to_string()).collect(),
        };
        let mut request = HttpRequest::new("POST", self.settings.url(&path))
            .authorized(&self.settings.key)
            .header("Content-Type", "application/json");
        request.body = Some(serde_json::to_vec(&question).unwrap_or_default());
        // Without an answer the uploads themselves find out.
        let Ok(response) = self.transport.send(request) else {
            return Ok(0);
        };
        if matches!(response.status, 404 | 405) {
            self.state().offers.has_no_check = true;
        }
        let ids = asked.iter().map(|(id, _)| *id);
        if response.status < 500 {
            self.state().offers.asked.extend(ids);
        }
        let Ok(answers) = serde_json::from_slice::<Answers>(&response.body) else {
            return Ok(0);
        };
        let mut num_known = 0;
        for answer in answers.results.iter().filter(|answer| answer.known) {
            let Some(capture) = answer.capture else {
                continue;
            };
            let same = asked.iter().filter(|(_, sha256)| *sha256 == answer.sha256);
            for (id, _) in same {
                num_known += u32::from(self.settle(*id, capture)?);
            }
        }
        Ok(num_known)
    }
}

impl Uploads {
    /// Waiting photos about which nobody has asked, in the order in which they are to go.
    fn unasked(&self) -> Vec<(Uuid, schemas::Sha256)> {
        let state = self.state();
        if state.offers.has_no_check {
            return Vec::new();
        }
        let waiting = state.queue.waiting(self.policy.order());
        let unasked = waiting.filter(|entry| {
            let id = &entry.ticket.id;
            // One that has an upload begun is best gone on with.
            entry.progress.upload.is_none()
                && !state.in_flight.contains(id)
                && !state.offers.asked.contains(id)
        });
        let unasked = unasked.map(|entry| (entry.ticket.id, entry.ticket.sha256));
        unasked.take(MAX_HASHES).collect()
    }

    /// The server has this photo. Whether that is news.
    fn settle(&self, id: Uuid, capture: CaptureId) -> Result<bool, TintypeError> {
        let mut state = self.state();
        let is_waiting = state.queue.find(id).is_some_and(|entry| {
            entry.progress.stage == Stage::Waiting && !state.in_flight.contains(&id)
        });
        if !is_waiting {
            return Ok(false);
        }
        let progress = Progress {
            stage: Stage::AlreadyThere,
            duplicate_of: Some(capture.to_string()),
            ..Progress::default()
        };
        state.queue.record(id, progress)?;
        state.due.remove(&id);
        let item = state.find(id);
        drop(state);
        if let Ok(item) = item {
            self.tell(item);
        }
        Ok(true)
    }
}

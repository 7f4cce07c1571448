//! What became of photos that the server has: asked for one by one, soon at first, then
//! ever more rarely, until the verdict is there. A verdict is told once and kept.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use schemas::Status;
use schemas::http::Capture;
use uuid::Uuid;

use super::Uploads;
use crate::TintypeError;
use crate::queue::{Progress, Queue, Stage, Verdict};
use crate::transport::HttpRequest;

/// The wait before the first question; a lone photo is judged in about a second.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// The longest wait between two. A photo that waits for a person is asked about so often.
const LONGEST_WAIT: Duration = Duration::from_secs(60 * 60);
/// Questions in one run. More keep the radio on for what nobody waits for.
const MAX_QUESTIONS: usize = 50;

/// When to ask about which photo.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    due: HashMap<Uuid, (Instant, Duration)>,
}

impl Schedule {
    /// After a start: everything that has no verdict.
    pub(super) fn of(queue: &Queue) -> Self {
        let mut schedule = Self::default();
        for entry in queue.entries() {
            let progress = &entry.progress;
            let is_open = progress.stage == Stage::Sent && progress.verdict.is_none();
            if is_open && progress.capture_id.is_some() {
                schedule.expect(entry.ticket.id);
            }
        }
        schedule
    }

    pub(super) fn expect(&mut self, id: Uuid) {
        self.due
            .insert(id, (Instant::now() + FIRST_WAIT, FIRST_WAIT));
    }

    #[cfg(test)]
    pub(super) fn expect_now(&mut self) {
        self.due
            .values_mut()
            .for_each(|(due, _)| *due = Instant::now());
    }

    pub(super) fn forget(&mut self, id: Uuid) {
        self.due.remove(&id);
    }

    pub(super) fn len(&self) -> usize {
        self.due.len()
    }

    /// When the next question is due.
    pub(super) fn next(&self) -> Option<Instant> {
        self.due.values().map(|(due, _)| *due).min()
    }

    fn due_now(&mut self) -> Vec<Uuid> {
        let now = Instant::now();
        let due = self.due.iter_mut().filter(|(_, (due, _))| *due <= now);
        let due = due.take(MAX_QUESTIONS);
        due.map(|(id, (due, wait))| {
            *wait = (*wait * 2).min(LONGEST_WAIT);
            *due = now + *wait;
            *id
        })
        .collect()
    }
}

impl Uploads {
    /// Asks about what is due.
    pub(super) fn ask_for_verdicts(&self, end: Option<Instant>) -> Result<(), TintypeError> {
        let due = self.state().verdicts.due_now();
        for id in due {
            if self.is_over(end) {
                break;
            }
            let capture_id = {
                let mut state = self.state();
                let entry = state.queue.find(id);
                let Some(capture_id) = entry.and_then(|entry| entry.progress.capture_id.clone())
                else {
                    state.verdicts.forget(id);
                    continue;
                };
                capture_id
            };
            let url = self.settings.url(&format!("/v1/captures/{capture_id}"));
            let request = HttpRequest::new("GET", url).authorized(&self.settings.key);
            let Ok(response) = self.transport.send(request) else {
                break; // no network: a later run asks
            };
            if response.status != 200 {
                continue;
            }
            let Ok(capture) = serde_json::from_slice::<Capture>(&response.body) else {
                continue;
            };
            if capture.status != Status::Queued {
                self.judge(id, &capture)?;
            }
        }
        Ok(())
    }

    fn judge(&self, id: Uuid, capture: &Capture) -> Result<(), TintypeError> {
        let mut state = self.state();
        let Some(entry) = state.queue.find(id) else {
            return Ok(());
        };
        let mut progress = entry.progress.clone();
        progress.duplicate_of = capture.twin_id.map(|twin| twin.to_string());
        progress.verdict = Some(Verdict {
            status: capture.status.as_str().into(),
            reason: capture.reason.map(|reason| reason.as_str().into()),
            detail: capture.detail.clone(),
        });
        // `review` waits for a person and may still change.
        if capture.status != Status::Review {
            state.verdicts.forget(id);
        }
        if entry_is(&state.queue, id, &progress) {
            return Ok(());
        }
        match state.queue.record(id, progress) {
            // Without room for it, it is asked for again after the next start.
            Ok(()) | Err(TintypeError::DiskFull { .. }) => {}
            Err(error) => return Err(error),
        }
        let item = state.find(id).ok();
        drop(state);
        if let Some(item) = item {
            self.tell(item);
        }
        Ok(())
    }
}

fn entry_is(queue: &Queue, id: Uuid, progress: &Progress) -> bool {
    queue
        .find(id)
        .is_some_and(|entry| entry.progress == *progress)
}

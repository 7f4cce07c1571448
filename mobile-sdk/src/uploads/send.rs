//! Sending: which photo is next, the threads that carry photos, and what an answer changes.

use std::path::PathBuf;
use std::time::Instant;

use uuid::Uuid;

use super::{RunReport, Uploads};
use crate::queue::{Progress, Stage, Ticket};
use crate::settings::HoldReason;
use crate::transport::{HttpResponse, TransportError};
use crate::upload::{self, Meaning};
use crate::{TintypeError, backoff};

/// A photo that is about to be sent.
pub(super) struct Job {
    pub(super) ticket: Ticket,
    pub(super) photo: PathBuf,
    /// Where the server keeps the part that it has.
    pub(super) upload: Option<String>,
}

impl Uploads {
    /// Sends until nothing is due, all is held, or the time is over.
    pub(super) fn send_all(&self, end: Option<Instant>) -> Result<RunReport, TintypeError> {
        let num_threads = self.policy.parallel.max(1);
        let reports: Vec<_> = std::thread::scope(|scope| {
            let threads = (0..num_threads).map(|_| scope.spawn(|| self.carry(end)));
            let threads: Vec<_> = threads.collect();
            let joined = threads.into_iter().map(|thread| {
                let failed = |_| TintypeError::Storage {
                    detail: "a thread of the queue failed".into(),
                };
                thread.join().map_err(failed).flatten()
            });
            joined.collect()
        });
        let mut total = RunReport::default();
        for report in reports {
            let report = report?;
            total.num_sent += report.num_sent;
            total.num_already_there += report.num_already_there;
            total.num_refused += report.num_refused;
        }
        Ok(total)
    }

    /// One thread: photo after photo.
    fn carry(&self, end: Option<Instant>) -> Result<RunReport, TintypeError> {
        let mut report = RunReport::default();
        while !self.is_over(end) {
            let Some(job) = self.take_next() else { break };
            if let Some(item) = self.item_of(job.ticket.id) {
                self.tell(item);
            }
            let answer = self.deliver(&job);
            match self.conclude(job.ticket.id, &answer)? {
                Some(Stage::Sent) => report.num_sent += 1,
                Some(Stage::AlreadyThere) => report.num_already_there += 1,
                Some(Stage::Refused) => report.num_refused += 1,
                Some(Stage::Waiting) | None => {}
            }
        }
        Ok(report)
    }

    /// The next photo that is due; it counts as on its way from here on.
    pub(super) fn take_next(&self) -> Option<Job> {
        let mut state = self.state();
        if state.held.is_some() {
            return None;
        }
        let now = Instant::now();
        let mut waiting = state.queue.waiting(self.policy.order());
        let next = waiting
            .find(|entry| {
                let id = entry.ticket.id;
                let is_due = state.due.get(&id).is_none_or(|due| *due <= now);
                is_due && !state.in_flight.contains(&id)
            })
            .map(|entry| (entry.ticket.clone(), entry.progress.upload.clone()));
        drop(waiting);
        let (ticket, upload) = next?;
        state.due.remove(&ticket.id);
        state.in_flight.insert(ticket.id);
        let photo = state.queue.photo(ticket.id);
        Some(Job {
            ticket,
            photo,
            upload,
        })
    }

    /// Writes down what an answer means, and tells of it. The item's stage then; none if it
    /// was removed meanwhile.
    pub(super) fn conclude(
        &self,
        id: Uuid,
        answer: &Result<HttpResponse, TransportError>,
    ) -> Result<Option<Stage>, TintypeError> {
        let mut state = self.state();
        state.in_flight.remove(&id);
        let Some(entry) = state.queue.find(id) else {
            return Ok(None);
        };
        let mut progress = entry.progress.clone();
        if progress.stage != Stage::Waiting {
            return Ok(Some(progress.stage)); // an answer that came twice
        }
        progress.attempts += 1;
        match upload::meaning(answer) {
            Meaning::There {
                capture_id,
                is_known,
                duplicate_of,
            } => {
                progress.stage = match is_known {
                    true => Stage::AlreadyThere,
                    false => Stage::Sent,
                };
                progress.reason = None;
                progress.upload = None;
                progress.capture_id = Some(capture_id.to_string());
                progress.duplicate_of = duplicate_of.map(|id| id.to_string());
                if !is_known {
                    state.verdicts.expect(id);
                }
            }
            Meaning::Again {
                reason,
                retry_after,
            } => {
                let wait = backoff::wait(progress.attempts, retry_after);
                state.due.insert(id, Instant::now() + wait);
                progress.reason = Some(reason);
            }
            Meaning::Everything(reason) => {
                state.held = Some(HoldReason::Refused);
                progress.reason = Some(reason);
            }
            Meaning::Never(reason) => {
                progress.stage = Stage::Refused;
                progress.upload = None;
                progress.reason = Some(reason);
            }
        }
        let stage = self.write_down(&mut state, id, progress)?;
        let item = state.find(id).ok();
        drop(state);
        if let Some(item) = item {
            self.tell(item);
        }
        Ok(Some(stage))
    }

    /// A receipt that cannot be written (the disk is full) costs nothing but a second
    /// answer: the photo stays and is sent again under the same key.
    fn write_down(
        &self,
        state: &mut super::State,
        id: Uuid,
        progress: Progress,
    ) -> Result<Stage, TintypeError> {
        let stage = progress.stage;
        match state.queue.record(id, progress) {
            Ok(()) => Ok(stage),
            Err(TintypeError::DiskFull { .. }) => {
                let wait = backoff::wait(u32::MAX, None);
                state.due.insert(id, Instant::now() + wait);
                state.verdicts.forget(id);
                Ok(Stage::Waiting)
            }
            Err(error) => Err(error),
        }
    }

    fn item_of(&self, id: Uuid) -> Option<crate::Item> {
        self.state().find(id).ok()
    }
}

//! The app's queue of photos: takes them in, sends them when the policy allows, and tells
//! what became of each. Either the host calls [`Uploads::run`] from a background thread and
//! everything is sent from there; or it takes single requests by [`Uploads::next_request`],
//! gives them to a background service of its system, and brings the answers back, even in
//! another process life.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use schemas::Label;
use uuid::Uuid;

use crate::TintypeError;
use crate::photo::{self, Hint};
use crate::queue::{Entry, Item, ItemState, Progress, Queue, Recovery, Stage, Ticket};
use crate::settings::{Conditions, HoldReason, Policy, Settings};
use crate::transport::{self, HttpRequest, HttpResponse, Transport, TransportError};
use crate::upload;

mod known;

mod send;

mod resume;

mod verdicts;

/// The most entries of a photo's metadata, as the server has it.
const MAX_METADATA_ENTRIES: usize = 32;
/// The most bytes of them together, as JSON.
const MAX_METADATA_BYTES: usize = 4 * 1024;

/// A photo to be sent.
#[derive(Debug, Clone, Default, PartialEq, uniffi::Record)]
pub struct Photo {
    /// What it shows.
    pub label: String,
    /// When it was taken, as RFC 3339 has it, such as `2026-05-04T10:30:00+02:00`. If
    /// absent, the server reads it from the file.
    #[uniffi(default = None)]
    pub captured_at: Option<String>,
    /// Anything else that belongs into the table beside it.
    #[uniffi(default)]
    pub metadata: HashMap<String, String>,
}

/// What taking a photo in led to.
#[derive(Debug, Clone, PartialEq, uniffi::Record)]
pub struct Enqueued {
    /// The item; the one that is there already if this very photo was taken in before.
    pub item: Item,
    /// Whether it is new to the queue.
    pub is_new: bool,
}

/// What a photo looks like before it is taken in.
#[derive(Debug, Clone, PartialEq, uniffi::Record)]
pub struct PhotoLook {
    /// What a person could do better, in time to take the photo again.
    pub hints: Vec<Hint>,
    /// The hash of the bytes as they would be sent, 64 hex digits.
    pub sha256: String,
    /// The perceptual hash, 16 hex digits, as the server will have it; none for a format that
    /// is not read on the device.
    pub phash: Option<String>,
}

/// What a run did.
#[derive(Debug, Clone, Default, PartialEq, Eq, uniffi::Record)]
pub struct RunReport {
    /// Photos that the server took.
    pub num_sent: u32,
    /// Photos that it had.
    pub num_already_there: u32,
    /// Photos that it will never take.
    pub num_refused: u32,
    /// Photos that still wait, those to be tried again among them.
    pub num_waiting: u32,
    /// Photos that are sent and whose verdict is awaited.
    pub num_undecided: u32,
    /// Why nothing (more) is sent.
    pub held: Option<HoldReason>,
    /// After how many milliseconds there is something to do again; nothing if that depends
    /// on the host: new photos, or other conditions.
    pub next_run_ms: Option<u64>,
}

/// Is told of every change of an item. Called from the thread that made it; must be quick,
/// and must not call the queue.
#[uniffi::export(with_foreign)]
pub trait QueueListener: Send + Sync {
    /// An item is new or has changed.
    fn changed(&self, item: Item);
}

/// The queue. One for each folder; shared by whoever needs it.
#[derive(uniffi::Object)]
pub struct Uploads {
    settings: Settings,
    policy: Policy,
    transport: Arc<dyn Transport>,
    recovery: Recovery,
    listener: Mutex<Option<Arc<dyn QueueListener>>>,
    is_stopped: AtomicBool,
    state: Mutex<State>,
}

/// What is behind the lock; no request is ever sent under it.
struct State {
    queue: Queue,
    /// On their way now.
    in_flight: HashSet<Uuid>,
    /// Not before then.
    due: HashMap<Uuid, Instant>,
    verdicts: verdicts::Schedule,
    held: Option<HoldReason>,
    offers: Offers,
}

/// What is known of the server, in this life of the process.
#[derive(Debug, Default)]
struct Offers {
    /// Whether it can go on with uploads that broke off.
    resumption: Option<bool>,
    /// It cannot be asked which photos it has.
    has_no_check: bool,
    /// The photos about which it was asked.
    asked: HashSet<Uuid>,
}

#[uniffi::export]
impl Uploads {
    /// Opens the queue in the settings' folder, or makes an empty one there. Without a
    /// transport the built-in client is used.
    #[uniffi::constructor]
    pub fn open(
        settings: Settings,
        policy: Policy,
        transport: Option<Arc<dyn Transport>>,
    ) -> Result<Arc<Self>, TintypeError> {
        settings.check()?;
        policy.check()?;
        let transport = transport::of_host(transport)?;
        let (queue, recovery) = Queue::open(Path::new(&settings.folder), policy.history)?;
        let verdicts = verdicts::Schedule::of(&queue);
        let state = State {
            queue,
            in_flight: HashSet::new(),
            due: HashMap::new(),
            verdicts,
            held: None,
            offers: Offers::default(),
        };
        Ok(Arc::new(Self {
            settings,
            policy,
            transport,
            recovery,
            listener: Mutex::new(None),
            is_stopped: AtomicBool::new(false),
            state: Mutex::new(state),
        }))
    }

    /// What opening found that was not as it should be.
    pub fn recovery(&self) -> Recovery {
        self.recovery.clone()
    }

    /// Tells this listener of every change from now on, and no other.
    pub fn set_listener(&self, listener: Option<Arc<dyn QueueListener>>) {
        *lock(&self.listener) = listener;
    }

    /// Looks at a photo and keeps nothing: is it good enough, is it here already?
    /// The same errors as [`Self::add`], for what no server would take.
    pub fn look(&self, bytes: Vec<u8>) -> Result<PhotoLook, TintypeError> {
        let prepared = photo::prepare(bytes, &self.policy)?;
        let hints = self.state().hints(&prepared);
        Ok(PhotoLook {
            hints,
            sha256: prepared.sha256.to_string(),
            phash: prepared.phash.map(|phash| format!("{phash:016x}")),
        })
    }

    /// Takes a photo in. Once this returns, it survives kill and reboot.
    pub fn add(&self, photo: Photo, bytes: Vec<u8>) -> Result<Enqueued, TintypeError> {
        let label = check_label(&photo.label)?;
        check_metadata(&photo.metadata)?;
        let prepared = photo::prepare(bytes, &self.policy)?;
        let mut state = self.state();
        if let Some(entry) = known(&state.queue, &prepared.sha256, &label) {
            let mut item = state.item(entry);
            if !item.hints.contains(&Hint::SamePhoto) {
                item.hints.push(Hint::SamePhoto);
            }
            return Ok(Enqueued {
                item,
                is_new: false,
            });
        }
        let hints = state.hints(&prepared);
        let metadata: BTreeMap<String, String> = photo.metadata.into_iter().collect();
        let ticket = Ticket {
            id: Uuid::now_v7(),
            number: 0,
            label: label.as_str().into(),
            captured_at: photo.captured_at,
            metadata,
            format: prepared.format,
            num_bytes: prepared.bytes.len() as u64,
            sha256: prepared.sha256,
            phash: prepared.phash,
            hints,
        };
        let id = state.queue.add(ticket, &prepared.bytes, &self.policy)?;
        let item = state.find(id)?;
        drop(state);
        self.tell(item.clone());
        Ok(Enqueued { item, is_new: true })
    }

    /// The same with the photo in a file, which is read and left where it is.
    pub fn add_file(&self, photo: Photo, path: String) -> Result<Enqueued, TintypeError> {
        let length = std::fs::metadata(&path).map(|metadata| metadata.len());
        let length = length.map_err(|error| unreadable(&path, &error))?;
        if length > self.policy.max_photo_bytes {
            // Told before so much is read.
            let detail = format!(
                "the photo has {:.1} MB; the most is {:.1} MB",
                length as f64 / 1e6,
                self.policy.max_photo_bytes as f64 / 1e6
            );
            return Err(TintypeError::photo("too_many_bytes", detail));
        }
        let bytes = std::fs::read(&path).map_err(|error| unreadable(&path, &error))?;
        self.add(photo, bytes)
    }

    /// All items, the oldest first: those that wait, and the newest that are done.
    pub fn items(&self) -> Vec<Item> {
        let state = self.state();
        state
            .queue
            .entries()
            .map(|entry| state.item(entry))
            .collect()
    }

    /// One item.
    pub fn item(&self, id: String) -> Result<Item, TintypeError> {
        self.state().find(parse_id(&id)?)
    }

    /// Tries an item again now: one that was refused, or one that waits for its next try.
    pub fn retry(&self, id: String) -> Result<Item, TintypeError> {
        let id = parse_id(&id)?;
        let mut state = self.state();
        let entry = state.queue.find(id).ok_or_else(|| unknown(id))?;
        if entry.progress.stage == Stage::Refused {
            state.queue.record(id, Progress::default())?;
        }
        state.due.remove(&id);
        state.held = None;
        let item = state.find(id)?;
        drop(state);
        self.tell(item.clone());
        Ok(item)
    }

    /// Tries all refused items again. How many there were.
    pub fn retry_refused(&self) -> Result<u32, TintypeError> {
        let refused: Vec<Uuid> = {
            let state = self.state();
            let entries = state.queue.entries();
            let refused = entries.filter(|entry| entry.progress.stage == Stage::Refused);
            refused.map(|entry| entry.ticket.id).collect()
        };
        for id in &refused {
            self.retry(id.to_string())?;
        }
        Ok(refused.len() as u32)
    }

    /// Takes an item off the list; a photo that waits is deleted and never sent. One that
    /// is on its way may still arrive.
    pub fn remove(&self, id: String) -> Result<(), TintypeError> {
        let id = parse_id(&id)?;
        let mut state = self.state();
        state.queue.find(id).ok_or_else(|| unknown(id))?;
        state.due.remove(&id);
        state.offers.asked.remove(&id);
        state.verdicts.forget(id);
        state.queue.remove(id)
    }

    /// Sends what may be sent now and asks for verdicts; returns when nothing is left to do
    /// at this time, when `max_seconds` are over, or soon after [`Self::stop`]. Photos that
    /// fail are tried again by a later run: [`RunReport::next_run_ms`] says when.
    pub fn run(
        &self,
        conditions: Conditions,
        max_seconds: Option<u32>,
    ) -> Result<RunReport, TintypeError> {
        self.is_stopped.store(false, Ordering::Relaxed);
        let end = max_seconds.map(|seconds| Instant::now() + Duration::from_secs(seconds.into()));
        let mut report = RunReport::default();
        let hold = self.policy.hold(conditions);
        if hold.is_none() {
            self.state().held = None;
            let num_known = self.check_known()?;
            report = self.send_all(end)?;
            report.num_already_there += num_known;
        }
        if conditions.is_online {
            self.ask_for_verdicts(end)?;
        }
        self.finish_report(&mut report, hold);
        Ok(report)
    }

    /// Ends a run soon: what is on its way is waited for, nothing new is begun.
    pub fn stop(&self) {
        self.is_stopped.store(true, Ordering::Relaxed);
    }

    /// The request for the next photo, for a service of the host's system that sends it in
    /// the background. The item counts as on its way until its answer is brought back by
    /// [`Self::finish`] or [`Self::fail`]. Nothing if nothing may be sent now.
    pub fn next_request(&self, conditions: Conditions) -> Option<PendingRequest> {
        if self.policy.hold(conditions).is_some() {
            return None;
        }
        let job = self.take_next()?;
        Some(PendingRequest {
            item_id: job.ticket.id.to_string(),
            request: upload::request(&self.settings, &job.ticket, &job.photo),
        })
    }

    /// The answer to a request of [`Self::next_request`]; its headers are enough. The item
    /// as it stands then. May come in another life of the process.
    pub fn finish(&self, item_id: String, response: HttpResponse) -> Result<Item, TintypeError> {
        let id = parse_id(&item_id)?;
        self.conclude(id, &Ok(response))?;
        self.state().find(id)
    }

    /// There was no answer to a request of [`Self::next_request`].
    pub fn fail(&self, item_id: String, detail: String) -> Result<Item, TintypeError> {
        let id = parse_id(&item_id)?;
        self.conclude(id, &Err(TransportError::Connection { detail }))?;
        self.state().find(id)
    }

    /// Says that the system still has this item's request, from an earlier life of the
    /// process: it is not begun again meanwhile.
    pub fn adopt(&self, item_id: String) -> Result<Item, TintypeError> {
        let id = parse_id(&item_id)?;
        let mut state = self.state();
        let entry = state.queue.find(id).ok_or_else(|| unknown(id))?;
        if entry.progress.stage == Stage::Waiting {
            state.in_flight.insert(id);
        }
        state.find(id)
    }
}

/// A request that the host's system is to send.
#[derive(Debug, Clone, PartialEq, uniffi::Record)]
pub struct PendingRequest {
    /// The item it belongs to; the host keeps it with the request.
    pub item_id: String,
    /// What to send. Its body is a file that stays until the answer is brought back.
    pub request: HttpRequest,
}

impl Uploads {
    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Never called under the lock.
    fn tell(&self, item: Item) {
        let listener = lock(&self.listener).clone();
        if let Some(listener) = listener {
            listener.changed(item);
        }
    }

    fn is_over(&self, end: Option<Instant>) -> bool {
        self.is_stopped.load(Ordering::Relaxed) || end.is_some_and(|end| Instant::now() >= end)
    }

    fn finish_report(&self, report: &mut RunReport, hold: Option<HoldReason>) {
        let state = self.state();
        report.held = hold.or(state.held);
        let waiting = state.queue.waiting(self.policy.order());
        report.num_waiting = waiting.count() as u32;
        report.num_undecided = state.verdicts.len() as u32;
        let now = Instant::now();
        let dues = state
            .due
            .values()
            .copied()
            .filter(|_| report.held.is_none());
        let next = dues.chain(state.verdicts.next()).min();
        report.next_run_ms = next.map(|next| {
            let wait = next.saturating_duration_since(now);
            wait.as_millis() as u64 + 1
        });
    }
}

impl State {
    /// What a person could do better about a photo, with what is in the queue.
    fn hints(&self, prepared: &photo::Prepared) -> Vec<Hint> {
        let mut hints = prepared.hints.clone();
        // Of next to nothing the hash says nothing.
        let phash = prepared.phash.filter(|_| !hints.contains(&Hint::Empty));
        let known = self.queue.entries();
        let mut known = known.filter(|entry| entry.progress.stage != Stage::Refused);
        if known
            .clone()
            .any(|entry| entry.ticket.sha256 == prepared.sha256)
        {
            hints.push(Hint::SamePhoto);
        } else if phash.is_some_and(|phash| {
            known.any(|entry| {
                let other = entry.ticket.phash;
                other.is_some_and(|other| photo::are_similar(phash, other))
            })
        }) {
            hints.push(Hint::SimilarPhoto);
        }
        hints
    }

    fn find(&self, id: Uuid) -> Result<Item, TintypeError> {
        let entry = self.queue.find(id).ok_or_else(|| unknown(id))?;
        Ok(self.item(entry))
    }

    /// An item as an app shows it.
    fn item(&self, entry: &Entry) -> Item {
        let (ticket, progress) = (&entry.ticket, &entry.progress);
        let is_in_flight = self.in_flight.contains(&ticket.id);
        let state = match progress.stage {
            Stage::Waiting if is_in_flight => ItemState::Uploading,
            Stage::Waiting if progress.reason.is_some() => ItemState::Retrying,
            Stage::Waiting => ItemState::Queued,
            Stage::Sent => ItemState::Sent,
            Stage::AlreadyThere => ItemState::AlreadyThere,
            Stage::Refused => ItemState::Refused,
        };
        let path =
            (!progress.stage.is_there()).then(|| self.queue.photo(ticket.id).display().to_string());
        Item {
            id: ticket.id.to_string(),
            label: ticket.label.clone(),
            state,
            reason: progress.reason.clone(),
            attempts: progress.attempts,
            num_bytes: ticket.num_bytes,
            sha256: ticket.sha256.to_string(),
            path,
            capture_id: progress.capture_id.clone(),
            duplicate_of: progress.duplicate_of.clone(),
            verdict: progress.verdict.clone(),
            hints: ticket.hints.clone(),
        }
    }
}

/// This very photo with this label, if it waits or is with the server. One that was
/// refused may be taken in again.
fn known<'a>(queue: &'a Queue, sha256: &schemas::Sha256, label: &Label) -> Option<&'a Entry> {
    queue.entries().rev().find(|entry| {
        entry.ticket.sha256 == *sha256
            && entry.ticket.label == label.as_str()
            && entry.progress.stage != Stage::Refused
    })
}

fn check_label(label: &str) -> Result<Label, TintypeError> {
    label.parse().map_err(|error: schemas::InvalidLabel| {
        TintypeError::photo("invalid_label", error.to_string())
    })
}

fn check_metadata(metadata: &HashMap<String, String>) -> Result<(), TintypeError> {
    let num_bytes = serde_json::to_vec(metadata).map_or(usize::MAX, |json| json.len());
    if metadata.len() <= MAX_METADATA_ENTRIES && num_bytes <= MAX_METADATA_BYTES {
        return Ok(());
    }
    let detail = format!(
        "the metadata has {} entries and {num_bytes} bytes; the most is {MAX_METADATA_ENTRIES} and {MAX_METADATA_BYTES}",
        metadata.len()
    );
    Err(TintypeError::photo("invalid_metadata", detail))
}

fn parse_id(id: &str) -> Result<Uuid, TintypeError> {
    id.parse().map_err(|_| TintypeError::UnknownItem {
        detail: format!("{id:?} is no item's id"),
    })
}

fn unknown(id: Uuid) -> TintypeError {
    TintypeError::UnknownItem {
        detail: format!("there is no item {id}: it was removed, or is long done"),
    }
}

fn unreadable(path: &str, error: &std::io::Error) -> TintypeError {
    TintypeError::photo(
        "unreadable",
        format!("the photo {path} cannot be read: {error}"),
    )
}

/// A thread that panicked left nothing half done: every change is one assignment.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;

//! Threads of our own around the steps. In: photos, as many at once as callers like;
//! out: a verdict for each, in bounded memory and time. A photo that overruns its
//! deadline gets its verdict at once, though no thread can be stopped from outside:
//! the late thread is left to itself and replaced, up to a few; a panic is a verdict.
//!
//! ```text
//! callers -> admission (threads + queue) -> queue -> worker: header
//!         -> memory budget, in order of arrival -> worker: decode ... encode -> verdict
//!         -> worker: embed, if photos get embeddings -> answer
//! ```

use std::collections::{HashMap, VecDeque};
use std::num::NonZeroUsize;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use std::{io, thread};

use bytes::Bytes;
use metrics::gauge;
use schemas::events::{Photo, Rejection};
use schemas::{Format, Reason};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::{Deadline, Embedding, Limits, Refusal, count, finish, inspect};
use crate::metrics::PREPARE_LATE_THREADS;

mod budget;
use budget::Budget;

mod panics;
use panics::{THREAD_PREFIX, guarded, quiet_panics};

/// What a pool may use.
#[derive(Debug, Clone)]
pub struct PoolSettings {
    /// Photos decoded at the same time. More than there are cores only costs memory.
    pub threads: usize,
    /// Threads for slow formats (HEIC and AVIF, with the feature `heic`), beside the others.
    /// More of them take the cores from the fast ones, each for most of a second.
    pub slow_threads: usize,
    /// Photos that wait beside those being decoded, so that no thread idles; each
    /// holds its original in memory. Callers beyond these wait without a place.
    pub queue: usize,
    /// What all decoding at one time may take, in bytes. With 256 MiB a process that
    /// also talks to Kafka and writes tables stays under 512 MiB; under
    /// [`Limits::max_decode_bytes`] that limit shrinks to this.
    pub memory_bytes: u64,
    /// Threads past their deadline that are replaced. Each may hold a core and its
    /// memory for good, so beyond these the pool goes on with fewer threads.
    pub max_late_threads: usize,
    /// The bounds on one photo.
    pub limits: Limits,
    /// What gives photos their embedding. That is no part of their verdict, their deadline
    /// or the memory budget: it takes the same time for all, and 5 MB a thread.
    pub embedding: Embedding,
}

impl Default for PoolSettings {
    fn default() -> Self {
        let threads = thread::available_parallelism().map_or(1, NonZeroUsize::get);
        Self {
            threads,
            slow_threads: threads.div_ceil(2),
            queue: threads,
            memory_bytes: 256 << 20,
            max_late_threads: threads.min(4),
            limits: Limits::default(),
            embedding: Embedding::default(),
        }
    }
}

/// A slow format has so many times the deadline of the others. A HEIC of 12 megapixels takes a
/// second of one core, and on a busy machine several; twice would refuse honest photos there.
const SLOW_DEADLINES: u32 = 3;

/// A bounded pool of decoding threads. Dropping it lets the threads end after the
/// photo they are at; nothing they hold can be lost.
#[derive(Debug)]
pub struct DecodePool {
    lane: Lane,
    /// For formats that take fifty times as long, so that they only hold up each other.
    slow_lane: Option<Lane>,
}

/// Threads with a queue of their own. All lanes share one memory budget.
#[derive(Debug)]
struct Lane {
    admission: Arc<Semaphore>,
    shared: Arc<Shared>,
}

impl DecodePool {
    /// Starts the threads.
    ///
    /// # Errors
    /// The operating system gives no more threads.
    pub fn new(mut settings: PoolSettings) -> io::Result<Self> {
        settings.threads = settings.threads.max(1);
        let limits = &mut settings.limits;
        limits.max_decode_bytes = limits.max_decode_bytes.min(settings.memory_bytes);
        quiet_panics();
        let budget = Arc::new(Budget::new(settings.memory_bytes));
        let mut slow = PoolSettings {
            threads: settings.slow_threads.max(1),
            ..settings.clone()
        };
        slow.limits.deadline *= SLOW_DEADLINES;
        let slow_lane = cfg!(feature = "heic").then(|| Lane::new(slow, budget.clone()));
        Ok(Self {
            lane: Lane::new(settings, budget)?,
            slow_lane: slow_lane.transpose()?,
        })
    }

    /// Whether a file takes the slow lane. Who holds something while it waits for its turn
    /// (a place, memory) should let go of it for these.
    pub fn is_slow(bytes: &[u8]) -> bool {
        cfg!(feature = "heic") && matches!(Format::sniff(bytes), Some(Format::Heic | Format::Avif))
    }

    /// Prepares one photo; waits for its turn. Dropping the future gives up the place
    /// in the queue; a photo that is being decoded is decoded to its end.
    ///
    /// # Errors
    /// The photo is not usable; the rejection says why, for programs and for a person.
    pub async fn prepare(&self, bytes: Bytes) -> Result<Photo, Rejection> {
        self.lane_of(&bytes).prepare(bytes, Wants::Everything).await
    }

    /// The same without the embedding, for those who look at the picture only.
    ///
    /// # Errors
    /// As [`DecodePool::prepare`].
    pub async fn prepare_picture(&self, bytes: Bytes) -> Result<Photo, Rejection> {
        self.lane_of(&bytes).prepare(bytes, Wants::Picture).await
    }

    fn lane_of(&self, bytes: &[u8]) -> &Lane {
        match &self.slow_lane {
            Some(lane) if Self::is_slow(bytes) => lane,
            _ => &self.lane,
        }
    }

    /// Threads that ran past their deadline and have not come back. More than
    /// [`PoolSettings::max_late_threads`] means that the process wants a restart.
    pub fn num_late_threads(&self) -> usize {
        let lanes = std::iter::once(&self.lane).chain(&self.slow_lane);
        lanes.map(|lane| lane.shared.lock().num_late).sum()
    }
}

impl Lane {
    fn new(settings: PoolSettings, budget: Arc<Budget>) -> io::Result<Self> {
        let admission = Arc::new(Semaphore::new(settings.threads + settings.queue));
        let shared = Arc::new(Shared {
            budget,
            state: Mutex::default(),
            work: Condvar::new(),
            watch: Condvar::new(),
            settings,
        });
        let lane = Self { admission, shared };
        for _ in 0..lane.shared.settings.threads {
            lane.shared.clone().spawn_worker()?;
            lane.shared.lock().num_workers += 1;
        }
        let shared = lane.shared.clone();
        thread::Builder::new()
            .name(format!("{THREAD_PREFIX}watch"))
            .spawn(move || shared.watch_deadlines())?;
        Ok(lane)
    }

    async fn prepare(&self, bytes: Bytes, wants: Wants) -> Result<Photo, Rejection> {
        let permit = self.admission.clone().acquire_owned().await.ok();
        let (reply, verdict) = oneshot::channel();
        self.shared.lock().queue.push_back(Job {
            bytes,
            caller: Caller {
                wants,
                reply,
                _permit: permit,
            },
        });
        self.shared.work.notify_one();
        let result = verdict.await.unwrap_or_else(|_| {
            let words = "the decoding pool closed before this photo's turn";
            Err(Refusal::new(Reason::DecoderFailure, words).into())
        });
        count(&result);
        result
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.is_closing = true;
        state.queue.clear();
        drop(state);
        self.shared.work.notify_all();
        self.shared.watch.notify_all();
    }
}

/// What the threads of a pool have in common.
#[derive(Debug)]
struct Shared {
    settings: PoolSettings,
    budget: Arc<Budget>,
    state: Mutex<State>,
    /// There is a job, or the pool closes.
    work: Condvar,
    /// There is a new deadline, or the pool closes.
    watch: Condvar,
}

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<Job>,
    /// Photos being decoded, by ticket. Whoever takes an entry out owes its caller the
    /// verdict: the worker when it is done, or the watch when the time is over.
    running: HashMap<u64, Running>,
    next_ticket: u64,
    /// Workers that are not late.
    num_workers: usize,
    num_late: usize,
    is_closing: bool,
}

#[derive(Debug)]
struct Job {
    bytes: Bytes,
    caller: Caller,
}

/// What a caller wants of a photo.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wants {
    Everything,
    /// All but the embedding.
    Picture,
}

/// Who waits for a verdict, and their place in the pool.
#[derive(Debug)]
struct Caller {
    wants: Wants,
    reply: oneshot::Sender<Result<Photo, Rejection>>,
    _permit: Option<OwnedSemaphorePermit>,
}

impl Caller {
    fn answer(self, result: Result<Photo, Rejection>) {
        // A caller that went away wants no verdict.
        let _ = self.reply.send(result);
    }
}

#[derive(Debug)]
struct Running {
    due: Instant,
    caller: Caller,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // No code under the lock panics halfway through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn spawn_worker(self: Arc<Self>) -> io::Result<()> {
        thread::Builder::new()
            .name(format!("{THREAD_PREFIX}worker"))
            .spawn(move || while self.work_once() {})
            .map(drop)
    }

    /// Takes one photo through all steps; false ends the thread.
    fn work_once(self: &Arc<Self>) -> bool {
        let Some(Job { bytes, caller }) = self.next_job() else {
            return false;
        };
        if caller.reply.is_closed() {
            return true;
        }
        let limits = &self.settings.limits;
        let header = match guarded(|| inspect(&bytes, limits)) {
            Ok(header) => header,
            Err(refusal) => {
                caller.answer(Err(refusal.into()));
                return true;
            }
        };
        let memory = self.budget.take(header.decode_bytes);
        let ticket = self.enter(caller);
        let deadline = Deadline::after(limits.deadline);
        let mut result = guarded(|| finish(&bytes, &header, limits, deadline))
            .map_err(|refusal| refusal.of(&header.original()).into());
        drop(memory);
        let (caller, goes_on) = self.leave(ticket);
        if let Some(caller) = caller {
            if let (Ok(photo), Wants::Everything) = (&mut result, caller.wants) {
                self.settings.embedding.complete(photo);
            }
            caller.answer(result);
        }
        goes_on
    }

    fn next_job(&self) -> Option<Job> {
        let mut state = self.lock();
        loop {
            if state.is_closing {
                return None;
            }
            if let Some(job) = state.queue.pop_front() {
                return Some(job);
            }
            state = self
                .work
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Puts a photo under the eye of the watch.
    fn enter(&self, caller: Caller) -> u64 {
        let allowed = self.settings.limits.deadline;
        let mut state = self.lock();
        let ticket = state.next_ticket;
        state.next_ticket += 1;
        let running = Running {
            due: Instant::now() + allowed + allowed / 4, // most decoders stop when asked
            caller,
        };
        state.running.insert(ticket, running);
        drop(state);
        self.watch.notify_one();
        ticket
    }

    /// The caller to answer, if the watch has not, and whether the thread goes on: one that
    /// was replaced does not.
    fn leave(&self, ticket: u64) -> (Option<Caller>, bool) {
        let mut state = self.lock();
        if let Some(running) = state.running.remove(&ticket) {
            return (Some(running.caller), true);
        }
        state.num_late -= 1;
        gauge!(PREPARE_LATE_THREADS).decrement(1);
        let is_needed = state.num_workers < self.settings.threads;
        if is_needed {
            state.num_workers += 1;
        }
        (None, is_needed)
    }

    fn watch_deadlines(self: Arc<Self>) {
        let mut state = self.lock();
        loop {
            if state.is_closing && state.running.is_empty() {
                return;
            }
            let now = Instant::now();
            let next = state
                .running
                .iter()
                .min_by_key(|(_, running)| running.due)
                .map(|(ticket, running)| (*ticket, running.due));
            match next {
                Some((ticket, due)) if due <= now => {
                    let Some(running) = state.running.remove(&ticket) else {
                        continue;
                    };
                    self.replace_late_worker(&mut state);
                    drop(state);
                    let refusal = picture::limits::deadline_refusal(self.settings.limits.deadline);
                    running.caller.answer(Err(refusal.into()));
                    state = self.lock();
                }
                _ => {
                    // Woken by every new deadline, so the length only bounds the sleep.
                    let nap = next.map_or(Duration::from_secs(60), |(_, due)| due - now);
                    state = self
                        .watch
                        .wait_timeout(state, nap)
                        .unwrap_or_else(PoisonError::into_inner)
                        .0;
                }
            }
        }
    }

    fn replace_late_worker(self: &Arc<Self>, state: &mut State) {
        state.num_late += 1;
        state.num_workers -= 1;
        gauge!(PREPARE_LATE_THREADS).increment(1);
        if state.num_late <= self.settings.max_late_threads && !state.is_closing {
            match self.clone().spawn_worker() {
                Ok(()) => state.num_workers += 1,
                Err(error) => tracing::warn!(%error, "no thread to replace a late decoder"),
            }
        }
        tracing::warn!(
            num_late = state.num_late,
            num_workers = state.num_workers,
            "a decoder ran past its deadline; its thread is left to itself"
        );
    }
}

#[cfg(test)]
mod tests;

//! What a running training tells, and what it is told: the thread that works writes here
//! and asks whether to go on; the task that renews the lease reads here and answers.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use schemas::training::TrainingProgress;

/// Why a training is to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// Somebody has called it off.
    CalledOff,
    /// Another worker has it.
    Lost,
    /// This process ends; the training goes on elsewhere, or later.
    Shutdown,
}

/// Shared by the thread that trains and the task that reports.
pub struct Reporter {
    progress: Mutex<TrainingProgress>,
    /// When the stage began that runs now.
    begun_at: Mutex<Instant>,
    stop: AtomicU8,
}

impl Default for Reporter {
    fn default() -> Self {
        Self {
            progress: Mutex::default(),
            begun_at: Mutex::new(Instant::now()),
            stop: AtomicU8::new(0),
        }
    }
}

impl Reporter {
    /// Begins a stage of so many things to do.
    pub fn stage(&self, stage: &str, total: u64) {
        let mut progress = self.lock();
        let mut begun_at = self.begun_at.lock().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::replace(&mut progress.stage, stage.into());
        if !before.is_empty() {
            *progress.seconds.entry(before).or_default() += begun_at.elapsed().as_secs_f32();
        }
        *begun_at = Instant::now();
        progress.done = (total > 0).then_some(0);
        progress.total = (total > 0).then_some(total);
        progress.seconds_left = None;
    }

    /// So many of the stage's things are done.
    pub fn done(&self, done: u64) {
        let mut progress = self.lock();
        // Threads report in any order.
        progress.done = Some(done.max(progress.done.unwrap_or_default()));
    }

    /// Changes what is told.
    pub fn update(&self, change: impl FnOnce(&mut TrainingProgress)) {
        change(&mut self.lock());
    }

    /// Adds what a person should know; once.
    pub fn note(&self, note: impl Into<String>) {
        let note = note.into();
        let mut progress = self.lock();
        if !progress.notes.contains(&note) {
            progress.notes.push(note);
        }
    }

    /// What is told now.
    pub fn progress(&self) -> TrainingProgress {
        let mut progress = self.lock().clone();
        // Epochs know better themselves how much is left.
        if let (None, Some(done @ 1..), Some(total)) =
            (progress.seconds_left, progress.done, progress.total)
        {
            let begun_at = self.begun_at.lock().unwrap_or_else(PoisonError::into_inner);
            let left = total.saturating_sub(done) as f32 / done as f32;
            progress.seconds_left = Some(begun_at.elapsed().as_secs_f32() * left);
        }
        progress
    }

    /// Whether to go on.
    pub fn go_on(&self) -> bool {
        self.stop.load(Ordering::Relaxed) == 0
    }

    /// Tells the thread to stop; the first reason counts.
    pub fn stop(&self, why: Stop) {
        let code = match why {
            Stop::CalledOff => 1,
            Stop::Lost => 2,
            Stop::Shutdown => 3,
        };
        let _ = self
            .stop
            .compare_exchange(0, code, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Why it is to stop, if it is.
    pub fn stopped(&self) -> Option<Stop> {
        match self.stop.load(Ordering::Relaxed) {
            1 => Some(Stop::CalledOff),
            2 => Some(Stop::Lost),
            3 => Some(Stop::Shutdown),
            _ => None,
        }
    }

    fn lock(&self) -> MutexGuard<'_, TrainingProgress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

//! The memory that all decoding shares. Taken before a decoder starts, in order of
//! arrival, so that a large photo is not passed by small ones for ever.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use metrics::gauge;

use crate::metrics::PREPARE_MEMORY_BYTES;

/// A number of bytes of which parts are taken and come back.
#[derive(Debug)]
pub(super) struct Budget {
    total: u64,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    free: u64,
    /// The next number to be drawn, and the one whose turn it is.
    next: u64,
    turn: u64,
}

/// A part of the budget; it comes back when this is dropped.
#[derive(Debug)]
pub(super) struct Grant<'a> {
    budget: &'a Budget,
    bytes: u64,
}

impl Budget {
    pub(super) fn new(total: u64) -> Self {
        Self {
            total,
            state: Mutex::new(State {
                free: total,
                next: 0,
                turn: 0,
            }),
            changed: Condvar::new(),
        }
    }

    /// Waits until it is this caller's turn and there is enough. Whoever asks for more
    /// than everything gets everything.
    pub(super) fn take(&self, bytes: u64) -> Grant<'_> {
        let bytes = bytes.min(self.total);
        let mut state = self.lock();
        let number = state.next;
        state.next += 1;
        while state.turn != number || state.free < bytes {
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        state.turn += 1;
        state.free -= bytes;
        drop(state);
        self.changed.notify_all();
        gauge!(PREPARE_MEMORY_BYTES).increment(bytes as f64);
        Grant {
            budget: self,
            bytes,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Grant<'_> {
    fn drop(&mut self) {
        self.budget.lock().free += self.bytes;
        self.budget.changed.notify_all();
        gauge!(PREPARE_MEMORY_BYTES).decrement(self.bytes as f64);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::mpsc;
    use std::thread;

    use super::*;

    #[test]
    fn what_does_not_fit_waits_and_nobody_passes_it() {
        let budget = Arc::new(Budget::new(100));
        let first = budget.take(60);
        let (tell, told) = mpsc::channel();
        let ask = |bytes| {
            let number = budget.lock().next;
            let (shared, tell) = (budget.clone(), tell.clone());
            let thread = thread::spawn(move || {
                let grant = shared.take(bytes);
                tell.send(bytes).unwrap();
                drop(grant);
            });
            // It has its number once it waits.
            while budget.lock().next == number {
                thread::yield_now();
            }
            thread
        };
        let large = ask(1000);
        let small = ask(10);
        assert!(told.try_recv().is_err(), "the small one must not pass");
        drop(first);
        assert_eq!(told.recv().unwrap(), 1000);
        assert_eq!(told.recv().unwrap(), 10);
        large.join().unwrap();
        small.join().unwrap();
        assert_eq!(budget.lock().free, 100);
    }
}

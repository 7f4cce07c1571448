//! Photos for calibration and for the proof, asked for by number from whichever thread has
//! nothing else to do: reading and decoding them takes part of the time, and is shared out as well.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::{ExportError, SourceError};

/// Some photos.
pub struct PhotoSource<'a, T> {
    /// How many there are.
    pub count: usize,
    /// The one of this number, below `count`.
    pub get: &'a (dyn Fn(usize) -> Result<T, SourceError> + Sync),
}

impl<T> PhotoSource<'_, T> {
    /// Has each photo done by one of the `workers`, all at the same time. Which photo meets
    /// which worker is chance, so what they find out must not depend on it.
    pub(crate) fn share_out<W: Send>(
        &self,
        purpose: &'static str,
        workers: &mut [W],
        work: impl Fn(&mut W, usize, T) -> Result<(), ExportError> + Sync,
    ) -> Result<(), ExportError> {
        if self.count == 0 {
            return Err(ExportError::NoPhotos(purpose));
        }
        let next = AtomicUsize::new(0);
        let run = |worker: &mut W| {
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                if index >= self.count {
                    return Ok(());
                }
                let done = (self.get)(index)
                    .map_err(|source| ExportError::Photos { purpose, source })
                    .and_then(|photo| work(worker, index, photo));
                if done.is_err() {
                    // The others need not go on.
                    next.store(self.count, Ordering::Relaxed);
                    return done;
                }
            }
        };
        std::thread::scope(|scope| {
            let threads = workers.iter_mut().map(|worker| scope.spawn(|| run(worker)));
            let threads: Vec<_> = threads.collect();
            threads.into_iter().try_for_each(|thread| {
                let result = thread.join();
                result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            })
        })
    }
}

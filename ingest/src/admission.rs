//! Who may come in: so many uploads work, so many more may wait a moment, and all
//! bodies together have one memory budget. Whoever finds no place is refused at
//! once, with the time to come back.

use std::sync::Arc;
use std::time::Duration;

use catalog::http::ApiError;
use metrics::gauge;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::metrics::{BODY_BUDGET_USED, IN_FLIGHT, WAITING};
use crate::{IngestSettings, refusal};

/// The grain of the memory budget, in bytes. Larger wastes memory on small photos;
/// smaller would not let a `u32` count a large body.
const GRAIN_BYTES: u64 = 1024;

/// The places and the memory there are.
#[derive(Debug)]
pub(crate) struct Admission {
    /// Working and waiting together.
    places: Arc<Semaphore>,
    working: Arc<Semaphore>,
    /// In grains.
    memory: Arc<Semaphore>,
    max_wait: Duration,
}

/// A place among those who work; given back when dropped.
#[derive(Debug)]
pub(crate) struct Place {
    _place: OwnedSemaphorePermit,
    _working: OwnedSemaphorePermit,
}

/// Memory set aside for one body; given back when dropped.
#[derive(Debug)]
pub(crate) struct Room {
    memory: Arc<Semaphore>,
    held: OwnedSemaphorePermit,
    max_wait: Duration,
}

impl Admission {
    pub(crate) fn new(settings: &IngestSettings) -> Self {
        let grains = settings.body_budget_bytes / GRAIN_BYTES;
        Self {
            places: Arc::new(Semaphore::new(settings.max_working + settings.max_waiting)),
            working: Arc::new(Semaphore::new(settings.max_working)),
            memory: Arc::new(Semaphore::new(
                usize::try_from(grains).unwrap_or(usize::MAX),
            )),
            max_wait: settings.max_wait,
        }
    }

    /// A place to work, after waiting a moment if need be.
    pub(crate) async fn enter(&self) -> Result<Place, ApiError> {
        let place = Arc::clone(&self.places)
            .try_acquire_owned()
            .map_err(|_| refusal::overloaded("as many uploads run and wait as may"))?;
        let waiting = Counted::new(WAITING, 1.0);
        let working = timeout(self.max_wait, Arc::clone(&self.working).acquire_owned()).await;
        drop(waiting);
        match working {
            Ok(Ok(working)) => {
                gauge!(IN_FLIGHT).increment(1.0);
                Ok(Place {
                    _place: place,
                    _working: working,
                })
            }
            _ => Err(refusal::overloaded("no upload finished for a while")),
        }
    }

    /// Memory for a body of this many bytes; a body of unknown length begins with none.
    pub(crate) async fn room(&self, declared_bytes: u64) -> Result<Room, ApiError> {
        let held = acquire(&self.memory, grains(declared_bytes), self.max_wait).await?;
        Ok(Room {
            memory: Arc::clone(&self.memory),
            held,
            max_wait: self.max_wait,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        gauge!(IN_FLIGHT).decrement(1.0);
    }
}

impl Room {
    /// Makes sure that the room holds this many bytes. Bodies that grow at the same
    /// time may wait for each other: the wait is short, and then one is refused.
    pub(crate) async fn grow_to(&mut self, bytes: u64) -> Result<(), ApiError> {
        let held = u32::try_from(self.held.num_permits()).unwrap_or(u32::MAX);
        let missing = grains(bytes).saturating_sub(held);
        if missing > 0 {
            let more = acquire(&self.memory, missing, self.max_wait).await?;
            self.held.merge(more);
        }
        Ok(())
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        gauge!(BODY_BUDGET_USED).decrement(bytes_of(self.held.num_permits()));
    }
}

async fn acquire(
    memory: &Arc<Semaphore>,
    grains: u32,
    max_wait: Duration,
) -> Result<OwnedSemaphorePermit, ApiError> {
    match timeout(max_wait, Arc::clone(memory).acquire_many_owned(grains)).await {
        Ok(Ok(permit)) => {
            gauge!(BODY_BUDGET_USED).increment(bytes_of(permit.num_permits()));
            Ok(permit)
        }
        _ => Err(refusal::overloaded(
            "the photos on their way in fill the memory that is set aside for them",
        )),
    }
}

fn grains(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(GRAIN_BYTES)).unwrap_or(u32::MAX)
}

#[expect(
    clippy::cast_precision_loss,
    reason = "gauges are f64; a budget is far below 2^53 bytes"
)]
fn bytes_of(grains: usize) -> f64 {
    (grains as u64 * GRAIN_BYTES) as f64
}

/// A gauge that is raised while this lives, also when the future that holds it is dropped.
struct Counted(&'static str, f64);

impl Counted {
    fn new(name: &'static str, by: f64) -> Self {
        gauge!(name).increment(by);
        Self(name, by)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        gauge!(self.0).decrement(self.1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admission(max_working: usize, max_waiting: usize) -> Admission {
        Admission::new(&IngestSettings {
            max_working,
            max_waiting,
            body_budget_bytes: 64 << 20,
            ..IngestSettings::default()
        })
    }

    #[tokio::test(start_paused = true)]
    async fn beyond_those_who_work_and_wait_refusal_is_immediate() {
        let admission = Arc::new(admission(1, 1));
        let place = admission.enter().await.unwrap();
        let waiting = tokio::spawn({
            let admission = Arc::clone(&admission);
            async move { admission.enter().await }
        });
        tokio::task::yield_now().await;

        let begun = tokio::time::Instant::now();
        let refused = admission.enter().await.unwrap_err();
        assert_eq!(
            (refused.code, begun.elapsed()),
            ("overloaded", Duration::ZERO)
        );
        assert!(refused.retry_after_s.is_some());

        drop(place);
        assert!(waiting.await.unwrap().is_ok());
        assert!(admission.enter().await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_too_long_is_refused_and_gives_the_waiting_place_back() {
        let admission = admission(1, 1);
        let _working = admission.enter().await.unwrap();
        for _ in 0..3 {
            let begun = tokio::time::Instant::now();
            assert!(admission.enter().await.is_err());
            assert_eq!(begun.elapsed(), Duration::from_secs(2));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn all_bodies_together_never_hold_more_than_the_budget() {
        let admission = admission(8, 8);
        let first = admission.room(40 << 20).await.unwrap();
        assert!(admission.room(32 << 20).await.is_err());
        let mut growing = admission.room(0).await.unwrap();
        growing.grow_to(24 << 20).await.unwrap();
        assert!(growing.grow_to((24 << 20) + 1).await.is_err());
        drop(first);
        growing.grow_to(64 << 20).await.unwrap();
        drop(growing);
        assert_eq!(admission.memory.available_permits(), 64 << 10);
    }
}

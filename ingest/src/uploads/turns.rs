//! Turns at an upload within this process: the newest request has it, and whoever had it
//! before is told to stop and is waited for, so that what it received is not lost.
//! Between processes the catalog's fence decides; this only makes it gentle.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use schemas::UploadId;
use tokio::sync::OwnedMutexGuard;
use tokio_util::sync::CancellationToken;

/// How long the one before is waited for: one write to the store. Longer keeps a phone
/// waiting for a request that it has given up; shorter only loses what was in memory.
const WAIT: Duration = Duration::from_secs(10);

/// Who writes to which upload.
#[derive(Debug, Default)]
pub(crate) struct Turns(Mutex<HashMap<UploadId, Seat>>);

#[derive(Debug)]
struct Seat {
    newest: CancellationToken,
    seat: Arc<tokio::sync::Mutex<()>>,
}

/// The turn; given back when dropped.
#[derive(Debug)]
pub(crate) struct Turn {
    id: UploadId,
    over: CancellationToken,
    turns: Arc<Turns>,
    _seat: Option<OwnedMutexGuard<()>>,
}

impl Turns {
    /// Takes the turn; none if somebody newer took it meanwhile, or the one before does not end.
    pub(crate) async fn take(self: &Arc<Self>, id: UploadId) -> Option<Turn> {
        let over = CancellationToken::new();
        let seat = {
            let mut seats = self.seats();
            let seat = seats.entry(id).or_insert_with(|| Seat {
                newest: CancellationToken::new(),
                seat: Arc::default(),
            });
            seat.newest.cancel();
            seat.newest = over.clone();
            Arc::clone(&seat.seat)
        };
        let mut turn = Turn {
            id,
            over: over.clone(),
            turns: Arc::clone(self),
            _seat: None,
        };
        tokio::select! {
            biased;
            () = over.cancelled() => return None,
            seat = tokio::time::timeout(WAIT, seat.lock_owned()) => turn._seat = Some(seat.ok()?),
        }
        Some(turn)
    }

    fn seats(&self) -> MutexGuard<'_, HashMap<UploadId, Seat>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Turn {
    /// Waits until somebody newer wants the turn.
    pub(crate) async fn over(&self) {
        self.over.cancelled().await;
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut seats = self.turns.seats();
        // Else somebody newer sits there or waits.
        if !self.over.is_cancelled() {
            seats.remove(&self.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_newest_gets_the_turn_once_the_one_before_has_ended() {
        let turns = Arc::new(Turns::default());
        let id = UploadId::new();
        let first = turns.take(id).await.unwrap();
        let second = tokio::spawn({
            let turns = Arc::clone(&turns);
            async move { turns.take(id).await }
        });
        first.over().await;
        let third = tokio::spawn({
            let turns = Arc::clone(&turns);
            async move { turns.take(id).await }
        });
        assert!(second.await.unwrap().is_none(), "somebody newer came");
        assert!(!third.is_finished());
        drop(first);
        drop(third.await.unwrap().unwrap());
        assert!(turns.seats().is_empty());
    }
}

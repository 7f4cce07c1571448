//! The photos that wait for their verdict: captures go in when they are sent and
//! come out when they are judged, whichever of the two is heard of first.

use std::collections::{HashMap, VecDeque};

use schemas::CaptureId;
use schemas::http::Capture;

use super::journal::Line;
use super::walk::FileKey;

/// Verdicts of captures that are not known yet, kept in case their receipts are on
/// the way; others' captures are among them. More than are ever on the way at once.
const MAX_EARLY: usize = 1024;

/// A file whose photo waits.
#[derive(Debug)]
pub struct Waiting {
    /// The file.
    pub key: FileKey,
    /// Its line in the journal.
    pub line: Line,
}

/// All photos that wait.
#[derive(Debug, Default)]
pub struct Awaited {
    waiting: HashMap<CaptureId, Waiting>,
    /// Whom to ask about next; holds some that have been judged meanwhile.
    to_ask: VecDeque<CaptureId>,
    early: HashMap<CaptureId, Capture>,
    early_order: VecDeque<CaptureId>,
}

impl Awaited {
    /// How many wait.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// None waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Waits for a capture; gives its verdict if that was here first.
    pub fn expect(&mut self, id: CaptureId, waiting: Waiting) -> Option<Capture> {
        self.waiting.insert(id, waiting);
        if self.to_ask.len() > 2 * self.waiting.len() + MAX_EARLY {
            let waiting = &self.waiting;
            self.to_ask.retain(|id| waiting.contains_key(id));
        }
        self.to_ask.push_back(id);
        self.early.remove(&id)
    }

    /// The file of a capture that has been judged, which waits no more.
    pub fn decided(&mut self, capture: &Capture) -> Option<Waiting> {
        let waiting = self.waiting.remove(&capture.id);
        if waiting.is_none() {
            self.keep_early(capture);
        }
        waiting
    }

    /// The capture to ask about next.
    pub fn next_to_ask(&mut self) -> Option<CaptureId> {
        loop {
            let id = self.to_ask.pop_front()?;
            if self.waiting.contains_key(&id) {
                return Some(id);
            }
        }
    }

    /// Puts a capture behind all others, to be asked about again.
    pub fn ask_later(&mut self, id: CaptureId) {
        self.to_ask.push_back(id);
    }

    /// Whoever waits still.
    pub fn waiting(&self) -> impl Iterator<Item = &Waiting> {
        self.waiting.values()
    }

    fn keep_early(&mut self, capture: &Capture) {
        if self.early.insert(capture.id, capture.clone()).is_none() {
            self.early_order.push_back(capture.id);
        }
        if self.early_order.len() > MAX_EARLY
            && let Some(oldest) = self.early_order.pop_front()
        {
            self.early.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use schemas::Status;

    fn capture(id: CaptureId) -> Capture {
        serde_json::from_value(serde_json::json!({
            "id": id, "dataset": "cats-abc234", "label": "cat", "status": Status::Accepted,
            "sha256": "00", "received_at": "2026-01-01T00:00:00Z",
        }))
        .unwrap()
    }

    fn waiting(n: u128) -> Waiting {
        let key = FileKey(n);
        let line = Line::new(key, "cat/a.jpg", None);
        Waiting { key, line }
    }

    #[test]
    fn a_verdict_that_is_faster_than_its_receipt_is_not_lost() {
        let mut awaited = Awaited::default();
        let id = CaptureId::new();
        assert!(awaited.decided(&capture(id)).is_none());
        let early = awaited.expect(id, waiting(1)).unwrap();
        assert_eq!(awaited.decided(&early).unwrap().key, FileKey(1));
        assert!(awaited.is_empty());
    }

    #[test]
    fn verdicts_of_others_do_not_pile_up() {
        let mut awaited = Awaited::default();
        for _ in 0..10 * MAX_EARLY {
            awaited.decided(&capture(CaptureId::new()));
        }
        assert_eq!(awaited.early.len(), MAX_EARLY);
        assert_eq!(awaited.early_order.len(), MAX_EARLY);
    }

    #[test]
    fn those_that_are_judged_are_forgotten() {
        let mut awaited = Awaited::default();
        for n in 0..100_000 {
            let id = CaptureId::new();
            awaited.expect(id, waiting(n));
            awaited.decided(&capture(id));
        }
        assert!(awaited.is_empty());
        assert!(awaited.to_ask.len() <= MAX_EARLY + 2);
    }

    #[test]
    fn each_that_waits_is_asked_about_in_turn() {
        let mut awaited = Awaited::default();
        let ids: Vec<CaptureId> = (0..3).map(|_| CaptureId::new()).collect();
        for (n, &id) in ids.iter().enumerate() {
            assert!(awaited.expect(id, waiting(n as u128)).is_none());
        }
        awaited.decided(&capture(ids[1]));
        assert_eq!(awaited.next_to_ask(), Some(ids[0]));
        awaited.ask_later(ids[0]);
        assert_eq!(awaited.next_to_ask(), Some(ids[2]));
        assert_eq!(awaited.next_to_ask(), Some(ids[0]));
        assert_eq!(awaited.next_to_ask(), None);
    }
}

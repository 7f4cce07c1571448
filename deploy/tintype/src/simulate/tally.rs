//! What came of a simulation: acknowledgements and verdicts come in, rates, latencies and
//! everything that should not be go out.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use schemas::{CaptureId, Status};
use serde::Serialize;

/// An acknowledged photo.
pub struct Sent {
    pub capture: CaptureId,
    /// What named the upload; the same for each try.
    pub key: String,
    /// When the phone first wanted to send it.
    pub begun: Instant,
    pub acknowledged: Instant,
}

/// What the phones saw.
#[derive(Default)]
pub struct Tally {
    pub sent: Vec<Sent>,
    /// Photos that were refused or given up, and why.
    pub refused: Vec<String>,
    pub num_failed_requests: u64,
}

/// The result of a simulation.
#[derive(Debug, Serialize)]
pub struct Report {
    pub photos_acknowledged: usize,
    pub photos_per_s: f64,
    pub seconds: f64,
    /// Requests that failed and were tried again.
    pub failed_requests: u64,
    pub to_acknowledgement_s: Percentiles,
    /// From the acknowledgement; of verdicts that were told as they fell.
    pub to_verdict_s: Percentiles,
    pub verdicts: HashMap<String, u64>,
    /// Acknowledged photos without a verdict.
    pub lost: usize,
    /// Uploads that were acknowledged as two captures.
    pub doubled: usize,
    pub refused: Vec<String>,
}

/// Of some times, in seconds.
#[derive(Debug, Serialize)]
pub struct Percentiles {
    pub p50: f64,
    pub p99: f64,
    pub longest: f64,
}

impl Tally {
    /// An upload was acknowledged as this capture.
    pub fn note(&mut self, key: &str, capture: CaptureId, begun: Instant) {
        self.sent.push(Sent {
            capture,
            key: key.into(),
            begun,
            acknowledged: Instant::now(),
        });
    }

    /// Puts together what was sent, when verdicts were told, and what they are.
    pub fn report(
        self,
        sending: Duration,
        told: &HashMap<CaptureId, Instant>,
        fates: &HashMap<CaptureId, Option<Status>>,
    ) -> Report {
        let mut by_key: HashMap<&str, CaptureId> = HashMap::new();
        let mut doubled = 0;
        for sent in &self.sent {
            let first = *by_key.entry(&sent.key).or_insert(sent.capture);
            doubled += usize::from(first != sent.capture);
        }
        let photos = by_key.len();
        let to_ack = self.sent.iter().map(|sent| sent.acknowledged - sent.begun);
        let to_verdict = self.sent.iter().filter_map(|sent| {
            Some(
                told.get(&sent.capture)?
                    .saturating_duration_since(sent.acknowledged),
            )
        });
        let mut verdicts: HashMap<String, u64> = HashMap::new();
        for status in fates.values().flatten() {
            *verdicts.entry(status.as_str().into()).or_default() += 1;
        }
        Report {
            photos_acknowledged: photos,
            photos_per_s: photos as f64 / sending.as_secs_f64(),
            seconds: sending.as_secs_f64(),
            failed_requests: self.num_failed_requests,
            to_acknowledgement_s: Percentiles::of(to_ack),
            to_verdict_s: Percentiles::of(to_verdict),
            verdicts,
            lost: fates.values().filter(|status| status.is_none()).count(),
            doubled,
            refused: self.refused,
        }
    }
}

impl Percentiles {
    fn of(times: impl Iterator<Item = Duration>) -> Self {
        let mut times: Vec<f64> = times.map(|time| time.as_secs_f64()).collect();
        times.sort_by(f64::total_cmp);
        let at = |share: f64| {
            let place = ((times.len() as f64 * share).ceil() as usize).saturating_sub(1);
            times.get(place).copied().unwrap_or_default()
        };
        Self {
            p50: at(0.5),
            p99: at(0.99),
            longest: at(1.0),
        }
    }
}

impl Report {
    /// Whether nothing is lost, doubled or refused.
    pub fn is_well(&self) -> bool {
        self.lost == 0 && self.doubled == 0 && self.refused.is_empty()
    }

    /// For people.
    pub fn text(&self, dataset: &str) -> String {
        let mut verdicts: Vec<_> = self.verdicts.iter().collect();
        verdicts.sort();
        let verdicts: Vec<_> = verdicts
            .iter()
            .map(|(name, count)| format!("{count} {name}"))
            .collect();
        let times = |what: &str, times: &Percentiles| {
            format!(
                "{what:<22}p50 {:.3} s   p99 {:.3} s   longest {:.3} s",
                times.p50, times.p99, times.longest
            )
        };
        let mut lines = vec![
            format!(
                "{} photos acknowledged in {:.1} s: {:.1} a second",
                self.photos_acknowledged, self.seconds, self.photos_per_s
            ),
            format!(
                "{} requests failed and were tried again",
                self.failed_requests
            ),
            times("to acknowledgement", &self.to_acknowledgement_s),
            times("from there to verdict", &self.to_verdict_s),
            format!("verdicts: {}", verdicts.join(", ")),
            format!(
                "acknowledged without a verdict: {}; as two captures: {}; refused: {}",
                self.lost,
                self.doubled,
                self.refused.len()
            ),
        ];
        lines.extend(self.refused.iter().take(20).map(|line| format!("  {line}")));
        if self.is_well() {
            lines.push(format!(
                "every photo has exactly one verdict; see them: tintype status {dataset}"
            ));
        }
        lines.join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_photo_without_a_verdict_is_lost_and_two_captures_of_one_upload_are_doubled() {
        let now = Instant::now();
        let ids = [CaptureId::new(), CaptureId::new(), CaptureId::new()];
        let sent = |capture, key: &str| Sent {
            capture,
            key: key.into(),
            begun: now,
            acknowledged: now,
        };
        let tally = Tally {
            sent: vec![sent(ids[0], "a"), sent(ids[1], "b"), sent(ids[2], "b")],
            ..Tally::default()
        };
        let fates = HashMap::from([
            (ids[0], Some(Status::Accepted)),
            (ids[1], None),
            (ids[2], Some(Status::Duplicate)),
        ]);
        let report = tally.report(Duration::from_secs(1), &HashMap::new(), &fates);
        assert_eq!(
            (report.photos_acknowledged, report.lost, report.doubled),
            (2, 1, 1)
        );
        assert!(!report.is_well());
    }
}

//! What each step of preparing a photo takes: `stages [-n ROUNDS] PHOTO...` prepares each
//! photo so often on this thread, and prints a line of JSON for it: the file, and the median
//! milliseconds of each step. benches/peers/stages.py holds them beside other programs.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use metrics::{
    Counter, Gauge, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString, Unit,
};
use processor::prepare::{Limits, prepare};
use serde_json::json;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let steps = Steps::default();
    metrics::set_global_recorder(steps.clone())?;
    let mut arguments = std::env::args().skip(1).peekable();
    let mut rounds = 9;
    if arguments.next_if_eq("-n").is_some() {
        rounds = arguments.next().ok_or("-n takes a number")?.parse()?;
    }
    for path in arguments.map(PathBuf::from) {
        let bytes = std::fs::read(&path)?;
        // The first time pays for memory that the others find warm.
        for round in 0..=rounds {
            if let Err(rejection) = prepare(&bytes, &Limits::default()) {
                return Err(format!("{}: {}", path.display(), rejection.detail).into());
            }
            if round == 0 {
                steps.take();
            }
        }
        let median = |mut times: Vec<f64>| {
            times.sort_by(f64::total_cmp);
            times[times.len() / 2] * 1e3
        };
        let steps: BTreeMap<_, _> = steps
            .take()
            .into_iter()
            .map(|(step, times)| (step, median(times)))
            .collect();
        println!(
            "{}",
            json!({"file": path.display().to_string(), "steps": steps})
        );
    }
    Ok(())
}

/// Keeps every step's times; all other metrics go nowhere.
#[derive(Clone, Default)]
struct Steps(Arc<Mutex<BTreeMap<String, Vec<f64>>>>);

impl Steps {
    fn take(&self) -> BTreeMap<String, Vec<f64>> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

struct Step(Steps, String);

impl HistogramFn for Step {
    fn record(&self, seconds: f64) {
        let mut steps = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        steps.entry(self.1.clone()).or_default().push(seconds);
    }
}

impl Recorder for Steps {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn register_counter(&self, _: &Key, _: &Metadata<'_>) -> Counter {
        Counter::noop()
    }
    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }
    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        let step = key.labels().find(|label| label.key() == "step");
        step.map_or_else(Histogram::noop, |step| {
            Histogram::from_arc(Arc::new(Step(self.clone(), step.value().to_owned())))
        })
    }
}

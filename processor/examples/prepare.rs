//! What Tintype makes of photos: `prepare [--out FOLDER] FILE|FOLDER...` prints one line
//! of JSON for each file, writes the finished pictures into the folder, numbered like
//! the lines, and tells at the end, on standard error, what the steps cost.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use metrics::{
    Counter, Gauge, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString, Unit,
};
use processor::prepare::{Limits, prepare, quality_findings};
use serde_json::{Value, json};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let steps = Steps::default();
    metrics::set_global_recorder(steps.clone())?;
    let limits = Limits::default();
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from).peekable();
    let out = arguments
        .next_if(|first| first.as_os_str() == "--out")
        .and_then(|_| arguments.next());
    let mut number = 0;
    for path in arguments {
        for file in files(&path)? {
            let bytes = std::fs::read(&file)?;
            let began = Instant::now();
            let result = prepare(&bytes, &limits);
            let took = began.elapsed();
            number += 1;
            if let (Some(out), Ok(photo)) = (&out, &result) {
                std::fs::write(out.join(format!("{number}.jpg")), &photo.jpeg)?;
            }
            let mut line = match result {
                Ok(photo) => json!({
                    "width": photo.width,
                    "height": photo.height,
                    "original": photo.original.map(|o| json!([o.format, o.width, o.height])),
                    "captured_at_us": photo.captured_at_us,
                    "camera": photo.camera,
                    "finding": photo.scores.as_ref().and_then(quality_findings)
                        .map(|(reason, words)| json!([reason, words])),
                    "scores": photo.scores.map(schemas::http::Scores::from),
                    "phash": format!("{:016x}", photo.phash),
                    "pdq": hex(&photo.pdq),
                    "pdq_quality": photo.pdq_quality,
                    "pdq_turned": hex(&photo.pdq_turned),
                    "pixel_sha256": hex(&photo.pixel_sha256),
                    "jpeg_bytes": photo.jpeg.len(),
                }),
                Err(rejection) => json!({
                    "reason": rejection.reason,
                    "detail": rejection.detail,
                    "original": rejection.original.map(|o| json!([o.format, o.width, o.height])),
                }),
            };
            line["file"] = Value::from(file.display().to_string());
            line["ms"] = Value::from(took.as_secs_f64() * 1e3);
            println!("{line}");
        }
    }
    steps.print();
    Ok(())
}

/// The file itself, or every file below a folder.
fn files(path: &Path) -> std::io::Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut entries: Vec<_> = std::fs::read_dir(path)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    entries.sort();
    let mut found = Vec::new();
    for entry in entries {
        found.extend(files(&entry)?);
    }
    Ok(found)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// Keeps every step's times; all other metrics go nowhere.
#[derive(Clone, Default)]
struct Steps(Arc<Mutex<BTreeMap<String, Vec<f64>>>>);

impl Steps {
    fn print(&self) {
        let mut steps = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        eprintln!("step          n    median ms       p95      mean");
        for (step, times) in steps.iter_mut() {
            times.sort_by(f64::total_cmp);
            let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize] * 1e3;
            let mean = times.iter().sum::<f64>() / times.len() as f64 * 1e3;
            eprintln!(
                "{step:8} {:6} {:12.2} {:9.2} {mean:9.2}",
                times.len(),
                at(0.5),
                at(0.95)
            );
        }
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

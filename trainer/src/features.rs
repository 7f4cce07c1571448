//! The backbone's features of photos: pictures come in by their place in the table, one
//! row of numbers for each goes out, in the same order. What the table holds already is
//! taken from there: it is the same to the bit.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};

use graph::{EmbeddingModel, Executor, Graph};
use schemas::InputSpec;

use crate::error::TrainerError;
use crate::photo;
use crate::reporter::Reporter;
use crate::table::{Photo, Photos};

/// Photos of a batch. Larger only takes memory: the network takes them one by one.
const BATCH: usize = 8;

/// Which features.
pub struct Wanted<'a> {
    /// The backbone.
    pub graph: &'a Graph,
    /// What it takes.
    pub input: &'a InputSpec,
    /// What the table calls them, if it may hold them.
    pub model: Option<EmbeddingModel>,
}

/// The features of all photos: those that the table holds, and the others computed, on
/// every core.
///
/// # Errors
/// A photo cannot be read, or the training was stopped.
pub fn of(
    photos: &Photos,
    wanted: &Wanted<'_>,
    reporter: &Reporter,
) -> Result<Vec<f32>, TrainerError> {
    let network = |fault| TrainerError::network("computing features")(fault);
    let executor = Executor::new(wanted.graph).map_err(|fault| network(Box::new(fault)))?;
    let num_features = executor.num_features();
    let mut features = vec![0.0f32; photos.all().len() * num_features];
    let name = wanted.model.map(|model| model.to_string());
    let mut missing = Vec::new();
    for (photo, out) in photos.all().iter().zip(features.chunks_mut(num_features)) {
        let stored = match &name {
            Some(name) => photos.embedding(photo, name, out)?,
            None => false,
        };
        if !stored {
            missing.push((photo, out));
        }
    }
    if name.is_some() {
        let (num_photos, num_missing) = (photos.all().len(), missing.len());
        let of_table = num_photos - num_missing;
        reporter.note(match num_missing {
            0 => format!("the table holds the features of all {num_photos} photos"),
            _ => format!(
                "the table holds the features of {of_table} of {num_photos} photos; those of \
                 {num_missing} are computed"
            ),
        });
    }
    compute(photos, executor, wanted.input, missing, reporter)?;
    Ok(features)
}

fn compute(
    photos: &Photos,
    executor: Executor,
    input: &InputSpec,
    mut missing: Vec<(&Photo, &mut [f32])>,
    reporter: &Reporter,
) -> Result<(), TrainerError> {
    let network = |fault| TrainerError::network("computing features")(fault);
    let num_threads = std::thread::available_parallelism().map_or(1, usize::from);
    reporter.stage("computing features", missing.len() as u64);
    let num_done = AtomicUsize::new(0);
    let batches = Mutex::new(missing.chunks_mut(BATCH));
    let next = || {
        batches
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .next()
    };
    let work = |mut executor: Executor| -> Result<(), TrainerError> {
        let num_features = executor.num_features();
        let mut inputs = Vec::new();
        while let Some(batch) = next() {
            if !reporter.go_on() {
                return Err(TrainerError::Stopped);
            }
            inputs.clear();
            for (photo, _) in batch.iter() {
                let picture = photo::decode(&photos.jpeg(photo)?)?;
                inputs.extend(photo::input(&picture, input)?);
            }
            let found = executor
                .run(&inputs)
                .map_err(|fault| network(Box::new(fault)))?;
            let rows = found.features.chunks_exact(num_features);
            for ((_, out), row) in batch.iter_mut().zip(rows) {
                out.copy_from_slice(row);
            }
            let done = num_done.fetch_add(batch.len(), Ordering::Relaxed);
            reporter.done((done + batch.len()) as u64);
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..num_threads)
            .map(|_| {
                let executor = executor.share();
                scope.spawn(|| work(executor))
            })
            .collect();
        for thread in threads {
            thread.join().map_err(|_| TrainerError::Network {
                doing: "computing features".into(),
                fault: "a thread panicked".into(),
            })??;
        }
        Ok(())
    })
}

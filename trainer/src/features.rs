//! The backbone's features of photos: pictures come in by their place in the table, one
//! row of numbers for each goes out, in the same order.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};

use graph::{Executor, Graph};
use schemas::InputSpec;

use crate::error::TrainerError;
use crate::photo;
use crate::reporter::Reporter;
use crate::table::Photos;

/// Photos of a batch. Larger only takes memory: the products are large enough.
const BATCH: usize = 8;

/// Computes the features of all photos, on every core.
///
/// # Errors
/// A photo cannot be read, or the training was stopped.
pub fn compute(
    graph: &Graph,
    photos: &Photos,
    input: &InputSpec,
    reporter: &Reporter,
) -> Result<Vec<f32>, TrainerError> {
    let network = |fault| TrainerError::network("computing features")(fault);
    let model = Executor::new(graph).map_err(|fault| network(Box::new(fault)))?;
    let num_features = model.num_features();
    let all = photos.all();
    let mut features = vec![0.0f32; all.len() * num_features];
    let num_threads = std::thread::available_parallelism().map_or(1, usize::from);
    reporter.stage("computing features", all.len() as u64);
    let num_done = AtomicUsize::new(0);
    let batches: Vec<_> = all
        .chunks(BATCH)
        .zip(features.chunks_mut(BATCH * num_features))
        .collect();
    let batches = Mutex::new(batches.into_iter());
    let next = || {
        batches
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .next()
    };
    let work = |mut model: Executor| -> Result<(), TrainerError> {
        let mut inputs = Vec::new();
        while let Some((photos_of_batch, out)) = next() {
            if !reporter.go_on() {
                return Err(TrainerError::Stopped);
            }
            inputs.clear();
            for photo in photos_of_batch {
                let picture = photo::decode(&photos.jpeg(photo)?)?;
                inputs.extend(photo::input(&picture, input)?);
            }
            let found = model
                .run(&inputs)
                .map_err(|fault| network(Box::new(fault)))?;
            out.copy_from_slice(found.features);
            let done = num_done.fetch_add(photos_of_batch.len(), Ordering::Relaxed);
            reporter.done((done + photos_of_batch.len()) as u64);
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..num_threads)
            .map(|_| {
                let model = model.share();
                scope.spawn(|| work(model))
            })
            .collect();
        for thread in threads {
            thread.join().map_err(|_| TrainerError::Network {
                doing: "computing features".into(),
                fault: "a thread panicked".into(),
            })??;
        }
        Ok::<(), TrainerError>(())
    })?;
    Ok(features)
}

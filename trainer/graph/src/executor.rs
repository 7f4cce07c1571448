//! Runs a graph on the CPU. Comes in: photos as normalised RGB floats, NHWC. Goes out:
//! pooled features and logits. Weights are packed once and shared; after the first run
//! nothing is allocated. The same photo gives the same bits alone, in any batch and on
//! any number of threads; another instruction set may change the last bits.

use std::num::NonZeroUsize;
use std::sync::Arc;

use pulp::Arch;

use crate::graph::{Graph, GraphError, Shape};

mod layout;
mod plan;
use plan::Plan;

mod observer;
pub use observer::Observer;

mod bands;
mod convolution;
mod depthwise;
mod simple;

/// A network ready to run. One is used by one caller at a time; [`Executor::share`]
/// gives another thread its own.
#[derive(Debug)]
pub struct Executor {
    plan: Arc<Plan>,
    /// One per thread.
    arenas: Vec<Arena>,
    features: Vec<f32>,
    logits: Vec<f32>,
}

/// What came out, valid until the next run: one row per photo.
#[derive(Debug, Clone, Copy)]
pub struct Results<'a> {
    /// The features, [`Executor::num_features`] per photo.
    pub features: &'a [f32],
    /// The head's results, [`Executor::num_outputs`] per photo; without a head the
    /// features once more.
    pub logits: &'a [f32],
}

/// The photos are not a whole number of inputs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{num_values} values are no whole number of photos of {} x {} x {}",
    input.height, input.width, input.channels
)]
pub struct InputError {
    /// The values that were handed over.
    pub num_values: usize,
    /// What one photo is.
    pub input: Shape,
}

/// The activations of one thread, each slot used by several nodes in turn.
#[derive(Debug)]
struct Arena {
    slots: Vec<Vec<f32>>,
}

impl Arena {
    fn new(plan: &Plan) -> Self {
        let slots = plan.slots.iter().map(|&length| vec![0.0; length]);
        Self {
            slots: slots.collect(),
        }
    }
}

impl Executor {
    /// Prepares a graph, on one thread.
    ///
    /// # Errors
    /// [`GraphError`] if the graph breaks its own rules.
    pub fn new(graph: &Graph) -> Result<Self, GraphError> {
        Ok(Self::of(Arc::new(Plan::new(graph, Arch::new())?)))
    }

    fn of(plan: Arc<Plan>) -> Self {
        Self {
            arenas: vec![Arena::new(&plan)],
            plan,
            features: Vec::new(),
            logits: Vec::new(),
        }
    }

    /// Another executor with the same weights in memory and buffers of its own.
    pub fn share(&self) -> Self {
        Self::of(self.plan.clone())
    }

    /// The same on several threads, which share out the photos of each batch.
    pub fn with_threads(mut self, num_threads: NonZeroUsize) -> Self {
        let plan = &self.plan;
        self.arenas
            .resize_with(num_threads.get(), || Arena::new(plan));
        self
    }

    /// What one photo is.
    pub fn input(&self) -> Shape {
        self.plan.input
    }

    /// Length of a photo's features.
    pub fn num_features(&self) -> usize {
        self.plan.features.shape.num_values()
    }

    /// Length of a photo's result: the number of classes, if there is a head.
    pub fn num_outputs(&self) -> usize {
        self.output().num_values()
    }

    /// What the result of one photo is, rows by columns by channels.
    pub fn output(&self) -> Shape {
        self.plan.output.shape
    }

    /// Runs the network on a batch, each photo `height * width * channels` values.
    ///
    /// # Errors
    /// [`InputError`] if the length is no multiple of one photo's.
    pub fn run(&mut self, photos: &[f32]) -> Result<Results<'_>, InputError> {
        let input = self.plan.input;
        let length = input.num_values();
        if !photos.len().is_multiple_of(length) {
            return Err(InputError {
                num_values: photos.len(),
                input,
            });
        }
        let num_photos = photos.len() / length;
        let (num_features, num_outputs) = (self.num_features(), self.num_outputs());
        self.features.resize(num_photos * num_features, 0.0);
        self.logits.resize(num_photos * num_outputs, 0.0);

        let share = num_photos.div_ceil(self.arenas.len()).max(1);
        let plan = &*self.plan;
        let mut shares = photos
            .chunks(share * length)
            .zip(self.features.chunks_mut(share * num_features))
            .zip(self.logits.chunks_mut(share * num_outputs))
            .zip(&mut self.arenas)
            .map(|(((photos, features), logits), arena)| Share {
                photos,
                features,
                logits,
                arena,
            });
        let work = |share: Share<'_>| {
            let rows = share
                .photos
                .chunks_exact(length)
                .zip(share.features.chunks_exact_mut(num_features))
                .zip(share.logits.chunks_exact_mut(num_outputs));
            for ((photo, features), logits) in rows {
                plan.run(&mut share.arena.slots, photo);
                plan.features.copy(&share.arena.slots, features);
                plan.output.copy(&share.arena.slots, logits);
            }
        };
        // The caller's thread takes the first share.
        let first = shares.next();
        std::thread::scope(|scope| {
            for share in shares {
                scope.spawn(move || work(share));
            }
            first.map(work);
        });
        Ok(Results {
            features: &self.features,
            logits: &self.logits,
        })
    }
}

/// One thread's part of a batch.
struct Share<'a> {
    photos: &'a [f32],
    features: &'a mut [f32],
    logits: &'a mut [f32],
    arena: &'a mut Arena,
}

#[cfg(test)]
mod tests;

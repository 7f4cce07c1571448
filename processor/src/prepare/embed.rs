//! Step 10: the embedding of the finished JPEG, once there is a network for it. In: the
//! photo of a row; out: the same with `embedding` and the name of what computed it.
//!
//! It is computed from the row's own JPEG, decoded again: so a training that computes it
//! later gets the same bits, and a prediction sees what the row would have held. No
//! verdict depends on it: a photo without an embedding is a photo.

use std::panic::{self, AssertUnwindSafe};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use graph::{
    ArchitectureError, Backbone, EmbeddingModel, Executor, Graph, GraphError, Picture, Weights,
};
use metrics::counter;
use schemas::events::Photo;
use schemas::{InputSpec, Sha256};

use super::timed;
use crate::metrics::EMBEDDING_FAILURES;

/// A backbone in memory. Threads share its weights (14 MB for a MobileNetV2); each that is
/// at work has its own activations (some 5 MB), kept for the next photo.
#[derive(Debug)]
pub struct Embedder {
    model: EmbeddingModel,
    name: String,
    input: InputSpec,
    first: Executor,
    /// Those that nobody uses now; never more than threads ever ran at once.
    idle: Mutex<Vec<Executor>>,
}

/// Why there is no embedder.
#[derive(Debug, thiserror::Error)]
pub enum EmbedderError {
    /// The weights are not the architecture's, or it has no such side.
    #[error(transparent)]
    Weights(#[from] ArchitectureError),
    /// The network cannot be computed.
    #[error(transparent)]
    Network(#[from] GraphError),
}

impl Embedder {
    /// Folds the weights of the file with this hash into the network.
    ///
    /// # Errors
    /// They are not the architecture's, or it has no such side.
    pub fn new(
        backbone: Backbone,
        weights: &Weights,
        sha256: Sha256,
    ) -> Result<Self, EmbedderError> {
        let Backbone { architecture, side } = backbone;
        let graph = Graph::build(architecture, weights, side)?.with_head(Vec::new())?;
        let model = backbone.with_weights(sha256);
        Ok(Self {
            model,
            name: model.to_string(),
            input: architecture.input_spec_at(side)?,
            first: Executor::new(&graph)?,
            idle: Mutex::default(),
        })
    }

    /// What its embeddings are embeddings of.
    pub fn model(&self) -> EmbeddingModel {
        self.model
    }

    /// The embedding of a row's JPEG.
    ///
    /// # Errors
    /// The JPEG is not one that the processor wrote, in words.
    pub fn embed(&self, jpeg: &[u8]) -> Result<Vec<f32>, String> {
        let picture = Picture::decode(jpeg).map_err(|fault| fault.to_string())?;
        let (width, height) = (picture.width as usize, picture.height as usize);
        let input = self.input.preprocess(&picture.rgb, width, height);
        let input = input.map_err(|fault| fault.to_string())?;
        let idle = self.lock().pop();
        let mut executor = idle.unwrap_or_else(|| self.first.share());
        let results = executor.run(&input).map_err(|fault| fault.to_string())?;
        let features = results.features.to_vec();
        self.lock().push(executor);
        Ok(features)
    }

    /// The same, though the JPEG or the network may make it panic: a photo's misfortune is not
    /// that of those that come after it.
    pub(crate) fn try_embed(&self, jpeg: &[u8]) -> Result<Vec<f32>, String> {
        // An executor that panicked is dropped with its buffers; nothing else is touched.
        let embed = AssertUnwindSafe(|| self.embed(jpeg));
        panic::catch_unwind(embed).unwrap_or_else(|_| Err("it panicked".into()))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Executor>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether photos get embeddings: the place of an [`Embedder`] that may come while photos
/// already do. Clones are the same place.
#[derive(Debug, Clone, Default)]
pub struct Embedding(Arc<OnceLock<Embedder>>);

impl Embedding {
    /// From now on photos get embeddings. The first one stays: embeddings of two models cannot
    /// be compared.
    pub fn begin(&self, embedder: Embedder) {
        // Whoever comes second brings nothing that is missed.
        let _ = self.0.set(embedder);
    }

    /// What computes them, if anything does yet.
    pub fn embedder(&self) -> Option<&Embedder> {
        self.0.get()
    }

    /// Gives the photo its embedding, if there is something to compute it with.
    pub(crate) fn complete(&self, photo: &mut Photo) {
        let Some(embedder) = self.embedder() else {
            return;
        };
        match timed("embed", || embedder.try_embed(&photo.jpeg)) {
            Ok(embedding) => {
                photo.embedding = embedding;
                photo.embedding_model.clone_from(&embedder.name);
            }
            Err(fault) => {
                counter!(EMBEDDING_FAILURES).increment(1);
                tracing::error!(fault, "a photo goes without embedding");
            }
        }
    }
}

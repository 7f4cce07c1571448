//! The kinds of photo of a dataset, found anew beside the stage: up to a second of one core,
//! during which other photos of the partition wait and the broker is heard all the same.

use schemas::DatasetId;
use schemas::events::photo_prepared::Result as Prepared;
use schemas::events::{CaptureDecided, PhotoPrepared};

use super::{Dataset, Organizer, dataset_of};
use crate::error::ProcessorError;
use crate::organize::outcome::relocation;

/// The model whose embeddings must be fitted before this photo is judged.
pub(super) fn awaits_fit(dataset: &Dataset, prepared: &PhotoPrepared) -> Option<String> {
    let Some(Prepared::Photo(photo)) = &prepared.result else {
        return None;
    };
    let model = &photo.embedding_model;
    dataset
        .index
        .clusters
        .needs_fit(model)
        .then(|| model.clone())
}

impl Organizer {
    /// Fits, and tells which photos belong elsewhere now.
    pub(super) async fn fit_clusters(
        &mut self,
        partition: i32,
        id: &DatasetId,
        model: String,
    ) -> Result<(), ProcessorError> {
        let Some(dataset) = dataset_of(&mut self.partitions, partition, id) else {
            return Ok(());
        };
        let mut clusters = std::mem::take(&mut dataset.index.clusters);
        let fitted = tokio::task::spawn_blocking(move || {
            let moved = clusters.fit(&model);
            (clusters, moved)
        });
        let (clusters, moved) = fitted.await.map_err(|error| {
            ProcessorError::Subscription(format!("finding kinds of photo: {error}"))
        })?;
        dataset.index.clusters = clusters;
        tracing::debug!(dataset = %id, num_moved = moved.len(), "kinds of photo found anew");
        for moved in &moved {
            self.outcomes
                .tell(CaptureDecided {
                    dataset_id: id.to_string(),
                    ..relocation(moved)
                })
                .await?;
        }
        Ok(())
    }
}

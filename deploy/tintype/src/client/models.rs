//! Trainings and models: asked for, followed, fetched, asked about photos.

use std::path::Path;
use std::time::Duration;

use reqwest::Method;
use schemas::training::{Model, ModelList, Prediction, Training, TrainingList};
use schemas::{ModelId, TrainingId};
use serde_json::{Map, Value};
use tokio::io::AsyncWriteExt as _;

use super::{ANSWER_TIMEOUT, Client, ClientError, component};

/// How long a file of a model may take: 200 MB over a slow link.
const FILE_TIMEOUT: Duration = Duration::from_secs(1800);
/// How long a prediction may take, loading the model included.
const PREDICT_TIMEOUT: Duration = Duration::from_secs(120);

impl Client {
    /// Starts a training of this spec.
    pub async fn train(
        &self,
        dataset: &str,
        spec: &Map<String, Value>,
    ) -> Result<Training, ClientError> {
        let path = format!("/v1/datasets/{}/trainings", component(dataset));
        self.post(&path, spec).await
    }

    /// Where a training stands.
    pub async fn training(&self, id: TrainingId) -> Result<Training, ClientError> {
        self.get(&format!("/v1/trainings/{id}")).await
    }

    /// The newest trainings, of one dataset or of all.
    pub async fn trainings(&self, dataset: Option<&str>) -> Result<TrainingList, ClientError> {
        let of = dataset.map(|name| format!("?dataset={}", component(name)));
        self.get(&format!("/v1/trainings{}", of.unwrap_or_default()))
            .await
    }

    /// Calls a training off.
    pub async fn cancel_training(&self, id: TrainingId) -> Result<Training, ClientError> {
        let request = self.request(Method::DELETE, &format!("/v1/trainings/{id}"));
        self.read(request.timeout(ANSWER_TIMEOUT)).await
    }

    /// The newest models, of one dataset or of all.
    pub async fn models(&self, dataset: Option<&str>) -> Result<ModelList, ClientError> {
        let of = dataset.map(|name| format!("?dataset={}", component(name)));
        self.get(&format!("/v1/models{}", of.unwrap_or_default()))
            .await
    }

    /// A model.
    pub async fn model(&self, id: ModelId) -> Result<Model, ClientError> {
        self.get(&format!("/v1/models/{id}")).await
    }

    /// Deletes a model.
    pub async fn delete_model(&self, id: ModelId) -> Result<(), ClientError> {
        self.delete(&format!("/v1/models/{id}")).await
    }

    /// Fetches a file of a model into `to`, which must not exist yet.
    ///
    /// # Errors
    /// The server refuses or breaks off, or the file cannot be written.
    pub async fn model_file(&self, id: ModelId, name: &str, to: &Path) -> anyhow::Result<()> {
        let path = format!("/v1/models/{id}/files/{}", component(name));
        let request = self.request(Method::GET, &path).timeout(FILE_TIMEOUT);
        let failed = |error| ClientError::from_transport(self.url(), error);
        let mut response = request.send().await.map_err(failed)?;
        let status = response.status();
        if !status.is_success() {
            let body = response.bytes().await.map_err(failed)?;
            return Err(ClientError::from_answer(self.url(), status.into(), None, &body).into());
        }
        let mut file = tokio::fs::File::create_new(to).await?;
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            file.write_all(&chunk).await?;
        }
        file.sync_all().await?;
        Ok(())
    }

    /// What a model says of a photo.
    ///
    /// # Errors
    /// The photo cannot be read, or the server refuses.
    pub async fn predict(
        &self,
        id: ModelId,
        photo: &Path,
        top: usize,
    ) -> anyhow::Result<Prediction> {
        use anyhow::Context as _;
        let reading = || format!("reading {}", photo.display());
        let file = tokio::fs::File::open(photo).await.with_context(reading)?;
        let num_bytes = file.metadata().await.with_context(reading)?.len();
        let request = self
            .request(Method::POST, &format!("/v1/models/{id}/predict?top={top}"))
            .header(reqwest::header::CONTENT_LENGTH, num_bytes)
            .timeout(PREDICT_TIMEOUT)
            .body(file);
        Ok(self.read(request).await?)
    }
}

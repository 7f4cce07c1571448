//! The trainer's routes: trainings, models, and what a model says of a photo.

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post};
use catalog::http::{ApiError, require_dataset};
use catalog::{Catalog, Principal};
use object_store::ObjectStore;
use schemas::DatasetId;
use serde::Deserialize;
use tokio_util::sync::CancellationToken;

use crate::predict::{PhotoPreparer, Predictor};

mod trainings;

mod enough;

mod events;

mod models;

mod predict;

mod openapi;
pub use openapi::openapi;

/// The longest spec: ten thousand classes of 100 bytes.
const MAX_SPEC_BYTES: usize = 1024 * 1024;

/// What the routes need.
#[derive(Clone)]
pub struct ApiSettings {
    /// Trainings and models.
    pub catalog: Catalog,
    /// Our folder of the object store.
    pub objects: Arc<dyn ObjectStore>,
    /// Makes of any file what the processor would have made of it.
    pub preparer: Arc<dyn PhotoPreparer>,
    /// The largest photo to predict, in bytes.
    pub max_body_bytes: u64,
}

#[derive(Clone)]
struct Api {
    catalog: Catalog,
    objects: Arc<dyn ObjectStore>,
    predictor: Predictor,
    followers: events::Followers,
    max_body_bytes: usize,
    shutdown: CancellationToken,
}

/// The routes, to be merged with those of other crates. Live events end on `shutdown`.
pub fn router(settings: ApiSettings, shutdown: CancellationToken) -> Router {
    let api = Api {
        catalog: settings.catalog,
        predictor: Predictor::new(settings.objects.clone(), settings.preparer),
        objects: settings.objects,
        followers: events::Followers::new(),
        max_body_bytes: usize::try_from(settings.max_body_bytes).unwrap_or(usize::MAX),
        shutdown,
    };
    let max_body_bytes = api.max_body_bytes;
    let specs = Router::new()
        .route("/v1/datasets/{dataset}/trainings", post(trainings::create))
        .layer(DefaultBodyLimit::max(MAX_SPEC_BYTES));
    let photos = Router::new()
        .route("/v1/models/{id}/predict", post(predict::predict))
        .layer(DefaultBodyLimit::max(max_body_bytes));
    Router::new()
        .route("/v1/trainings", get(trainings::list))
        .route(
            "/v1/trainings/{id}",
            get(trainings::show).delete(trainings::cancel),
        )
        .route("/v1/trainings/{id}/events", get(events::follow))
        .route("/v1/models", get(models::list))
        .route("/v1/models/{id}", get(models::show).delete(models::delete))
        .route("/v1/models/{id}/files/{name}", get(models::file))
        .merge(specs)
        .merge(photos)
        .with_state(api)
}

/// Which trainings or models to list.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ListQuery {
    dataset: Option<String>,
}

impl ListQuery {
    /// The dataset that it names, if it names one.
    async fn dataset(
        &self,
        api: &Api,
        principal: &Principal,
    ) -> Result<Option<DatasetId>, ApiError> {
        let Some(name) = &self.dataset else {
            return Ok(None);
        };
        let dataset = require_dataset(&api.catalog, principal, name).await?;
        Ok(Some(dataset.id))
    }
}

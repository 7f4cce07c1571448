//! Hashes first, bytes only if they are not known: a client asks for many files at once
//! which of them the dataset has already.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Path, Request, State};
use axum::routing::post;
use catalog::Catalog;
use catalog::http::{ApiError, authorize, read_json, require_dataset};
use schemas::http::{CheckCaptures, CheckedCapture, CheckedCaptures, Scope};
use schemas::{CaptureId, DatasetId, Sha256};

use crate::service::Service;

/// Hashes in one question. More keep a reader of the catalog from others for too long;
/// fewer make a phone with ten thousand photos ask all day.
const MAX_HASHES: usize = 1_000;
/// The largest question: each hash with its quotes and comma, and room for white space.
const MAX_BODY_BYTES: usize = MAX_HASHES * 100;

pub(crate) fn router(service: Arc<Service>) -> Router {
    Router::new()
        .route("/v1/datasets/{dataset}/captures/check", post(check))
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .with_state(service)
}

async fn check(
    State(service): State<Arc<Service>>,
    Path(dataset): Path<String>,
    request: Request,
) -> Result<axum::Json<CheckedCaptures>, ApiError> {
    let catalog = &service.catalog;
    let principal = authorize(catalog, request.headers(), Scope::Upload).await?;
    let dataset = require_dataset(catalog, &principal, &dataset).await?;
    let asked: CheckCaptures = read_json(request).await?;
    if !(1..=MAX_HASHES).contains(&asked.sha256.len()) {
        let detail = format!(
            "{} hashes; 1 to {MAX_HASHES} are needed",
            asked.sha256.len()
        );
        let refusal = ApiError::unprocessable("invalid_value", detail);
        return Err(refusal.hint("ask for the others in another request"));
    }
    let hashes: Vec<Sha256> = asked
        .sha256
        .iter()
        .map(|text| text.to_ascii_lowercase().parse())
        .collect::<Result<_, _>>()
        .map_err(|error: schemas::InvalidId| {
            ApiError::unprocessable("invalid_value", format!("sha256: {error}"))
        })?;
    let known = known(catalog, &dataset.id, &hashes).await?;
    let results = hashes.into_iter().map(|sha256| CheckedCapture {
        sha256: sha256.to_string(),
        known: known.contains_key(&sha256),
        capture: known.get(&sha256).copied(),
    });
    let results = results.collect();
    Ok(axum::Json(CheckedCaptures { results }))
}

/// The captures that files with these hashes already are.
pub(crate) async fn known(
    catalog: &Catalog,
    dataset: &DatasetId,
    hashes: &[Sha256],
) -> Result<HashMap<Sha256, CaptureId>, ApiError> {
    Ok(catalog.find_by_hashes(dataset, hashes).await?)
}

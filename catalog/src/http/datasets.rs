//! `/v1/datasets`: making, finding, changing, deleting and counting.

use axum::Json;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use schemas::http::{
    CreateDataset, Dataset, DatasetList, DatasetStats, PatchDataset, Problem, Scope,
};

use super::{Api, ApiError, ApiPath, authorize, read_json, require_dataset};

/// Makes a dataset.
#[utoipa::path(
    post, path = "/v1/datasets", tag = "datasets",
    request_body = CreateDataset,
    responses(
        (status = 201, body = Dataset),
        (status = 409, body = Problem, description = "the name is taken"),
        (status = 422, body = Problem, description = "the name, a label or the policy breaks its rule"),
    ),
)]
pub(super) async fn create(
    State(api): State<Api>,
    headers: HeaderMap,
    request: Request,
) -> Result<Response, ApiError> {
    let principal = authorize(&api.catalog, &headers, Scope::Admin).await?;
    if let Some(only) = &principal.dataset {
        let detail = format!("this key is bound to dataset {only} and can make no other");
        return Err(ApiError::forbidden("bound_key", detail)
            .hint("use an admin key that is bound to no dataset"));
    }
    let create: CreateDataset = read_json(request).await?;
    let dataset = api
        .catalog
        .create_dataset(&principal.owner, &create)
        .await?;
    let location = format!("/v1/datasets/{}", dataset.id);
    Ok((
        StatusCode::CREATED,
        [(header::LOCATION, location)],
        Json(dataset),
    )
        .into_response())
}

/// Lists the datasets that the key may see, by name.
#[utoipa::path(get, path = "/v1/datasets", tag = "datasets", responses((status = 200, body = DatasetList)))]
pub(super) async fn list(
    State(api): State<Api>,
    headers: HeaderMap,
) -> Result<Json<DatasetList>, ApiError> {
    let principal = authorize(&api.catalog, &headers, Scope::Read).await?;
    let datasets = api.catalog.list_datasets(&principal).await?;
    Ok(Json(DatasetList { datasets }))
}

/// Shows a dataset.
#[utoipa::path(
    get, path = "/v1/datasets/{dataset}", tag = "datasets",
    params(("dataset" = String, Path, description = "name or id")),
    responses(
        (status = 200, body = Dataset),
        (status = 404, body = Problem, description = "no such dataset; the nearest names are told"),
    ),
)]
pub(super) async fn show(
    State(api): State<Api>,
    headers: HeaderMap,
    ApiPath(dataset): ApiPath<String>,
) -> Result<Json<Dataset>, ApiError> {
    let principal = authorize(&api.catalog, &headers, Scope::Read).await?;
    Ok(Json(
        require_dataset(&api.catalog, &principal, &dataset).await?,
    ))
}

/// Adds labels, or replaces the policy for photos that arrive from now on.
#[utoipa::path(
    patch, path = "/v1/datasets/{dataset}", tag = "datasets",
    params(("dataset" = String, Path, description = "name or id")),
    request_body = PatchDataset,
    responses(
        (status = 200, body = Dataset),
        (status = 404, body = Problem, description = "no such dataset"),
        (status = 422, body = Problem, description = "a label or the policy breaks its rule"),
    ),
)]
pub(super) async fn patch(
    State(api): State<Api>,
    headers: HeaderMap,
    ApiPath(dataset): ApiPath<String>,
    request: Request,
) -> Result<Json<Dataset>, ApiError> {
    let principal = authorize(&api.catalog, &headers, Scope::Admin).await?;
    let dataset = require_dataset(&api.catalog, &principal, &dataset).await?;
    let patch: PatchDataset = read_json(request).await?;
    api.catalog.patch_dataset(&dataset.id, &patch).await?;
    // By its id: the name may be another dataset's by now.
    Ok(Json(
        require_dataset(&api.catalog, &principal, dataset.id.as_str()).await?,
    ))
}

/// Deletes a dataset; from then on it is unknown.
#[utoipa::path(
    delete, path = "/v1/datasets/{dataset}", tag = "datasets",
    params(("dataset" = String, Path, description = "name or id")),
    responses(
        (status = 204, description = "deleted"),
        (status = 404, body = Problem, description = "no such dataset"),
    ),
)]
pub(super) async fn delete(
    State(api): State<Api>,
    headers: HeaderMap,
    ApiPath(dataset): ApiPath<String>,
) -> Result<StatusCode, ApiError> {
    let principal = authorize(&api.catalog, &headers, Scope::Admin).await?;
    let dataset = require_dataset(&api.catalog, &principal, &dataset).await?;
    api.catalog.delete_dataset(&dataset.id).await?;
    tracing::info!(dataset = %dataset.id, key = principal.key_id, "dataset deleted");
    Ok(StatusCode::NO_CONTENT)
}

/// Counts a dataset's captures by status, label and reason.
#[utoipa::path(
    get, path = "/v1/datasets/{dataset}/stats", tag = "datasets",
    params(("dataset" = String, Path, description = "name or id")),
    responses(
        (status = 200, body = DatasetStats),
        (status = 404, body = Problem, description = "no such dataset"),
    ),
)]
pub(super) async fn stats(
    State(api): State<Api>,
    headers: HeaderMap,
    ApiPath(dataset): ApiPath<String>,
) -> Result<Json<DatasetStats>, ApiError> {
    let principal = authorize(&api.catalog, &headers, Scope::Read).await?;
    let dataset = require_dataset(&api.catalog, &principal, &dataset).await?;
    Ok(Json(api.catalog.dataset_stats(&dataset.id).await?))
}

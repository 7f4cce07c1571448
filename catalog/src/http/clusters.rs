//! A dataset's kinds of photo.

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use schemas::http::{ClusterList, Problem, Scope};

use super::{Api, ApiError, ApiPath, authorize, require_dataset};

/// Lists the kinds of photo that a dataset holds, found by looks alone: how many photos, which
/// labels they have, and which photos show best what the kind is. Photos without embeddings have none.
#[utoipa::path(
    get, path = "/v1/datasets/{dataset}/clusters", tag = "captures",
    params(("dataset" = String, Path, description = "name or id")),
    responses(
        (status = 200, body = ClusterList),
        (status = 404, body = Problem, description = "no such dataset"),
    ),
)]
pub(super) async fn list(
    State(api): State<Api>,
    headers: HeaderMap,
    ApiPath(dataset): ApiPath<String>,
) -> Result<Json<ClusterList>, ApiError> {
    let principal = authorize(&api.catalog, &headers, Scope::Read).await?;
    let dataset = require_dataset(&api.catalog, &principal, &dataset).await?;
    let clusters = api.catalog.list_clusters(&dataset.id).await?;
    Ok(Json(ClusterList { clusters }))
}

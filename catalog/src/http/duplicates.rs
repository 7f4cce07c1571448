//! A dataset's copies, group by group.

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use schemas::http::{DuplicateList, Problem, Scope};
use serde::Deserialize;

use super::captures::{DEFAULT_LIMIT, read_limit};
use super::{Api, ApiError, ApiPath, ApiQuery, authorize, require_dataset};
use crate::{DuplicatePage, NoPlace};

/// Which part of the list.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    after: Option<String>,
    limit: Option<u32>,
}

/// Lists what was found more than once: for each group its first photo and the copies of
/// it, dropped ones and those that were kept beside it.
#[utoipa::path(
    get, path = "/v1/datasets/{dataset}/duplicates", tag = "captures",
    params(
        ("dataset" = String, Path, description = "name or id"),
        ("after" = Option<String>, Query, description = "`next` of the page before"),
        ("limit" = Option<u32>, Query, description = "how many copies, up to 1000; 100 if absent"),
    ),
    responses(
        (status = 200, body = DuplicateList),
        (status = 404, body = Problem, description = "no such dataset"),
    ),
)]
pub(super) async fn list(
    State(api): State<Api>,
    headers: HeaderMap,
    ApiPath(dataset): ApiPath<String>,
    ApiQuery(query): ApiQuery<ListQuery>,
) -> Result<Json<DuplicateList>, ApiError> {
    let principal = authorize(&api.catalog, &headers, Scope::Read).await?;
    let dataset = require_dataset(&api.catalog, &principal, &dataset).await?;
    let after = query.after.as_deref().map(|text| {
        text.parse().map_err(|fault: NoPlace| {
            let detail = format!("after is no place in this list: {fault}");
            ApiError::bad_request("invalid_query", detail).hint("give `next` of the page before")
        })
    });
    let page = DuplicatePage {
        after: after.transpose()?,
        limit: read_limit(query.limit.unwrap_or(DEFAULT_LIMIT))?,
    };
    let (groups, next) = api.catalog.list_duplicates(&dataset.id, page).await?;
    let next = next.map(|place| place.to_string());
    Ok(Json(DuplicateList { groups, next }))
}

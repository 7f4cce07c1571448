//! What became of photos: one by its id, or a dataset's, page by page.

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use schemas::http::{Capture, CaptureList, Problem, Scope};
use schemas::{CaptureId, Status};
use serde::Deserialize;

use super::{Api, ApiError, ApiPath, ApiQuery, authorize, authorize_any, require_dataset};
use crate::CapturePage;

/// Captures on a page if the client names no number.
pub(super) const DEFAULT_LIMIT: u32 = 100;
/// The most on one page: about a megabyte of JSON.
const MAX_LIMIT: u32 = 1_000;

/// Which captures to list.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    status: Option<String>,
    after: Option<String>,
    limit: Option<u32>,
}

/// Tells what became of a photo, and why.
#[utoipa::path(
    get, path = "/v1/captures/{id}", tag = "captures",
    params(("id" = CaptureId, Path, description = "the id that the upload was answered with")),
    responses(
        (status = 200, body = Capture),
        (status = 404, body = Problem, description = "no such capture"),
    ),
)]
pub(super) async fn show(
    State(api): State<Api>,
    headers: HeaderMap,
    ApiPath(id): ApiPath<String>,
) -> Result<Json<Capture>, ApiError> {
    let scopes = [Scope::Upload, Scope::Read];
    let principal = authorize_any(&api.catalog, &headers, &scopes).await?;
    let id = parse_id("invalid_path", &id)?;
    match api.catalog.find_capture(&principal, id).await? {
        Some(capture) => Ok(Json(capture)),
        None => Err(
            ApiError::not_found("unknown_capture", format!("there is no capture {id}"))
                .hint("use the id that the upload was answered with, and a key of the same owner"),
        ),
    }
}

/// Lists a dataset's captures, the newest first.
#[utoipa::path(
    get, path = "/v1/datasets/{dataset}/captures", tag = "captures",
    params(
        ("dataset" = String, Path, description = "name or id"),
        ("status" = Option<Status>, Query, description = "only those with this status"),
        ("after" = Option<CaptureId>, Query, description = "`next` of the page before"),
        ("limit" = Option<u32>, Query, description = "how many, up to 1000; 100 if absent"),
    ),
    responses(
        (status = 200, body = CaptureList),
        (status = 404, body = Problem, description = "no such dataset"),
    ),
)]
pub(super) async fn list(
    State(api): State<Api>,
    headers: HeaderMap,
    ApiPath(dataset): ApiPath<String>,
    ApiQuery(query): ApiQuery<ListQuery>,
) -> Result<Json<CaptureList>, ApiError> {
    let principal = authorize(&api.catalog, &headers, Scope::Read).await?;
    let dataset = require_dataset(&api.catalog, &principal, &dataset).await?;
    let page = read_page(&query)?;
    let captures = api.catalog.list_captures(&dataset.id, page).await?;
    let is_full = captures.len() == page.limit as usize;
    let next = captures.last().filter(|_| is_full).map(|last| last.id);
    Ok(Json(CaptureList { captures, next }))
}

fn read_page(query: &ListQuery) -> Result<CapturePage, ApiError> {
    let status = query.status.as_deref().map(|name| {
        Status::from_name(name).ok_or_else(|| {
            let names: Vec<_> = Status::ALL.iter().map(|status| status.as_str()).collect();
            ApiError::bad_request("invalid_query", "status is none that a capture can have")
                .hint(format!("use one of {}", names.join(", ")))
        })
    });
    let after = query.after.as_deref();
    let limit = read_limit(query.limit.unwrap_or(DEFAULT_LIMIT))?;
    Ok(CapturePage {
        status: status.transpose()?,
        after: after.map(|id| parse_id("invalid_query", id)).transpose()?,
        limit,
    })
}

/// The number, if a page may be that long.
pub(super) fn read_limit(limit: u32) -> Result<u32, ApiError> {
    if (1..=MAX_LIMIT).contains(&limit) {
        return Ok(limit);
    }
    let detail = format!("limit is {limit}; a page has 1 to {MAX_LIMIT} captures");
    Err(ApiError::bad_request("invalid_query", detail))
}

fn parse_id(code: &'static str, text: &str) -> Result<CaptureId, ApiError> {
    text.parse().map_err(|_| {
        ApiError::bad_request(code, "this is no capture id: a UUID with hyphens is needed")
    })
}

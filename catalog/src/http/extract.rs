//! Reading requests: path, query and JSON body, each refused with a problem that
//! says where the fault is.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use serde::de::DeserializeOwned;
use serde_json::error::Category;

use super::ApiError;
use super::problem::shown;

/// The longest that a small JSON body may take to arrive. Longer lets idle clients
/// hold connections; shorter cuts off phones on a bad network.
const MAX_BODY_WAIT: Duration = Duration::from_secs(30);

/// The path's parameters.
#[derive(Debug, Clone)]
pub struct ApiPath<T>(pub T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for ApiPath<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        match Path::from_request_parts(parts, state).await {
            Ok(Path(value)) => Ok(Self(value)),
            Err(fault) => Err(ApiError::bad_request(
                "invalid_path",
                shown(&fault.body_text()),
            )),
        }
    }
}

/// The query's parameters.
#[derive(Debug, Clone)]
pub struct ApiQuery<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for ApiQuery<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        match Query::from_request_parts(parts, state).await {
            Ok(Query(value)) => Ok(Self(value)),
            Err(fault) => Err(ApiError::bad_request(
                "invalid_query",
                shown(&fault.body_text()),
            )),
        }
    }
}

/// The JSON body of a request, within the route's limit of bytes.
///
/// # Errors
/// 415 for another type, 413 over the limit, 408 if it does not arrive, 400 for what
/// is no JSON, with the position, and 422 for JSON of another shape, naming the field.
pub async fn read_json<T: DeserializeOwned>(request: Request) -> Result<T, ApiError> {
    if !is_json(request.headers()) {
        let detail = "the body is not declared as JSON";
        let error = ApiError::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_media_type",
            detail,
        );
        return Err(error.hint("send the header Content-Type: application/json"));
    }
    let body = tokio::time::timeout(MAX_BODY_WAIT, Bytes::from_request(request, &())).await;
    let body = body.map_err(|_| {
        let detail = format!(
            "the body did not arrive within {} s",
            MAX_BODY_WAIT.as_secs()
        );
        ApiError::new(StatusCode::REQUEST_TIMEOUT, "body_timeout", detail)
    })?;
    let body = body.map_err(|fault| match fault.status() {
        StatusCode::PAYLOAD_TOO_LARGE => {
            let detail = "the body is longer than this route takes";
            ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", detail)
                .hint("labels can be added in parts by PATCH /v1/datasets/{dataset}")
        }
        _ => ApiError::bad_request("unreadable_body", "the body broke off"),
    })?;
    serde_json::from_slice(&body).map_err(|fault| {
        let detail = shown(&fault.to_string());
        match fault.classify() {
            Category::Data => ApiError::unprocessable("invalid_body", detail)
                .hint("GET /openapi.json describes the body"),
            _ => ApiError::bad_request("malformed_json", detail),
        }
    })
}

/// Whether the body is declared as JSON, or not declared at all.
fn is_json(headers: &HeaderMap) -> bool {
    let Some(kind) = headers.get(CONTENT_TYPE) else {
        return true;
    };
    kind.to_str().is_ok_and(|kind| {
        let essence = kind.split(';').next().unwrap_or_default().trim();
        essence.eq_ignore_ascii_case("application/json")
            || essence.to_ascii_lowercase().ends_with("+json")
    })
}

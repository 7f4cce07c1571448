//! What a model says of a photo.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{FromRequest as _, Request, State};
use axum::http::StatusCode;
use catalog::http::{ApiError, ApiPath, ApiQuery};
use schemas::ModelId;
use schemas::http::Problem;
use schemas::training::Prediction;
use serde::Deserialize;

use super::{Api, models};
use crate::predict::PredictError;

/// Labels that are told if the client names no number.
const DEFAULT_TOP: usize = 5;
/// The most that are told.
const MAX_TOP: usize = 100;
/// When to come back to a server that has its hands full.
const RETRY_S: u32 = 1;

/// How to answer.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PredictQuery {
    top: Option<usize>,
}

/// Tells what is on a photo: the body is the file, as a phone took it.
#[utoipa::path(
    post, path = "/v1/models/{id}/predict", tag = "models",
    params(
        ("id" = ModelId, Path, description = "the model's id"),
        ("top" = Option<usize>, Query, description = "how many labels, up to 100; 5 if absent"),
    ),
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses(
        (status = 200, body = Prediction),
        (status = 404, body = Problem, description = "no such model"),
        (status = 413, body = Problem, description = "the photo is too large"),
        (status = 422, body = Problem, description = "this is no photo that can be used; with the reason"),
        (status = 503, body = Problem, description = "too many photos wait"),
    ),
)]
pub(super) async fn predict(
    State(api): State<Api>,
    ApiPath(id): ApiPath<String>,
    ApiQuery(query): ApiQuery<PredictQuery>,
    request: Request,
) -> Result<Json<Prediction>, ApiError> {
    let principal = models::asker(&api, request.headers()).await?;
    let model = models::find(&api, &principal, &id).await?;
    let top = query.top.unwrap_or(DEFAULT_TOP);
    if !(1..=MAX_TOP).contains(&top) {
        let detail = format!("top is {top}; 1 to {MAX_TOP} labels can be told");
        return Err(ApiError::bad_request("invalid_query", detail));
    }
    // A place before the body: what waits is bounded in number, and so in bytes.
    let turn = api.predictor.turn().map_err(refuse)?;
    let body = Bytes::from_request(request, &())
        .await
        .map_err(|fault| match fault.status() {
            StatusCode::PAYLOAD_TOO_LARGE => refuse_size(&api),
            _ => ApiError::bad_request("unreadable_body", "the body broke off"),
        })?;
    let answer = api.predictor.predict(turn, &model, body, top).await;
    answer.map(Json).map_err(refuse)
}

fn refuse_size(api: &Api) -> ApiError {
    let limit = api.max_body_bytes;
    let detail = format!("the photo has more than {limit} bytes");
    ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", detail)
        .hint("make it smaller: the model looks at a few hundred pixels only")
}

fn refuse(error: PredictError) -> ApiError {
    match error {
        PredictError::NoPhoto { reason, detail } => {
            ApiError::unprocessable("unusable_photo", format!("{reason}: {detail}"))
                .hint("send a JPEG, PNG, WebP, GIF or BMP file as the body")
        }
        PredictError::Busy => {
            let detail = "as many photos wait as this server can hold";
            ApiError::unavailable("overloaded", detail, RETRY_S)
        }
        PredictError::Failed(error) => {
            tracing::error!(%error, "a prediction failed");
            ApiError::unavailable("model_unavailable", "the model cannot be used now", RETRY_S)
        }
    }
}

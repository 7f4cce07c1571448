//! Immich's `POST /api/assets` and its duplicate checks, as phone backup apps use them.
//! Such apps have no word for what a photo shows: without the header `X-Label` a photo
//! waits for a person.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{StatusCode, request};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use catalog::http::{ApiError, read_json};
use data_encoding::{BASE64, HEXLOWER, HEXLOWER_PERMISSIVE};
use schemas::http::Dataset;
use schemas::{CaptureId, DatasetId, Sha256, Status};
use serde::Deserialize;
use serde_json::{Value, json};
use sha1::Digest as _;

use super::{UNLABELLED, dataset_of, principal_in, take_in};
use crate::body::RequestBody;
use crate::fields::Fields;
use crate::form::Form;
use crate::meter::{Limits, Meter};
use crate::photo::PhotoReader;
use crate::refusal;
use crate::service::Service;

/// Assets in one check.
const MAX_CHECKED: usize = 1_000;

pub(super) fn router(service: Arc<Service>) -> Router {
    Router::new()
        .route("/api/assets", post(asset))
        .route("/api/assets/bulk-upload-check", post(check))
        .route(
            "/api/server/ping",
            get(async || axum::Json(json!({"res": "pong"}))),
        )
        .with_state(service)
}

async fn asset(State(service): State<Arc<Service>>, request: Request) -> Response {
    let (request, body) = request.into_parts();
    let body = RequestBody::new(body);
    match take_asset(&service, &request, body.clone()).await {
        Ok((id, status)) => {
            let (code, word) = match status {
                Status::Duplicate => (StatusCode::OK, "duplicate"),
                _ => (StatusCode::CREATED, "created"),
            };
            (code, axum::Json(json!({"id": id, "status": word}))).into_response()
        }
        Err(refusal) => body.linger(refuse(refusal), &request),
    }
}

async fn take_asset(
    service: &Arc<Service>,
    request: &request::Parts,
    body: RequestBody,
) -> Result<(CaptureId, Status), ApiError> {
    let headers = &request.headers;
    let principal = principal_in(service, headers, "x-api-key").await?;
    let dataset = dataset_of(service, &principal, headers).await?;
    let declared = match headers.get("x-immich-checksum") {
        None => None,
        Some(value) => Some(sha1_of(value.to_str().unwrap_or_default())?),
    };
    if let Some(sha1) = &declared {
        let known = known_by_sha1(service, &dataset.id, std::slice::from_ref(sha1)).await?;
        if let Some(Some(id)) = known.first() {
            // Before the body is read.
            return Ok((*id, Status::Duplicate));
        }
    }
    let limits = Limits::of(headers, true, &service.settings)?;
    let mut form = Form::open(request, Meter::new(body, limits)).await?;
    let mut fields = Fields::from_headers(headers)?;
    let mut photo = None;
    while let Some(part) = form.next().await? {
        match part.name() {
            Some("assetData") if photo.is_none() => {
                let room = service.admission.room(0).await?;
                let reader = PhotoReader::new(service.settings.max_body_bytes, room);
                photo = Some(part.photo(reader).await?);
            }
            Some("deviceId") => fields.set_part("device_id", &part.text().await?)?,
            Some("fileCreatedAt") => {
                let at = part.text().await?;
                // Some clients send what is no time; the photo's own EXIF may tell it.
                let _ = fields.set_part("captured_at", &at);
            }
            _ => {}
        }
    }
    let photo = photo.ok_or_else(|| refusal::invalid_form("the form has no part `assetData`"))?;
    if fields.label().is_err() {
        fields.set_part("label", UNLABELLED)?;
    }
    let details = fields.finish()?;
    let mut hasher = sha1::Sha1::new();
    photo.pieces.iter().for_each(|piece| hasher.update(piece));
    let sha1 = HEXLOWER.encode(&hasher.finalize());
    if declared.is_some_and(|declared| declared != sha1) {
        let detail =
            format!("x-immich-checksum does not match the bytes that arrived, which have {sha1}");
        return Err(ApiError::bad_request("digest_mismatch", detail));
    }
    let (sha256, id) = (photo.sha256, dataset.id.clone());
    let receipt = take_in(service, dataset, details, photo, None).await?;
    service.catalog.record_sha1(&id, &sha1, sha256).await?;
    Ok((
        receipt.body.duplicate_of.unwrap_or(receipt.body.id),
        receipt.body.status,
    ))
}

#[derive(Deserialize)]
struct BulkCheck {
    assets: Vec<BulkAsset>,
}

#[derive(Deserialize)]
struct BulkAsset {
    id: String,
    checksum: String,
}

async fn check(State(service): State<Arc<Service>>, request: Request) -> Response {
    let headers = request.headers().clone();
    let asked = async {
        let principal = principal_in(&service, &headers, "x-api-key").await?;
        let dataset = dataset_of(&service, &principal, &headers).await?;
        check_assets(&service, &dataset, read_json(request).await?).await
    };
    match asked.await {
        Ok(results) => axum::Json(json!({"results": results})).into_response(),
        Err(refusal) => refuse(refusal),
    }
}

async fn check_assets(
    service: &Service,
    dataset: &Dataset,
    asked: BulkCheck,
) -> Result<Vec<Value>, ApiError> {
    if asked.assets.len() > MAX_CHECKED {
        let detail = format!("at most {MAX_CHECKED} assets are checked at a time");
        return Err(ApiError::unprocessable("invalid_value", detail));
    }
    let sha1: Vec<_> = asked
        .assets
        .iter()
        .map(|asset| sha1_of(&asset.checksum))
        .collect::<Result<_, _>>()?;
    let known = known_by_sha1(service, &dataset.id, &sha1).await?;
    let results = asked
        .assets
        .iter()
        .zip(known)
        .map(|(asset, known)| match known {
            Some(id) => {
                json!({"id": asset.id, "action": "reject", "reason": "duplicate", "assetId": id})
            }
            None => json!({"id": asset.id, "action": "accept"}),
        });
    Ok(results.collect())
}

/// For each SHA-1 the capture that has it already.
async fn known_by_sha1(
    service: &Service,
    dataset: &DatasetId,
    sha1: &[String],
) -> Result<Vec<Option<CaptureId>>, ApiError> {
    let on_record = service.catalog.find_by_sha1(dataset, sha1).await?;
    let hashes: Vec<Sha256> = on_record.values().copied().collect();
    let known = crate::known::known(&service.catalog, dataset, &hashes).await?;
    let capture = |sha1: &String| known.get(on_record.get(sha1)?).copied();
    Ok(sha1.iter().map(capture).collect())
}

/// 40 hex digits of a SHA-1 that is written so or in base64.
fn sha1_of(text: &str) -> Result<String, ApiError> {
    let bytes = match text.len() {
        40 => HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok(),
        _ => BASE64.decode(text.as_bytes()).ok(),
    };
    let bytes = bytes.filter(|bytes| bytes.len() == 20);
    let bytes = bytes.ok_or_else(|| {
        let detail = "a checksum is a SHA-1, in 40 hex digits or in base64";
        ApiError::bad_request("invalid_digest", detail)
    })?;
    Ok(HEXLOWER.encode(&bytes))
}

/// Its clients show `message`.
fn refuse(refusal: ApiError) -> Response {
    let body = json!({
        "message": refusal.detail, "error": refusal.code, "statusCode": refusal.status.as_u16(),
    });
    let mut response = (refusal.status, axum::Json(body)).into_response();
    if let Some(seconds) = refusal.retry_after_s {
        response.headers_mut().insert("retry-after", seconds.into());
    }
    response
}

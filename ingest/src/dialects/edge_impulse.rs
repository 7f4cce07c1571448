//! Edge Impulse's ingestion: `POST /api/{category}/files`, a form with any number of files
//! in parts named `data`. Each file has its own answer, and a bad one does not fail the
//! others. `POST /api/{category}/data` takes one picture as its body.
//!
//! The category is kept as metadata: the split is chosen by the photo's own hash, so that
//! copies never straddle it.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, request};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use catalog::http::ApiError;
use schemas::CaptureId;
use schemas::http::Dataset;
use serde_json::{Value, json};

use super::{UNLABELLED, dataset_of, principal_in, take_in};
use crate::accept::Receipt;
use crate::body::RequestBody;
use crate::fields::Fields;
use crate::form::Form;
use crate::meter::{Limits, Meter};
use crate::photo::{Photo, PhotoReader};
use crate::refusal;
use crate::service::Service;

const CATEGORIES: [&str; 6] = [
    "training",
    "testing",
    "validation",
    "split",
    "anomaly",
    "post-processing",
];

/// Files in one request; more fit no body of 32 MiB that is worth having.
const MAX_FILES: usize = 1_000;

pub(super) fn router(service: Arc<Service>) -> Router {
    Router::new()
        .route("/api/{category}/files", post(files))
        .route("/api/{category}/data", post(data))
        .with_state(service)
}

async fn files(
    State(service): State<Arc<Service>>,
    Path(category): Path<String>,
    request: Request,
) -> Response {
    let (request, body) = request.into_parts();
    let body = RequestBody::new(body);
    match take_files(&service, &category, &request, body.clone()).await {
        Ok(files) => {
            // Its uploader shows only this one if not all are well.
            let error = files.iter().find_map(|file| file.get("error")).cloned();
            let mut answer = json!({"success": error.is_none(), "files": files});
            if let Some(error) = error {
                answer["error"] = error;
            }
            axum::Json(answer).into_response()
        }
        Err(refusal) => body.linger(refuse(&refusal), &request),
    }
}

async fn data(
    State(service): State<Arc<Service>>,
    Path(category): Path<String>,
    request: Request,
) -> Response {
    let (request, body) = request.into_parts();
    let body = RequestBody::new(body);
    match take_body(&service, &category, &request, body.clone()).await {
        // Its clients read the file's name here.
        Ok(receipt) => receipt.body.id.to_string().into_response(),
        Err(refusal) => body.linger(refuse(&refusal), &request),
    }
}

async fn take_files(
    service: &Arc<Service>,
    category: &str,
    request: &request::Parts,
    body: RequestBody,
) -> Result<Vec<Value>, ApiError> {
    let headers = &request.headers;
    let terms = Terms::of(service, category, headers).await?;
    let limits = Limits::of(headers, true, &service.settings)?;
    let mut form = Form::open(request, Meter::new(body, limits)).await?;
    let mut files = Vec::new();
    while let Some(part) = form.next().await? {
        if part.name() != Some("data") || files.len() == MAX_FILES {
            continue;
        }
        let name = part.file_name().unwrap_or_default().to_owned();
        let room = service.admission.room(0).await?;
        let reader = PhotoReader::new(service.settings.max_body_bytes, room);
        let taken = match part.photo(reader).await {
            Ok(photo) => terms.take(service, headers, &name, photo).await,
            // Of the file, and not of the request.
            Err(refusal) if refusal.status == StatusCode::UNSUPPORTED_MEDIA_TYPE => Err(refusal),
            Err(refusal) => return Err(refusal),
        };
        files.push(match taken {
            Ok(receipt) => json!({
                "success": true, "fileName": name, "sampleId": sample_id(receipt.body.id),
                "captureId": receipt.body.id, "status": receipt.body.status,
            }),
            Err(refusal) => json!({"success": false, "fileName": name, "error": words(&refusal)}),
        });
    }
    if files.is_empty() {
        return Err(refusal::invalid_form("the form has no part `data`"));
    }
    Ok(files)
}

async fn take_body(
    service: &Arc<Service>,
    category: &str,
    request: &request::Parts,
    body: RequestBody,
) -> Result<Receipt, ApiError> {
    let headers = &request.headers;
    let terms = Terms::of(service, category, headers).await?;
    let name = text(headers, "x-file-name").ok_or_else(|| {
        let detail = "the header x-file-name is missing";
        ApiError::unprocessable("file_name_missing", detail)
    })?;
    let limits = Limits::of(headers, false, &service.settings)?;
    let room = service.admission.room(limits.declared.unwrap_or(0)).await?;
    let mut reader = PhotoReader::new(service.settings.max_body_bytes, room);
    let mut meter = Meter::new(body, limits);
    while let Some(chunk) = meter.next().await? {
        reader.push(chunk).await?;
    }
    terms.take(service, headers, &name, reader.finish()?).await
}

/// What holds for all files of a request.
struct Terms {
    dataset: Dataset,
    category: String,
    refuses_duplicates: bool,
}

impl Terms {
    async fn of(service: &Service, category: &str, headers: &HeaderMap) -> Result<Self, ApiError> {
        if !CATEGORIES.contains(&category) {
            let detail = format!(
                "there is no category of this name; there are {}",
                CATEGORIES.join(", ")
            );
            return Err(ApiError::not_found("unknown_category", detail));
        }
        let principal = principal_in(service, headers, "x-api-key").await?;
        Ok(Self {
            dataset: dataset_of(service, &principal, headers).await?,
            category: category.to_owned(),
            refuses_duplicates: is_set(headers, "x-disallow-duplicates"),
        })
    }

    async fn take(
        &self,
        service: &Arc<Service>,
        headers: &HeaderMap,
        name: &str,
        photo: Photo,
    ) -> Result<Receipt, ApiError> {
        let mut headers = headers.clone();
        if is_set(&headers, "x-no-label") {
            let unlabelled = HeaderValue::from_static(UNLABELLED);
            headers.insert("x-label", unlabelled);
        }
        let mut fields = Fields::from_headers(&headers)?;
        if !name.is_empty() {
            fields.set_file_name(name.to_owned());
        }
        let mut details = fields.finish()?;
        let category = self.category.clone();
        details
            .metadata
            .insert("edge_impulse.category".into(), category);
        if self.refuses_duplicates {
            let hashes = [photo.sha256];
            let known = crate::known::known(&service.catalog, &self.dataset.id, &hashes).await?;
            if let Some(twin) = known.get(&photo.sha256) {
                // Its uploader looks for these words.
                let detail = format!("An item with this hash already exists (ids: {twin})");
                return Err(ApiError::conflict("duplicate", detail));
            }
        }
        take_in(service, self.dataset.clone(), details, photo, None).await
    }
}

/// Its clients want a number; this one is as unlike others as 52 random bits are.
fn sample_id(id: CaptureId) -> u64 {
    let mut low = [0; 8];
    low.copy_from_slice(&id.as_bytes()[8..]);
    u64::from_be_bytes(low) & ((1 << 52) - 1)
}

fn is_set(headers: &HeaderMap, name: &str) -> bool {
    text(headers, name).is_some_and(|flag| flag == "1" || flag == "true")
}

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    Some(headers.get(name)?.to_str().ok()?.trim().to_owned())
}

fn words(refusal: &ApiError) -> String {
    match &refusal.hint {
        Some(hint) => format!("{}; {hint}", refusal.detail),
        None => refusal.detail.clone(),
    }
}

fn refuse(refusal: &ApiError) -> Response {
    let body = json!({"success": false, "error": words(refusal), "code": refusal.code});
    let mut response = (refusal.status, axum::Json(body)).into_response();
    if let Some(seconds) = refusal.retry_after_s {
        response.headers_mut().insert("retry-after", seconds.into());
    }
    response
}

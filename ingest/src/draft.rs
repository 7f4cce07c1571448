//! Resumable uploads as the IETF draft has them (draft-ietf-httpbis-resumable-upload,
//! interop versions 3 to 8, and without a version as the RFC will be): a request to the
//! captures route that says `Upload-Complete: ?0` begins one, and the resource in its
//! answer takes the rest. No `104`: hyper cannot send interim answers.

mod headers;
use headers::integer;
pub(crate) use headers::{Announced, Version};

use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header, request};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use catalog::http::{ApiError, authorize, require_dataset};
use catalog::{StoredAnswer, Upload};
use chrono::Utc;
use metrics::counter;
use schemas::http::Scope;

use crate::accept::Receipt;
use crate::body::RequestBody;
use crate::digest::Declared;
use crate::fields::{Fields, Standing, idempotency_key};
use crate::meter::Limits;
use crate::metrics::REQUESTS;
use crate::service::Service;
use crate::uploads::{self, Append, Check, End, Fault, Head, Kind, Outcome, Trouble};
use crate::{form, refusal};

const UPLOAD_OFFSET: HeaderName = HeaderName::from_static("upload-offset");
const UPLOAD_LENGTH: HeaderName = HeaderName::from_static("upload-length");
const UPLOAD_LIMIT: HeaderName = HeaderName::from_static("upload-limit");
const ACCEPT_PATCH: HeaderName = HeaderName::from_static("accept-patch");
const PARTIAL_UPLOAD: &str = "application/partial-upload";

pub(crate) fn router(service: Arc<Service>) -> Router {
    Router::new()
        .route("/v1/uploads/{upload}", any(resource))
        .layer(DefaultBodyLimit::disable())
        .with_state(service)
}

/// What a server of uploads is asked before anything is sent.
pub(crate) async fn options(State(service): State<Arc<Service>>) -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    announce(&mut response, &service, None);
    let accepted = HeaderValue::from_static(PARTIAL_UPLOAD);
    response.headers_mut().insert(ACCEPT_PATCH, accepted);
    response
}

/// Begins an upload with a request to the captures route.
pub(crate) async fn create(
    service: &Arc<Service>,
    dataset: &str,
    request: &request::Parts,
    body: RequestBody,
) -> Response {
    let version = Version::of(&request.headers);
    let begun = begin(service, dataset, request, body.clone()).await;
    count(&begun);
    match begun {
        Ok(Begun { id, offset }) => {
            let mut response = StatusCode::CREATED.into_response();
            announce(&mut response, service, None);
            let headers = response.headers_mut();
            if let Ok(location) = HeaderValue::try_from(format!("/v1/uploads/{id}")) {
                headers.insert(header::LOCATION, location);
            }
            headers.insert(UPLOAD_OFFSET, offset.into());
            version.tell(headers, false);
            response
        }
        Err(trouble) => body.linger(refuse(&trouble, service, version), request),
    }
}

struct Begun {
    id: String,
    offset: u64,
}

async fn begin(
    service: &Arc<Service>,
    dataset: &str,
    request: &request::Parts,
    body: RequestBody,
) -> Result<Begun, Trouble> {
    let headers = &request.headers;
    if !Version::is_known(headers) {
        let detail = "Upload-Draft-Interop-Version is none that this server knows";
        let refusal = ApiError::bad_request("unsupported_interop_version", detail);
        return Err(refusal
            .hint("3 to 8 are known, or leave the header out")
            .into());
    }
    let principal = authorize(&service.catalog, headers, Scope::Upload).await?;
    let dataset = require_dataset(&service.catalog, &principal, dataset).await?;
    if form::is_form(headers) {
        let detail = "a form cannot be sent in pieces";
        return Err(refusal::invalid_form(detail).into());
    }
    let limits = Limits::of(headers, false, &service.settings)?;
    let details = Fields::from_headers(headers)?.finish()?;
    Standing::of(&details.label, &dataset)?;
    let (sha256, of_body) = Declared::of_parts(headers)?;
    let head = Head {
        kind: Kind::Photo,
        details: Some(details),
        idempotency_key: idempotency_key(headers)?,
        sha256: sha256.map(|sha256| sha256.to_string()),
        tus_metadata: None,
    };
    let length = integer(headers, &UPLOAD_LENGTH);
    let id = uploads::open(service, &principal, &dataset.id, &head, length, Vec::new()).await?;
    let id = id.to_string();
    if limits.declared == Some(0) || body.is_ended() {
        return Ok(Begun { id, offset: 0 });
    }
    let append = Append {
        offset: 0,
        length: None,
        end: End::Later,
        checks: of_body.into_iter().map(Check::Sha256).collect(),
    };
    let upload = uploads::find(service, &principal, &id).await?;
    match uploads::append(service, &principal, upload, append, body, limits).await? {
        Outcome::Grown { offset, .. } => Ok(Begun { id, offset }),
        Outcome::Complete { .. } => Err(refusal::internal().into()),
    }
}

async fn resource(
    State(service): State<Arc<Service>>,
    Path(id): Path<String>,
    request: axum::extract::Request,
) -> Response {
    let (request, body) = request.into_parts();
    let body = RequestBody::new(body);
    let version = Version::of(&request.headers);
    let answer = match request.method {
        Method::HEAD | Method::GET => stand(&service, &id, &request, version).await,
        Method::PATCH => patch(&service, &id, &request, body.clone(), version).await,
        Method::DELETE => cancel(&service, &id, &request).await,
        Method::OPTIONS => Ok(options(State(Arc::clone(&service))).await),
        _ => {
            let allow = HeaderValue::from_static("HEAD, PATCH, DELETE, OPTIONS");
            let detail = format!("{} is not possible at an upload", request.method);
            let status = StatusCode::METHOD_NOT_ALLOWED;
            let refusal = ApiError::new(status, "method_not_allowed", detail);
            let mut response = refusal.into_response();
            response.headers_mut().insert(header::ALLOW, allow);
            Ok(response)
        }
    };
    answer.unwrap_or_else(|trouble| body.linger(refuse(&trouble, &service, version), &request))
}

async fn stand(
    service: &Arc<Service>,
    id: &str,
    request: &request::Parts,
    version: Version,
) -> Result<Response, Trouble> {
    let principal = authorize(&service.catalog, &request.headers, Scope::Upload).await?;
    let upload = uploads::stand(service, &principal, id).await?;
    let mut response = StatusCode::NO_CONTENT.into_response();
    if let Some(receipt) = upload.answer.as_ref().and_then(Receipt::from_stored) {
        receipt.tell(response.headers_mut());
    }
    announce(&mut response, service, Some(&upload));
    let headers = response.headers_mut();
    headers.insert(UPLOAD_OFFSET, upload.received_bytes.into());
    if let Some(length) = upload.length_bytes {
        headers.insert(UPLOAD_LENGTH, length.into());
    }
    version.tell(headers, upload.answer.is_some());
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

async fn patch(
    service: &Arc<Service>,
    id: &str,
    request: &request::Parts,
    body: RequestBody,
    version: Version,
) -> Result<Response, Trouble> {
    let headers = &request.headers;
    let principal = authorize(&service.catalog, headers, Scope::Upload).await?;
    let upload = uploads::find(service, &principal, id).await?;
    if version.wants_media_type() && !is_partial_upload(headers) {
        let detail = "bytes are added to an upload as application/partial-upload";
        let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
        let refusal = ApiError::new(status, "unsupported_media_type", detail)
            .hint("send the header Content-Type: application/partial-upload");
        return Err(refusal.into());
    }
    let missing = |name: &str| {
        let detail = format!("the request has no valid {name}");
        Trouble::from(ApiError::bad_request("missing_header", detail))
    };
    let offset = integer(headers, &UPLOAD_OFFSET).ok_or_else(|| missing("Upload-Offset"))?;
    let announced = version.announced(headers);
    let end = match announced.ok_or_else(|| missing("Upload-Complete"))? {
        Announced::Complete => End::Here,
        Announced::MoreToCome => End::Later,
    };
    let limits = Limits::of(headers, false, &service.settings)?;
    let (_, of_body) = Declared::of_parts(headers)?;
    let append = Append {
        offset,
        length: integer(headers, &UPLOAD_LENGTH),
        end,
        checks: of_body.into_iter().map(Check::Sha256).collect(),
    };
    let outcome = uploads::append(service, &principal, upload, append, body, limits).await;
    count(&outcome);
    Ok(match outcome? {
        Outcome::Grown { offset, .. } => {
            let mut response = StatusCode::NO_CONTENT.into_response();
            response.headers_mut().insert(UPLOAD_OFFSET, offset.into());
            version.tell(response.headers_mut(), false);
            response
        }
        Outcome::Complete { length, answer } => {
            let mut response = last_answer(&answer);
            response.headers_mut().insert(UPLOAD_OFFSET, length.into());
            version.tell(response.headers_mut(), true);
            response
        }
    })
}

async fn cancel(
    service: &Arc<Service>,
    id: &str,
    request: &request::Parts,
) -> Result<Response, Trouble> {
    let principal = authorize(&service.catalog, &request.headers, Scope::Upload).await?;
    uploads::cancel(service, &principal, id).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// The answer that a whole upload would have got.
pub(crate) fn last_answer(answer: &StoredAnswer) -> Response {
    if let Some(receipt) = Receipt::from_stored(answer) {
        return receipt.into_response();
    }
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::BAD_REQUEST);
    let kind = [(header::CONTENT_TYPE, "application/problem+json")];
    (status, kind, answer.body.clone()).into_response()
}

fn refuse(trouble: &Trouble, service: &Service, version: Version) -> Response {
    let kind = match trouble.fault {
        Fault::Offset => Some("mismatching-upload-offset"),
        Fault::Length => Some("inconsistent-upload-length"),
        Fault::Completed => Some("completed-upload"),
        Fault::Checksum | Fault::Other => None,
    };
    let mut response = trouble.refusal.clone().into_response();
    if let Some(kind) = kind {
        let problem = trouble.refusal.problem();
        let mut body = serde_json::to_value(problem).unwrap_or_default();
        body["type"] = format!("https://iana.org/assignments/http-problem-types#{kind}").into();
        if let (Some(expected), Some(provided)) = (trouble.offset, trouble.provided) {
            body["expected-offset"] = expected.into();
            body["provided-offset"] = provided.into();
        }
        *response.body_mut() = body.to_string().into();
        response.headers_mut().remove(header::CONTENT_LENGTH);
    }
    if trouble.refusal.status == StatusCode::PAYLOAD_TOO_LARGE {
        announce(&mut response, service, None);
    }
    let headers = response.headers_mut();
    if let Some(offset) = trouble.offset {
        headers.insert(UPLOAD_OFFSET, offset.into());
    }
    version.tell(headers, trouble.fault == Fault::Completed);
    response
}

/// The limits: of a new upload, or of this one with the time that it has left.
fn announce(response: &mut Response, service: &Service, upload: Option<&Upload>) {
    let max = service.settings.max_body_bytes;
    let max_age = upload.map_or(uploads::LIFE_S, |upload| {
        (upload.expires_at - Utc::now()).num_seconds().max(0)
    });
    let limit = format!("max-size={max}, max-append-size={max}, max-age={max_age}");
    if let Ok(limit) = HeaderValue::try_from(limit) {
        response.headers_mut().insert(UPLOAD_LIMIT, limit);
    }
}

fn is_partial_upload(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE);
    let text = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let essence = text.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case(PARTIAL_UPLOAD)
}

fn count<T>(answer: &Result<T, Trouble>) {
    if let Err(trouble) = answer {
        counter!(REQUESTS, "answer" => trouble.refusal.code).increment(1);
    }
}

//! Resumable uploads as tus 1.0 has them, at `/v1/datasets/{dataset}/tus`: creation (also
//! with bytes, also without a length), expiration, termination, checksum, concatenation.
//! The uploads are those of `uploads`; here is only how tus clients ask and are answered.

mod headers;
use headers::{Concat, check_of, concat_of, fields_of};

use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Path, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header, request};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use catalog::http::{ApiError, authorize, require_dataset};
use catalog::{Principal, Upload, UploadPart};
use chrono::{DateTime, Utc};
use metrics::counter;
use schemas::UploadId;
use schemas::http::{Dataset, Scope};

use crate::accept::Receipt;
use crate::body::RequestBody;
use crate::digest::Declared;
use crate::draft::last_answer;
use crate::fields::{Standing, idempotency_key};
use crate::meter::Limits;
use crate::metrics::REQUESTS;
use crate::service::Service;
use crate::uploads::{self, Append, End, Fault, Head, Kind, Outcome, Trouble};

const VERSION: HeaderValue = HeaderValue::from_static("1.0.0");
const EXTENSIONS: &str = "creation,creation-with-upload,creation-defer-length,expiration,\
                          termination,checksum,concatenation";
const TUS_RESUMABLE: HeaderName = HeaderName::from_static("tus-resumable");
const UPLOAD_OFFSET: HeaderName = HeaderName::from_static("upload-offset");
const UPLOAD_LENGTH: HeaderName = HeaderName::from_static("upload-length");
const UPLOAD_DEFER_LENGTH: HeaderName = HeaderName::from_static("upload-defer-length");
const UPLOAD_METADATA: HeaderName = HeaderName::from_static("upload-metadata");
const UPLOAD_CONCAT: HeaderName = HeaderName::from_static("upload-concat");
const UPLOAD_EXPIRES: HeaderName = HeaderName::from_static("upload-expires");
const METHOD_OVERRIDE: &str = "x-http-method-override";
const OCTETS: &str = "application/offset+octet-stream";

pub(crate) fn router(service: Arc<Service>) -> Router {
    Router::new()
        .route("/v1/datasets/{dataset}/tus", any(collection))
        .route("/v1/datasets/{dataset}/tus/{upload}", any(resource))
        .layer(DefaultBodyLimit::disable())
        .with_state(service)
}

async fn collection(
    State(service): State<Arc<Service>>,
    Path(dataset): Path<String>,
    request: Request,
) -> Response {
    let (request, body) = request.into_parts();
    let body = RequestBody::new(body);
    let answer = match method_of(&request) {
        Method::OPTIONS => Ok(options(&service)),
        Method::POST => create(&service, &dataset, &request, body.clone()).await,
        method => Err(not_possible(&method)),
    };
    finish(answer, body, &request)
}

async fn resource(
    State(service): State<Arc<Service>>,
    Path((dataset, id)): Path<(String, String)>,
    request: Request,
) -> Response {
    let (request, body) = request.into_parts();
    let body = RequestBody::new(body);
    let answer = match method_of(&request) {
        Method::OPTIONS => Ok(options(&service)),
        Method::HEAD | Method::GET => stand(&service, &dataset, &id, &request).await,
        Method::PATCH => patch(&service, &dataset, &id, &request, body.clone()).await,
        Method::DELETE => cancel(&service, &dataset, &id, &request).await,
        method => Err(not_possible(&method)),
    };
    finish(answer, body, &request)
}

fn finish(
    answer: Result<Response, Trouble>,
    body: RequestBody,
    request: &request::Parts,
) -> Response {
    let mut response = answer.unwrap_or_else(|trouble| {
        counter!(REQUESTS, "answer" => trouble.refusal.code).increment(1);
        body.linger(refuse(&trouble), request)
    });
    response.headers_mut().insert(TUS_RESUMABLE, VERSION);
    response
}

/// The method; some clients can send nothing but POST and say here what they mean.
fn method_of(request: &request::Parts) -> Method {
    let instead = request.headers.get(METHOD_OVERRIDE);
    let instead = instead.and_then(|value| value.to_str().ok()?.parse().ok());
    instead
        .filter(|_| request.method == Method::POST)
        .unwrap_or_else(|| request.method.clone())
}

fn options(service: &Service) -> Response {
    let max = service.settings.max_body_bytes.to_string();
    let headers = [
        ("tus-version", "1.0.0"),
        ("tus-extension", EXTENSIONS),
        ("tus-checksum-algorithm", "sha1,sha256"),
        ("tus-max-size", max.as_str()),
    ];
    (StatusCode::NO_CONTENT, headers).into_response()
}

async fn create(
    service: &Arc<Service>,
    dataset: &str,
    request: &request::Parts,
    body: RequestBody,
) -> Result<Response, Trouble> {
    let headers = &request.headers;
    let (principal, dataset) = admit(service, dataset, headers).await?;
    let creation = Creation {
        service,
        principal: &principal,
        dataset: &dataset,
        headers,
    };
    match concat_of(headers)? {
        Some(Concat::Final { text, uploads }) => creation.join(text, &uploads).await,
        Some(Concat::Partial) => creation.begin(Kind::Piece, body).await,
        None => creation.begin(Kind::Photo, body).await,
    }
}

/// A request that begins an upload.
struct Creation<'a> {
    service: &'a Arc<Service>,
    principal: &'a Principal,
    dataset: &'a Dataset,
    headers: &'a HeaderMap,
}

impl Creation<'_> {
    async fn begin(&self, kind: Kind, body: RequestBody) -> Result<Response, Trouble> {
        let (service, headers) = (self.service, self.headers);
        let length = number(headers, &UPLOAD_LENGTH)?;
        let deferred = headers.get(UPLOAD_DEFER_LENGTH);
        if deferred.is_some_and(|value| value != "1") || length.is_some() == deferred.is_some() {
            let detail = "either Upload-Length is needed, or Upload-Defer-Length: 1";
            return Err(Trouble::length(detail));
        }
        let limits = Limits::of(headers, false, &service.settings)?;
        let head = self.head(kind)?;
        let (principal, dataset) = (self.principal, &self.dataset.id);
        let id = uploads::open(service, principal, dataset, &head, length, Vec::new()).await?;
        let upload = uploads::find(service, principal, &id.to_string()).await?;
        let has_bytes = has_octets(headers) && limits.declared != Some(0);
        if !has_bytes && length != Some(0) {
            let mut response = self.created(id, upload.expires_at);
            let offset = HeaderValue::from_static("0");
            response.headers_mut().insert(UPLOAD_OFFSET, offset);
            return Ok(response);
        }
        let append = Append {
            offset: 0,
            length: None,
            end: End::AtLength,
            checks: check_of(headers)?.into_iter().collect(),
        };
        let outcome = uploads::append(service, principal, upload, append, body, limits).await?;
        let expires_at = match &outcome {
            Outcome::Grown { expires_at, .. } => *expires_at,
            Outcome::Complete { .. } => Utc::now(),
        };
        tell(self.created(id, expires_at), &outcome)
    }

    /// Makes an upload of others that are complete.
    async fn join(&self, text: String, others: &[UploadId]) -> Result<Response, Trouble> {
        let (service, principal) = (self.service, self.principal);
        if self.headers.contains_key(UPLOAD_LENGTH) || has_octets(self.headers) {
            let detail = "an upload that is joined of others has their length and bytes";
            return Err(Trouble::length(detail));
        }
        let mut parts: Vec<UploadPart> = Vec::new();
        for other in others {
            let other = uploads::find(service, principal, &other.to_string()).await?;
            let is_whole = other.length_bytes == Some(other.received_bytes);
            let is_piece = Head::of(&other)?.kind == Kind::Piece;
            if !is_whole || !is_piece || other.dataset != self.dataset.id {
                let detail = format!("{} is no complete partial upload to this dataset", other.id);
                let refusal = ApiError::bad_request("invalid_concat", detail);
                return Err(refusal
                    .hint("complete every part before they are joined")
                    .into());
            }
            parts.extend(other.parts);
        }
        let length = parts.iter().map(|part| part.num_bytes).sum();
        let head = self.head(Kind::Joined(text))?;
        let dataset = &self.dataset.id;
        let id = uploads::open(service, principal, dataset, &head, Some(length), parts).await?;
        let upload = uploads::find(service, principal, &id.to_string()).await?;
        match uploads::complete_now(service, principal, upload, head).await {
            Ok(outcome) => tell(self.created(id, Utc::now()), &outcome),
            Err(trouble) => {
                // The client does not know it, and will join again.
                uploads::cancel(service, principal, &id.to_string()).await?;
                Err(trouble)
            }
        }
    }

    fn head(&self, kind: Kind) -> Result<Head, Trouble> {
        let metadata = self.headers.get(UPLOAD_METADATA);
        let details = match kind {
            Kind::Piece => None,
            _ => {
                let details = fields_of(self.headers)?.finish()?;
                Standing::of(&details.label, self.dataset)?;
                Some(details)
            }
        };
        let (sha256, _) = Declared::of_parts(self.headers)?;
        Ok(Head {
            kind,
            details,
            idempotency_key: idempotency_key(self.headers)?,
            sha256: sha256.map(|sha256| sha256.to_string()),
            tus_metadata: metadata.and_then(|value| Some(value.to_str().ok()?.to_owned())),
        })
    }

    fn created(&self, id: UploadId, expires_at: DateTime<Utc>) -> Response {
        let location = format!("/v1/datasets/{}/tus/{id}", self.dataset.id);
        let mut response = (StatusCode::CREATED, [(header::LOCATION, location)]).into_response();
        tell_expiry(response.headers_mut(), expires_at);
        response
    }
}

async fn stand(
    service: &Arc<Service>,
    dataset: &str,
    id: &str,
    request: &request::Parts,
) -> Result<Response, Trouble> {
    let (principal, dataset) = admit_any(service, dataset, &request.headers).await?;
    let upload = uploads::stand(service, &principal, id).await?;
    of_dataset(&upload, &dataset)?;
    let head = Head::of(&upload)?;
    let mut response = StatusCode::OK.into_response();
    let headers = response.headers_mut();
    headers.insert(UPLOAD_OFFSET, upload.received_bytes.into());
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    match upload.length_bytes {
        Some(length) => headers.insert(UPLOAD_LENGTH, length.into()),
        None => headers.insert(UPLOAD_DEFER_LENGTH, HeaderValue::from_static("1")),
    };
    let concat = match head.kind {
        Kind::Piece => Some("partial".to_owned()),
        Kind::Joined(text) => Some(text),
        Kind::Photo | Kind::Unlabelled | Kind::Direct => None,
    };
    for (name, text) in [
        (UPLOAD_METADATA, head.tus_metadata),
        (UPLOAD_CONCAT, concat),
    ] {
        if let Some(value) = text.and_then(|text| HeaderValue::try_from(text).ok()) {
            headers.insert(name, value);
        }
    }
    tell_expiry(headers, upload.expires_at);
    if let Some(receipt) = upload.answer.as_ref().and_then(Receipt::from_stored) {
        receipt.tell(headers);
    }
    Ok(response)
}

async fn patch(
    service: &Arc<Service>,
    dataset: &str,
    id: &str,
    request: &request::Parts,
    body: RequestBody,
) -> Result<Response, Trouble> {
    let headers = &request.headers;
    let (principal, dataset) = admit(service, dataset, headers).await?;
    let upload = uploads::find(service, &principal, id).await?;
    of_dataset(&upload, &dataset)?;
    if matches!(Head::of(&upload)?.kind, Kind::Joined(_)) {
        let detail = "an upload that is joined of others takes no bytes";
        return Err(ApiError::forbidden("joined_upload", detail).into());
    }
    if !has_octets(headers) {
        let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
        let detail = "bytes are added as application/offset+octet-stream";
        return Err(ApiError::new(status, "unsupported_media_type", detail).into());
    }
    let missing = || ApiError::bad_request("missing_header", "the request has no Upload-Offset");
    let append = Append {
        offset: number(headers, &UPLOAD_OFFSET)?.ok_or_else(missing)?,
        length: number(headers, &UPLOAD_LENGTH)?,
        end: End::AtLength,
        checks: check_of(headers)?.into_iter().collect(),
    };
    let limits = Limits::of(headers, false, &service.settings)?;
    let outcome = uploads::append(service, &principal, upload, append, body, limits).await?;
    let mut response = StatusCode::NO_CONTENT.into_response();
    if let Outcome::Grown { expires_at, .. } = &outcome {
        tell_expiry(response.headers_mut(), *expires_at);
    }
    tell(response, &outcome)
}

async fn cancel(
    service: &Arc<Service>,
    dataset: &str,
    id: &str,
    request: &request::Parts,
) -> Result<Response, Trouble> {
    let (principal, dataset) = admit(service, dataset, &request.headers).await?;
    of_dataset(&uploads::find(service, &principal, id).await?, &dataset)?;
    uploads::cancel(service, &principal, id).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Who asks and for which dataset, if they speak version 1.0.0.
async fn admit(
    service: &Service,
    dataset: &str,
    headers: &HeaderMap,
) -> Result<(Principal, Dataset), Trouble> {
    if headers.get(TUS_RESUMABLE) != Some(&VERSION) {
        let status = StatusCode::PRECONDITION_FAILED;
        let detail = "the header Tus-Resumable: 1.0.0 is needed";
        return Err(ApiError::new(status, "unsupported_tus_version", detail).into());
    }
    admit_any(service, dataset, headers).await
}

async fn admit_any(
    service: &Service,
    dataset: &str,
    headers: &HeaderMap,
) -> Result<(Principal, Dataset), Trouble> {
    let principal = authorize(&service.catalog, headers, Scope::Upload).await?;
    let dataset = require_dataset(&service.catalog, &principal, dataset).await?;
    Ok((principal, dataset))
}

fn of_dataset(upload: &Upload, dataset: &Dataset) -> Result<(), Trouble> {
    if upload.dataset == dataset.id {
        Ok(())
    } else {
        Err(Trouble::unknown())
    }
}

/// Tells in an answer how much is there, and what became of a complete upload.
fn tell(mut response: Response, outcome: &Outcome) -> Result<Response, Trouble> {
    let offset = match outcome {
        Outcome::Grown { offset, .. } => *offset,
        Outcome::Complete { length, answer } => {
            let Some(receipt) = Receipt::from_stored(answer) else {
                return Ok(last_answer(answer));
            };
            receipt.tell(response.headers_mut());
            *length
        }
    };
    response.headers_mut().insert(UPLOAD_OFFSET, offset.into());
    Ok(response)
}

fn tell_expiry(headers: &mut HeaderMap, at: DateTime<Utc>) {
    let text = at.format("%a, %d %b %Y %H:%M:%S GMT").to_string();
    if let Ok(value) = HeaderValue::try_from(text) {
        headers.insert(UPLOAD_EXPIRES, value);
    }
}

fn refuse(trouble: &Trouble) -> Response {
    let mut response = trouble.refusal.clone().into_response();
    if trouble.fault == Fault::Checksum
        && let Ok(mismatch) = StatusCode::from_u16(460)
    {
        *response.status_mut() = mismatch;
    }
    if let Some(offset) = trouble.offset {
        response.headers_mut().insert(UPLOAD_OFFSET, offset.into());
    }
    if trouble.refusal.status == StatusCode::PRECONDITION_FAILED {
        response.headers_mut().insert("tus-version", VERSION);
    }
    response
}

fn not_possible(method: &Method) -> Trouble {
    let detail = format!("{method} is not possible here");
    ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", detail).into()
}

fn has_octets(headers: &HeaderMap) -> bool {
    headers
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind == OCTETS)
}

fn number(headers: &HeaderMap, name: &HeaderName) -> Result<Option<u64>, Trouble> {
    let Some(value) = headers.get(name) else {
        return Ok(None);
    };
    let text = value.to_str().unwrap_or_default();
    let number = text
        .parse()
        .ok()
        .filter(|_| text.bytes().all(|b| b.is_ascii_digit()));
    let broken =
        || ApiError::bad_request("invalid_header", format!("{name} is not a number of bytes"));
    Ok(Some(number.ok_or_else(broken)?))
}

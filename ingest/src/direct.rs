//! Photos that go to the object store without passing through here, for large originals:
//! what they will be is declared first and signed into the one request that writes them;
//! once they are there they are confirmed, and taken in.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use axum::extract::{DefaultBodyLimit, Path, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use catalog::http::{ApiError, authorize, read_json, require_dataset};
use chrono::{DateTime, Utc};
use metrics::counter;
use schemas::http::{PresignCapture, PresignedCapture, Scope};
use schemas::{ObjectKey, Sha256};
use tracing::warn;

use crate::accept::Receipt;
use crate::draft::last_answer;
use crate::fields::{Details, Fields, Standing, idempotency_key};
use crate::metrics::REQUESTS;
use crate::refusal;
use crate::service::Service;
use crate::uploads::{self, Head, Kind, Trouble};

/// How long the signed request may be begun. Longer lets an address that leaked be used
/// longer; shorter refuses phones that wait for Wi-Fi. Far below the life of an upload, so that
/// whatever comes late is still swept.
const SIGNED_FOR: Duration = Duration::from_secs(3600);
/// The largest declaration: 4 KiB of metadata, with room for how JSON may write it.
const MAX_BODY_BYTES: usize = 32 << 10;

/// An object that a client may write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectPut {
    /// Where; nothing may lie there yet.
    pub object: ObjectKey,
    /// How many bytes.
    pub num_bytes: u64,
    /// What they hash to.
    pub sha256: Sha256,
    /// How long the client may begin to write.
    pub valid_for: Duration,
}

/// The request that writes it: a `PUT` that the store takes only with these headers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedPut {
    /// Its address, with the signature.
    pub url: String,
    /// Its headers.
    pub headers: BTreeMap<String, String>,
    /// When the store will not take it any more.
    pub expires_at: DateTime<Utc>,
}

/// Signs requests to the object store on behalf of clients that have no access to it.
#[async_trait]
pub trait SignPut: Send + Sync {
    /// The signed request that writes this object, once, with these bytes and no others.
    ///
    /// # Errors
    /// There are no credentials to sign with.
    async fn sign(&self, put: &DirectPut) -> Result<SignedPut, Box<dyn Error + Send + Sync>>;
}

pub(crate) fn router(service: Arc<Service>) -> Router {
    Router::new()
        .route("/v1/datasets/{dataset}/captures/presign", post(presign))
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .route("/v1/uploads/{upload}/confirm", post(confirm))
        .with_state(service)
}

async fn presign(
    State(service): State<Arc<Service>>,
    Path(dataset): Path<String>,
    request: Request,
) -> Result<Response, ApiError> {
    let catalog = &service.catalog;
    let principal = authorize(catalog, request.headers(), Scope::Upload).await?;
    let dataset = require_dataset(catalog, &principal, &dataset).await?;
    let signer = service.signer.get().ok_or_else(no_direct_uploads)?;
    let idempotency_key = idempotency_key(request.headers())?;
    let asked: PresignCapture = read_json(request).await?;
    if asked.bytes == 0 {
        return Err(refusal::empty_body());
    }
    let sha256: Result<Sha256, _> = asked.sha256.to_ascii_lowercase().parse();
    let sha256 = sha256
        .map_err(|error| ApiError::unprocessable("invalid_value", format!("sha256: {error}")))?;
    let num_bytes = asked.bytes;
    let details = details_of(asked)?;
    Standing::of(&details.label, &dataset)?;
    let head = Head {
        kind: Kind::Direct,
        details: Some(details),
        idempotency_key,
        sha256: Some(sha256.to_string()),
        tus_metadata: None,
    };
    let length = Some(num_bytes);
    let opened = uploads::open(&service, &principal, &dataset.id, &head, length, Vec::new());
    let id = opened.await.map_err(|trouble| *trouble.refusal)?;
    let put = DirectPut {
        object: uploads::direct_object(&dataset.id, id),
        num_bytes,
        sha256,
        valid_for: SIGNED_FOR,
    };
    let signed = match signer.sign(&put).await {
        Ok(signed) => signed,
        Err(error) => {
            warn!(%error, upload = %id, "an upload to the object store was not signed");
            catalog.expire_upload(id).await?;
            let trouble = "nothing can be signed for it now";
            return Err(refusal::store_unavailable(trouble));
        }
    };
    let answer = PresignedCapture {
        id,
        method: "PUT".into(),
        url: signed.url,
        headers: signed.headers,
        expires_at: signed.expires_at,
        confirm: format!("/v1/uploads/{id}/confirm"),
    };
    let mut response = (StatusCode::CREATED, axum::Json(answer)).into_response();
    let headers = response.headers_mut();
    if let Ok(location) = HeaderValue::try_from(format!("/v1/uploads/{id}")) {
        headers.insert(header::LOCATION, location);
    }
    // The address is a right to write.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// The same rules as for the parts of a form.
fn details_of(asked: PresignCapture) -> Result<Details, ApiError> {
    let mut fields = Fields::default();
    let texts = [
        ("label", asked.label),
        ("captured_at", asked.captured_at),
        ("device_id", asked.device_id),
    ];
    for (name, text) in texts {
        if let Some(text) = text {
            fields.set_part(name, &text)?;
        }
    }
    let metadata = serde_json::to_string(&asked.metadata).expect("texts have a JSON form");
    fields.set_part("metadata", &metadata)?;
    if let Some(name) = asked.file_name {
        fields.set_file_name(name);
    }
    fields.finish()
}

async fn confirm(
    State(service): State<Arc<Service>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Response {
    let answer = confirmed(&service, &id, &headers).await;
    let name = match &answer {
        Ok(answer) => {
            Receipt::from_stored(answer).map_or("refused", |receipt| receipt.body.status.as_str())
        }
        Err(trouble) => trouble.refusal.code,
    };
    counter!(REQUESTS, "answer" => name).increment(1);
    match answer {
        Ok(answer) => last_answer(&answer),
        Err(trouble) => trouble.refusal.into_response(),
    }
}

async fn confirmed(
    service: &Arc<Service>,
    id: &str,
    headers: &HeaderMap,
) -> Result<catalog::StoredAnswer, Trouble> {
    let principal = authorize(&service.catalog, headers, Scope::Upload).await?;
    let upload = uploads::find(service, &principal, id).await?;
    uploads::confirm(service, &principal, upload).await
}

fn no_direct_uploads() -> ApiError {
    let detail = "photos cannot be written to this server's object store directly: it is not S3";
    ApiError::conflict("no_direct_uploads", detail)
        .hint("POST the photo to /v1/datasets/{dataset}/captures, whole or in pieces")
}

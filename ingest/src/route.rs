//! The route itself: a request comes in, a receipt or a refusal goes out. Cheap
//! checks come before dear ones, and all that can be known from the head of a
//! request comes before its body.

use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Path, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header, request};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use catalog::RequestScope;
use catalog::http::{ApiError, authorize, require_dataset};
use chrono::Utc;
use metrics::counter;
use schemas::http::Scope;

use crate::accept::Receipt;
use crate::body::RequestBody;
use crate::digest::Declared;
use crate::draft::{self, Announced, Version};
use crate::fields::{Fields, Standing, idempotency_key};
use crate::form;
use crate::intake::{self, Arrival};
use crate::lease::Claim;
use crate::meter::{Limits, Meter};
use crate::metrics::{REQUESTS, Step};
use crate::photo::{Photo, PhotoReader};
use crate::service::Service;

const CAPTURE_ID: HeaderName = HeaderName::from_static("x-capture-id");
const CAPTURE_STATUS: HeaderName = HeaderName::from_static("x-capture-status");

pub(crate) fn router(service: Arc<Service>) -> Router {
    Router::new()
        .route(
            "/v1/datasets/{dataset}/captures",
            post(receive).put(receive).options(draft::options),
        )
        // The meter has the limit, and tells it in its own words.
        .layer(DefaultBodyLimit::disable())
        .with_state(service)
}

async fn receive(
    State(service): State<Arc<Service>>,
    Path(dataset): Path<String>,
    request: Request,
) -> Response {
    let (request, body) = request.into_parts();
    let body = RequestBody::new(body);
    let version = Version::of(&request.headers);
    let announced = version.announced(&request.headers);
    if announced == Some(Announced::MoreToCome) {
        return draft::create(&service, &dataset, &request, body).await;
    }
    let answer = upload(&service, &dataset, &request, body.clone()).await;
    let name = answer.as_ref().map_or_else(
        |refusal| refusal.code,
        |receipt| receipt.body.status.as_str(),
    );
    counter!(REQUESTS, "answer" => name).increment(1);
    match answer {
        Ok(receipt) => {
            let mut response = receipt.into_response();
            if announced == Some(Announced::Complete) {
                version.tell(response.headers_mut(), true);
            }
            response
        }
        Err(refusal) => refuse(refusal, body, &request),
    }
}

async fn upload(
    service: &Arc<Service>,
    dataset: &str,
    request: &request::Parts,
    body: RequestBody,
) -> Result<Receipt, ApiError> {
    let received_at = Utc::now();
    let headers = &request.headers;
    let principal = authorize(&service.catalog, headers, Scope::Upload).await?;
    let dataset = require_dataset(&service.catalog, &principal, dataset).await?;

    let is_form = form::is_form(headers);
    let limits = Limits::of(headers, is_form, &service.settings)?;
    let fields = Fields::from_headers(headers)?;
    let digests = Declared::from_headers(headers, is_form)?;
    let key = idempotency_key(headers)?;
    if !is_form {
        Standing::of(&fields.label()?, &dataset)?;
    }

    let place = service.admission.enter().await?;
    let room = service.admission.room(limits.declared.unwrap_or(0)).await?;
    let claim = match key {
        _ if schemas::planted::is("keys-ignored") => Claim::unnamed(),
        None => Claim::unnamed(),
        Some(key) => {
            let dataset = dataset.id.clone();
            Claim::of(
                RequestScope { dataset, key },
                &service.catalog,
                &service.tasks,
            )
            .await?
        }
    };

    let meter = Meter::new(body, limits);
    let reader = PhotoReader::new(service.settings.max_body_bytes, room);
    let read = read(request, meter, fields, reader, is_form);
    let judged = Step::Body.measure(read).await.and_then(|(fields, photo)| {
        for digest in digests {
            digest.check(photo.sha256, photo.num_bytes)?;
        }
        let details = fields.finish()?;
        let standing = Standing::of(&details.label, &dataset)?;
        Ok((details, standing, photo))
    });
    let (details, standing, photo) = match judged {
        Ok(judged) => judged,
        Err(refusal) => {
            claim.give_back().await;
            return Err(refusal);
        }
    };
    let arrival = Arrival {
        dataset,
        details,
        standing,
        photo,
        received_at,
        place,
    };
    intake::take_in(service, claim, arrival).await
}

async fn read(
    request: &request::Parts,
    mut meter: Meter,
    fields: Fields,
    mut reader: PhotoReader,
    is_form: bool,
) -> Result<(Fields, Photo), ApiError> {
    if is_form {
        return form::read(request, meter, fields, reader).await;
    }
    while let Some(chunk) = meter.next().await? {
        reader.push(chunk).await?;
    }
    Ok((fields, reader.finish()?))
}

impl Receipt {
    /// Writes the receipt into an answer's headers: a background uploader of a phone reads
    /// nothing else.
    pub(crate) fn tell(&self, headers: &mut HeaderMap) {
        let id = self.body.id.to_string();
        let status = self.body.status.as_str();
        headers.insert(CAPTURE_STATUS, HeaderValue::from_static(status));
        if let Ok(id) = HeaderValue::try_from(id) {
            headers.insert(CAPTURE_ID, id);
        }
    }
}

impl IntoResponse for Receipt {
    fn into_response(self) -> Response {
        let location = format!("/v1/captures/{}", self.body.id);
        let mut response = (self.status, axum::Json(&self.body)).into_response();
        let headers = response.headers_mut();
        self.tell(headers);
        if let Ok(location) = HeaderValue::try_from(location) {
            headers.insert(header::LOCATION, location);
        }
        response
    }
}

fn refuse(refusal: ApiError, body: RequestBody, request: &request::Parts) -> Response {
    let status = refusal.status;
    let mut response = refusal.into_response();
    // The rest of such a body is not worth reading to its end.
    let ends_connection = [StatusCode::PAYLOAD_TOO_LARGE, StatusCode::REQUEST_TIMEOUT];
    if ends_connection.contains(&status) {
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(header::CONNECTION, close);
    }
    if status == StatusCode::REQUEST_TIMEOUT {
        return response;
    }
    body.linger(response, request)
}

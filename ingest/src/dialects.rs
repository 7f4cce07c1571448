//! What the clients of other services speak, mapped onto captures: each has its own way
//! to show a key, to name what a photo shows, and to be answered. One file a dialect.

mod edge_impulse;
mod immich;
mod roboflow;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{HeaderMap, HeaderValue, header};
use catalog::http::{ApiError, authorize, require_dataset};
use catalog::{Principal, RequestScope};
use chrono::Utc;
use schemas::http::{Dataset, Scope, UnknownLabels};

use crate::accept::Receipt;
use crate::fields::{Details, Standing};
use crate::intake::{self, Arrival};
use crate::lease::Claim;
use crate::photo::Photo;
use crate::service::Service;

/// The label of a photo whose client has no word for what it shows. It waits for a person.
const UNLABELLED: &str = "unlabelled";

pub(crate) fn router(service: &Arc<Service>) -> Router {
    edge_impulse::router(Arc::clone(service))
        .merge(roboflow::router(Arc::clone(service)))
        .merge(immich::router(Arc::clone(service)))
        .layer(DefaultBodyLimit::disable())
}

/// Who shows this key.
async fn principal_of(service: &Service, key: Option<&str>) -> Result<Principal, ApiError> {
    let mut headers = HeaderMap::new();
    if let Some(bearer) = key.and_then(|key| HeaderValue::try_from(format!("Bearer {key}")).ok()) {
        headers.insert(header::AUTHORIZATION, bearer);
    }
    authorize(&service.catalog, &headers, Scope::Upload).await
}

/// Who shows the key in this header.
async fn principal_in(
    service: &Service,
    headers: &HeaderMap,
    name: &'static str,
) -> Result<Principal, ApiError> {
    let key = headers.get(name).and_then(|value| value.to_str().ok());
    principal_of(service, key.map(str::trim)).await
}

/// The dataset of clients that name none: the one that their key is bound to, the one in
/// `X-Dataset`, or the only one that there is.
async fn dataset_of(
    service: &Service,
    principal: &Principal,
    headers: &HeaderMap,
) -> Result<Dataset, ApiError> {
    let named = headers
        .get("x-dataset")
        .and_then(|value| value.to_str().ok());
    if let Some(named) = named {
        return require_dataset(&service.catalog, principal, named).await;
    }
    let mut datasets = service.catalog.list_datasets(principal).await?;
    match (datasets.pop(), datasets.is_empty()) {
        (Some(only), true) => Ok(only),
        _ => {
            let detail = "the request does not say which dataset it is for";
            let refusal = ApiError::unprocessable("dataset_missing", detail);
            Err(refusal
                .hint("use a key that is bound to one dataset, or send the header X-Dataset"))
        }
    }
}

/// Takes one photo in.
async fn take_in(
    service: &Arc<Service>,
    dataset: Dataset,
    details: Details,
    photo: Photo,
    key: Option<String>,
) -> Result<Receipt, ApiError> {
    let place = service.admission.enter().await?;
    let standing = standing_of(&details, &dataset)?;
    let claim = match key {
        None => Claim::unnamed(),
        Some(key) => {
            let dataset = dataset.id.clone();
            let scope = RequestScope { dataset, key };
            Claim::of(scope, &service.catalog, &service.tasks).await?
        }
    };
    let arrival = Arrival {
        dataset,
        details,
        standing,
        photo,
        received_at: Utc::now(),
        place,
    };
    intake::take_in(service, claim, arrival).await
}

/// As the dataset's policy has it; what has no label waits for a person.
fn standing_of(details: &Details, dataset: &Dataset) -> Result<Standing, ApiError> {
    let is_told = details.label.as_str() != UNLABELLED;
    if is_told || dataset.policy.unknown_labels == UnknownLabels::Review {
        Standing::of(&details.label, dataset)
    } else {
        Ok(Standing::Review)
    }
}

//! The HTTP side of the control plane: who asks, which routes there are, and how
//! errors look. Every answer but the live events is JSON; every error is a
//! [`schemas::http::Problem`] that tells the person what to do.

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{delete, get, post};
use tokio_util::sync::CancellationToken;

use crate::Catalog;

mod problem;
pub use problem::{ApiError, with_fallbacks};

mod extract;
pub use extract::{ApiPath, ApiQuery, read_json};

mod access;
pub use access::{authorize, authorize_any, require_dataset};

mod captures;
mod clusters;
mod datasets;
mod duplicates;
mod events;
mod keys;

mod openapi;
pub use openapi::openapi;

/// The largest body with labels in it: ten thousand of 100 bytes.
const MAX_LABELS_BODY_BYTES: usize = 1024 * 1024;
/// The largest body without.
const MAX_BODY_BYTES: usize = 64 * 1024;

/// What the handlers have.
#[derive(Clone)]
struct Api {
    catalog: Catalog,
    subscribers: events::Subscribers,
    shutdown: CancellationToken,
}

/// The routes of datasets, captures' fates, events and keys, to be merged with those
/// of other crates and then given to [`with_fallbacks`]. Live events end on `shutdown`.
pub fn router(catalog: Catalog, shutdown: CancellationToken) -> Router {
    let api = Api {
        catalog,
        subscribers: events::Subscribers::new(),
        shutdown,
    };
    let with_labels = Router::new()
        .route("/v1/datasets", post(datasets::create).get(datasets::list))
        .route(
            "/v1/datasets/{dataset}",
            get(datasets::show)
                .patch(datasets::patch)
                .delete(datasets::delete),
        )
        .layer(DefaultBodyLimit::max(MAX_LABELS_BODY_BYTES));
    let others = Router::new()
        .route("/v1/datasets/{dataset}/stats", get(datasets::stats))
        .route("/v1/datasets/{dataset}/captures", get(captures::list))
        .route("/v1/datasets/{dataset}/clusters", get(clusters::list))
        .route("/v1/datasets/{dataset}/duplicates", get(duplicates::list))
        .route("/v1/datasets/{dataset}/events", get(events::follow))
        .route("/v1/captures/{id}", get(captures::show))
        .route("/v1/keys", post(keys::create).get(keys::list))
        .route("/v1/keys/{id}", delete(keys::revoke))
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES));
    with_labels.merge(others).with_state(api)
}

#[cfg(test)]
mod tests;

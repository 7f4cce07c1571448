//! Trainings: asked for, looked at, called off.

use axum::Json;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use catalog::Principal;
use catalog::http::{
    ApiError, ApiPath, ApiQuery, authorize, authorize_any, read_json, require_dataset,
};
use schemas::http::{Problem, Scope};
use schemas::training::{Training, TrainingList, TrainingSpec, TrainingState};
use schemas::{ModelId, TrainingId};
use serde_json::{Map, Value};

use super::{Api, ListQuery, enough};
use crate::{leftovers, spec};

/// Starts a training: `{"preset": "fast"}`, with any field of the spec overridden.
#[utoipa::path(
    post, path = "/v1/datasets/{dataset}/trainings", tag = "trainings",
    params(("dataset" = String, Path, description = "name or id")),
    request_body(content = Object, description = "a preset and what to change of it"),
    responses(
        (status = 202, body = Training),
        (status = 404, body = Problem, description = "no such dataset"),
        (status = 422, body = Problem, description = "the spec cannot be; the field is named. Or \
            the dataset lacks what it asks for: classes, photos of a label, a version"),
    ),
)]
pub(super) async fn create(
    State(api): State<Api>,
    headers: HeaderMap,
    ApiPath(dataset): ApiPath<String>,
    request: Request,
) -> Result<(StatusCode, Json<Training>), ApiError> {
    let principal = authorize(&api.catalog, &headers, Scope::Train).await?;
    let dataset = require_dataset(&api.catalog, &principal, &dataset).await?;
    let fields: Map<String, Value> = read_json(request).await?;
    let spec = spec::resolve(&fields).map_err(|fault| {
        ApiError::unprocessable("invalid_spec", fault.to_string())
            .hint("GET /openapi.json describes the spec as TrainingSpec")
    })?;
    check_classes(&spec, &dataset)?;
    check_parent(&api, &principal, &spec).await?;
    enough::check(&api.catalog, &api.objects, &dataset.id, &spec).await?;
    let made = api
        .catalog
        .create_training(&principal.owner, &dataset.id, &spec);
    Ok((StatusCode::ACCEPTED, Json(made.await?)))
}

fn check_classes(spec: &TrainingSpec, dataset: &schemas::http::Dataset) -> Result<(), ApiError> {
    // The list is sorted.
    let is_unknown = |class: &&schemas::Label| dataset.labels.binary_search(class).is_err();
    let Some(unknown) = spec.classes.iter().find(is_unknown) else {
        return Ok(());
    };
    let detail = format!("the dataset has no label {:?}", unknown.as_str());
    let error = ApiError::unprocessable("unknown_class", detail);
    let near = catalog::nearest(
        unknown.as_str(),
        dataset.labels.iter().map(schemas::Label::as_str),
    );
    Err(match near.as_slice() {
        [] => error,
        near => error.hint(format!("did you mean {}?", near.join(" or "))),
    })
}

/// A model to continue from must be the caller's, and of the same network.
async fn check_parent(
    api: &Api,
    principal: &Principal,
    spec: &TrainingSpec,
) -> Result<(), ApiError> {
    let Ok(id) = spec.weights.parse::<ModelId>() else {
        return Ok(());
    };
    let Some(parent) = api.catalog.find_model(principal, id).await? else {
        return Err(super::models::unknown(id));
    };
    if parent.architecture != spec.architecture {
        let detail = format!(
            "weights: model {id} is a {}, and the spec asks for a {}",
            parent.architecture, spec.architecture
        );
        return Err(ApiError::unprocessable("invalid_spec", detail));
    }
    Ok(())
}

/// Lists the newest trainings, up to 200.
#[utoipa::path(
    get, path = "/v1/trainings", tag = "trainings",
    params(("dataset" = Option<String>, Query, description = "only this dataset's")),
    responses((status = 200, body = TrainingList)),
)]
pub(super) async fn list(
    State(api): State<Api>,
    headers: HeaderMap,
    ApiQuery(query): ApiQuery<ListQuery>,
) -> Result<Json<TrainingList>, ApiError> {
    let principal = authorize_any(&api.catalog, &headers, &[Scope::Read, Scope::Train]).await?;
    let dataset = query.dataset(&api, &principal).await?;
    let trainings = api
        .catalog
        .list_trainings(&principal, dataset.as_ref())
        .await?;
    Ok(Json(TrainingList { trainings }))
}

/// Tells where a training stands.
#[utoipa::path(
    get, path = "/v1/trainings/{id}", tag = "trainings",
    params(("id" = TrainingId, Path, description = "the id that it was made with")),
    responses(
        (status = 200, body = Training),
        (status = 404, body = Problem, description = "no such training"),
    ),
)]
pub(super) async fn show(
    State(api): State<Api>,
    headers: HeaderMap,
    ApiPath(id): ApiPath<String>,
) -> Result<Json<Training>, ApiError> {
    let principal = authorize_any(&api.catalog, &headers, &[Scope::Read, Scope::Train]).await?;
    Ok(Json(find(&api, &principal, &id).await?))
}

/// Calls a training off. One that runs stops within seconds; one that is over stays.
#[utoipa::path(
    delete, path = "/v1/trainings/{id}", tag = "trainings",
    params(("id" = TrainingId, Path, description = "the id that it was made with")),
    responses(
        (status = 200, body = Training, description = "as it stands now"),
        (status = 404, body = Problem, description = "no such training"),
    ),
)]
pub(super) async fn cancel(
    State(api): State<Api>,
    headers: HeaderMap,
    ApiPath(id): ApiPath<String>,
) -> Result<Json<Training>, ApiError> {
    let principal = authorize(&api.catalog, &headers, Scope::Train).await?;
    let training = find(&api, &principal, &id).await?;
    api.catalog.cancel_training(training.id).await?;
    let training = find(&api, &principal, &id).await?;
    // One that waited to go on has no worker that would tidy up after it.
    if training.state == TrainingState::Cancelled
        && let Err(error) = leftovers::clear(api.objects.as_ref(), &training, None).await
    {
        tracing::warn!(training = %training.id, %error, "files of a training are left over");
    }
    Ok(Json(training))
}

/// The training with this id, as the caller sees it.
pub(super) async fn find(api: &Api, principal: &Principal, id: &str) -> Result<Training, ApiError> {
    let id: TrainingId = id.parse().map_err(|_| {
        let detail = "this is no training id: a UUID with hyphens is needed";
        ApiError::bad_request("invalid_path", detail)
    })?;
    let found = api.catalog.find_training(principal, id).await?;
    found.ok_or_else(|| {
        ApiError::not_found("unknown_training", format!("there is no training {id}"))
            .hint("GET /v1/trainings lists those that this key may see")
    })
}

//! Models: listed, looked at, fetched file by file, deleted.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use catalog::Principal;
use catalog::http::{ApiError, ApiPath, ApiQuery, authorize, authorize_any};
use object_store::ObjectStoreExt as _;
use object_store::path::Path;
use schemas::http::{Problem, Scope};
use schemas::training::{Model, ModelList};
use schemas::{ModelId, ObjectKey};

use super::{Api, ListQuery};

/// Lists the newest models, up to 200.
#[utoipa::path(
    get, path = "/v1/models", tag = "models",
    params(("dataset" = Option<String>, Query, description = "only those of this dataset")),
    responses((status = 200, body = ModelList)),
)]
pub(super) async fn list(
    State(api): State<Api>,
    headers: HeaderMap,
    ApiQuery(query): ApiQuery<ListQuery>,
) -> Result<Json<ModelList>, ApiError> {
    let principal = asker(&api, &headers).await?;
    let dataset = query.dataset(&api, &principal).await?;
    let models = api
        .catalog
        .list_models(&principal, dataset.as_ref())
        .await?;
    let models = models.into_iter().map(|model| seen_by(&principal, model));
    Ok(Json(ModelList {
        models: models.collect(),
    }))
}

/// Tells what a model is and how good.
#[utoipa::path(
    get, path = "/v1/models/{id}", tag = "models",
    params(("id" = ModelId, Path, description = "its id")),
    responses(
        (status = 200, body = Model),
        (status = 404, body = Problem, description = "no such model"),
    ),
)]
pub(super) async fn show(
    State(api): State<Api>,
    headers: HeaderMap,
    ApiPath(id): ApiPath<String>,
) -> Result<Json<Model>, ApiError> {
    let principal = asker(&api, &headers).await?;
    let model = find(&api, &principal, &id).await?;
    Ok(Json(seen_by(&principal, model)))
}

/// Sends a file of a model. Its hash is the `ETag`, so that a phone that has it is told so.
#[utoipa::path(
    get, path = "/v1/models/{id}/files/{name}", tag = "models",
    params(
        ("id" = ModelId, Path, description = "the model's id"),
        ("name" = String, Path, description = "such as model.tflite"),
    ),
    responses(
        (status = 200, description = "the file", content_type = "application/octet-stream"),
        (status = 304, description = "the client has it"),
        (status = 404, body = Problem, description = "no such model or file"),
    ),
)]
pub(super) async fn file(
    State(api): State<Api>,
    headers: HeaderMap,
    ApiPath((id, name)): ApiPath<(String, String)>,
) -> Result<Response, ApiError> {
    let principal = asker(&api, &headers).await?;
    let model = seen_by(&principal, find(&api, &principal, &id).await?);
    let Some(file) = model.files.iter().find(|file| file.name == name) else {
        let names: Vec<&str> = model.files.iter().map(|file| file.name.as_str()).collect();
        let detail = format!("model {} has no such file", model.id);
        return Err(ApiError::not_found("unknown_file", detail)
            .hint(format!("it has {}", names.join(", "))));
    };
    let etag = format!("\"{}\"", file.sha256);
    let known = headers.get_all(header::IF_NONE_MATCH).iter().any(|value| {
        value.to_str().is_ok_and(|value| {
            value
                .split(',')
                .any(|tag| tag.trim().trim_start_matches("W/") == etag)
        })
    });
    let etag = HeaderValue::from_str(&etag).expect("quotes and hex digits");
    if known {
        return Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, etag)]).into_response());
    }
    let key = ObjectKey::ModelFile {
        model: model.id,
        name: file.name.clone(),
    };
    let object = api
        .objects
        .get(&Path::from(key.to_string()))
        .await
        .map_err(|error| {
            tracing::error!(%error, %key, "a file of a model cannot be read");
            ApiError::unavailable("store_unavailable", "the file cannot be read now", 5)
        })?;
    let kind = match name.rsplit_once('.').map(|(_, extension)| extension) {
        Some("json") => "application/json",
        Some("txt") => "text/plain; charset=utf-8",
        Some("md") => "text/markdown; charset=utf-8",
        _ => "application/octet-stream",
    };
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(kind)),
        (header::CONTENT_LENGTH, file.bytes.into()),
        (header::ETAG, etag),
        (
            header::CACHE_CONTROL,
            HeaderValue::from_static("private, max-age=31536000, immutable"),
        ),
    ];
    Ok((headers, Body::from_stream(object.into_stream())).into_response())
}

/// Deletes a model and its files. Phones that have it keep it.
#[utoipa::path(
    delete, path = "/v1/models/{id}", tag = "models",
    params(("id" = ModelId, Path, description = "its id")),
    responses(
        (status = 204, description = "gone"),
        (status = 404, body = Problem, description = "no such model"),
    ),
)]
pub(super) async fn delete(
    State(api): State<Api>,
    headers: HeaderMap,
    ApiPath(id): ApiPath<String>,
) -> Result<StatusCode, ApiError> {
    let principal = authorize(&api.catalog, &headers, Scope::Train).await?;
    let model = find(&api, &principal, &id).await?;
    api.predictor.forget(model.id);
    for file in &model.files {
        let key = ObjectKey::ModelFile {
            model: model.id,
            name: file.name.clone(),
        };
        match api.objects.delete(&Path::from(key.to_string())).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
            Err(error) => {
                tracing::error!(%error, %key, "a file of a model cannot be deleted");
                let detail = "the model's files cannot be deleted now";
                return Err(ApiError::unavailable("store_unavailable", detail, 5));
            }
        }
    }
    api.catalog.forget_model(model.id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The model with this id, as the caller sees it; those who may train may look as well.
pub(super) async fn find(api: &Api, principal: &Principal, id: &str) -> Result<Model, ApiError> {
    let id: ModelId = id.parse().map_err(|_| {
        let detail = "this is no model id: a UUID with hyphens is needed";
        ApiError::bad_request("invalid_path", detail)
    })?;
    let found = api.catalog.find_model(principal, id).await?;
    found.ok_or_else(|| unknown(id))
}

/// The caller has no such model.
pub(super) fn unknown(id: ModelId) -> ApiError {
    ApiError::not_found("unknown_model", format!("there is no model {id}"))
        .hint("GET /v1/models lists those that this key may see")
}

/// A model as the caller may see it. An app's key, with the scope `upload` alone, sees what a
/// phone needs to run it, and not the photos that the evaluation names, nor the weights.
fn seen_by(principal: &Principal, mut model: Model) -> Model {
    const FOR_PHONES: [&str; 4] = [
        "manifest.json",
        "labels.txt",
        "preprocess.json",
        "golden.json",
    ];
    if !principal.has(Scope::Read) && !principal.has(Scope::Train) {
        model.evaluation = serde_json::Value::Null;
        model.files.retain(|file| {
            FOR_PHONES.contains(&file.name.as_str()) || file.name.starts_with("model")
        });
    }
    model
}

/// Who may ask a model about a photo, or fetch it: those who read, and apps that upload.
pub(super) async fn asker(api: &Api, headers: &HeaderMap) -> Result<Principal, ApiError> {
    authorize_any(&api.catalog, headers, &[Scope::Read, Scope::Upload]).await
}

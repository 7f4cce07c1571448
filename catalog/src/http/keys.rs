//! `/v1/keys`: making, listing and revoking API keys, all for the scope `admin`.

use axum::Json;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use schemas::DatasetId;
use schemas::http::{CreateKey, CreatedKey, KeyList, Problem, Scope};

use super::problem::shown;
use super::{Api, ApiError, ApiPath, authorize, read_json, require_dataset};
use crate::{NewKey, Principal};

/// Makes a key. This answer is the only place where its secret ever stands.
#[utoipa::path(
    post, path = "/v1/keys", tag = "keys",
    request_body = CreateKey,
    responses(
        (status = 201, body = CreatedKey),
        (status = 403, body = Problem, description = "the owner or dataset is not the caller's to give"),
        (status = 404, body = Problem, description = "no such dataset"),
        (status = 422, body = Problem, description = "the name or the scopes break their rule"),
    ),
)]
pub(super) async fn create(
    State(api): State<Api>,
    headers: HeaderMap,
    request: Request,
) -> Result<Response, ApiError> {
    let principal = authorize(&api.catalog, &headers, Scope::Admin).await?;
    let create: CreateKey = read_json(request).await?;
    let owner = create.owner.clone().unwrap_or(principal.owner.clone());
    if owner != principal.owner && !principal.is_operator() {
        let detail = "only the operator can make keys for other owners";
        return Err(ApiError::forbidden("not_operator", detail)
            .hint("leave out owner to make a key for your own data"));
    }
    let dataset = find_bound(&api, &principal, &owner, create.dataset.as_deref()).await?;
    let new = NewKey {
        name: create.name,
        owner,
        scopes: create.scopes,
        dataset,
    };
    let created = api.catalog.create_key(new).await?;
    tracing::info!(
        key = created.key.id,
        owner = created.key.owner,
        by = principal.key_id,
        "key made"
    );
    let secret = [(header::CACHE_CONTROL, "no-store")];
    Ok((StatusCode::CREATED, secret, Json(created)).into_response())
}

/// The dataset that the new key is to be bound to. A bound key gives away no more
/// than it has: only keys that are bound to the same.
async fn find_bound(
    api: &Api,
    principal: &Principal,
    owner: &str,
    wanted: Option<&str>,
) -> Result<Option<DatasetId>, ApiError> {
    let Some(wanted) = wanted else {
        return match &principal.dataset {
            None => Ok(None),
            Some(only) => {
                let detail = format!("this key is bound to dataset {only}");
                Err(ApiError::forbidden("bound_key", detail)
                    .hint(format!("name it in the request: \"dataset\": \"{only}\"")))
            }
        };
    };
    let theirs = Principal {
        owner: owner.into(),
        ..principal.clone()
    };
    let dataset = require_dataset(&api.catalog, &theirs, wanted).await?;
    Ok(Some(dataset.id))
}

/// Lists the owner's keys without their secrets, the newest first.
#[utoipa::path(get, path = "/v1/keys", tag = "keys", responses((status = 200, body = KeyList)))]
pub(super) async fn list(
    State(api): State<Api>,
    headers: HeaderMap,
) -> Result<Json<KeyList>, ApiError> {
    let principal = authorize(&api.catalog, &headers, Scope::Admin).await?;
    let keys = api.catalog.list_keys(&principal).await?;
    Ok(Json(KeyList { keys }))
}

/// Revokes a key, which is of no use from then on. Doing it twice is no fault.
#[utoipa::path(
    delete, path = "/v1/keys/{id}", tag = "keys",
    params(("id" = String, Path, description = "the key's id, not its secret")),
    responses(
        (status = 204, description = "revoked"),
        (status = 404, body = Problem, description = "no such key"),
        (status = 409, body = Problem, description = "it is the owner's last admin key"),
    ),
)]
pub(super) async fn revoke(
    State(api): State<Api>,
    headers: HeaderMap,
    ApiPath(id): ApiPath<String>,
) -> Result<StatusCode, ApiError> {
    let principal = authorize(&api.catalog, &headers, Scope::Admin).await?;
    if api.catalog.revoke_key(&principal, &id).await? {
        tracing::info!(key = id, by = principal.key_id, "key revoked");
        return Ok(StatusCode::NO_CONTENT);
    }
    // Whoever gives a secret for the id must not find it in answers and their logs.
    let detail = match id.starts_with("key_") {
        true => format!("there is no key {:?}", shown(&id)),
        false => "there is no such key".into(),
    };
    Err(ApiError::not_found("unknown_key", detail)
        .hint("GET /v1/keys lists the ids; they begin with key_"))
}

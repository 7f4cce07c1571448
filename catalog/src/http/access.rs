//! Who asks, and for which dataset. What a key may not see looks to it as if it did
//! not exist.

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use schemas::http::{Dataset, Scope};

use super::ApiError;
use super::problem::shown;
use crate::{Catalog, Principal, nearest};

/// Who asks, if their key is valid and has the scope.
///
/// # Errors
/// 401 without a valid key, in the same words for one that is unknown and one that is
/// revoked; 403 without the scope; 503 if the catalog fails.
pub async fn authorize(
    catalog: &Catalog,
    headers: &HeaderMap,
    scope: Scope,
) -> Result<Principal, ApiError> {
    authorize_any(catalog, headers, &[scope]).await
}

/// Who asks, if their key is valid and has one of the scopes.
///
/// # Errors
/// As [`authorize`].
pub async fn authorize_any(
    catalog: &Catalog,
    headers: &HeaderMap,
    scopes: &[Scope],
) -> Result<Principal, ApiError> {
    let Some(principal) = catalog.authenticate(bearer(headers)?).await? else {
        return Err(
            ApiError::unauthorized("invalid_key", "this API key is not valid (any more)")
                .hint("ask whoever administers the data for a new key"),
        );
    };
    if scopes.iter().any(|scope| principal.has(*scope)) {
        return Ok(principal);
    }
    let names = |scopes: &[Scope]| {
        let names: Vec<_> = scopes.iter().map(|scope| scope.as_str()).collect();
        names.join(" or ")
    };
    let detail = format!(
        "this needs a key with the scope {}; this one has {}",
        names(scopes),
        names(&principal.scopes).replace(" or ", " and "),
    );
    Err(ApiError::forbidden("insufficient_scope", detail)
        .hint("use another key, or have one made by POST /v1/keys"))
}

/// The token in `Authorization: Bearer`.
fn bearer(headers: &HeaderMap) -> Result<&str, ApiError> {
    const HINT: &str = "send the header Authorization: Bearer tt_...";
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let value = match (values.next(), values.next()) {
        (Some(value), None) => value,
        (None, _) => {
            let detail = "this needs an API key";
            return Err(ApiError::unauthorized("missing_key", detail).hint(HINT));
        }
        (Some(_), Some(_)) => {
            let detail = "there is more than one Authorization header";
            return Err(ApiError::unauthorized("invalid_key", detail).hint(HINT));
        }
    };
    let token = value.to_str().ok().and_then(|text| {
        let (scheme, token) = text.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
    });
    token.ok_or_else(|| {
        let detail = "the Authorization header is not of the form Bearer tt_...";
        ApiError::unauthorized("invalid_key", detail).hint(HINT)
    })
}

/// The dataset with this name or id.
///
/// # Errors
/// 404 if the caller has none such, naming the nearest of the caller's own; 503 if
/// the catalog fails.
pub async fn require_dataset(
    catalog: &Catalog,
    principal: &Principal,
    name_or_id: &str,
) -> Result<Dataset, ApiError> {
    if let Some(dataset) = catalog.find_dataset(principal, name_or_id).await? {
        return Ok(dataset);
    }
    let names = catalog.dataset_names(principal).await?;
    let near = nearest(name_or_id, names.iter().map(String::as_str));
    let hint = match near.as_slice() {
        [] => "GET /v1/datasets lists the datasets that this key may see".into(),
        near => format!("did you mean {}?", near.join(" or ")),
    };
    let detail = format!("there is no dataset {:?}", shown(name_or_id));
    Err(ApiError::not_found("unknown_dataset", detail).hint(hint))
}

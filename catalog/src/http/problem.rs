//! Errors as RFC 9457 has them: `application/problem+json` with a stable `code` for
//! programs, and what was wrong and what to do for people.

use std::collections::BTreeMap;

use axum::Router;
use axum::http::{HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use schemas::http::Problem;

use crate::CatalogError;

/// The longest text that an answer repeats of a request, in characters.
const MAX_ECHO_CHARS: usize = 300;

/// When to come back to a catalog that fails: a restart or a checkpoint is over by then.
const CATALOG_RETRY_S: u32 = 2;

/// An error as the client sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiError {
    /// The HTTP status.
    pub status: StatusCode,
    /// A stable word for programs, such as `unknown_dataset`.
    pub code: &'static str,
    /// What was wrong with this request; never a secret.
    pub detail: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// After how many seconds to try again.
    pub retry_after_s: Option<u32>,
    /// How many photos each label still needs. In a box, since few errors have it.
    pub shortfall: Option<Box<BTreeMap<String, u64>>>,
}

impl ApiError {
    /// An error with nothing to do about it yet.
    pub fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self {
            status,
            code,
            detail: detail.into(),
            hint: None,
            retry_after_s: None,
            shortfall: None,
        }
    }

    /// 400: the request cannot be read.
    pub fn bad_request(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, detail)
    }

    /// 401: no valid key. `WWW-Authenticate` is added to the answer.
    pub fn unauthorized(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, code, detail)
    }

    /// 403: the key is valid, and not for this.
    pub fn forbidden(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, code, detail)
    }

    /// 404: there is no such thing, or none that the caller may see.
    pub fn not_found(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, code, detail)
    }

    /// 409: it cannot be done as things stand.
    pub fn conflict(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, code, detail)
    }

    /// 422: the request can be read, and breaks a rule.
    pub fn unprocessable(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, code, detail)
    }

    /// 503: not now; with `Retry-After`.
    pub fn unavailable(code: &'static str, detail: impl Into<String>, retry_after_s: u32) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, code, detail).retry_after(retry_after_s)
    }

    /// The same with what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same with `Retry-After`.
    #[must_use]
    pub fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after_s = Some(seconds);
        self
    }
}

impl ApiError {
    /// The error as the body of an answer has it.
    pub fn problem(&self) -> Problem {
        Problem {
            kind: "about:blank".into(),
            title: self.status.canonical_reason().unwrap_or("Error").into(),
            status: self.status.as_u16(),
            code: self.code.into(),
            detail: self.detail.clone(),
            hint: self.hint.clone(),
            shortfall: self.shortfall.as_deref().cloned().unwrap_or_default(),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let body = serde_json::to_vec(&self.problem()).expect("texts and numbers have a JSON form");
        let mut response = (self.status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        if let Some(seconds) = self.retry_after_s {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        if self.status == StatusCode::UNAUTHORIZED {
            let challenge = HeaderValue::from_static("Bearer realm=\"tintype\"");
            headers.insert(header::WWW_AUTHENTICATE, challenge);
        }
        response
    }
}

impl From<CatalogError> for ApiError {
    /// A refusal says what is wrong with the request. A failure is logged here, once,
    /// and tells the client no more than that it is not their fault.
    fn from(error: CatalogError) -> Self {
        let detail = shown(&error.to_string());
        match error {
            CatalogError::NameTaken { .. } => Self::conflict("name_taken", detail)
                .hint("choose another name, or use the dataset that is there"),
            CatalogError::Invalid { .. } => Self::unprocessable("invalid_value", detail),
            CatalogError::Limit { .. } => {
                Self::unprocessable("limit_reached", detail).hint("delete what is no longer needed")
            }
            CatalogError::LastAdminKey { .. } => Self::conflict("last_admin_key", detail)
                .hint("create another key with the scope admin first"),
            failure => {
                tracing::error!(error = %failure, "the catalog failed; the client is told to retry");
                let detail = format!("the catalog is not available: {}", public_fault(&failure));
                Self::unavailable("catalog_unavailable", detail, CATALOG_RETRY_S)
                    .hint("nothing is wrong with the request; send it again in a moment")
            }
        }
    }
}

/// What a client may know of a failure: no paths, no statements.
fn public_fault(failure: &CatalogError) -> String {
    match failure {
        CatalogError::Database { source, .. } => match source.as_database_error() {
            // SQLite's own words, such as "database or disk is full".
            Some(error) => shown(error.message()),
            None => "it cannot be reached".into(),
        },
        CatalogError::Timeout { seconds, .. } => {
            format!("it did not answer within {seconds} s")
        }
        CatalogError::Closed => "it is shutting down".into(),
        _ => "it is damaged; the log says where".into(),
    }
}

/// A text that may come from the request, as an answer repeats it: cut, and without
/// the API keys that people paste into the wrong place. Answers end up in logs.
pub(super) fn shown(text: &str) -> String {
    let (text, more) = match text.char_indices().nth(MAX_ECHO_CHARS) {
        Some((end, _)) => (&text[..end], "..."),
        None => (text, ""),
    };
    let mut parts = text.split("tt_");
    let mut shown = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let after_secret = part.trim_start_matches(|c: char| c.is_ascii_alphanumeric());
        // Shorter ones are words, such as those of the dataset `watt_hours`.
        let is_secret = part.len() - after_secret.len() >= 20;
        shown += "tt_";
        shown += if is_secret { "..." } else { part };
        shown += if is_secret { after_secret } else { "" };
    }
    shown + more
}

/// Answers unknown paths and methods as problems. To be called once, on the router of
/// all crates: two routers with fallbacks cannot be merged.
pub fn with_fallbacks(router: Router) -> Router {
    router
        .fallback(async |uri: Uri| {
            let detail = format!("there is nothing at {}", shown(uri.path()));
            ApiError::not_found("unknown_path", detail)
                .hint("GET /openapi.json describes every path that there is")
        })
        .method_not_allowed_fallback(async |method: Method, uri: Uri| {
            let path = shown(uri.path());
            let detail = format!("{method} is not possible at {path}");
            ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", detail)
                .hint("the Allow header of this answer lists what is")
        })
}

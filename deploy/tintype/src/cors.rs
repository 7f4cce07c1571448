//! Web pages of other origins that call the API from a browser (CORS). In: the finished
//! router and who may; out: the same router, which answers a browser's question beforehand
//! and lets pages read the answers with the headers that uploads need.
//!
//! Nobody is let in by this: a key stands in a header that a page must have been given, and
//! cookies are never allowed. Health, metrics and pages are not opened.

use std::str::FromStr;

use anyhow::ensure;
use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};

/// What a page may read of an answer: where an upload is and stands, and what became of it.
const EXPOSED: HeaderValue = HeaderValue::from_static(
    "Location, ETag, Retry-After, Upload-Offset, Upload-Length, Upload-Complete, \
     Upload-Incomplete, Upload-Limit, Upload-Expires, Upload-Metadata, Upload-Concat, \
     Upload-Defer-Length, Upload-Draft-Interop-Version, Accept-Patch, Tus-Resumable, \
     Tus-Version, Tus-Extension, Tus-Max-Size, Tus-Checksum-Algorithm, X-Capture-Id, \
     X-Capture-Status",
);
const METHODS: HeaderValue =
    HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
/// How long a browser may remember that it may: two hours, the most that browsers heed.
const MAX_AGE_S: HeaderValue = HeaderValue::from_static("7200");

/// Which origins may use the API.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Origins {
    /// Every page: it still needs a key.
    #[default]
    Any,
    /// These; none if there are none.
    Listed(Vec<HeaderValue>),
}

impl FromStr for Origins {
    type Err = anyhow::Error;

    /// `*`, `none`, or origins with commas between them: `https://a.example, http://localhost:3000`.
    fn from_str(text: &str) -> anyhow::Result<Self> {
        let text = text.trim();
        match text {
            "*" => return Ok(Self::Any),
            "" | "none" => return Ok(Self::Listed(Vec::new())),
            _ => {}
        }
        let origins = text.split(',').map(|origin| {
            let origin = origin.trim();
            let uri = origin.parse::<Uri>();
            let is_origin = uri.is_ok_and(|uri| {
                matches!(uri.scheme_str(), Some("http" | "https"))
                    && uri.host().is_some_and(|host| !host.is_empty())
                    && uri.path() == "/"
                    && uri.query().is_none()
            });
            ensure!(
                is_origin && !origin.ends_with('/'),
                "{origin:?} is no origin: it is *, none, or scheme and host as in https://app.example.org"
            );
            Ok(HeaderValue::from_str(origin)?)
        });
        Ok(Self::Listed(origins.collect::<anyhow::Result<_>>()?))
    }
}

impl Origins {
    /// What an answer to this origin says, if it may.
    fn allow(&self, origin: &HeaderValue) -> Option<HeaderValue> {
        match self {
            Self::Any => Some(HeaderValue::from_static("*")),
            Self::Listed(origins) => origins.contains(origin).then(|| origin.clone()),
        }
    }
}

/// Puts the answers to browsers around a router.
pub fn with_cors(router: Router, origins: &Origins) -> Router {
    if *origins == Origins::Listed(Vec::new()) {
        return router;
    }
    router.layer(from_fn_with_state(origins.clone(), answer))
}

async fn answer(State(origins): State<Origins>, request: Request, next: Next) -> Response {
    let path = request.uri().path();
    if !(path.starts_with("/v1/") || path.starts_with("/api/") || path == "/openapi.json") {
        return next.run(request).await;
    }
    let origin = request.headers().get(ORIGIN);
    let allowed = origin.and_then(|origin| origins.allow(origin));
    let is_asked_first = request.method() == Method::OPTIONS
        && request
            .headers()
            .contains_key(ACCESS_CONTROL_REQUEST_METHOD);
    let mut response = match &allowed {
        Some(_) if is_asked_first => permission(request.headers()),
        _ => next.run(request).await,
    };
    let headers = response.headers_mut();
    if let Some(allowed) = allowed {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
        headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
    }
    if origins != Origins::Any {
        // The answer depends on who asked; a cache must not give it to another.
        headers.append(VARY, HeaderValue::from_static("Origin"));
    }
    response
}

/// The answer to a browser that asks whether its page may.
fn permission(asked: &HeaderMap) -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, METHODS);
    headers.insert(ACCESS_CONTROL_MAX_AGE, MAX_AGE_S);
    // A star would not stand for Authorization.
    if let Some(names) = asked.get(ACCESS_CONTROL_REQUEST_HEADERS) {
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, names.clone());
    }
    response
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::routing::post;
    use tower::ServiceExt as _;

    use super::*;

    async fn ask(origins: &str, method: &str, path: &str, origin: &str) -> Response {
        let created = || async { (StatusCode::CREATED, [("location", "/v1/uploads/1")]) };
        let router = Router::new()
            .route("/v1/datasets/cups/captures", post(created))
            .route("/metrics", post(created));
        let mut request = Request::builder().method(method).uri(path);
        request = request.header(ORIGIN, origin);
        if method == "OPTIONS" {
            request = request
                .header(ACCESS_CONTROL_REQUEST_METHOD, "PATCH")
                .header(ACCESS_CONTROL_REQUEST_HEADERS, "authorization, x-label");
        }
        let router = with_cors(router, &origins.parse().unwrap());
        let request = request.body(Body::empty()).unwrap();
        router.oneshot(request).await.unwrap()
    }

    const CAPTURES: &str = "/v1/datasets/cups/captures";

    #[tokio::test]
    async fn a_page_may_ask_send_and_read_where_its_upload_is() {
        let asked = ask("*", "OPTIONS", CAPTURES, "https://app.example").await;
        assert_eq!(asked.status(), StatusCode::NO_CONTENT);
        let headers = asked.headers();
        assert_eq!(headers[ACCESS_CONTROL_ALLOW_ORIGIN], "*");
        assert_eq!(
            headers[ACCESS_CONTROL_ALLOW_HEADERS],
            "authorization, x-label"
        );
        let methods = headers[ACCESS_CONTROL_ALLOW_METHODS].to_str().unwrap();
        assert!(methods.contains("PATCH"));
        let sent = ask("*", "POST", CAPTURES, "https://app.example").await;
        assert_eq!(sent.status(), StatusCode::CREATED);
        let exposed = sent.headers()[ACCESS_CONTROL_EXPOSE_HEADERS].to_str();
        assert!(exposed.unwrap().contains("Location"));
    }

    #[tokio::test]
    async fn only_those_that_are_listed_may() {
        let listed = "https://app.example, http://localhost:3000";
        let may = ask(listed, "POST", CAPTURES, "http://localhost:3000").await;
        assert_eq!(
            may.headers()[ACCESS_CONTROL_ALLOW_ORIGIN],
            "http://localhost:3000"
        );
        assert_eq!(may.headers()[VARY], "Origin");
        for (origins, origin) in [
            (listed, "https://evil.example"),
            ("none", "https://app.example"),
        ] {
            for method in ["POST", "OPTIONS"] {
                let may_not = ask(origins, method, CAPTURES, origin).await;
                assert!(!may_not.headers().contains_key(ACCESS_CONTROL_ALLOW_ORIGIN));
            }
        }
    }

    #[tokio::test]
    async fn metrics_are_for_no_page() {
        let metrics = ask("*", "POST", "/metrics", "https://app.example").await;
        assert!(!metrics.headers().contains_key(ACCESS_CONTROL_ALLOW_ORIGIN));
    }

    #[test]
    fn what_is_no_origin_is_named() {
        for wrong in [
            "app.example",
            "https://app.example/",
            "https://a.example/page",
            "ftp://a",
        ] {
            let refused = wrong.parse::<Origins>().unwrap_err().to_string();
            assert!(refused.contains(wrong), "{refused}");
        }
        assert_eq!(
            "none".parse::<Origins>().unwrap(),
            Origins::Listed(Vec::new())
        );
    }
}

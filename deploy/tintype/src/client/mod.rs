//! The HTTP API as seen by a client: typed requests go in, the types of
//! `schemas::http` or a [`ClientError`] that says what to do come out. Bodies are
//! streamed from disk, and no request waits without a limit.

mod error;
pub use error::{ClientError, Next};

mod retry;
pub use retry::Backoff;

mod photos;
pub use photos::Photo;

mod resumable;
pub use resumable::{Piece, Sending};

mod models;

mod sse;

mod verdicts;
pub use verdicts::Verdicts;

use std::time::Duration;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::{Method, RequestBuilder, StatusCode};
use schemas::CaptureId;
use schemas::http::{
    Capture, ClusterList, CreateDataset, CreateKey, CreatedKey, Dataset, DatasetList, DatasetStats,
    DuplicateList, KeyList,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use url::Url;

/// How long a connection may take to open. Larger, and a wrong address looks like a
/// slow server; smaller, and a phone network's first packet is too late.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a request without a photo may take. Larger hides a stuck server;
/// smaller gives up on a busy one.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// The longest answer that is read, 16 MiB: a list of all labels of a large dataset
/// fits, an endless body does not.
const MAX_ANSWER_BYTES: usize = 16 << 20;

/// What JavaScript's `encodeURIComponent` leaves alone.
const COMPONENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'!')
    .remove(b'~')
    .remove(b'*')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')');

/// `text` as one segment of a path or one header value.
fn component(text: &str) -> String {
    utf8_percent_encode(text, COMPONENT).to_string()
}

/// A client of one server. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    base: String,
    authorization: Option<reqwest::header::HeaderValue>,
}

impl Client {
    /// A client of the server at `url` that shows `key`.
    ///
    /// # Errors
    /// `url` is no http or https address, or `key` has letters that no key has.
    pub fn new(url: &str, key: Option<&str>) -> Result<Self, ClientError> {
        let base = address(url)?;
        let authorization = key.map(bearer).transpose()?;
        let mut http = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .user_agent(concat!("tintype/", env!("CARGO_PKG_VERSION")));
        // A proxy cannot reach this machine's own ports.
        if is_loopback(&base) {
            http = http.no_proxy();
        }
        Ok(Self {
            http: http.build().map_err(ClientError::Setup)?,
            base: base.as_str().trim_end_matches('/').into(),
            authorization,
        })
    }

    /// The server's address, without a slash at the end.
    pub fn url(&self) -> &str {
        &self.base
    }

    /// Whether the server is ready, and what it says about that.
    pub async fn ready(&self) -> Result<(bool, String), ClientError> {
        let request = self.request(Method::GET, "/readyz").timeout(ANSWER_TIMEOUT);
        let (status, _, body) = self.answer(request).await?;
        let text = String::from_utf8_lossy(&body).trim().to_owned();
        match status {
            StatusCode::OK => Ok((true, text)),
            StatusCode::SERVICE_UNAVAILABLE => Ok((false, text)),
            other => Err(ClientError::from_answer(
                &self.base,
                other.into(),
                None,
                &body,
            )),
        }
    }

    /// The caller's datasets.
    pub async fn datasets(&self) -> Result<DatasetList, ClientError> {
        self.get("/v1/datasets").await
    }

    /// One dataset, by name or id.
    pub async fn dataset(&self, name: &str) -> Result<Dataset, ClientError> {
        self.get(&format!("/v1/datasets/{}", component(name))).await
    }

    /// Makes a dataset.
    pub async fn create_dataset(&self, body: &CreateDataset) -> Result<Dataset, ClientError> {
        self.post("/v1/datasets", body).await
    }

    /// Deletes a dataset, by name or id.
    pub async fn delete_dataset(&self, name: &str) -> Result<(), ClientError> {
        self.delete(&format!("/v1/datasets/{}", component(name)))
            .await
    }

    /// How many captures stand where.
    pub async fn stats(&self, dataset: &str) -> Result<DatasetStats, ClientError> {
        self.get(&format!("/v1/datasets/{}/stats", component(dataset)))
            .await
    }

    /// A page of what was found more than once, from the place on that the last one named.
    pub async fn duplicates(
        &self,
        dataset: &str,
        after: Option<&str>,
    ) -> Result<DuplicateList, ClientError> {
        let after = after.map(|place| format!("&after={}", component(place)));
        let (dataset, after) = (component(dataset), after.unwrap_or_default());
        self.get(&format!(
            "/v1/datasets/{dataset}/duplicates?limit=1000{after}"
        ))
        .await
    }

    /// What kinds of photo there are.
    pub async fn clusters(&self, dataset: &str) -> Result<ClusterList, ClientError> {
        self.get(&format!("/v1/datasets/{}/clusters", component(dataset)))
            .await
    }

    /// The caller's keys.
    pub async fn keys(&self) -> Result<KeyList, ClientError> {
        self.get("/v1/keys").await
    }

    /// Makes a key; the answer is the only time that its secret is told.
    pub async fn create_key(&self, body: &CreateKey) -> Result<CreatedKey, ClientError> {
        self.post("/v1/keys", body).await
    }

    /// Revokes a key.
    pub async fn revoke_key(&self, id: &str) -> Result<(), ClientError> {
        self.delete(&format!("/v1/keys/{}", component(id))).await
    }

    /// What became of a photo.
    pub async fn capture(&self, id: CaptureId) -> Result<Capture, ClientError> {
        self.get(&format!("/v1/captures/{id}")).await
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        let request = self.request(Method::GET, path).timeout(ANSWER_TIMEOUT);
        self.read(request).await
    }

    async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, ClientError> {
        let request = self.request(Method::POST, path).timeout(ANSWER_TIMEOUT);
        self.read(request.json(body)).await
    }

    async fn delete(&self, path: &str) -> Result<(), ClientError> {
        let request = self.request(Method::DELETE, path).timeout(ANSWER_TIMEOUT);
        self.accept(request).await.map(drop)
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.base));
        match &self.authorization {
            Some(value) => request.header(reqwest::header::AUTHORIZATION, value),
            None => request,
        }
    }

    async fn read<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, ClientError> {
        let body = self.accept(request).await?;
        serde_json::from_slice(&body).map_err(|source| ClientError::Unreadable {
            url: self.base.clone(),
            source,
        })
    }

    /// The body of an answer that is a 2xx.
    async fn accept(&self, request: RequestBuilder) -> Result<Vec<u8>, ClientError> {
        let (status, retry_after, body) = self.answer(request).await?;
        if status.is_success() {
            return Ok(body);
        }
        Err(ClientError::from_answer(
            &self.base,
            status.into(),
            retry_after,
            &body,
        ))
    }

    async fn answer(
        &self,
        request: RequestBuilder,
    ) -> Result<(StatusCode, Option<Duration>, Vec<u8>), ClientError> {
        let failed = |error| ClientError::from_transport(&self.base, error);
        let mut response = request.send().await.map_err(failed)?;
        let status = response.status();
        let retry_after = response
            .headers()
            .get(reqwest::header::RETRY_AFTER)
            .and_then(|value| value.to_str().ok()?.trim().parse().ok())
            .map(Duration::from_secs);
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            if body.len() + chunk.len() > MAX_ANSWER_BYTES {
                return Err(ClientError::TooLong {
                    url: self.base.clone(),
                    limit_bytes: MAX_ANSWER_BYTES,
                });
            }
            body.extend_from_slice(&chunk);
        }
        Ok((status, retry_after, body))
    }
}

fn address(text: &str) -> Result<Url, ClientError> {
    let refused = || ClientError::Address(text.into());
    let url = Url::parse(text.trim()).map_err(|_| refused())?;
    let plain = url.query().is_none() && url.fragment().is_none();
    if matches!(url.scheme(), "http" | "https") && url.has_host() && plain {
        Ok(url)
    } else {
        Err(refused())
    }
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
        Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    }
}

fn bearer(key: &str) -> Result<reqwest::header::HeaderValue, ClientError> {
    let key = key.trim();
    if key.is_empty() || !key.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(ClientError::MalformedKey);
    }
    let mut value = reqwest::header::HeaderValue::try_from(format!("Bearer {key}"))
        .map_err(|_| ClientError::MalformedKey)?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
pub mod tests;

//! Sending one photo in pieces: an upload is begun, asked how far it is, and continued
//! there until the server's receipt comes. The bytes are the caller's.

use std::time::Duration;

use reqwest::{Body, Method, StatusCode};
use schemas::Label;
use schemas::http::CaptureReceipt;

use super::{Client, ClientError, component};

/// How long one piece may take: slow links are the caller's to know.
const PIECE_TIMEOUT: Duration = Duration::from_secs(120);

/// What is said of a photo whose bytes are sent.
#[derive(Debug, Clone, Copy)]
pub struct Sending<'a> {
    /// The dataset, by name or id.
    pub dataset: &'a str,
    /// What it shows.
    pub label: &'a Label,
    /// The same for each try of the same photo.
    pub idempotency_key: &'a str,
    /// When it was taken by the phone's own clock, RFC 3339.
    pub captured_at: &'a str,
    /// Which phone.
    pub device: &'a str,
}

/// Where the bytes of a piece belong.
#[derive(Debug, Clone, Copy)]
pub struct Piece {
    /// The first one's place.
    pub offset: u64,
    /// How many they are.
    pub num_bytes: u64,
}

impl Client {
    /// Sends a photo whole.
    ///
    /// # Errors
    /// The server did not take it.
    pub async fn send_bytes(
        &self,
        sending: Sending<'_>,
        num_bytes: u64,
        body: Body,
    ) -> Result<CaptureReceipt, ClientError> {
        let request = self.begin(sending);
        let request = request.header("content-length", num_bytes);
        self.read(request.body(body)).await
    }

    /// Begins an upload of this many bytes; its path.
    ///
    /// # Errors
    /// The server does not take it.
    pub async fn begin_upload(
        &self,
        sending: Sending<'_>,
        num_bytes: u64,
    ) -> Result<String, ClientError> {
        let request = self.begin(sending).header("upload-complete", "?0");
        let request = request
            .header("upload-length", num_bytes)
            .header("content-length", 0);
        let failed = |error| ClientError::from_transport(&self.base, error);
        let response = request.send().await.map_err(failed)?;
        let (status, location) = (response.status(), response.headers().get("location"));
        match location.and_then(|location| location.to_str().ok()) {
            Some(location) if status == StatusCode::CREATED => Ok(location.to_owned()),
            _ => Err(self.refusal(response).await),
        }
    }

    /// How many bytes of an upload the server has.
    ///
    /// # Errors
    /// The server does not tell.
    pub async fn upload_offset(&self, path: &str) -> Result<u64, ClientError> {
        let request = self.request(Method::HEAD, path).timeout(PIECE_TIMEOUT);
        let failed = |error| ClientError::from_transport(&self.base, error);
        let response = request.send().await.map_err(failed)?;
        let offset = response.headers().get("upload-offset");
        let offset = offset.and_then(|offset| offset.to_str().ok()?.parse().ok());
        match offset {
            Some(offset) if response.status().is_success() => Ok(offset),
            _ => Err(self.refusal(response).await),
        }
    }

    /// Sends the last piece of an upload.
    ///
    /// # Errors
    /// The server did not take it; what it has of it, its offset tells.
    pub async fn end_upload(
        &self,
        path: &str,
        piece: Piece,
        body: Body,
    ) -> Result<CaptureReceipt, ClientError> {
        let request = self.request(Method::PATCH, path).timeout(PIECE_TIMEOUT);
        let request = request
            .header("content-type", "application/partial-upload")
            .header("content-length", piece.num_bytes)
            .header("upload-offset", piece.offset)
            .header("upload-complete", "?1");
        self.read(request.body(body)).await
    }

    fn begin(&self, sending: Sending<'_>) -> reqwest::RequestBuilder {
        let path = format!("/v1/datasets/{}/captures", component(sending.dataset));
        self.request(Method::POST, &path)
            .timeout(PIECE_TIMEOUT)
            .header("x-label", component(sending.label.as_str()))
            .header("idempotency-key", sending.idempotency_key)
            .header("x-captured-at", sending.captured_at)
            .header("x-device-id", component(sending.device))
    }

    async fn refusal(&self, response: reqwest::Response) -> ClientError {
        let status = response.status().as_u16();
        let retry_after = response.headers().get(reqwest::header::RETRY_AFTER);
        let retry_after = retry_after.and_then(|value| value.to_str().ok()?.parse().ok());
        let body = response.bytes().await.unwrap_or_default();
        ClientError::from_answer(
            &self.base,
            status,
            retry_after.map(Duration::from_secs),
            &body,
        )
    }
}

//! Sending one photo: a file comes in, is streamed as the body of one request with
//! everything else in headers, and the server's receipt goes out. The file is never
//! held whole, and never changed.

use std::path::Path;
use std::time::Duration;

use reqwest::{Body, Method};
use schemas::http::CaptureReceipt;
use schemas::{CaptureId, Label, Status};
use tokio::io::AsyncReadExt as _;
use tokio_util::io::ReaderStream;

use super::{Client, ClientError, component};
use schemas::http::Capture;

/// How long a photo may take beyond what its size asks for: the server stores it
/// and has the event acknowledged before it answers.
const SEND_TIMEOUT: Duration = Duration::from_secs(60);

/// The slowest link that is still waited for, 16 KiB/s. Smaller keeps a dead
/// connection for hours; larger gives up on a weak phone network.
const SLOWEST_BYTES_PER_S: u64 = 16 << 10;

/// What is read from disk at once. Smaller costs system calls, larger memory per
/// request.
const CHUNK_BYTES: usize = 64 << 10;

/// The wait between two looks at a verdict, at first and at most.
const LOOK_EVERY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));

/// A file to send.
#[derive(Debug, Clone, Copy)]
pub struct Photo<'a> {
    /// The dataset, by name or id.
    pub dataset: &'a str,
    /// What it shows.
    pub label: &'a Label,
    /// Where it lies.
    pub path: &'a Path,
    /// The same for each try of the same photo, so that a retry after a lost answer
    /// gives the same capture; ASCII, at most 255 bytes.
    pub idempotency_key: &'a str,
}

impl Client {
    /// Sends a photo, once.
    ///
    /// # Errors
    /// The file cannot be read, or the server did not take it.
    pub async fn send(&self, photo: Photo<'_>) -> Result<CaptureReceipt, ClientError> {
        let unreadable = |source| ClientError::File {
            path: photo.path.into(),
            source,
        };
        let file = tokio::fs::File::open(photo.path)
            .await
            .map_err(unreadable)?;
        let num_bytes = file.metadata().await.map_err(unreadable)?.len();
        // A file that grows meanwhile is sent as long as it was.
        let body = ReaderStream::with_capacity(file.take(num_bytes), CHUNK_BYTES);
        let path = format!("/v1/datasets/{}/captures", component(photo.dataset));
        let request = self
            .request(Method::POST, &path)
            .timeout(SEND_TIMEOUT + Duration::from_secs(num_bytes / SLOWEST_BYTES_PER_S))
            .header("content-type", "application/octet-stream")
            .header("content-length", num_bytes)
            .header("idempotency-key", photo.idempotency_key)
            .header("x-label", component(photo.label.as_str()))
            .body(Body::wrap_stream(body));
        self.read(request).await
    }

    /// Looks at a capture until it is judged, or for `patience` at most; then what
    /// was seen last is the answer.
    ///
    /// # Errors
    /// The server does not tell.
    pub async fn wait_for(
        &self,
        id: CaptureId,
        patience: Duration,
    ) -> Result<Capture, ClientError> {
        let deadline = tokio::time::Instant::now() + patience;
        let mut pause = LOOK_EVERY.0;
        loop {
            let capture = self.capture(id).await?;
            let late = tokio::time::Instant::now() + pause > deadline;
            if capture.status != Status::Queued || late {
                return Ok(capture);
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LOOK_EVERY.1);
        }
    }
}

//! Sending one file of an import: the file and its label come in, the server's
//! receipt or what was wrong goes out. However often it is tried, and whatever gets
//! lost on the way, one state of a file becomes one capture.

use std::path::PathBuf;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use schemas::http::CaptureReceipt;
use schemas::{Label, Sha256};

use super::transfer::Order;
use super::walk::Found;
use crate::client::{Backoff, Client, ClientError, Photo};

/// A file, and what the server answered to it.
#[derive(Debug)]
pub struct Answered {
    /// The file.
    pub found: Found,
    /// Its label.
    pub label: Label,
    /// The answer, after all retries.
    pub receipt: Result<CaptureReceipt, ClientError>,
}

/// Sends one file, with retries.
pub fn send(order: &Order, found: Found, label: Label) -> BoxFuture<'static, Answered> {
    let sender = Sender {
        client: order.client.clone(),
        dataset: order.dataset.clone(),
        backoff: order.backoff,
    };
    async move {
        let receipt = sender.send(&found, &label).await;
        Answered {
            found,
            label,
            receipt,
        }
    }
    .boxed()
}

struct Sender {
    client: Client,
    dataset: String,
    backoff: Backoff,
}

impl Sender {
    async fn send(&self, found: &Found, label: &Label) -> Result<CaptureReceipt, ClientError> {
        let key = format!("import-{:032x}", found.key.0);
        match self.send_as(found, label, &key).await {
            // Another file of the same path, size and time has used the key: one from
            // another machine, or this one before somebody edited it and set its
            // clock back. Its content tells it apart.
            Err(ClientError::Refused { problem, .. })
                if problem.status == 422 && problem.code.contains("idempotency") =>
            {
                let sha256 = hash(found.path.clone()).await?;
                let key = format!("{key}-{sha256}");
                self.send_as(found, label, &key).await
            }
            result => result,
        }
    }

    async fn send_as(
        &self,
        found: &Found,
        label: &Label,
        idempotency_key: &str,
    ) -> Result<CaptureReceipt, ClientError> {
        let photo = Photo {
            dataset: &self.dataset,
            label,
            path: &found.path,
            idempotency_key,
        };
        self.backoff.run(|| self.client.send(photo)).await
    }
}

/// The hash of a file, on a blocking thread, a piece at a time.
async fn hash(path: PathBuf) -> Result<Sha256, ClientError> {
    use sha2::Digest as _;
    let name = path.clone();
    let unreadable = move |source| ClientError::File { path: name, source };
    let hashed = tokio::task::spawn_blocking(move || {
        let mut hasher = sha2::Sha256::new();
        std::io::copy(&mut std::fs::File::open(path)?, &mut hasher)?;
        Ok(Sha256::from(<[u8; 32]>::from(hasher.finalize())))
    });
    hashed
        .await
        .unwrap_or_else(|stopped| Err(std::io::Error::other(stopped)))
        .map_err(unreadable)
}

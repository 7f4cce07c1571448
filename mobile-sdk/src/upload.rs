//! One upload, without its connection: the request for a photo, and what an answer means.
//! The photo is the bare body and everything else stands in headers, which is what
//! background sessions and PhotoKit's upload extension can send; the receipt is read from
//! the body or, where a host hands on headers only, from those.

use std::path::Path;
use std::time::Duration;

use data_encoding::BASE64;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use schemas::http::{CaptureReceipt, Problem};
use schemas::{CaptureId, Status};
use serde::Deserialize;

use crate::queue::{ItemReason, Ticket};
use crate::settings::Settings;
use crate::transport::{HttpRequest, HttpResponse, TransportError};

/// What `encodeURIComponent` encodes, and a few more; the server decodes it.
const IN_HEADER: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

/// The request that sends a photo whole.
pub(crate) fn request(settings: &Settings, ticket: &Ticket, photo: &Path) -> HttpRequest {
    let path = format!("/v1/datasets/{}/captures", settings.dataset);
    let digest = BASE64.encode(ticket.sha256.as_bytes());
    let mut request = HttpRequest::new("POST", settings.url(&path))
        .authorized(&settings.key)
        .header("Content-Type", ticket.format.media_type())
        .header("Idempotency-Key", ticket.id.to_string())
        .header("Repr-Digest", format!("sha-256=:{digest}:"))
        .header("X-Label", encoded(&ticket.label));
    if let Some(time) = &ticket.captured_at {
        request = request.header("X-Captured-At", time);
    }
    if let Some(device) = &settings.device {
        request = request.header("X-Device-Id", encoded(device));
    }
    if !ticket.metadata.is_empty() {
        let json = serde_json::to_string(&ticket.metadata).unwrap_or_default();
        request = request.header("X-Metadata", encoded(&json));
    }
    request.body_file = Some(photo.display().to_string());
    request.body_length = ticket.num_bytes;
    request
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, IN_HEADER).to_string()
}

/// What an answer means for the photo.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Meaning {
    /// The server has it.
    There {
        capture_id: CaptureId,
        is_known: bool,
        duplicate_of: Option<CaptureId>,
    },
    /// It passes: try again.
    Again {
        reason: ItemReason,
        retry_after: Option<Duration>,
    },
    /// Every photo would be answered so: the key or the dataset is wrong.
    Everything(ItemReason),
    /// This photo will never be taken as it is.
    Never(ItemReason),
}

/// Reads an answer.
pub(crate) fn meaning(answer: &Result<HttpResponse, TransportError>) -> Meaning {
    let response = match answer {
        Ok(response) => response,
        Err(error) => {
            let code = match error {
                TransportError::Connection { .. } => "no_connection",
                TransportError::Cancelled => "stopped",
                TransportError::Storage { .. } => "storage",
            };
            return Meaning::Again {
                reason: reason(code, error.to_string()),
                retry_after: None,
            };
        }
    };
    if (200..300).contains(&response.status) {
        return receipt(response).unwrap_or_else(|| Meaning::Again {
            // A hotel's log-in page answers 200 to everything.
            reason: reason(
                "not_tintype",
                format!(
                    "something answered {} that is no Tintype server; is there a page to log in to this network?",
                    response.status
                ),
            ),
            retry_after: None,
        });
    }
    let reason = problem(response);
    match response.status {
        // 409: its first try still runs on the server. 400: it arrived damaged, or not whole.
        408 | 409 | 425 | 429 | 500.. => again(response, reason),
        400 if matches!(reason.code.as_str(), "digest_mismatch" | "incomplete_body") => {
            again(response, reason)
        }
        401 | 403 | 404 | 405 | 410 | 300..400 => Meaning::Everything(reason),
        _ => Meaning::Never(reason),
    }
}

fn again(response: &HttpResponse, reason: ItemReason) -> Meaning {
    let seconds = response.header("Retry-After");
    let seconds = seconds.and_then(|text| text.parse().ok());
    Meaning::Again {
        reason,
        retry_after: seconds.map(Duration::from_secs),
    }
}

fn receipt(response: &HttpResponse) -> Option<Meaning> {
    if let Ok(receipt) = serde_json::from_slice::<CaptureReceipt>(&response.body) {
        return Some(Meaning::There {
            capture_id: receipt.id,
            is_known: receipt.status == Status::Duplicate,
            duplicate_of: receipt.duplicate_of,
        });
    }
    let capture_id = response.header("X-Capture-Id")?.parse().ok()?;
    let status = response.header("X-Capture-Status")?;
    Some(Meaning::There {
        capture_id,
        is_known: status == Status::Duplicate.as_str(),
        duplicate_of: None,
    })
}

/// The server's words on why it refuses.
pub(crate) fn problem(response: &HttpResponse) -> ItemReason {
    #[derive(Deserialize)]
    struct Words {
        code: Option<String>,
        detail: Option<String>,
        hint: Option<String>,
    }
    if let Ok(problem) = serde_json::from_slice::<Problem>(&response.body) {
        return ItemReason {
            code: problem.code,
            detail: problem.detail,
            hint: problem.hint,
        };
    }
    // A proxy in between has words of its own, or none.
    let words: Option<Words> = serde_json::from_slice(&response.body).ok();
    let (code, detail, hint) = words.map_or((None, None, None), |words| {
        (words.code, words.detail, words.hint)
    });
    ItemReason {
        code: code.unwrap_or_else(|| format!("http_{}", response.status)),
        detail: detail.unwrap_or_else(|| format!("the server answered {}", response.status)),
        hint,
    }
}

pub(crate) fn reason(code: &str, detail: impl Into<String>) -> ItemReason {
    ItemReason {
        code: code.into(),
        detail: detail.into(),
        hint: None,
    }
}

#[cfg(test)]
mod tests;

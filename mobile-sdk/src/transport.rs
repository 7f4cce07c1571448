//! HTTP as the SDK needs it: one request, one answer, bodies from and to files. The host
//! implements it with its system's stack (proxy, VPN, trust store and background rights are
//! the system's business); where it does not, the built-in client does.

use std::sync::Arc;

use crate::TintypeError;

#[cfg(feature = "client")]
mod client;

/// Sends requests. Called from several threads at once; each call blocks until the answer
/// is there, and ends within the host's own time limits.
#[uniffi::export(with_foreign)]
pub trait Transport: Send + Sync {
    /// Sends one request. Redirects are not followed: an answer with any status is an
    /// answer, and only the lack of one is an error.
    fn send(&self, request: HttpRequest) -> Result<HttpResponse, TransportError>;
}

/// A request. At most one of `body` and `body_file` is there.
#[derive(Debug, Clone, PartialEq, uniffi::Record)]
pub struct HttpRequest {
    /// `GET`, `POST`, `PATCH`, `HEAD`, `DELETE` or `OPTIONS`.
    pub method: String,
    /// The whole address.
    pub url: String,
    /// All headers but `Host` and `Content-Length`.
    pub headers: Vec<HttpHeader>,
    /// A small body.
    pub body: Option<Vec<u8>>,
    /// A file whose bytes from `body_offset` on, `body_length` of them, are the body.
    pub body_file: Option<String>,
    /// Where in the file the body begins.
    pub body_offset: u64,
    /// How many bytes of the file are the body.
    pub body_length: u64,
    /// Where to write the answer's body if its status is 200; else it is returned.
    pub save_to: Option<String>,
    /// The largest answer that is wanted, in bytes. A longer one is an error.
    pub max_response_bytes: u64,
}

/// A header.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Record)]
pub struct HttpHeader {
    /// Its name, in any case.
    pub name: String,
    /// Its value.
    pub value: String,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, uniffi::Record)]
pub struct HttpResponse {
    /// The status.
    pub status: u16,
    /// Its headers.
    pub headers: Vec<HttpHeader>,
    /// Its body, unless that was saved to a file.
    pub body: Vec<u8>,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, uniffi::Error)]
pub enum TransportError {
    /// There is no connection, or it broke.
    #[error("{detail}")]
    Connection {
        /// What happened.
        detail: String,
    },
    /// The host stopped it: its time in the background is over.
    #[error("stopped by the host")]
    Cancelled,
    /// The answer's body could not be written to its file.
    #[error("{detail}")]
    Storage {
        /// What happened.
        detail: String,
    },
}

impl From<uniffi::UnexpectedUniFFICallbackError> for TransportError {
    fn from(error: uniffi::UnexpectedUniFFICallbackError) -> Self {
        Self::Connection {
            detail: format!("the host's transport failed: {}", error.reason),
        }
    }
}

impl From<TransportError> for TintypeError {
    fn from(error: TransportError) -> Self {
        match error {
            TransportError::Storage { detail } => Self::Storage { detail },
            other => Self::Network {
                detail: other.to_string(),
            },
        }
    }
}

/// The largest answer that is no file: a model's list of files, or a verdict.
const MAX_ANSWER_BYTES: u64 = 8 << 20;

impl HttpRequest {
    /// A request without a body.
    pub(crate) fn new(method: &str, url: String) -> Self {
        Self {
            method: method.into(),
            url,
            headers: Vec::new(),
            body: None,
            body_file: None,
            body_offset: 0,
            body_length: 0,
            save_to: None,
            max_response_bytes: MAX_ANSWER_BYTES,
        }
    }

    pub(crate) fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push(HttpHeader {
            name: name.into(),
            value: value.into(),
        });
        self
    }

    pub(crate) fn authorized(self, key: &str) -> Self {
        self.header("Authorization", format!("Bearer {key}"))
    }
}

impl HttpResponse {
    /// A header's value; the first one if there are more.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        let header = headers.find(|header| header.name.eq_ignore_ascii_case(name))?;
        Some(header.value.trim())
    }
}

/// The host's transport, or the built-in one.
pub(crate) fn of_host(
    transport: Option<Arc<dyn Transport>>,
) -> Result<Arc<dyn Transport>, TintypeError> {
    match transport {
        Some(transport) => Ok(transport),
        #[cfg(feature = "client")]
        None => Ok(Arc::new(client::Client::new())),
        #[cfg(not(feature = "client"))]
        None => Err(TintypeError::settings(
            "this build has no HTTP client of its own: give it a transport",
        )),
    }
}

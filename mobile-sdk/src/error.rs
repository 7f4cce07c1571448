//! What a call of the SDK can end with: few kinds, one for each thing that an app would do
//! about it; the rest is in the words.

use std::io;
use std::path::Path;

/// Why a call did not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, uniffi::Error)]
pub enum TintypeError {
    /// Something in the settings or the policy makes no sense.
    #[error("settings: {detail}")]
    Settings {
        /// What.
        detail: String,
    },
    /// The folder is open already, in this process or another one.
    #[error("{detail}")]
    AlreadyOpen {
        /// Which.
        detail: String,
    },
    /// The device has no room left. Nothing was taken in, nothing was lost.
    #[error("{detail}")]
    DiskFull {
        /// What was being written.
        detail: String,
    },
    /// The queue is at its bound. Nothing was taken in.
    #[error("{detail}")]
    QueueFull {
        /// Which bound.
        detail: String,
    },
    /// The folder cannot be read or written.
    #[error("{detail}")]
    Storage {
        /// What was being done.
        detail: String,
    },
    /// The photo cannot be sent, now or later.
    #[error("{detail}")]
    Photo {
        /// A stable word for programs, such as `not_an_image`.
        code: String,
        /// What is wrong with it, and what to do.
        detail: String,
    },
    /// There is no such item.
    #[error("{detail}")]
    UnknownItem {
        /// Which.
        detail: String,
    },
    /// The server was not reached.
    #[error("{detail}")]
    Network {
        /// What happened.
        detail: String,
    },
    /// The server refused.
    #[error("the server answered {status} {code}: {detail}")]
    Server {
        /// The HTTP status.
        status: u16,
        /// Its word for programs.
        code: String,
        /// Its words for a person.
        detail: String,
    },
    /// A model cannot be used: a file is damaged, or makes no sense.
    #[error("{detail}")]
    Model {
        /// What is wrong with it.
        detail: String,
    },
}

impl TintypeError {
    pub(crate) fn settings(detail: impl Into<String>) -> Self {
        Self::Settings {
            detail: detail.into(),
        }
    }

    pub(crate) fn photo(code: &str, detail: impl Into<String>) -> Self {
        Self::Photo {
            code: code.into(),
            detail: detail.into(),
        }
    }

    pub(crate) fn model(detail: impl Into<String>) -> Self {
        Self::Model {
            detail: detail.into(),
        }
    }

    /// An error of the file system, met while doing something to a path.
    pub(crate) fn io(doing: &str, path: &Path, error: &io::Error) -> Self {
        let detail = format!("{doing} {}: {error}", path.display());
        match error.kind() {
            io::ErrorKind::StorageFull
            | io::ErrorKind::QuotaExceeded
            | io::ErrorKind::FileTooLarge => Self::DiskFull {
                detail: format!("the device has no room left: {detail}"),
            },
            _ => Self::Storage { detail },
        }
    }
}

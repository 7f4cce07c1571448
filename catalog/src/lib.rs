//! The control plane: datasets and their labels, API keys, what became of every
//! capture, and the memory of uploads that clients repeat.
//!
//! In come calls from the upload routes, verdicts from the stream, and the HTTP
//! requests of [`http::router`]; out go rows of one SQLite file. What a call has
//! acknowledged survives a power cut, and no owner ever sees another's things.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod error;
pub use error::CatalogError;

mod database;
pub use database::sqlite_url;

mod cache;

mod catalog;
pub use catalog::Catalog;

mod keys;
pub use keys::{NewKey, OPERATOR, Principal};

mod datasets;

mod tombstones;

mod turns;
pub use turns::{TURN_LEASE, Turn};

mod upkeep;

mod requests;
pub use requests::{Begun, REQUEST_LEASE, RequestScope, StoredAnswer};

mod uploads;
pub use uploads::{NewUpload, Opened, UPLOAD_LIFE, Upload, UploadLimits, UploadPart};

mod checksums;

mod captures;
pub use captures::{CapturePage, NewCapture};

mod clusters;

mod duplicates;
pub use duplicates::{DuplicatePage, DuplicatePlace, NoPlace};

mod outcomes;

mod events;

mod stats;

mod trainings;
pub use trainings::{MAX_ATTEMPTS, Standing, TRAINING_LEASE, TrainingEnd, TrainingLease};

mod models;

mod nearest;
pub use nearest::nearest;

pub mod http;

pub mod metrics;

#[cfg(test)]
mod testing;

//! The captures route: in comes an upload, out go its original in the object
//! store, an event on the topic `captures`, a row in the catalog, and a receipt.
//!
//! Promised: bytes first, pointer second, answer last. Whoever holds a receipt has
//! lost nothing to a crash, and whoever was refused has stored nothing but, at
//! worst, an original that no event points to. Memory stays under stated bounds.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod settings;
pub use settings::{IngestSettings, InvalidSettings};

mod route;

mod openapi;
pub use openapi::openapi;

mod fields;

mod digest;

mod admission;

mod lease;

// The body, from the connection to a photo in memory.
mod body;
mod meter;
mod photo;

mod form;

mod known;

// Photos that come in several requests, and the protocols that bring them so.
mod uploads;

mod draft;
mod tus;

mod direct;
pub use direct::{DirectPut, SignPut, SignedPut};

mod dialects;

// What makes it durable.
mod intake;

mod accept;
mod originals;
mod publish;

mod refusal;

mod service;
pub use service::{Ingest, IngestError};

pub mod metrics;

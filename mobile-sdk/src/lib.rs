//! What a phone app needs of Tintype, for Kotlin and Swift: a queue of photos that survives
//! kills and reboots and sends each of them once, and a store of models that are fetched,
//! verified, swapped and checked.
//!
//! Everything here blocks and is called from a background thread; the packages in
//! `kotlin/` and `swift/` put coroutines and async functions around it. HTTP goes through a
//! [`Transport`], which the host may implement with what its system has.

#![cfg_attr(test, allow(clippy::unwrap_used))]

uniffi::setup_scaffolding!();

mod settings;
pub use settings::{Conditions, HoldReason, Location, Network, Order, Policy, Power, Settings};

mod error;
pub use error::TintypeError;

mod photo;
pub use photo::Hint;

mod queue;
pub use queue::{Item, ItemReason, ItemState, Recovery, Verdict};

mod transport;
pub use transport::{HttpHeader, HttpRequest, HttpResponse, Transport, TransportError};

mod backoff;

mod upload;

mod uploads;
pub use uploads::{Enqueued, Photo, PhotoLook, QueueListener, RunReport, Uploads};

mod models;
pub use models::{
    CheckReport, InputOrder, InstalledModel, ModelChoice, ModelRuntime, ModelUpdate, Models,
    Preprocessor,
};

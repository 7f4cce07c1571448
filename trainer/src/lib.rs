//! Turns a table of photos into a classifier that phones run.
//!
//! A training waits in the catalog until a worker takes it. The worker reads the table
//! at one version, learns, judges what it has learnt, writes it in the formats that
//! phones read, proves each file equal to the network, and enters the model. Dying at
//! any moment costs no more than the time since the last checkpoint.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod error;
pub use error::TrainerError;

mod spec;

pub mod http;

mod worker;
pub use worker::{WorkerSettings, run};

mod reporter;

mod job;

mod table;
pub use table::Stores;

mod photo;

mod backbone;
pub use backbone::{Pretrained, WeightsSource};

mod features;

mod head;

mod augment;

mod loader;

mod checkpoint;

mod leftovers;

mod finetune;

mod evaluate;

mod network;

mod card;

mod predict;
pub use predict::{PhotoPreparer, Unusable};

pub mod metrics;

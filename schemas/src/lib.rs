//! The contracts between Tintype's parts.
//!
//! Everything that two crates, or a crate and the outside, must agree on stands
//! here once: ids, labels, the closed list of reasons, what travels on the Kafka
//! topics, object keys, table columns, and the JSON of the HTTP API. There is no
//! I/O in this crate, and it depends on nothing heavy, so that phones can have it.

mod ids;
pub use ids::{CaptureId, DatasetId, InvalidId, ModelId, Sha256, TrainingId, UploadId};

mod labels;
pub use labels::{InvalidLabel, Label, MAX_LABEL_BYTES};

mod reasons;
pub use reasons::{Reason, Status};

mod format;
pub use format::Format;

mod split;
pub use split::Split;

pub mod events;
pub mod topics;

mod objects;
pub use objects::{DEAD_LETTERS, InvalidObjectKey, ObjectKey, SNAPSHOTS};

#[cfg(feature = "table")]
pub mod table;

mod input_spec;
pub use input_spec::{InputSpec, Layout, PreprocessError};

mod golden;
pub use golden::{Golden, GoldenPhoto, golden_picture, input_sha256};

pub mod http;

pub mod training;

pub mod planted;

//! What happens to a photo after its upload: `prepare` turns the bytes into a small
//! upright picture with fingerprints and scores, `organize` judges it against what the
//! dataset has and commits it to the table, `record` writes the verdict into the catalog.
//!
//! The modules stand in the order the data moves.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod membership;
pub use membership::{Membership, Protocol, UnknownProtocol};

mod kafka;
pub use kafka::{Broker, Sharing, producer};

mod objects;
pub use objects::ObjectRoot;

mod turn;

mod dead_letters;
pub use dead_letters::{DeadLetter, DeadLetters};

pub mod prepare;

pub mod organize;

pub mod record;

mod purge;

mod lag;

pub mod maintain;

mod pipeline;
pub use pipeline::{PipelineSettings, run};

mod error;
pub use error::ProcessorError;

pub mod metrics;

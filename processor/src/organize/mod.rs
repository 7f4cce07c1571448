//! Stage two: prepared photos become rows.
//!
//! One owner per dataset takes the records of topic `prepared` in order, judges each
//! against what the dataset has, and commits rows, rejections and its own position
//! together. The modules stand in the order a record meets them.

pub(crate) mod stage;
pub use stage::{OrganizeSettings, run};

mod fingerprints;

mod sketch;

mod direction;

mod index;

pub(crate) mod snapshot;

pub mod plausibility;

pub mod clusters;

mod judge;

mod outcome;

pub(crate) mod batch;
pub use batch::RollPolicy;

pub(crate) mod shard;

pub(crate) mod put;

pub(crate) mod delta;

pub(crate) mod load;

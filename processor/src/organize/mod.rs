//! Stage two: prepared photos become rows.
//!
//! One owner per dataset takes the records of topic `prepared` in order, judges each
//! against what the dataset has, and commits rows, rejections and its own position
//! together. The modules stand in the order a record meets them.

mod stage;
pub use stage::{OrganizeSettings, run};

mod fingerprints;

mod sketch;

mod direction;

mod index;

pub mod plausibility;

pub mod clusters;

mod judge;

mod outcome;

mod batch;
pub use batch::RollPolicy;

mod shard;

mod delta;

mod load;

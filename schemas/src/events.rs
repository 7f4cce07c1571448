//! What travels on the topics: the messages of `proto/events.proto`.

#![allow(
    missing_docs,
    reason = "the documentation stands in proto/events.proto"
)]

include!(concat!(env!("OUT_DIR"), "/tintype.v1.rs"));

impl Policy {
    /// The distances that [`crate::http::DatasetPolicy`] explains.
    pub const DEFAULT_MAX_PHASH_DISTANCE: u32 = 6;
    /// PDQ's own recommendation.
    pub const DEFAULT_MAX_PDQ_DISTANCE: u32 = 31;
}

//! What travels on the topics: the messages of `proto/events.proto`.

#![allow(
    missing_docs,
    reason = "the documentation stands in proto/events.proto"
)]

include!(concat!(env!("OUT_DIR"), "/tintype.v1.rs"));

impl Policy {
    /// The distances that [`crate::http::DatasetPolicy`] explains.
    pub const DEFAULT_MAX_PHASH_DISTANCE: u32 = 16;
    /// More than PDQ's own 31: on the measured set the nearest look-alike was at 54, and copies
    /// with a logo are up to 50 (BENCHMARKS.md). With 48 the look-up would be by a scan.
    pub const DEFAULT_MAX_PDQ_DISTANCE: u32 = 47;
}

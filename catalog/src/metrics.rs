//! The names of this crate's metrics, and what they mean.

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};

/// Seconds that a read took, waiting for a connection included; label `query`.
pub const QUERY_SECONDS: &str = "tintype_catalog_query_seconds";
/// Seconds from queueing a write to its durable commit; label `query`.
pub const WRITE_SECONDS: &str = "tintype_catalog_write_seconds";
/// Writes that went into one commit.
pub const COMMIT_WRITES: &str = "tintype_catalog_commit_writes";
/// Commits that failed, each with all its writes.
pub const COMMIT_FAILURES: &str = "tintype_catalog_commit_failures_total";
/// Verdicts that changed a capture; label `status`.
pub const VERDICTS: &str = "tintype_catalog_verdicts_total";
/// Verdicts that said otherwise than the one on record, which stays.
pub const CONFLICTING_VERDICTS: &str = "tintype_catalog_conflicting_verdicts_total";
/// Clients that follow a dataset's events now.
pub const SUBSCRIBERS: &str = "tintype_catalog_event_subscribers";

/// Tells the recorder what each metric means; to be called once, after it is installed.
pub fn describe() {
    describe_histogram!(QUERY_SECONDS, Unit::Seconds, "time of a catalog read");
    describe_histogram!(
        WRITE_SECONDS,
        Unit::Seconds,
        "time of a catalog write until it is durable"
    );
    describe_histogram!(COMMIT_WRITES, Unit::Count, "writes in one catalog commit");
    describe_counter!(COMMIT_FAILURES, Unit::Count, "catalog commits that failed");
    describe_counter!(VERDICTS, Unit::Count, "verdicts that changed a capture");
    describe_counter!(
        CONFLICTING_VERDICTS,
        Unit::Count,
        "verdicts against the one on record"
    );
    describe_gauge!(
        SUBSCRIBERS,
        Unit::Count,
        "clients that follow a dataset's events"
    );
}

//! Every metric of this crate by name, with its help text: dashboards and code
//! read the same list.

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};

/// Seconds one step of preparing a photo took; label `step`.
pub const PREPARE_STEP_SECONDS: &str = "tintype_prepare_step_seconds";
/// Photos prepared; label `result` is `photo` or the reason of the rejection.
pub const PREPARED_PHOTOS: &str = "tintype_prepared_photos_total";
/// Decoding threads that ran past their deadline and have not come back.
pub const PREPARE_LATE_THREADS: &str = "tintype_prepare_late_threads";
/// Bytes of the decoding budget that are taken.
pub const PREPARE_MEMORY_BYTES: &str = "tintype_prepare_memory_bytes";
/// Seconds from taking a capture up to its verdict as prepared photo or rejection.
pub const PREPARE_SECONDS: &str = "tintype_prepare_seconds";
/// Photos between fetching and publishing.
pub const PREPARE_IN_WORK: &str = "tintype_prepare_in_work";
/// Photos whose embedding could not be computed.
pub const EMBEDDING_FAILURES: &str = "tintype_embedding_failures_total";
/// Verdicts; labels `status` and `reason`.
pub const VERDICTS: &str = "tintype_verdicts_total";
/// Records that were judged before and dropped.
pub const REPLAYS: &str = "tintype_replays_total";
/// Records that cannot be worked on and are kept as dead letters; label `topic`.
pub const POISON_RECORDS: &str = "tintype_poison_records_total";
/// Seconds from closing a batch to its commit.
pub const COMMIT_SECONDS: &str = "tintype_commit_seconds";
/// Bytes of committed shards.
pub const SHARD_BYTES: &str = "tintype_shard_bytes_total";
/// Times a stage failed and was started again; label `stage`.
pub const STAGE_RESTARTS: &str = "tintype_stage_restarts_total";

/// Tells the recorder what the metrics mean. Call once, after it is installed.
pub fn describe() {
    describe_histogram!(
        PREPARE_STEP_SECONDS,
        Unit::Seconds,
        "Time one step of preparing a photo took"
    );
    describe_counter!(
        PREPARED_PHOTOS,
        Unit::Count,
        "Photos prepared, by result: photo, or the reason of the rejection"
    );
    describe_gauge!(
        PREPARE_LATE_THREADS,
        Unit::Count,
        "Decoding threads that ran past their deadline and have not come back"
    );
    describe_gauge!(
        PREPARE_MEMORY_BYTES,
        Unit::Bytes,
        "Memory of the decoding budget that is taken"
    );
    describe_histogram!(
        PREPARE_SECONDS,
        Unit::Seconds,
        "Time from fetching an original to its prepared photo"
    );
    describe_gauge!(
        PREPARE_IN_WORK,
        Unit::Count,
        "Photos between fetching and publishing"
    );
    describe_counter!(
        EMBEDDING_FAILURES,
        Unit::Count,
        "Photos whose embedding could not be computed; they go on without"
    );
    describe_counter!(VERDICTS, Unit::Count, "Verdicts, by status and reason");
    describe_counter!(
        REPLAYS,
        Unit::Count,
        "Records that were judged before and dropped"
    );
    describe_counter!(
        POISON_RECORDS,
        Unit::Count,
        "Records that cannot be worked on and are kept as dead letters"
    );
    describe_histogram!(
        COMMIT_SECONDS,
        Unit::Seconds,
        "Time from closing a batch to its commit"
    );
    describe_counter!(SHARD_BYTES, Unit::Bytes, "Bytes of committed shards");
    describe_counter!(
        STAGE_RESTARTS,
        Unit::Count,
        "Times a stage failed and was started again"
    );
}

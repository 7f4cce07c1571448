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
/// Records of a topic that its group has not done; labels `group`, `topic`, `partition`. Every
/// processor tells of all partitions.
pub const CONSUMER_LAG: &str = "tintype_consumer_lag";
/// How long the oldest of them has waited; labels `group` and `topic`.
pub const OLDEST_UNPROCESSED: &str = "tintype_oldest_unprocessed_seconds";
/// Records between polling and working; label `topic`.
pub const FEED_DEPTH: &str = "tintype_feed_depth";
/// Bytes of the open shards.
pub const OPEN_SHARDS_BYTES: &str = "tintype_open_shards_bytes";
/// Rounds of maintenance; label `result` is `done` or `failed`.
pub const MAINTENANCE_ROUNDS: &str = "tintype_maintenance_rounds_total";
/// Files of tables and logs, and originals; label `action`.
pub const MAINTENANCE_FILES: &str = "tintype_maintenance_files_total";
/// Seconds that a round of maintenance took.
pub const MAINTENANCE_SECONDS: &str = "tintype_maintenance_seconds";

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
    describe_gauge!(
        CONSUMER_LAG,
        Unit::Count,
        "Records of a partition that its group has not done"
    );
    describe_gauge!(
        OLDEST_UNPROCESSED,
        Unit::Seconds,
        "How long the oldest record that a group has not done has waited"
    );
    describe_gauge!(
        FEED_DEPTH,
        Unit::Count,
        "Records that were polled and wait for their stage"
    );
    describe_gauge!(
        OPEN_SHARDS_BYTES,
        Unit::Bytes,
        "Memory of the shards that wait for their commit"
    );
    describe_counter!(
        MAINTENANCE_ROUNDS,
        Unit::Count,
        "Rounds of maintenance, by result"
    );
    describe_counter!(
        MAINTENANCE_FILES,
        Unit::Count,
        "Files that maintenance merged, wrote or removed"
    );
    describe_histogram!(
        MAINTENANCE_SECONDS,
        Unit::Seconds,
        "Time a round of maintenance took"
    );
    describe_counter!(
        STAGE_RESTARTS,
        Unit::Count,
        "Times a stage failed and was started again"
    );
}

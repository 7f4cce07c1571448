//! The names of what this crate counts and measures; nothing else in it names a metric.

use std::time::Instant;

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram, histogram};

/// Uploads by `answer`: `queued`, `duplicate`, or the code of the refusal.
pub const REQUESTS: &str = "tintype_ingest_requests_total";
/// Bytes of the bodies that were read, refused ones included.
pub const BODY_BYTES: &str = "tintype_ingest_body_bytes_total";
/// Resumable uploads by `event`: `opened`, `completed`, `cancelled`, `expired`.
pub const UPLOADS: &str = "tintype_ingest_resumable_uploads_total";
/// Seconds by `step`: see [`Step`].
pub const STEP_SECONDS: &str = "tintype_ingest_step_seconds";
/// Uploads that are worked on.
pub const IN_FLIGHT: &str = "tintype_ingest_in_flight";
/// Uploads that wait for their turn.
pub const WAITING: &str = "tintype_ingest_waiting";
/// Memory that is set aside for bodies.
pub const BODY_BUDGET_USED: &str = "tintype_ingest_body_budget_used_bytes";

/// A part of an upload whose time is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The body arrives, is hashed and sniffed.
    Body,
    /// The original goes into the object store.
    Put,
    /// The event goes to the topic, until its delivery report.
    Publish,
    /// The capture's row goes into the catalog.
    Record,
}

impl Step {
    fn as_str(self) -> &'static str {
        match self {
            Self::Body => "body",
            Self::Put => "put",
            Self::Publish => "publish",
            Self::Record => "record",
        }
    }

    /// Measures `work`, however it ends.
    pub(crate) async fn measure<T>(self, work: impl Future<Output = T>) -> T {
        let begun = Instant::now();
        let done = work.await;
        histogram!(STEP_SECONDS, "step" => self.as_str()).record(begun.elapsed().as_secs_f64());
        done
    }
}

/// Tells the installed recorder what the names mean.
pub fn describe() {
    describe_counter!(REQUESTS, "Uploads by answer");
    describe_counter!(BODY_BYTES, Unit::Bytes, "Bytes of upload bodies read");
    describe_counter!(UPLOADS, "Resumable uploads by what became of them");
    describe_histogram!(
        STEP_SECONDS,
        Unit::Seconds,
        "Seconds per step of an upload: body, put, publish, record"
    );
    describe_gauge!(IN_FLIGHT, "Uploads being worked on");
    describe_gauge!(WAITING, "Uploads waiting for their turn");
    describe_gauge!(
        BODY_BUDGET_USED,
        Unit::Bytes,
        "Memory set aside for upload bodies"
    );
}

//! Logs and metrics of this process, set up once.

use std::io::IsTerminal as _;
use std::sync::OnceLock;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::EnvFilter;

/// Seconds: from a hash look-up to a slow upload.
const BUCKETS: &[f64] = &[
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
];

/// The crates that are ours; what the others say is left out unless it is an error.
const OURS: [&str; 8] = [
    "tintype",
    "catalog",
    "ingest",
    "processor",
    "trainer",
    "model",
    "graph",
    "export",
];

/// What libraries say. Off are those that log as errors what the caller handles and tells
/// in words of our own: a table that is not there yet, a topic that is, a broker away.
const LIBRARIES: &str = "error,librdkafka=off,rdkafka=off,deltalake_core=off,buoyant_kernel=off,delta_kernel=off,tansu_broker=off,tansu_storage=off,tansu_service=off";

/// Logs go to standard error. `level` is a level for our own crates, such as `info`, or a
/// whole filter in `RUST_LOG`'s language.
pub fn init_logs(level: &str, json: bool) {
    let directives = if level.contains(['=', ',']) {
        level.to_owned()
    } else {
        OURS.iter().fold(LIBRARIES.to_owned(), |all, ours| {
            format!("{all},{ours}={level}")
        })
    };
    let filter = EnvFilter::try_new(directives).unwrap_or_else(|_| EnvFilter::new("error"));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false);
    // A second start in one process keeps the first one's.
    let _ = if json {
        builder.json().try_init()
    } else {
        builder.compact().try_init()
    };
}

/// The recorder of this process's metrics.
pub fn metrics() -> &'static PrometheusHandle {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    HANDLE.get_or_init(|| {
        let builder = PrometheusBuilder::new();
        let builder =
            match builder.set_buckets_for_metric(Matcher::Suffix("_seconds".into()), BUCKETS) {
                Ok(builder) => builder,
                Err(_) => PrometheusBuilder::new(),
            };
        let recorder = builder.build_recorder();
        let handle = recorder.handle();
        if metrics::set_global_recorder(recorder).is_ok() {
            processor::metrics::describe();
            ingest::metrics::describe();
            catalog::metrics::describe();
            trainer::metrics::describe();
        }
        handle
    })
}

//! The captures route as a client meets it: the real router on a real catalog, a
//! real folder, and a broker that speaks Kafka's protocol (librdkafka's own mock
//! cluster, over TCP).

#![allow(clippy::unwrap_used, missing_docs)]

mod harness;

mod accepted;
mod connections;
mod dialects;
mod direct;
mod hostile;
mod idempotency;
mod known;
mod labels;
mod outages;
mod refused;
mod resumable;
mod tus;

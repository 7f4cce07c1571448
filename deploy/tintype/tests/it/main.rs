//! The whole program from outside: a real `tintype up` on a scratch folder, driven over
//! HTTP, killed, starved and read back with an independent look at its tables.
#![allow(clippy::unwrap_used, missing_docs)]

mod server;

mod pictures;

mod table;

mod kill;

mod trouble;

mod train;

mod lost;

mod outage;

mod phones;

mod commands;

mod embed;

#[cfg(feature = "heic")]
mod heic;

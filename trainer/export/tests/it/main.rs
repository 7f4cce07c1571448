//! Files of small random networks with every kind of node, written, read back and run;
//! and files of real weights, where those are at hand.

#![allow(clippy::unwrap_used)]

mod networks;

mod bundle;
mod damage;
mod files;
mod interpreter;
mod real_weights;
mod refusals;

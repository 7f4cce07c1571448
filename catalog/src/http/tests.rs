//! The routes, through the real router and a real file: one module for each subject.

mod captures;
mod clusters;
mod datasets;
mod duplicates;
mod events;
mod isolation;
mod keys;
mod problems;

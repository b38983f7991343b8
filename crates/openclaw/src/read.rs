//! One reader for each format, and the words they share.

pub mod config;
pub mod document;
pub mod duration;
pub mod field;
pub mod jobs;
pub mod lines;
pub mod lock;
pub mod names;
pub mod raw;
pub mod runs;
pub mod sessions;
pub mod transcript;

#[cfg(test)]
mod fuzz;

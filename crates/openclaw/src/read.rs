//! One reader for each format, and the words they share.

pub mod document;
pub mod field;
pub mod jobs;
pub mod lines;
pub mod lock;
pub mod names;
pub mod runs;
pub mod sessions;

//! One reader for each format, and the words they share.

pub mod field;
pub mod names;
pub mod sessions;

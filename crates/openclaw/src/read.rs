//! One reader for each format, and the words they share.

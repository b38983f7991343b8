//! Doing work as a process.

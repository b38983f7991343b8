//! One reader for each format, and the words they share.

pub mod agent_db;
pub mod config;
pub mod database;
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
pub mod snapshot;
pub mod state_db;
mod table;
mod tasks;
pub mod transcript;

#[cfg(test)]
mod fuzz;

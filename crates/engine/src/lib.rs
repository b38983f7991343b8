//! The moving parts of Sexton: loops around the decisions of `sexton-domain`.
//!
//! Knows no HTTP and no particular database. [`engine::Engine`] brings a node to work,
//! [`handle::Handle`] is all that the outside may ask of it, [`tasks`] lists every long-lived task.

mod alerts;
pub mod archive;
pub mod clock;
pub mod courier;
mod dispatcher;
pub mod drain;
pub mod engine;
pub mod entropy;
pub mod env;
pub mod executor;
pub mod handle;
mod heartbeat;
pub mod history;
pub mod hooks;
pub mod metrics;
mod output;
pub mod process;
pub mod reaper;
mod reconciler;
mod run_files;
mod runner;
mod runners;
mod scheduler;
pub mod settings;
mod suspicion;
pub mod tasks;
mod ticker;
mod transcript;
mod unreadable;

pub use run_files::RunFiles;
pub use sexton_store::{Error as StoreError, Stats, once, page};

//! Whole engines: a node on a real SQLite file with real processes.
#![expect(clippy::unwrap_used, reason = "helpers of tests are tests, too")]

mod alerts;
mod conversations;
mod drain;
mod faults;
mod hook_clocks;
mod hook_commands;
mod hooks;
mod mailbox;
mod retention;
mod runs;
mod support;
mod unreadable;
mod usage;

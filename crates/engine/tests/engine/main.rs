//! Whole engines: a node on a real SQLite file with real processes.

mod faults;
mod runs;
mod support;

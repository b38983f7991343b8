//! The rules of Sexton: records, state machines, and decisions as values.
//!
//! Pure and synchronous: no I/O, no clock, no randomness. Code here looks at a snapshot and `now`
//! and returns what should change ([`change::Change`]) and what should then be done
//! ([`change::Effect`]). It is the only place that moves a record from one state to another.

pub mod access;
pub mod agent;
pub mod alert;
pub mod archive;
pub mod change;
pub mod duration;
pub mod entry;
pub mod errors;
pub mod event;
#[cfg(test)]
mod fuzz;
pub mod hook;
pub mod id;
pub mod job;
pub mod key;
mod listed;
pub mod meta;
pub mod name;
pub mod node;
pub mod origin;
pub mod plan;
pub mod receipt;
pub mod report;
pub mod reset;
pub mod retention;
pub mod retry;
pub mod run;
pub mod schedule;
pub mod session;
pub mod sweep;
pub mod usage;
pub mod when;
pub mod words;

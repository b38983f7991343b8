//! The API as its callers meet it: a real engine, real HTTP on the loopback.
#![expect(clippy::unwrap_used, reason = "what a test needs and does not get fails it")]

mod access;
mod bad_input;
mod client;
mod conversations;
mod document;
mod events;
mod fuzz;
mod jobs;
mod metrics;
mod offline;
mod once;
mod reading;
mod serving;
mod sweeps;
mod world;

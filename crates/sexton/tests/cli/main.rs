//! The binary as its users meet it: each test runs the real program in a folder of its own.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on stops")]

mod bench;
mod commands;
mod config;
mod conversations;
mod daemon;
#[cfg(target_os = "linux")]
mod disk;
#[cfg(target_os = "linux")]
mod full_disk;
#[cfg(target_os = "linux")]
mod hostile;
mod openclaw;
mod receiver;
mod status;
mod stopping;
mod supervisor;
mod support;
mod sweeps;
#[path = "../../../openclaw/tests/fixtures/unpack.rs"]
mod unpack;
mod usage;
mod webhooks;

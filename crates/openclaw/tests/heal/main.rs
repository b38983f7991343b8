//! Healing of whole folders: each step has exactly its effect, whatever happens in between, and undoing
//! brings every byte back.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on stops")]

mod databases;
mod files;
mod held;
mod killed;
mod left;
mod refused;
mod scene;
#[path = "../fixtures/unpack.rs"]
mod unpack;

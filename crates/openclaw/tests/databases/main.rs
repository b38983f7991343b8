//! The readers of OpenClaw's databases, on the real healthy ones and on sick ones.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on stops")]

mod agent;
#[path = "../fixtures/cold.rs"]
mod cold;
mod damaged;
mod fuzz;
mod make;
mod state;
mod versions;

//! Work done by a process: every run behind a shim of its own, so that no agent outlives its node.
//!
//! ```text
//! node ── ProcessExecutor ──spawn──> shim ──posix_spawn──> agent ──> whatever it starts
//!   │                                 │ own session, child subreaper    own process group
//!   ├─ control socket ────────────────┘ stdin of the shim: frames to the node, its EOF means "end"
//!   ├─ stdin pipe (the prompt) ─────────passed over the control socket──> stdin of the agent
//!   └─ stdout, stderr pipes <───────────inherited through the shim─────── stdout, stderr of it
//! ```
//!
//! The shim runs in the environment of the agent, so that one `SEXTON_RUN_ID` marks the whole tree
//! and [`survivors`] finds what is left of it even after node and shim were both killed.

pub mod shim;
pub mod spawn;
pub mod survivors;

mod execution;
mod output;
mod table;
mod wire;

pub use spawn::{ProcessExecutor, ShimCommand};

/// Names the run in the environment of every process that works for it.
pub const RUN_ID: &str = "SEXTON_RUN_ID";

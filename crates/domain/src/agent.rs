//! Agents: named ways to do work, with their defaults.

use serde::{Deserialize, Serialize};

use crate::duration::Duration;

/// The deadline of a run whose job and agent name none.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(3600);
/// How long a process has between TERM and KILL when its agent names no grace.
pub const DEFAULT_GRACE: Duration = Duration::from_secs(5);
/// How many bytes of output a run keeps when its agent names no limit.
pub const DEFAULT_OUTPUT_LIMIT_BYTES: u64 = 16 * 1024 * 1024;

/// How an agent works and what it is held to. Copied into each run when the run is made, so that a
/// later edit of the config does not change what is already queued.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Agent {
    /// What does the work.
    pub executor: Executor,
    /// The deadline of its runs unless the job names one.
    pub timeout: Duration,
    /// The longest silence before a run is stopped.
    pub idle_timeout: Option<Duration>,
    /// Between TERM and KILL.
    pub grace: Duration,
    /// How many bytes of output a run keeps; more is cut off with a mark.
    pub output_limit_bytes: u64,
}

/// What does the work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Executor {
    /// A child process: prompt on stdin, answer on stdout.
    Process(Command),
}

/// A child process. The values of its own environment variables stay in the config: they may be
/// secrets and have no place in a run's record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    /// Program and arguments; at least the program.
    pub argv: Vec<String>,
    /// Working directory; relative to the data folder.
    pub cwd: String,
    /// Variables taken over from the gateway's own environment.
    pub env_pass: Vec<String>,
}

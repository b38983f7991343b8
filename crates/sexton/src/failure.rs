//! How a command ends: its exit code, and what is said when it could not do what was asked.

use sexton_domain::errors::causes;
use std::fmt;
use std::io;
use std::process::ExitCode;

/// The exit codes, the same for every command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done.
    Ok = 0,
    /// The answer is "no": a failed run, a check with findings.
    No = 1,
    /// The command line or the config is wrong.
    Usage = 2,
    /// There is no such thing.
    NotFound = 3,
    /// Refused: a conflict, a held store, no right to do this.
    Refused = 4,
    /// The daemon cannot be reached.
    Unreachable = 5,
    /// Not now; try again.
    Unavailable = 6,
    /// A bug in Sexton.
    Bug = 70,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command did not do what was asked.
#[derive(Debug)]
pub struct Failure {
    /// The exit code.
    pub exit: Exit,
    /// For people; may have several lines.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Failure {
    /// A failure without a hint.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), hint: None }
    }

    /// The same with a hint.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// An error with all of its sources, after `failed to`.
    pub fn chain(exit: Exit, error: &dyn std::error::Error) -> Self {
        Self::new(exit, format!("failed to {}", causes(error)))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let message = self.message.trim_end();
        let prefix = if message.starts_with("error: ") { "" } else { "error: " };
        write!(f, "{prefix}{message}")?;
        match &self.hint {
            Some(hint) => write!(f, "\nhint: {hint}"),
            None => Ok(()),
        }
    }
}

impl From<anyhow::Error> for Failure {
    /// What the environment did not allow: a file that cannot be read, say.
    fn from(error: anyhow::Error) -> Self {
        Self::new(Exit::Usage, format!("failed to {error:#}"))
    }
}

impl From<io::Error> for Failure {
    /// Only stdout is written without a context of its own.
    fn from(error: io::Error) -> Self {
        match error.kind() {
            // `sexton run list | head` has seen enough.
            io::ErrorKind::BrokenPipe => Self::new(Exit::Ok, ""),
            _ => Self::new(Exit::Unavailable, format!("failed to write to stdout: {error}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_an_error_line_and_a_hint_line() {
        let failure = Failure::new(Exit::NotFound, "no job `x`").hint("see `sexton job list`");
        assert_eq!(failure.to_string(), "error: no job `x`\nhint: see `sexton job list`");
    }

    #[test]
    fn a_reader_that_has_gone_is_no_failure() {
        let failure = Failure::from(io::Error::from(io::ErrorKind::BrokenPipe));
        assert_eq!(failure.exit, Exit::Ok);
    }
}

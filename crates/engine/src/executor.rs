//! The seam between the runner and a way to do work: start it, follow it, stop it, prove it dead.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use sexton_domain::name::AgentName;
use uuid::Uuid;

pub use sexton_domain::node::ProcessId;

/// A way to do work. One executor serves all runs of its kind.
#[async_trait]
pub trait Executor: Send + Sync {
    /// Starts `work` and returns once it runs, or once it is known that it cannot.
    ///
    /// Dropping the returned future before it resolves leads to the death of whatever it started.
    async fn start(&self, work: Work) -> Result<Box<dyn Execution>, StartError>;

    /// Kills what earlier, dead epochs left alive, and returns once it is proven dead.
    ///
    /// `is_ours_dead` is asked about every run that has living processes on this machine, and
    /// must say yes only for runs that this store knows and whose owner is gone: a machine may
    /// carry the runs of several stores. Returns what was found and killed.
    async fn bury(
        &self,
        is_ours_dead: &(dyn Fn(Uuid) -> bool + Send + Sync),
    ) -> Result<Vec<Survivor>, BuryError>;
}

/// Work that was started. Dropping it leads to its death, as `stop` does, but without the proof.
#[async_trait]
pub trait Execution: Send {
    /// Waits for the next thing to report. Cancel-safe: no progress is lost when the future is
    /// dropped. Must not be called again after [`Progress::Exited`].
    async fn progress(&mut self) -> Progress;

    /// Asks the work to end (TERM) and sees to it after the grace (KILL), the whole process tree
    /// included. Returns at once and is idempotent; the end arrives as [`Progress::Exited`].
    fn stop(&mut self);

    /// The process whose life is the life of this work, where there is one.
    fn process(&self) -> Option<ProcessId>;
}

/// What to do, with everything it needs already decided.
pub struct Work {
    /// The run this is done for; every process of the work carries it as `SEXTON_RUN_ID`.
    pub run: Uuid,
    /// Program and arguments. A program without a slash is looked up in the `PATH` of `env`.
    pub command: Vec<String>,
    /// Where the command starts.
    pub cwd: PathBuf,
    /// The whole environment of the command; nothing else is inherited.
    pub env: Vec<(String, String)>,
    /// What the command reads on its standard input, which is closed after it.
    pub prompt: String,
    /// How long the work may take to end by itself after it was asked to.
    pub grace: Duration,
    /// Lines longer than this arrive in pieces; a piece never splits a UTF-8 character.
    pub line_limit_bytes: usize,
}

impl fmt::Debug for Work {
    /// Leaves out what may be secret: arguments, values of the environment, the prompt.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Work")
            .field("run", &self.run)
            .field("program", &self.command.first())
            .field("cwd", &self.cwd)
            .field("prompt_bytes", &self.prompt.len())
            .field("grace", &self.grace)
            .finish_non_exhaustive()
    }
}

/// One thing that work has to report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// A line of standard output without its newline; invalid UTF-8 is replaced.
    Stdout(String),
    /// A line of standard error, likewise.
    Stderr(String),
    /// The work is over: its whole process tree is proven dead and all of its output was reported.
    Exited(Exit),
}

/// How work ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// The command exited with this code.
    Code(i32),
    /// The command was killed by this signal.
    Signal(i32),
    /// The shim was killed before it could say how the command ended. The tree is dead all the
    /// same: it was searched and killed from outside.
    Lost {
        /// How many processes had to be killed.
        killed: u32,
    },
}

/// A process that outlived the epoch its run belonged to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Survivor {
    /// Which process.
    pub process: ProcessId,
    /// The run it was working for.
    pub run: Uuid,
}

/// Why work did not start. Nothing of it is left.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// There is no command.
    #[error("start an agent with an empty command")]
    NoCommand,
    /// The config of this node does not have the run's agent, and did not have it when the run was
    /// made.
    #[error("find agent {agent} in the config")]
    UnknownAgent {
        /// As the job names it.
        agent: AgentName,
    },
    /// The command does not exist.
    #[error("find the agent's command {program}")]
    NotFound {
        /// As written in the config.
        program: String,
    },
    /// The command exists and may not be executed.
    #[error("execute {program}: permission denied")]
    PermissionDenied {
        /// As written in the config.
        program: String,
    },
    /// The folder to start in cannot be entered.
    #[error("enter the working folder {cwd}")]
    Cwd {
        /// The folder.
        cwd: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The command cannot be executed for another reason.
    #[error("execute {program}")]
    Command {
        /// As written in the config.
        program: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The machine did not give what a start needs (processes, files, memory).
    #[error("{doing}")]
    Resources {
        /// What was being done.
        doing: &'static str,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// The shim ended before it started the command.
    #[error("start the agent's shim: it ended early")]
    ShimEnded,
}

impl StartError {
    /// Whether the same start may succeed later without anybody changing the config.
    pub fn is_transient(&self) -> bool {
        matches!(self, StartError::Resources { .. } | StartError::ShimEnded)
    }
}

/// Why survivors may still be alive.
#[derive(Debug, thiserror::Error)]
pub enum BuryError {
    /// The processes of this machine cannot be listed.
    #[error("list the processes of this machine")]
    List(#[source] io::Error),
    /// Some would not die.
    #[error("kill the processes {} of runs that are over", pids(.0))]
    Alive(Vec<Survivor>),
}

fn pids(survivors: &[Survivor]) -> String {
    let pids: Vec<String> = survivors.iter().map(|s| s.process.pid.to_string()).collect();
    pids.join(", ")
}

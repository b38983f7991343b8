//! Starts a shim for each piece of work and hands it the pipes of its agent.

use std::io::{self, IoSlice, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Stdio;

use async_trait::async_trait;
use rustix::io::Errno;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use tokio::net::unix::pipe;
use tokio::process::Command;
use uuid::Uuid;

use super::execution::{ProcessExecution, Prompt};
use super::output::Lines;
use super::shim::Orders;
use super::wire::{Frame, Stage};
use super::{RUN_ID, survivors, table};
use crate::executor::{BuryError, Execution, Executor, ProcessId, StartError, Survivor, Work};

/// How to start a shim: a program and what leads it to [`super::shim::main`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShimCommand {
    /// The path of the program.
    pub program: PathBuf,
    /// The arguments before those of the shim.
    pub args: Vec<String>,
}

impl ShimCommand {
    /// This very program under `args`, also after an upgrade replaced its file.
    pub fn this_program(args: Vec<String>) -> io::Result<ShimCommand> {
        #[cfg(target_os = "linux")]
        let program = PathBuf::from("/proc/self/exe");
        #[cfg(not(target_os = "linux"))]
        let program = std::env::current_exe()?;
        Ok(ShimCommand { program, args })
    }
}

/// Does work by running commands, each behind a shim.
#[derive(Debug, Clone)]
pub struct ProcessExecutor {
    shim: ShimCommand,
}

impl ProcessExecutor {
    /// An executor whose shims are started by `shim`.
    pub fn new(shim: ShimCommand) -> ProcessExecutor {
        ProcessExecutor { shim }
    }
}

#[async_trait]
impl Executor for ProcessExecutor {
    async fn start(&self, work: Work) -> Result<Box<dyn Execution>, StartError> {
        let Some(program) = work.command.first().cloned() else {
            return Err(StartError::NoCommand);
        };
        let cwd = work.cwd.clone();
        let mut execution = spawn(&self.shim, work)?;
        match execution.first_frame().await {
            Some(Frame::Started(_)) => Ok(Box::new(execution)),
            Some(Frame::Failed(stage, errno)) => {
                execution.reap().await;
                Err(failed(stage, io::Error::from_raw_os_error(errno), program, cwd))
            }
            Some(_) | None => {
                execution.bury().await;
                Err(StartError::ShimEnded)
            }
        }
    }

    async fn bury(
        &self,
        is_ours_dead: &(dyn Fn(Uuid) -> bool + Send + Sync),
    ) -> Result<Vec<Survivor>, BuryError> {
        survivors::bury(is_ours_dead).await
    }
}

/// Starts the shim. All that it needs is in place before: it never waits for the node.
fn spawn(shim: &ShimCommand, work: Work) -> Result<ProcessExecution, StartError> {
    let (control, theirs) = UnixStream::pair().map_err(resources("open a control socket"))?;
    let (stdin, prompt) = io::pipe().map_err(resources("open a pipe"))?;
    let prompt = begin(prompt, work.prompt).map_err(resources("write the prompt"))?;
    send(&control, stdin).map_err(resources("pass the agent's stdin on"))?;
    let (stdout, agent_stdout) = output_pipe(work.line_limit_bytes)?;
    let (stderr, agent_stderr) = output_pipe(work.line_limit_bytes)?;
    let control = control
        .set_nonblocking(true)
        .and_then(|()| tokio::net::UnixStream::from_std(control))
        .map_err(resources("watch a control socket"))?;

    let program = work.command.first().cloned().unwrap_or_default();
    let command = work.command.into_iter().map(Into::into).collect();
    let grace = work.grace;
    let orders = Orders { grace, cwd: work.cwd, command };
    // The descriptors given to the command live as long as it: to the end of this function.
    let shim = Command::new(&shim.program)
        .args(&shim.args)
        .args(orders.into_args())
        .env_clear()
        .envs(work.env)
        .env(RUN_ID, work.run.to_string())
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .stdout(agent_stdout)
        .stderr(agent_stderr)
        .spawn()
        .map_err(|source| shim_failed(source, program))?;
    let pid = shim.id().unwrap_or(0);
    let process = ProcessId { pid, started: table::started(pid) };
    let outputs = [stdout, stderr];
    Ok(ProcessExecution::new(work.run, control, shim, process, outputs, prompt, grace))
}

/// Writes what the pipe takes at once, which is nearly always all of it.
fn begin(mut pipe: io::PipeWriter, prompt: String) -> io::Result<Option<Prompt>> {
    rustix::io::ioctl_fionbio(&pipe, true)?;
    let mut sent = 0;
    while sent < prompt.len() {
        match pipe.write(&prompt.as_bytes()[sent..]) {
            Ok(written) => sent += written,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let pipe = pipe::Sender::from_owned_fd(pipe.into())?;
                return Ok(Some(Prompt::new(pipe, prompt.into_bytes(), sent)));
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

/// Puts the agent's stdin on its way, to be found by a shim that does not exist yet.
fn send(control: &UnixStream, stdin: io::PipeReader) -> io::Result<()> {
    let files = [stdin.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let fits = ancillary.push(SendAncillaryMessage::ScmRights(&files));
    debug_assert!(fits, "space was taken for one file");
    sendmsg(control, &[IoSlice::new(b"i")], &mut ancillary, SendFlags::empty())?;
    Ok(())
}

fn output_pipe(line_limit_bytes: usize) -> Result<(Lines, Stdio), StartError> {
    let (ours, theirs) = io::pipe().map_err(resources("open a pipe"))?;
    let ours =
        pipe::Receiver::from_owned_fd(ours.into()).map_err(resources("watch an output pipe"))?;
    Ok((Lines::new(ours, line_limit_bytes), theirs.into()))
}

fn resources(doing: &'static str) -> impl Fn(io::Error) -> StartError {
    move |source| StartError::Resources { doing, source }
}

/// Arguments and environment are the agent's, so some errors of the shim's start are, too.
fn shim_failed(source: io::Error, program: String) -> StartError {
    match source.kind() {
        io::ErrorKind::InvalidInput | io::ErrorKind::ArgumentListTooLong => {
            StartError::Command { program, source }
        }
        _ => StartError::Resources { doing: "start the agent's shim", source },
    }
}

fn failed(stage: Stage, source: io::Error, program: String, cwd: PathBuf) -> StartError {
    match stage {
        Stage::Shim => StartError::Resources { doing: "set up the agent's shim", source },
        Stage::Cwd => StartError::Cwd { cwd, source },
        Stage::Exec => match Errno::from_io_error(&source) {
            Some(Errno::NOENT) => StartError::NotFound { program },
            Some(Errno::ACCESS) => StartError::PermissionDenied { program },
            // ETXTBSY: a script that somebody is still writing.
            Some(Errno::AGAIN | Errno::NOMEM | Errno::NFILE | Errno::MFILE | Errno::TXTBSY) => {
                StartError::Resources { doing: "start the agent", source }
            }
            _ => StartError::Command { program, source },
        },
    }
}

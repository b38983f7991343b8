//! A command hook: the envelope on stdin of a process behind a shim, and its exit is its answer.

use std::path::Path;
use std::time::Duration;

use sexton_domain::errors::causes;
use sexton_domain::event::EventType;
use sexton_domain::id::{DeliveryId, EventId};
use tokio::sync::watch;

use crate::courier::{Answer, Reply};
use crate::env::Env;
use crate::executor::{Execution, Exit, Progress, Work};

/// How long a command may take to end after it was asked to.
const GRACE: Duration = Duration::from_secs(2);
/// How much of the end of stderr goes into an error.
const TAIL_BYTES: usize = 300;
/// Longer lines come in pieces.
const LINE_LIMIT_BYTES: usize = 8 * 1024;
/// The pause before processes that do not die are looked for again.
const RETRY: Duration = Duration::from_secs(1);

/// One call of a command.
#[derive(Debug)]
pub(super) struct Call<'a> {
    pub delivery: DeliveryId,
    pub event: EventId,
    pub kind: EventType,
    pub argv: &'a [String],
    pub body: String,
    pub data_dir: &'a Path,
    pub timeout: Duration,
}

impl Call<'_> {
    /// Runs the command until its whole process tree is proven dead. None if the node stopped it.
    pub async fn make(self, env: &Env, mut closing: watch::Receiver<bool>) -> Option<Reply> {
        let deadline = env.clock.monotonic() + self.timeout;
        // A start can hang, for instance on a file system that does not answer.
        let started = tokio::select! {
            biased;
            started = env.executor.start(self.work(env)) => Ok(started),
            () = env.clock.sleep(self.timeout) => Err(CutOff::Late),
            _ = closing.wait_for(|closing| *closing) => Err(CutOff::Closing),
        };
        let cut_off = match started {
            Ok(Ok(execution)) => {
                let watch = Watch { deadline, timeout: self.timeout, cut_off: None };
                return watch.follow(env, execution, closing).await;
            }
            Ok(Err(error)) => return Some(Reply::failed(causes(&error))),
            Err(cut_off) => cut_off,
        };
        let id = self.delivery.uuid();
        while let Err(error) = env.executor.bury(&|other| other == id).await {
            tracing::error!(delivery.id = %self.delivery, %error, "a hook's processes do not die");
            env.clock.sleep(RETRY).await;
        }
        (cut_off == CutOff::Late).then(|| too_late(self.timeout))
    }

    fn work(&self, env: &Env) -> Work {
        let mut variables = env.host.clean_environment();
        variables.insert("SEXTON_EVENT_TYPE".to_owned(), self.kind.name().to_owned());
        variables.insert("SEXTON_EVENT_ID".to_owned(), self.event.to_string());
        Work {
            run: self.delivery.uuid(),
            command: self.argv.to_vec(),
            cwd: self.data_dir.to_owned(),
            env: variables.into_iter().collect(),
            prompt: self.body.clone(),
            grace: GRACE,
            line_limit_bytes: LINE_LIMIT_BYTES,
        }
    }
}

/// Why a command was stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CutOff {
    Late,
    Closing,
}

/// What is watched while a command runs.
struct Watch {
    /// On the monotonic clock.
    deadline: Duration,
    timeout: Duration,
    cut_off: Option<CutOff>,
}

impl Watch {
    async fn follow(
        mut self,
        env: &Env,
        mut execution: Box<dyn Execution>,
        mut closing: watch::Receiver<bool>,
    ) -> Option<Reply> {
        let mut tail = String::new();
        let left = self.deadline.saturating_sub(env.clock.monotonic());
        let mut late = env.clock.sleep(left);
        let exit = loop {
            let cut_off = tokio::select! {
                biased;
                () = &mut late, if self.cut_off.is_none() => CutOff::Late,
                _ = closing.wait_for(|closing| *closing), if self.cut_off.is_none() => {
                    CutOff::Closing
                }
                progress = execution.progress() => match progress {
                    Progress::Exited(exit) => break exit,
                    Progress::Stderr(line) => {
                        keep_end(&mut tail, &line);
                        continue;
                    }
                    Progress::Stdout(_) => continue,
                },
            };
            self.cut_off = Some(cut_off);
            execution.stop();
        };
        match self.cut_off {
            Some(CutOff::Closing) => None,
            Some(CutOff::Late) => Some(too_late(self.timeout)),
            None => Some(answer(exit, tail.trim())),
        }
    }
}

fn answer(exit: Exit, tail: &str) -> Reply {
    let tail = if tail.is_empty() { String::new() } else { format!(": {tail}") };
    match exit {
        Exit::Code(0) => Reply { answer: Answer::Acknowledged, said: format!("exit code 0{tail}") },
        Exit::Code(code) => Reply::failed(format!("exit code {code}{tail}")),
        Exit::Signal(signal) => Reply::failed(format!("killed by signal {signal}{tail}")),
        Exit::Lost { .. } => Reply::failed("its shim was killed"),
    }
}

pub(super) fn too_late(timeout: Duration) -> Reply {
    Reply::failed(format!(
        "no answer within {}",
        sexton_domain::duration::Duration::from_std(timeout)
    ))
}

/// Keeps the end of what was said.
fn keep_end(tail: &mut String, line: &str) {
    if !tail.is_empty() {
        tail.push('\n');
    }
    tail.push_str(line);
    let cut = tail.ceil_char_boundary(tail.len().saturating_sub(TAIL_BYTES));
    tail.drain(..cut);
}

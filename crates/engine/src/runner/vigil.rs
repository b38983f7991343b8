//! A vigil: what a runner watches while its work goes on, and how the run ends by what happened to it.

use std::time::Duration;

use sexton_domain::agent::{DEFAULT_OUTPUT_LIMIT_BYTES, DEFAULT_TIMEOUT};
use sexton_domain::node::EndReason;
use sexton_domain::plan::ending::{Ending, RetryWish};
use sexton_domain::run::{Outcome, Reason, Run, RunError};

use crate::executor::{Execution, Exit, Progress};
use crate::output::Output;
use crate::runners::Stop;
use crate::transcript::{self, NotOurs, Transcript};

/// EX_TEMPFAIL of sysexits.h: a failure that is worth retrying.
const EX_TEMPFAIL: i32 = 75;

/// Why the work was stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    Deadline,
    Idle,
    Told(Stop),
}

/// What a runner watches: the deadline and the idle limit, on monotonic time.
pub(super) struct Vigil {
    deadline: Duration,
    timeout: sexton_domain::duration::Duration,
    idle_limit: Option<sexton_domain::duration::Duration>,
    heard_at: Duration,
    pub gather_until: Option<Duration>,
    pub output_limit_bytes: u64,
    pub stopped: Option<Why>,
}

impl Vigil {
    pub fn new(run: &Run, now: Duration) -> Self {
        let input = run.input.as_ref();
        let timeout = input.map_or(DEFAULT_TIMEOUT, |input| input.timeout);
        let settings = input.and_then(|input| input.settings.as_ref());
        Self {
            deadline: now + timeout.to_std(),
            timeout,
            idle_limit: input.and_then(|input| input.idle_timeout),
            heard_at: now,
            gather_until: Some(now + transcript::GATHER),
            output_limit_bytes: settings
                .map_or(DEFAULT_OUTPUT_LIMIT_BYTES, |agent| agent.output_limit_bytes),
            stopped: None,
        }
    }

    pub fn heard(&mut self, now: Duration) {
        self.heard_at = now;
    }

    /// Takes what the work reports; its exit when that is it.
    pub fn note(
        &mut self,
        progress: Progress,
        now: Duration,
        output: &mut Output,
        transcript: &mut Transcript,
    ) -> Option<Exit> {
        match progress {
            Progress::Stdout(line) => {
                if let Some(kept) = output.take(line)
                    && transcript.push(kept.role, kept.text)
                {
                    self.gather_until = Some(now + transcript::GATHER);
                }
            }
            Progress::Stderr(line) => output.take_stderr(&line),
            Progress::Exited(exit) => return Some(exit),
        }
        None
    }

    /// Until something has to be looked at without being told.
    pub fn next_look(&self, now: Duration) -> Duration {
        let idle = self.idle_limit.map(|limit| self.heard_at + limit.to_std());
        let limits = [Some(self.deadline), idle].into_iter().flatten();
        let limits = limits.filter(|_| self.stopped.is_none());
        let next = limits.chain(self.gather_until).min();
        next.map_or(crate::ticker::MAX_PAUSE, |next| next.saturating_sub(now))
    }

    pub fn check(&mut self, now: Duration, execution: &mut dyn Execution) {
        if now >= self.deadline {
            self.stop(Why::Deadline, execution);
        } else if self.idle_limit.is_some_and(|limit| now >= self.heard_at + limit.to_std()) {
            self.stop(Why::Idle, execution);
        }
    }

    /// The first reason counts, but for a lost run: nothing is recorded for it any more.
    pub fn stop(&mut self, why: Why, execution: &mut dyn Execution) {
        if self.stopped.is_none() || why == Why::Told(Stop::Abandon) {
            self.stopped = Some(why);
            execution.stop();
        }
    }

    /// What the proven end of the work means.
    pub fn ending(&self, exit: Exit, output: Output) -> Result<Ending, NotOurs> {
        let judged = match self.stopped {
            Some(why) => self.judge(why)?,
            None => exited(exit),
        };
        let (answer, stderr) = output.finish();
        Ok(Ending { output: answer, stderr, ..judged })
    }

    /// How a run ends that was stopped.
    pub fn judge(&self, why: Why) -> Result<Ending, NotOurs> {
        let (class, message, reason) = match why {
            Why::Told(stop) => return told(stop),
            Why::Deadline => {
                ("deadline", format!("ran for {}, its deadline", self.timeout), Reason::Deadline)
            }
            Why::Idle => {
                let limit = self.idle_limit.unwrap_or_default();
                ("idle", format!("wrote nothing for {limit}, its idle limit"), Reason::IdleLimit)
            }
        };
        Ok(with_error(class, message, Ending::plain(Outcome::TimedOut, reason)))
    }
}

/// How a run ends that was told to stop.
pub(super) fn told(stop: Stop) -> Result<Ending, NotOurs> {
    let reason = match stop {
        Stop::Abandon => return Err(NotOurs),
        Stop::Cancel(reason) => return Ok(Ending::plain(Outcome::Cancelled, reason)),
        Stop::Node(EndReason::Restart) => Reason::Restart,
        Stop::Node(EndReason::Shutdown) => Reason::Shutdown,
        Stop::Node(EndReason::Crash | EndReason::Lost) => Reason::NodeLost,
    };
    Ok(Ending::plain(Outcome::Interrupted, reason))
}

/// How a run ends whose work ended by itself.
fn exited(exit: Exit) -> Ending {
    let failed = Ending::plain(Outcome::Failed, Reason::Exit);
    match exit {
        Exit::Code(0) => Ending::plain(Outcome::Ok, Reason::Exit),
        Exit::Code(code) => {
            let temporary = code == EX_TEMPFAIL;
            let retry = if temporary { RetryWish::Temporary } else { RetryWish::Policy };
            with_error("exit", format!("exit code {code}"), Ending { retry, ..failed })
        }
        Exit::Signal(signal) => with_error("signal", format!("killed by signal {signal}"), failed),
        Exit::Lost { killed } => {
            let message =
                format!("its shim was killed; {killed} of its processes were killed after it");
            with_error("shim", message, failed)
        }
    }
}

fn with_error(class: &str, message: String, ending: Ending) -> Ending {
    Ending { error: Some(RunError { class: class.to_owned(), message }), ..ending }
}

//! The scripted executor: processes on the simulated machine, behind the engine's own seam.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use sexton_domain::id::{DeliveryId, RunId};
use sexton_domain::usage::Tokens;
use sexton_engine::RunFiles;
use sexton_engine::executor::{
    BuryError, Execution, Executor, Exit, ProcessId, Progress, StartError, Survivor, Work,
};
use sexton_store_sqlite::SqliteDriver;
use uuid::Uuid;

use crate::dice::Die;
use crate::draw::Plot;
use crate::machine::{self, Launch, Machine, Next, Purpose, process_id};
use crate::mailbox::{Answer, Course, Letter, Mailbox};
use crate::planted::{Plant, Planted};
use crate::promises::records;
use crate::script::{self, Drawn, Script};
use crate::teller::Teller;
use crate::time;

/// What an agent says that wants to be tried again, and when.
const FAILS_FOR_NOW: &str = r#"{"outcome": "failed", "reason": "quota", "retry": "30s"}"#;
const ITS_WISH: Duration = Duration::from_secs(30);

/// Runs scripts, for one gateway.
pub(crate) struct Scripted {
    pub(crate) machine: Machine,
    pub(crate) die: Die,
    pub(crate) mailbox: Mailbox,
    pub(crate) run_files: RunFiles,
    /// What a long run takes in this world.
    pub(crate) long: Duration,
    pub(crate) plot: Plot,
    /// Whose executor it is.
    pub(crate) teller: Teller,
    pub(crate) auditor: Arc<SqliteDriver>,
    pub(crate) plant: Plant,
}

#[async_trait]
impl Executor for Scripted {
    async fn start(&self, work: Work) -> Result<Box<dyn Execution>, StartError> {
        let program = || work.command.first().cloned().unwrap_or_default();
        if work.command.is_empty() {
            return Err(StartError::NoCommand);
        }
        if !is_letter(&work)
            && let Err(broken) = records::p5_claim_is_stored(&*self.auditor, work.run.into())
        {
            self.machine.diary.broken(broken);
        }
        let script = match script::draw(&self.die, self.long, self.plot) {
            Drawn::Runs(script) if is_letter(&work) => self.take(&work, script),
            Drawn::Runs(script) => script,
            Drawn::FailsToStart => return Err(StartError::NotFound { program: program() }),
            Drawn::LacksResources => {
                let source = io::Error::from(io::ErrorKind::OutOfMemory);
                return Err(StartError::Resources { doing: "fork", source });
            }
        };
        let starts_in = script.starts_in;
        let purpose = match is_letter(&work) {
            true => Purpose::Letter(work.run),
            false => Purpose::Run(self.report(&work)),
        };
        let (grace, stray) = (work.grace, self.teller.is_over());
        let pid = self.machine.launch(Launch { purpose, script, grace, stray });
        let execution = Running { machine: self.machine.clone(), pid, plant: self.plant.clone() };
        if !starts_in.is_zero() {
            time::sleep(starts_in).await;
        }
        Ok(Box::new(execution))
    }

    async fn bury(
        &self,
        is_ours_dead: &(dyn Fn(Uuid) -> bool + Send + Sync),
    ) -> Result<Vec<Survivor>, BuryError> {
        let delay = self.die.below(4) * self.die.below(500);
        time::sleep(Duration::from_millis(delay)).await;
        if self.plant.is(Planted::RetryOverlapsSurvivor) {
            return Ok(Vec::new());
        }
        Ok(self.machine.bury(is_ours_dead))
    }
}

impl Scripted {
    /// A hook's command takes a letter.
    fn take(&self, work: &Work, drawn: Script) -> Script {
        let hook = work.command.get(1).map_or("", String::as_str);
        let delivery = DeliveryId::from(work.run);
        let letter = Letter { hook, delivery, body: &work.prompt };
        let Course { after, answer } = self.mailbox.receive(letter, &self.teller);
        let ends = match answer {
            Answer::Acknowledges => Some((after, Exit::Code(0))),
            Answer::Fails | Answer::IsGone => Some((after, Exit::Code(1))),
            Answer::IsLost => Some((after, Exit::Signal(9))),
            Answer::Hangs => None,
        };
        Script { lines: Vec::new(), ends, ..drawn }
    }

    /// An agent says in its report what it takes, mostly in words that can be read.
    fn report(&self, work: &Work) -> machine::Work {
        let (die, run) = (&self.die, RunId::from(work.run));
        if self.teller.is_over() {
            // Nobody reads what it reports.
            return purpose(work);
        }
        for _ in 0..die.of([0, 0, 1, 3]) {
            let tokens = Tokens {
                input: die.below(100_000),
                output: die.below(10_000),
                cached: 0,
                cost_micro_usd: die.below(1_000) * 1_000,
            };
            let cost = tokens.cost_micro_usd / 1_000;
            let model = die.of(["large", "small"]);
            let line = format!(
                r#"{{"usage": {{"model": "{model}", "input_tokens": {}, "output_tokens": {}, "cost_usd": {}.{:03}}}}}"#,
                tokens.input,
                tokens.output,
                cost / 1_000,
                cost % 1_000,
            );
            self.run_files.append(run, format!("{line}\n").as_bytes());
            self.machine.spend(work.run, tokens);
        }
        if die.chance(0.1) {
            let outcome = die.of([
                r#"{"outcome": "ok"}"#,
                r#"{"outcome": "skipped", "reason": "no new mail"}"#,
                r#"{"outcome": "failed", "reason": "quota"}"#,
                FAILS_FOR_NOW,
            ]);
            if outcome == FAILS_FOR_NOW {
                self.machine.wish(work.run, ITS_WISH);
            }
            self.run_files.append(run, format!("{outcome}\n").as_bytes());
        }
        if die.chance(0.05) {
            self.run_files.append(run, b"this is no report\n");
            self.machine.mumble(work.run);
        }
        purpose(work)
    }
}

/// Whether this is the command of a hook.
fn is_letter(work: &Work) -> bool {
    work.env.iter().any(|(name, _)| name == "SEXTON_EVENT_ID")
}

fn purpose(work: &Work) -> machine::Work {
    let env = |name: &str| {
        work.env.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())
    };
    machine::Work {
        run: work.run,
        job: env("SEXTON_JOB_ID"),
        slot: env("SEXTON_SLOT"),
        attempt: env("SEXTON_ATTEMPT"),
        session_key: env("SEXTON_SESSION_KEY").unwrap_or_default(),
    }
}

struct Running {
    machine: Machine,
    pid: u32,
    plant: Plant,
}

#[async_trait]
impl Execution for Running {
    async fn progress(&mut self) -> Progress {
        loop {
            match self.machine.next(self.pid) {
                Next::Line(line) => return line.written,
                Next::Exited(exit) => return Progress::Exited(exit),
                Next::Wait(pause) => time::sleep(pause).await,
            }
        }
    }

    fn stop(&mut self) {
        if !self.plant.is(Planted::StopNotPassedOn) {
            self.machine.stop(self.pid);
        }
    }

    fn process(&self) -> Option<ProcessId> {
        Some(process_id(self.pid))
    }
}

impl Drop for Running {
    /// After the gateway's own death the machine does not listen: nobody is left to ask.
    fn drop(&mut self) {
        self.machine.stop(self.pid);
    }
}

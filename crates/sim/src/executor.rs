//! The scripted executor: processes on the simulated machine, behind the engine's own seam.

use std::io;
use std::time::Duration;

use async_trait::async_trait;
use sexton_engine::executor::{
    BuryError, Execution, Executor, ProcessId, Progress, StartError, Survivor, Work,
};
use uuid::Uuid;

use crate::dice::Die;
use crate::machine::{Machine, Next, Purpose, process_id};
use crate::script::{self, Drawn};
use crate::time;

/// Runs scripts. One for the whole world; the gateway's lives share it.
pub(crate) struct Scripted {
    pub(crate) machine: Machine,
    pub(crate) die: Die,
    /// What a long run takes in this world.
    pub(crate) long: Duration,
}

#[async_trait]
impl Executor for Scripted {
    async fn start(&self, work: Work) -> Result<Box<dyn Execution>, StartError> {
        let program = || work.command.first().cloned().unwrap_or_default();
        if work.command.is_empty() {
            return Err(StartError::NoCommand);
        }
        let script = match script::draw(&self.die, self.long) {
            Drawn::Runs(script) => script,
            Drawn::FailsToStart => return Err(StartError::NotFound { program: program() }),
            Drawn::LacksResources => {
                let source = io::Error::from(io::ErrorKind::OutOfMemory);
                return Err(StartError::Resources { doing: "fork", source });
            }
        };
        let starts_in = script.starts_in;
        let pid = self.machine.launch(purpose(&work), script, work.grace);
        let execution = Running { machine: self.machine.clone(), pid };
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
        Ok(self.machine.bury(is_ours_dead))
    }
}

fn purpose(work: &Work) -> Purpose {
    let env = |name: &str| {
        work.env.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())
    };
    Purpose {
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
        self.machine.stop(self.pid);
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

//! A gateway that is frozen for longer than its lease while its agents go on: it is killed or it goes on,
//! and no other takes its store.

use std::collections::BTreeSet;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use jiff::Timestamp;
use nix::sys::signal::Signal;

use super::audit::unkept;
use super::moment::Moment;
use super::{Death, GRACE, How, LEASE, PATIENCE, Rounds};
use crate::books::{self, Run};
use crate::process::Worker;
use crate::{clock, process};

/// How a start is refused where the store is held.
const REFUSED: i32 = 4;
/// The pause between two questions to the gateway.
const PAUSE: Duration = Duration::from_millis(100);

/// What was there when a gateway was frozen.
struct Ice {
    at: Timestamp,
    told: usize,
}

impl Rounds {
    /// Freezes the gateway, lets it go on, and looks whether anything was lost.
    pub(super) fn thawed_round(
        &mut self,
        round: u32,
        moment: Moment,
    ) -> anyhow::Result<Vec<String>> {
        let client = self.gateway.client()?.clone();
        let (epoch, _) = books::lease(&client)?;
        let running = books::running(&client)?;
        let mut differences = Vec::new();
        self.freeze(moment, &mut differences)?;
        let thawed = clock::now();
        process::send(self.gateway.pid()?, Signal::SIGCONT);
        let renewed = clock::until_every(PAUSE, PATIENCE, || {
            let (now, lease_until) = books::lease(&client)?;
            ensure!(now == epoch, "the gateway's life was {epoch} and is {now}");
            Ok(lease_until > thawed)
        });
        let took = renewed.context("ask a gateway that was frozen")?;
        let took = took.context("a gateway that was frozen does not renew its lease")?;
        let passed = running.iter().filter(|run| run.deadline.is_some_and(|at| at < thawed));
        let passed: Vec<&Run> = passed.collect();
        differences.extend(self.overdue(thawed)?);
        differences.extend(self.witnesses.differences(&self.gateway, &BTreeSet::new())?);
        differences.extend(unkept(&self.witnesses.books.events, &running, &passed));
        let (runs, took) = (running.len(), took.as_secs_f64());
        println!(
            "  round {round}: {} {moment}, under {runs} runs; its lease renewed {took:.1} s later, {} \
             deadlines passed",
            How::Thawed,
            passed.len()
        );
        self.tally.count(How::Thawed, runs, 0);
        self.tally.frozen.runs += runs;
        self.tally.frozen.deadlines += passed.len();
        Ok(differences)
    }

    /// Freezes the gateway and kills it before it can go on.
    pub(super) fn kill_frozen(
        &mut self,
        moment: Moment,
        flight: Vec<Worker>,
        differences: &mut Vec<String>,
    ) -> anyhow::Result<Death> {
        let Ice { at, told } = self.freeze(moment, differences)?;
        self.gateway.kill()?;
        self.bury(flight, at, told)
    }

    /// Waits for the moment and freezes the gateway for longer than its lease. Meanwhile another one is
    /// started on its store.
    fn freeze(&mut self, moment: Moment, differences: &mut Vec<String>) -> anyhow::Result<Ice> {
        self.wait_for(moment)?;
        let ice = Ice { at: clock::now(), told: self.witnesses.good.count() };
        let pid = self.gateway.pid()?;
        process::send(pid, Signal::SIGSTOP);
        let begun = clock::monotonic();
        let is_frozen = clock::until(PATIENCE, || Ok(process::is_stopped(pid)))?;
        ensure!(is_frozen.is_some(), "the gateway does not stop for SIGSTOP");
        clock::sleep(Duration::from_millis(self.dice.below(1000)));
        match self.rival(pid)? {
            Some(difference) => differences.push(difference),
            None => self.tally.frozen.rivals += 1,
        }
        let silence = LEASE + Duration::from_millis(self.dice.below(1000));
        clock::sleep(silence.saturating_sub(begun.elapsed()));
        Ok(ice)
    }

    /// A second gateway on the store of one that is frozen is refused, and told who holds it.
    fn rival(&self, holder: u32) -> anyhow::Result<Option<String>> {
        let mut command = self.gateway.command();
        command.arg("serve").stdout(Stdio::null()).stderr(Stdio::piped());
        let mut rival = command.spawn().context("start a second gateway")?;
        if clock::until(PATIENCE, || Ok(rival.try_wait()?.is_some()))?.is_none() {
            rival.kill()?;
            rival.wait()?;
            return Ok(Some(
                "a second gateway on the store of a frozen one was not refused".into(),
            ));
        }
        let output = rival.wait_with_output()?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let names_holder = said.contains(&format!("process {holder}"));
        let is_refused = output.status.code() == Some(REFUSED) && names_holder;
        Ok((!is_refused).then(|| {
            format!("a second gateway ended with {} and said {:?}", output.status, said.trim())
        }))
    }

    /// Runs that are alive although their deadline passed before the gateway went on.
    fn overdue(&self, thawed: Timestamp) -> anyhow::Result<Vec<String>> {
        let client = self.gateway.client()?;
        let mut overdue = Vec::new();
        clock::until_every(PAUSE, GRACE + PATIENCE, || {
            overdue = books::running(client)?;
            overdue.retain(|run| run.deadline.is_none_or(|deadline| deadline < thawed));
            Ok(overdue.is_empty())
        })?;
        let late =
            |run: &Run| format!("run {} runs on after its deadline {:?}", run.id, run.deadline);
        Ok(overdue.iter().map(late).collect())
    }
}

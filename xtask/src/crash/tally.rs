//! Crash rounds in numbers: what was killed how, and into what the kills fell.

use std::collections::{BTreeMap, BTreeSet};

use super::How;
use super::moment::Moment;
use crate::hooks::Telling;

/// Counts over all rounds.
#[derive(Debug, Default)]
pub struct Tally {
    /// Rounds by what was done to the gateway.
    blows: BTreeMap<How, Blow>,
    /// Every kill of a gateway at work.
    kills: Vec<Kill>,
    /// Gateways that were killed at their start.
    pub false_starts: usize,
    /// What was met while a gateway was frozen.
    pub frozen: Frozen,
}

/// What was hit in the rounds of a kind.
#[derive(Debug, Default, Clone, Copy)]
struct Blow {
    rounds: usize,
    runs: usize,
    processes: usize,
}

/// Counts of what is only met while a gateway is frozen.
#[derive(Debug, Default, Clone, Copy)]
pub struct Frozen {
    /// Second gateways that were refused.
    pub rivals: usize,
    /// Deadlines that passed, of gateways that went on.
    pub deadlines: usize,
    /// Runs that were alive in gateways that went on.
    pub runs: usize,
}

/// The death of a gateway at work.
#[derive(Debug)]
pub struct Kill {
    /// At what it was aimed.
    pub aim: Moment,
    /// Into what it fell.
    pub hits: BTreeSet<Moment>,
    /// The store's log ended within a transaction.
    pub is_torn: bool,
    /// How much the good webhook had been told before.
    pub told: usize,
}

impl Tally {
    /// A round is over.
    pub fn count(&mut self, how: How, runs: usize, processes: usize) {
        let blow = self.blows.entry(how).or_default();
        blow.rounds += 1;
        blow.runs += runs;
        blow.processes += processes;
    }

    /// A gateway at work was killed.
    pub fn killed(&mut self, kill: Kill) {
        self.kills.push(kill);
    }

    /// How many gateways were killed, at work or at their start.
    pub fn gateways(&self) -> usize {
        self.kills.len() + self.false_starts
    }

    /// Runs and tellings that were at work when their gateway was killed, and their processes.
    pub fn victims(&self) -> (usize, usize) {
        let blows = self.blows.iter().filter(|(how, _)| how.is_deadly());
        blows.fold((0, 0), |sum, (_, blow)| (sum.0 + blow.runs, sum.1 + blow.processes))
    }

    /// The figures, by kind. `told` is what the webhook was told that acknowledges everything.
    pub fn lines(mut self, told: &[Telling]) -> Vec<String> {
        for kill in self.kills.iter_mut().filter(|kill| is_told_again(kill.told, told)) {
            kill.hits.insert(Moment::Telling);
        }
        let mut lines = Vec::new();
        for (how, Blow { rounds, runs, processes }) in &self.blows {
            let mut line = format!("{rounds:>4} x {how}: {runs} runs");
            if how.is_deadly() {
                line += &format!(" and tellings of {processes} processes");
            }
            lines.push(line);
        }
        lines.push(format!("{:>4} x the gateway at its start", self.false_starts));
        for moment in Moment::KINDS {
            lines.push(self.line(moment));
        }
        let Frozen { rivals, deadlines, runs } = self.frozen;
        lines.push(format!(
            "while it was frozen: {rivals} second gateways refused; where it went on: {runs} runs lived \
             on, {deadlines} deadlines passed, each of them kept"
        ));
        lines
    }

    fn line(&self, moment: Moment) -> String {
        let is_hit = |kill: &&Kill| kill.hits.contains(&moment);
        let aimed = self.kills.iter().filter(|kill| kill.aim == moment);
        let (all, right) = (aimed.clone().count(), aimed.filter(is_hit).count());
        let hits = self.kills.iter().filter(is_hit).count();
        if moment == Moment::Any {
            return format!("{all:>4} kills {moment}");
        }
        let mut line =
            format!("{all:>4} kills meant to fall {moment}: {right} did; of all kills {hits} did");
        if moment == Moment::Commit {
            let torn = self.kills.iter().filter(|kill| kill.is_torn).count();
            line += &format!(", {torn} within the writing of it");
        }
        line
    }
}

/// Whether something was acknowledged among the first so many, and told again after them: its
/// acknowledgement died with the gateway.
fn is_told_again(first: usize, told: &[Telling]) -> bool {
    let (before, after) = told.split_at(first.min(told.len()));
    // What is told again is among what the next life tells first.
    let acknowledged = before.iter().filter(|telling| telling.acknowledged);
    let known: BTreeSet<_> = acknowledged.filter_map(|it| it.delivery.as_deref()).collect();
    after.iter().filter_map(|it| it.delivery.as_deref()).any(|id| known.contains(id))
}

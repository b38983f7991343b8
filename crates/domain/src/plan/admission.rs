//! Whether a queued run may start: under the limits, alone on its session key, and alone in its job
//! where its policy says so.
//!
//! Runs are offered in the order of their `turn`. A run's turn is one more than that of the run
//! queued before it for the same job, but no less than that of the run that was started last
//! (start-time fair queuing with runs of equal weight): a job with a hundred queued runs gets one
//! start for each start of every other job that wants one. A turn on a shared session key is also no
//! less than one more than those of the runs that wait on that key; see [`super::turns`].

use std::collections::{BTreeMap, BTreeSet};

use crate::agent::{Agent, DEFAULT_TIMEOUT};
use crate::change::{Change, Decision, Effect, Guard};
use crate::event::EventType;
use crate::id::JobId;
use crate::key::SessionKey;
use crate::name::AgentName;
use crate::node::Owner;
use crate::plan::Moment;
use crate::plan::succession::{self, Behind, Elsewhere};
use crate::reset::Rules;
use crate::run::{Cause, Event, Input, Rejected, Run};
use crate::session::Session;

/// How many runs may run at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Over all agents.
    pub runs: usize,
    /// Of one agent.
    pub runs_per_agent: usize,
}

impl Limits {
    /// How many of the runs may be making up for passed slots: half, at least one, so that a start
    /// after a long pause does not crowd out what is due now.
    pub fn catch_up(&self) -> usize {
        (self.runs / 2).max(1)
    }
}

/// Why a queued run does not start now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// All places are taken.
    NodeFull,
    /// All places of its agent are taken.
    AgentFull,
    /// A run is running on its session key.
    KeyBusy,
    /// Another run of its job is running.
    JobBusy,
    /// All places for catching up are taken, or catching up is paused.
    CatchUpFull,
    /// The store has no room but for ends.
    StoreFull,
}

/// What is running, and what was admitted since.
#[derive(Debug)]
pub struct Admission {
    limits: Limits,
    headroom: Headroom,
    catch_up_places: usize,
    running: usize,
    catching_up: usize,
    agents: BTreeMap<AgentName, usize>,
    keys: BTreeSet<SessionKey>,
    jobs: BTreeSet<JobId>,
}

impl Admission {
    /// Starts from the runs that are running now.
    pub fn new<'a>(
        limits: Limits,
        Conditions { catch_up, headroom }: Conditions,
        running: impl IntoIterator<Item = &'a Run>,
    ) -> Self {
        let catch_up_places = match catch_up {
            CatchUp::Paced => limits.catch_up(),
            CatchUp::Paused => 0,
        };
        let mut admission = Self {
            limits,
            headroom,
            catch_up_places,
            running: 0,
            catching_up: 0,
            agents: BTreeMap::new(),
            keys: BTreeSet::new(),
            jobs: BTreeSet::new(),
        };
        running.into_iter().for_each(|run| admission.take(run));
        admission
    }

    /// Whether no further run can be admitted.
    pub fn is_full(&self) -> bool {
        self.headroom == Headroom::Released || self.running >= self.limits.runs
    }

    /// The agents whose places are all taken: their queued runs need not be looked at.
    pub fn full_agents(&self) -> Vec<AgentName> {
        let full = self.agents.iter().filter(|(_, n)| **n >= self.limits.runs_per_agent);
        full.map(|(agent, _)| agent.clone()).collect()
    }

    /// Admits the run, or says what it waits for.
    ///
    /// # Errors
    ///
    /// The first rule that it fails.
    pub fn offer(&mut self, run: &Run) -> Result<(), Wait> {
        let of_agent = self.agents.get(&run.agent).copied().unwrap_or_default();
        let job_busy = run.job.is_some_and(|job| self.jobs.contains(&job));
        match () {
            () if self.headroom == Headroom::Released => Err(Wait::StoreFull),
            () if self.is_full() => Err(Wait::NodeFull),
            () if of_agent >= self.limits.runs_per_agent => Err(Wait::AgentFull),
            () if self.keys.contains(&run.session_key) => Err(Wait::KeyBusy),
            () if run.alone && job_busy => Err(Wait::JobBusy),
            () if run.cause == Cause::CatchUp && self.catching_up >= self.catch_up_places => {
                Err(Wait::CatchUpFull)
            }
            () => {
                self.take(run);
                Ok(())
            }
        }
    }

    fn take(&mut self, run: &Run) {
        self.running += 1;
        self.catching_up += usize::from(run.cause == Cause::CatchUp);
        *self.agents.entry(run.agent.clone()).or_default() += 1;
        self.keys.insert(run.session_key.clone());
        self.jobs.extend(run.job);
    }
}

/// What else decides about starts, besides the limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Conditions {
    /// See [`CatchUp`].
    pub catch_up: CatchUp,
    /// See [`Headroom`].
    pub headroom: Headroom,
}

/// The room that a store keeps free for the ends of what has begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Headroom {
    /// It is there.
    Kept,
    /// It is in use because the disk is full: nothing new begins.
    Released,
}

/// Whether runs that make up for passed slots may start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CatchUp {
    /// Yes, in the places that [`Limits::catch_up`] leaves them.
    Paced,
    /// Not now: the gateway keeps dying soon after its start.
    Paused,
}

/// An admitted run that a node is about to claim.
#[derive(Debug, Clone, Copy)]
pub struct Claim<'a> {
    /// The run.
    pub run: &'a Run,
    /// The node.
    pub owner: Owner,
    /// The agent as the node knows it now, for runs that were made when it was unknown.
    pub current: Option<&'a Agent>,
    /// The sessions behind the run's key.
    pub behind: Behind<'a>,
    /// When sessions are over.
    pub rules: &'a Rules,
}

/// Why an admitted run is not claimed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotClaimed {
    /// It is not queued any more.
    #[error(transparent)]
    Moved(#[from] Rejected),
    /// See [`Elsewhere`].
    #[error(transparent)]
    Elsewhere(#[from] Elsewhere),
}

/// Claims an admitted run for a node, in a session that is opened or taken up: one commit, before
/// anything is started.
///
/// # Errors
///
/// [`NotClaimed`].
pub fn start(claim: Claim<'_>, moment: &mut Moment) -> Result<Decision, NotClaimed> {
    let Claim { run, owner, current, behind, rules } = claim;
    let timeout = run.input.as_ref().map_or(DEFAULT_TIMEOUT, |input| input.timeout);
    let deadline = timeout.after(moment.now);
    let state = run.state.next(Event::Claim { owner, deadline })?;
    let snapshot = succession::Snapshot { run, owner, behind, rules };
    let (session, opened) = succession::session_for(snapshot, moment)?;
    let mut claimed =
        Run { state, session: Some(session.id), started_at: Some(moment.now), ..run.clone() };
    if let Some(Input { settings: settings @ None, .. }) = &mut claimed.input {
        *settings = current.cloned();
    }
    let mut decision = Decision::default();
    decision.change(Change::Require(Guard::KeyIdle(run.session_key.clone())));
    if let Some(job) = run.job.filter(|_| run.alone) {
        decision.change(Change::Require(Guard::NothingRunning(job)));
    }
    decision.change(moment.tell().run(EventType::RunStarted, &claimed));
    decision.merge(opened);
    decision.change(claimed.clone());
    decision.change(session.clone());
    claimed.version = claimed.version.next();
    let session = Session { version: session.version.next(), ..session };
    decision.effects.push(Effect::Start { run: Box::new(claimed), session: Box::new(session) });
    Ok(decision)
}

#[cfg(test)]
mod tests;

#[cfg(test)]
mod fairness;

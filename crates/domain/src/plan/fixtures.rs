//! Builders of records, and a store in memory that takes decisions and checks each of them.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::change::{Change, Decision, Effect, Record};
use crate::event::{EventType, NewEvent};
use crate::id::{EventId, JobId, RunId, SessionId};
use crate::job::{Job, Source, Spec};
use crate::key::SessionKey;
use crate::node::Owner;
use crate::plan::ending::{Ending, Snapshot};
use crate::plan::jobs::{self, Existing};
use crate::plan::messages::{self, Message};
use crate::plan::succession::Behind;
use crate::plan::{Moment, admission, ending, reconcile, sessions, slots};
use crate::reset::Rules;
use crate::run::{self, Run, State};
use crate::session::Session;

mod make;
mod rules;
mod text;

pub(crate) use make::{
    conversation, crashed, cron, every, failed, key, message, moment, node, ok, once, owner,
    settings, shared, span, spec, temporary, time,
};
use text::line;
pub(crate) use text::word;

/// A store of jobs, runs and sessions. It takes a decision whole and checks that it could be taken
/// by a real one and that everything that changed is told once.
#[derive(Debug, Clone)]
pub(crate) struct World {
    pub(crate) now: Timestamp,
    pub(crate) jobs: BTreeMap<JobId, Job>,
    pub(crate) runs: BTreeMap<RunId, Run>,
    pub(crate) sessions: BTreeMap<SessionId, Session>,
    pub(crate) events: Vec<NewEvent>,
    /// Whose epoch it is.
    pub(crate) owner: Owner,
    pub(crate) rules: Rules,
    told: BTreeSet<EventId>,
    pub(crate) turn: u64,
    decisions: u128,
}

impl World {
    pub(crate) fn new(clock: &str) -> Self {
        Self {
            now: time(clock),
            jobs: BTreeMap::new(),
            runs: BTreeMap::new(),
            sessions: BTreeMap::new(),
            events: Vec::new(),
            owner: owner(),
            rules: Rules::default(),
            told: BTreeSet::new(),
            turn: 0,
            decisions: 0,
        }
    }

    /// A world with one job, added at this time.
    pub(crate) fn with(clock: &str, spec: Spec) -> (Self, JobId) {
        let mut world = Self::new(clock);
        let job = world.put("job", spec);
        (world, job)
    }

    pub(crate) fn at(&mut self, clock: &str) -> &mut Self {
        self.now = time(clock);
        self
    }

    pub(crate) fn moment(&mut self) -> Moment {
        self.decisions += 1;
        Moment::new(self.now, self.decisions)
    }

    pub(crate) fn put(&mut self, name: &str, spec: Spec) -> JobId {
        let mut moment = self.moment();
        let existing = self.jobs.values().find(|job| job.key == key(name)).cloned();
        let active = existing.as_ref().map_or(Vec::new(), |job| self.active(job.id));
        let existing = existing.as_ref().map(|job| Existing { job, active: &active });
        let put = jobs::put(&key(name), &Source::Api, spec, existing, &mut moment).unwrap();
        self.commit(put.decision);
        put.id
    }

    /// The runs of a job that have not ended, oldest first.
    pub(crate) fn active(&self, job: JobId) -> Vec<Run> {
        let of_job = self.runs.values().filter(|run| run.job == Some(job));
        of_job.filter(|run| run.is_active()).cloned().collect()
    }

    /// The run of a job with the newest slot.
    pub(crate) fn newest(&self, job: JobId) -> Option<Run> {
        let of_job = self.runs.values().filter(|run| run.job == Some(job) && run.slot.is_some());
        of_job.max_by_key(|run| (run.slot, run.attempt)).cloned()
    }

    /// Takes a decision of the form that most have: about a job and its active runs.
    pub(crate) fn decide<E: std::fmt::Debug>(
        &mut self,
        job: JobId,
        decide: impl FnOnce(Existing<'_>, &mut Moment) -> Result<Decision, E>,
    ) -> Vec<Effect> {
        let active = self.active(job);
        let record = self.jobs[&job].clone();
        let mut moment = self.moment();
        let decision = decide(Existing { job: &record, active: &active }, &mut moment).unwrap();
        self.commit(decision)
    }

    /// Looks at a job as the scheduler does, once; false when there was nothing to do.
    pub(crate) fn account(&mut self, job: JobId) -> bool {
        let decision = self.accounted(job);
        let something = !decision.is_empty();
        self.commit(decision);
        something
    }

    pub(crate) fn accounted(&mut self, job: JobId) -> Decision {
        let mut moment = self.moment();
        let (active, newest) = (self.active(job), self.newest(job));
        let (on_key, settings) = (self.on_key_of(job), settings());
        let snapshot = slots::Snapshot {
            job: &self.jobs[&job],
            active: &active,
            on_key: &on_key,
            newest: newest.as_ref(),
            settings: Some(&settings),
            turn: self.turn,
        };
        slots::account(snapshot, &mut moment)
    }

    pub(crate) fn trigger(&mut self, job: JobId) -> Result<RunId, jobs::Refused> {
        let mut moment = self.moment();
        let (active, on_key) = (self.active(job), self.on_key_of(job));
        let snapshot = slots::Snapshot {
            job: &self.jobs[&job],
            active: &active,
            on_key: &on_key,
            newest: None,
            settings: None,
            turn: self.turn,
        };
        let triggered = jobs::trigger(snapshot, &mut moment)?;
        self.commit(triggered.decision);
        Ok(triggered.run)
    }

    /// The runs on a key that have not ended, in the order of their turns.
    pub(crate) fn on_key(&self, key: &SessionKey) -> Vec<Run> {
        let on_key = self.runs.values().filter(|run| run.session_key == *key && run.is_active());
        let mut on_key: Vec<Run> = on_key.cloned().collect();
        on_key.sort_by_key(|run| (run.turn, run.id));
        on_key
    }

    fn on_key_of(&self, job: JobId) -> Vec<Run> {
        self.jobs[&job].spec.shared_key().map_or(Vec::new(), |key| self.on_key(&key))
    }

    /// Sends a message to a key of the agent `shell`.
    pub(crate) fn send(&mut self, name: &str, text: &str) -> Result<RunId, messages::Refused> {
        self.say(message(name, text))
    }

    pub(crate) fn say(&mut self, message: Message) -> Result<RunId, messages::Refused> {
        let mut moment = self.moment();
        let open = self.open_on(&message.key);
        let agent = messages::answerer(&message, open)?;
        let on_key = self.on_key(&message.key);
        let settings = settings();
        let snapshot = messages::Snapshot {
            message: &message,
            agent: &agent,
            settings: Some(&settings),
            on_key: &on_key,
            turn: self.turn,
        };
        let sent = messages::send(snapshot, &mut moment)?;
        self.commit(sent.decision);
        Ok(sent.run)
    }

    pub(crate) fn open_on(&self, key: &SessionKey) -> Option<&Session> {
        self.sessions.values().find(|session| session.is_open() && session.key == *key)
    }

    /// Takes a decision about a session and the run in flight in it.
    pub(crate) fn command<E>(
        &mut self,
        session: SessionId,
        decide: impl FnOnce(sessions::Snapshot<'_>, &mut Moment) -> Result<Decision, E>,
    ) -> Result<Vec<Effect>, E> {
        let mut moment = self.moment();
        let record = self.sessions[&session].clone();
        let running = self.running();
        let in_flight = running.iter().find(|run| run.session == Some(session));
        let decision = decide(sessions::Snapshot { session: &record, in_flight }, &mut moment)?;
        Ok(self.commit(decision))
    }

    /// The gateway dies, and the next one ends what it left behind.
    pub(crate) fn crash(&mut self) {
        for run in self.running() {
            self.end(run.id, crashed());
        }
        self.owner = node(2).owner();
        let open: Vec<_> = self.sessions.values().filter(|it| it.is_open()).cloned().collect();
        for session in open {
            let decision = reconcile::end_ownerless([&session], None, &mut self.moment());
            self.commit(decision);
        }
    }

    /// Claims a queued run.
    pub(crate) fn start(&mut self, run: RunId) -> Vec<Effect> {
        let mut moment = self.moment();
        let decision = self.claimed(run, &mut moment).unwrap();
        self.commit(decision)
    }

    pub(crate) fn claimed(
        &self,
        run: RunId,
        moment: &mut Moment,
    ) -> Result<Decision, admission::NotClaimed> {
        let run = &self.runs[&run];
        let on_key = || self.sessions.values().filter(|session| session.key == run.session_key);
        let behind = Behind {
            open: on_key().find(|session| session.is_open()),
            newest_ended: on_key().filter(|session| !session.is_open()).max_by_key(|it| it.id),
        };
        let (owner, rules, current) = (self.owner, &self.rules, Some(&settings()));
        admission::start(admission::Claim { run, owner, current, behind, rules }, moment)
    }

    pub(crate) fn queued(&self) -> Vec<Run> {
        let mut queued: Vec<Run> =
            self.runs.values().filter(|run| run.state == State::Queued).cloned().collect();
        queued.sort_by_key(|run| (run.turn, run.id));
        queued
    }

    pub(crate) fn running(&self) -> Vec<Run> {
        self.runs.values().filter(|run| run.owner().is_some()).cloned().collect()
    }

    /// Claims the first queued run.
    pub(crate) fn start_first(&mut self) -> RunId {
        let run = self.queued().first().expect("a run is queued").id;
        self.start(run);
        run
    }

    /// Claims the first queued run and ends it.
    pub(crate) fn run_first(&mut self, ending: Ending) -> RunId {
        let run = self.start_first();
        self.end(run, ending);
        run
    }

    pub(crate) fn end(&mut self, run: RunId, ending: Ending) {
        let decision = self.ended(run, ending).unwrap();
        self.commit(decision);
    }

    pub(crate) fn ended(&mut self, run: RunId, end: Ending) -> Result<Decision, run::Rejected> {
        let mut moment = self.moment();
        let others = self.others(run);
        ending::end_run(self.snapshot(run, &others), end, &mut moment)
    }

    /// Lets the job's waiting retries rest to their end and queues them.
    pub(crate) fn rest(&mut self, job: JobId) {
        for run in self.active(job) {
            if let State::Waiting { until } = run.state {
                self.now = self.now.max(until);
                let mut moment = self.moment();
                let decision = reconcile::rested(&run, &mut moment);
                self.commit(decision);
            }
        }
    }

    pub(crate) fn cancel(&mut self, run: RunId) -> Result<Vec<Effect>, jobs::Refused> {
        let mut moment = self.moment();
        let others = self.others(run);
        let decision = jobs::cancel(self.snapshot(run, &others), &mut moment)?;
        Ok(self.commit(decision))
    }

    fn others(&self, run: RunId) -> Vec<Run> {
        let mut others = self.runs[&run].job.map_or(Vec::new(), |job| self.active(job));
        others.retain(|other| other.id != run);
        others
    }

    fn snapshot<'a>(&'a self, run: RunId, others: &'a [Run]) -> Snapshot<'a> {
        let run = &self.runs[&run];
        Snapshot {
            run,
            session: run.session.map(|session| &self.sessions[&session]),
            job: run.job.map(|job| &self.jobs[&job]),
            others,
        }
    }

    /// The records of a job, one line each, in the order of their slots; manual runs first.
    pub(crate) fn history(&self, job: JobId) -> Vec<String> {
        let mut runs: Vec<&Run> = self.runs.values().filter(|run| run.job == Some(job)).collect();
        runs.sort_by_key(|run| (run.slot, run.attempt, run.id));
        runs.into_iter().map(line).collect()
    }

    /// How often each type of event was told.
    pub(crate) fn told(&self, kind: EventType) -> usize {
        self.events.iter().filter(|event| event.kind == kind).count()
    }

    /// Stores a decision after checking it.
    pub(crate) fn commit(&mut self, decision: Decision) -> Vec<Effect> {
        self.check(&decision);
        for change in decision.changes {
            match change {
                Change::Put(Record::Job(mut job)) => {
                    job.version = job.version.next();
                    self.jobs.insert(job.id, *job);
                }
                Change::Put(Record::Run(mut run)) => {
                    run.version = run.version.next();
                    if run.owner().is_some() {
                        self.turn = self.turn.max(run.turn);
                    }
                    self.runs.insert(run.id, *run);
                }
                Change::Put(Record::Session(mut session)) => {
                    session.version = session.version.next();
                    self.sessions.insert(session.id, *session);
                }
                Change::Emit(event) => {
                    assert!(self.told.insert(event.id), "an event id was reused");
                    self.events.push(event);
                }
                Change::Require(_) | Change::Put(Record::Usage(_)) => {}
                other => panic!("no decision of these plans does this: {other:?}"),
            }
        }
        self.check_uniqueness();
        decision.effects
    }
}

//! The ledger: what is stored, read back for the promises. It follows the event log and reads again
//! whatever an event is about; at boots and at the end it reads everything.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::FutureExt;
use sexton_domain::change::{Record, RecordId};
use sexton_domain::entry::Entry;
use sexton_domain::event::{Event, EventType};
use sexton_domain::id::{JobId, RunId, SessionId};
use sexton_domain::job::Job;
use sexton_domain::node::Node;
use sexton_domain::run::Run;
use sexton_domain::session::Session;
use sexton_store::Driver;
use sexton_store::page::{JobFilter, MAX_PAGE, PageRequest, RunFilter, SessionFilter};

/// What is stored.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) events: Vec<Event>,
    pub(crate) jobs: BTreeMap<JobId, Job>,
    pub(crate) runs: BTreeMap<RunId, Run>,
    pub(crate) sessions: BTreeMap<SessionId, Session>,
    pub(crate) entries: BTreeMap<SessionId, Vec<Entry>>,
    pub(crate) nodes: Vec<Node>,
    /// Events by their subjects, as places in `events`.
    pub(crate) of_run: BTreeMap<RunId, Vec<usize>>,
    pub(crate) of_session: BTreeMap<SessionId, Vec<usize>>,
    pub(crate) of_job: BTreeMap<JobId, Vec<usize>>,
    pub(crate) runs_of_job: BTreeMap<JobId, BTreeSet<RunId>>,
    pub(crate) touched: Touched,
}

/// What the last look has read again.
#[derive(Debug, Default)]
pub(crate) struct Touched {
    pub(crate) jobs: BTreeSet<JobId>,
    pub(crate) runs: BTreeSet<RunId>,
    pub(crate) sessions: BTreeSet<SessionId>,
}

/// The answer of a store that works inline: it is there at once.
fn inline<T>(answer: impl Future<Output = Result<T, sexton_store::Error>>) -> T {
    answer
        .now_or_never()
        .expect("the store works inline")
        .expect("reads of the auditor do not fail")
}

impl Ledger {
    /// Everything that is stored.
    pub(crate) fn read_all(store: &dyn Driver) -> Self {
        let mut ledger = Self::default();
        ledger.read_events(store);
        let mut page = PageRequest::first(MAX_PAGE);
        loop {
            let filter = JobFilter { removed: true, ..JobFilter::default() };
            let found = inline(store.jobs(filter, page));
            ledger.touched.jobs.extend(found.items.iter().map(|job| job.id));
            let Some(next) = found.next else { break };
            page.after = Some(next);
        }
        let mut page = PageRequest::first(MAX_PAGE);
        loop {
            let found = inline(store.runs(RunFilter::default(), page));
            ledger.touched.runs.extend(found.items.iter().map(|run| run.id));
            let Some(next) = found.next else { break };
            page.after = Some(next);
        }
        let mut page = PageRequest::first(MAX_PAGE);
        loop {
            let found = inline(store.sessions(SessionFilter::default(), page));
            ledger.touched.sessions.extend(found.items.iter().map(|session| session.id));
            let Some(next) = found.next else { break };
            page.after = Some(next);
        }
        ledger.read_touched(store);
        ledger
    }

    /// What has changed since the last look.
    pub(crate) fn follow(&mut self, store: &dyn Driver) {
        self.touched = Touched::default();
        self.read_events(store);
        // Appends and cancel requests make no event: what is under way is read again each time.
        let under_way = self.runs.values().filter(|run| run.is_active());
        self.touched.runs.extend(under_way.map(|run| run.id));
        let open = self.sessions.values().filter(|session| session.is_open());
        self.touched.sessions.extend(open.map(|session| session.id));
        self.read_touched(store);
    }

    /// The nodes, newest first.
    pub(crate) fn nodes_of(store: &dyn Driver) -> Vec<Node> {
        inline(store.nodes(1000))
    }

    /// The transcript of a session, as last read.
    pub(crate) fn transcript(&self, session: SessionId) -> &[Entry] {
        self.entries.get(&session).map_or(&[], Vec::as_slice)
    }

    /// The events about a run, in order.
    pub(crate) fn told_of_run(&self, run: RunId) -> impl Iterator<Item = &Event> {
        self.of_run.get(&run).into_iter().flatten().map(|&at| &self.events[at])
    }

    /// The events about a session, in order.
    pub(crate) fn told_of_session(&self, session: SessionId) -> impl Iterator<Item = &Event> {
        self.of_session.get(&session).into_iter().flatten().map(|&at| &self.events[at])
    }

    /// The events about a job's own life, in order.
    pub(crate) fn told_of_job(&self, job: JobId) -> impl Iterator<Item = &Event> {
        self.of_job.get(&job).into_iter().flatten().map(|&at| &self.events[at])
    }

    /// The runs of a job.
    pub(crate) fn runs_of(&self, job: JobId) -> impl Iterator<Item = &Run> {
        let runs = self.runs_of_job.get(&job).into_iter().flatten();
        runs.filter_map(|run| self.runs.get(run))
    }

    fn read_events(&mut self, store: &dyn Driver) {
        loop {
            let last = self.events.last().map_or(0, |event| event.seq);
            let found = inline(store.events(last, MAX_PAGE));
            if found.is_empty() {
                return;
            }
            for event in found {
                let at = self.events.len();
                let subject = event.fact.subject;
                if is_about_session(event.fact.kind)
                    && let Some(session) = subject.session
                {
                    self.of_session.entry(session).or_default().push(at);
                }
                if is_about_run(event.fact.kind)
                    && let Some(run) = subject.run
                {
                    self.of_run.entry(run).or_default().push(at);
                }
                if is_about_job(event.fact.kind)
                    && let Some(job) = subject.job
                {
                    self.of_job.entry(job).or_default().push(at);
                }
                self.touched.sessions.extend(subject.session);
                self.touched.runs.extend(subject.run);
                self.touched.jobs.extend(subject.job);
                self.events.push(event);
            }
        }
    }

    fn read_touched(&mut self, store: &dyn Driver) {
        self.nodes = Self::nodes_of(store);
        for &id in &self.touched.jobs {
            if let Some(Record::Job(job)) = inline(store.get(RecordId::Job(id))) {
                self.jobs.insert(id, *job);
            }
        }
        for &id in &self.touched.runs {
            if let Some(Record::Run(run)) = inline(store.get(RecordId::Run(id))) {
                if let Some(job) = run.job {
                    self.runs_of_job.entry(job).or_default().insert(id);
                }
                self.runs.insert(id, *run);
            }
        }
        for &id in &self.touched.sessions {
            if let Some(Record::Session(session)) = inline(store.get(RecordId::Session(id))) {
                let mut entries = Vec::new();
                loop {
                    let last = entries.last().map_or(0, |entry: &Entry| entry.seq);
                    let found = inline(store.entries(id, last, MAX_PAGE));
                    if found.is_empty() {
                        break;
                    }
                    entries.extend(found);
                }
                self.entries.insert(id, entries);
                self.sessions.insert(id, *session);
            }
        }
    }
}

fn is_about_session(kind: EventType) -> bool {
    matches!(kind, EventType::SessionStarted | EventType::SessionEnded)
}

fn is_about_run(kind: EventType) -> bool {
    use EventType::{RunCoalesced, RunEnded, RunMissed, RunQueued, RunSkipped, RunStarted};
    matches!(kind, RunQueued | RunStarted | RunEnded | RunSkipped | RunMissed | RunCoalesced)
}

fn is_about_job(kind: EventType) -> bool {
    use EventType::{JobAdded, JobChanged, JobDisabled, JobDone, JobEnabled, JobRemoved};
    matches!(kind, JobAdded | JobChanged | JobRemoved | JobEnabled | JobDisabled | JobDone)
}

//! The ledger: what is stored, read back for the promises, and what was stored before it went. It follows
//! the event log and reads again whatever an event is about; at boots and at the end it reads everything.
//! It outlives the gateway, and nothing is taken out of it: what the reaper deletes stays in it as it last
//! was, marked as gone.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use futures_util::FutureExt;
use jiff::Timestamp;
use sexton_domain::change::{Record, RecordId};
use sexton_domain::entry::Entry;
use sexton_domain::event::{Event, EventType};
use sexton_domain::hook::{Delivery, DeliveryState};
use sexton_domain::id::{DeliveryId, EventId, JobId, RunId, SessionId};
use sexton_domain::job::Job;
use sexton_domain::node::Node;
use sexton_domain::run::Run;
use sexton_domain::session::Session;
use sexton_store::Driver;
use sexton_store::page::{
    DeliveryFilter, JobFilter, MAX_PAGE, PageRequest, RunFilter, SessionFilter,
};

/// What is stored.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) events: Vec<Event>,
    pub(crate) jobs: BTreeMap<JobId, Job>,
    pub(crate) runs: BTreeMap<RunId, Run>,
    pub(crate) sessions: BTreeMap<SessionId, Session>,
    pub(crate) entries: BTreeMap<SessionId, Vec<Entry>>,
    pub(crate) deliveries: BTreeMap<DeliveryId, Delivery>,
    pub(crate) nodes: Vec<Node>,
    /// Events by their subjects, as places in `events`.
    pub(crate) of_run: BTreeMap<RunId, Vec<usize>>,
    pub(crate) of_session: BTreeMap<SessionId, Vec<usize>>,
    pub(crate) runs_of_job: BTreeMap<JobId, BTreeSet<RunId>>,
    pub(crate) touched: Touched,
    /// What the events since the last look are about.
    news: Touched,
    /// What was deleted by a batch that the witness saw, and at which age of the world.
    gone: HashMap<RecordId, Duration>,
    /// What is not stored any more although no batch has deleted it.
    pub(crate) vanished: Vec<RecordId>,
    /// What was acknowledged at least once: when by the wall clock, and the age of the world at which that was
    /// stored.
    pub(crate) delivered: BTreeMap<DeliveryId, (Timestamp, Duration)>,
    /// The age of the world at the last look.
    age: Duration,
    /// How often each session was told to be reaped.
    pub(crate) reaped: BTreeMap<SessionId, u32>,
    /// The age of the world at which each event was stored.
    stored: Vec<Duration>,
    by_id: BTreeMap<EventId, usize>,
    of_event: BTreeMap<EventId, Vec<DeliveryId>>,
    about_session: BTreeMap<SessionId, Vec<DeliveryId>>,
}

/// What the last look has read again.
#[derive(Debug, Default)]
pub(crate) struct Touched {
    pub(crate) jobs: BTreeSet<JobId>,
    pub(crate) runs: BTreeSet<RunId>,
    pub(crate) sessions: BTreeSet<SessionId>,
}

/// The answer of a store that works inline: it is there at once.
pub(crate) fn inline<T>(answer: impl Future<Output = Result<T, sexton_store::Error>>) -> T {
    answer
        .now_or_never()
        .expect("the store works inline")
        .expect("reads of the auditor do not fail")
}

/// Every item of a list.
macro_rules! pages {
    ($store:ident.$list:ident($filter:expr), |$item:ident| $keep:expr) => {
        let mut page = PageRequest::first(MAX_PAGE);
        loop {
            let found = inline($store.$list($filter, page));
            for $item in found.items {
                $keep;
            }
            let Some(next) = found.next else { break };
            page.after = Some(next);
        }
    };
}

impl Ledger {
    /// Reads everything that is stored, and looks for everything that was.
    pub(crate) fn read_all(&mut self, store: &dyn Driver) {
        self.read_events(store);
        let mut touched = std::mem::take(&mut self.news);
        let with_removed = || JobFilter { removed: true, ..JobFilter::default() };
        pages!(store.jobs(with_removed()), |job| touched.jobs.insert(job.id));
        pages!(store.runs(RunFilter::default()), |run| touched.runs.insert(run.id));
        pages!(store.sessions(SessionFilter::default()), |it| touched.sessions.insert(it.id));
        let mut stored = BTreeSet::new();
        pages!(store.deliveries(DeliveryFilter::default()), |it| {
            stored.insert(it.id);
            self.take(it);
        });
        touched.jobs.extend(self.jobs.keys());
        touched.runs.extend(self.runs.keys());
        touched.sessions.extend(self.sessions.keys());
        self.touched = touched;
        self.read_touched(store);
        let missing = self.deliveries.keys().filter(|id| !stored.contains(id));
        let missing = missing.map(|id| RecordId::Delivery(*id));
        let missing: Vec<RecordId> = missing.filter(|id| !self.is_gone(id)).collect();
        self.vanished.extend(missing);
    }

    /// What has changed since the last look.
    pub(crate) fn follow(&mut self, store: &dyn Driver) {
        self.read_events(store);
        self.touched = std::mem::take(&mut self.news);
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

    /// The runs of a job.
    pub(crate) fn runs_of(&self, job: JobId) -> impl Iterator<Item = &Run> {
        let runs = self.runs_of_job.get(&job).into_iter().flatten();
        runs.filter_map(|run| self.runs.get(run))
    }

    /// An event by its id.
    pub(crate) fn event(&self, id: EventId) -> Option<&Event> {
        self.by_id.get(&id).map(|&at| &self.events[at])
    }

    /// From now on what is read is of this age of the world.
    pub(crate) fn look_at(&mut self, age: Duration) {
        self.age = age;
    }

    /// Everything that was read so far and has no time yet was stored now.
    pub(crate) fn stamp(&mut self, age: Duration) {
        self.stored.resize(self.events.len(), age);
    }

    /// The age of the world at which an event was stored.
    pub(crate) fn stored_at(&self, seq: u64) -> Option<Duration> {
        let first = self.events.first()?.seq;
        self.stored.get(usize::try_from(seq.checked_sub(first)?).ok()?).copied()
    }

    /// The deliveries of an event.
    pub(crate) fn deliveries_of(&self, event: EventId) -> impl Iterator<Item = &Delivery> {
        let ids = self.of_event.get(&event).into_iter().flatten();
        ids.filter_map(|id| self.deliveries.get(id))
    }

    /// The deliveries about a session.
    pub(crate) fn deliveries_about(&self, session: SessionId) -> impl Iterator<Item = &Delivery> {
        let ids = self.about_session.get(&session).into_iter().flatten();
        ids.filter_map(|id| self.deliveries.get(id))
    }

    /// Whether a record was deleted.
    pub(crate) fn is_gone(&self, id: &RecordId) -> bool {
        self.gone.contains_key(id)
    }

    /// A record is about to be deleted, or was just written: it is read as it is.
    pub(crate) fn learn(&mut self, store: &dyn Driver, id: &RecordId) -> Option<Record> {
        let record = inline(store.get(id.clone()))?;
        match &record {
            Record::Job(job) => drop(self.jobs.insert(job.id, (**job).clone())),
            Record::Run(run) => self.take_run((**run).clone()),
            Record::Session(session) => self.take_session(store, (**session).clone()),
            Record::Delivery(delivery) => self.take(delivery.clone()),
            _ => {}
        }
        Some(record)
    }

    /// The ended sessions of a job that were deleted since then.
    pub(crate) fn gone_since(&self, job: JobId, since: Duration) -> Vec<Session> {
        let sessions = self.sessions.values().filter(|it| it.job == Some(job));
        let gone =
            |it: &&Session| self.gone.get(&RecordId::Session(it.id)).is_some_and(|at| *at >= since);
        sessions.filter(gone).cloned().collect()
    }

    /// A record may have been deleted: whether it was.
    pub(crate) fn has_gone(&mut self, store: &dyn Driver, id: &RecordId, age: Duration) -> bool {
        let gone = match id {
            RecordId::Event(event) => inline(store.event(*event)).is_none(),
            id => inline(store.get(id.clone())).is_none(),
        };
        if gone {
            self.gone.insert(id.clone(), age);
        }
        gone
    }

    /// Reads what the log says since the last time.
    pub(crate) fn read_events(&mut self, store: &dyn Driver) {
        loop {
            let last = self.events.last().map_or(0, |event| event.seq);
            let found = inline(store.events(last, MAX_PAGE));
            if found.is_empty() {
                return;
            }
            for event in found {
                self.take_event(event);
            }
        }
    }

    fn take_event(&mut self, event: Event) {
        let at = self.events.len();
        let (kind, subject) = (event.fact.kind, event.fact.subject);
        if let Some(session) = subject.session.filter(|_| is_about_session(kind)) {
            self.of_session.entry(session).or_default().push(at);
        }
        if let Some(run) = subject.run.filter(|_| is_about_run(kind)) {
            self.of_run.entry(run).or_default().push(at);
        }
        if let Some(session) = subject.session.filter(|_| kind == EventType::SessionReaped) {
            *self.reaped.entry(session).or_default() += 1;
        }
        self.news.sessions.extend(subject.session);
        self.news.runs.extend(subject.run);
        self.news.jobs.extend(subject.job);
        self.by_id.insert(event.fact.id, at);
        self.events.push(event);
    }

    fn take(&mut self, delivery: Delivery) {
        let (id, event, session) = (delivery.id, delivery.event, delivery.session);
        if let DeliveryState::Delivered { at } = delivery.state
            && self.delivered.get(&id).is_none_or(|(known, _)| *known != at)
        {
            self.delivered.insert(id, (at, self.age));
        }
        if self.deliveries.insert(id, delivery).is_none() {
            self.of_event.entry(event).or_default().push(id);
            if let Some(session) = session {
                self.about_session.entry(session).or_default().push(id);
            }
        }
    }

    fn take_run(&mut self, run: Run) {
        if let Some(job) = run.job {
            self.runs_of_job.entry(job).or_default().insert(run.id);
        }
        self.runs.insert(run.id, run);
    }

    fn take_session(&mut self, store: &dyn Driver, session: Session) {
        let mut entries = Vec::new();
        loop {
            let last = entries.last().map_or(0, |entry: &Entry| entry.seq);
            let found = inline(store.entries(session.id, last, MAX_PAGE));
            if found.is_empty() {
                break;
            }
            entries.extend(found);
        }
        self.entries.insert(session.id, entries);
        self.sessions.insert(session.id, session);
    }

    fn read_touched(&mut self, store: &dyn Driver) {
        self.nodes = Self::nodes_of(store);
        let Touched { jobs, runs, sessions } = &self.touched;
        let jobs = jobs.iter().map(|id| RecordId::Job(*id));
        let runs = runs.iter().map(|id| RecordId::Run(*id));
        let sessions = sessions.iter().map(|id| RecordId::Session(*id));
        let touched: Vec<RecordId> = jobs.chain(runs).chain(sessions).collect();
        for id in touched.into_iter().filter(|id| !self.is_gone(id)).collect::<Vec<_>>() {
            if self.learn(store, &id).is_none() && self.knows(&id) {
                self.vanished.push(id);
            }
        }
    }

    fn knows(&self, id: &RecordId) -> bool {
        match id {
            RecordId::Job(id) => self.jobs.contains_key(id),
            RecordId::Run(id) => self.runs.contains_key(id),
            RecordId::Session(id) => self.sessions.contains_key(id),
            _ => false,
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

//! The witness: it looks at every batch before and after the store applies it, so that what is deleted is
//! judged by what was stored at that very moment, and what is told by what was committed with it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sexton_domain::change::{Change, Record, RecordId};
use sexton_domain::duration;
use sexton_domain::event::NewEvent;
use sexton_domain::hook::{Delivery, DeliveryState};
use sexton_domain::id::DeliveryId;
use sexton_domain::retention::Periods;
use sexton_store::{CommitError, Committed};
use sexton_store_sqlite::SqliteDriver;

use crate::diary::{Broken, Diary, Promise};
use crate::ledger::{Ledger, inline};
use crate::mailbox::Mailbox;
use crate::promises::durable::{self, Written};
use crate::promises::{Kept, bounded, commits, told};
use crate::shelf::Shelf;
use crate::subscribers::Subscriber;
use crate::time::{DECIDING, Time};

/// What the gateway goes by: who is told what, and how long records are kept.
#[derive(Debug, Clone, Default)]
pub(crate) struct Law {
    pub(crate) hooks: Vec<Subscriber>,
    pub(crate) periods: Periods,
}

/// The witness. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Witness(Arc<Inner>);

struct Inner {
    time: Arc<Time>,
    diary: Diary,
    auditor: Arc<SqliteDriver>,
    ledger: Arc<Mutex<Ledger>>,
    mailbox: Mailbox,
    shelf: Shelf,
    laws: Mutex<Laws>,
}

#[derive(Default)]
struct Laws {
    now: Law,
    /// Those before it, with the age of the world at which each was changed. The last one counts however long
    /// ago that was, the others for [`DECIDING`].
    before: VecDeque<(Law, Duration)>,
    /// The age of the world at the last change.
    changed_at: Duration,
    /// How many gateways have gone by laws; the last one goes by these.
    gateway: u64,
}

impl Laws {
    /// Every law that a decision may rest on.
    fn all(&self) -> impl Iterator<Item = &Law> {
        self.before.iter().map(|(law, _)| law).chain([&self.now])
    }

    fn change(&mut self, law: Law, now: Duration) {
        let before = std::mem::replace(&mut self.now, law);
        self.before.retain(|(_, until)| *until + DECIDING > now);
        self.before.push_back((before, now));
        self.changed_at = now;
    }
}

/// What a batch is about to do.
pub(crate) struct Seen {
    departures: Vec<(RecordId, Kept)>,
    events: Vec<NewEvent>,
    deliveries: Vec<(DeliveryId, Option<Delivery>)>,
    /// Sessions that somebody deletes: nothing in the log says so before they are gone.
    discarded: Vec<RecordId>,
    written: Written,
    /// The runs and sessions that it stores, as they are before.
    replaced: Vec<(RecordId, Option<Record>)>,
}

/// What a witness looks at.
pub(crate) struct Stand {
    pub(crate) time: Arc<Time>,
    pub(crate) diary: Diary,
    pub(crate) auditor: Arc<SqliteDriver>,
    pub(crate) ledger: Arc<Mutex<Ledger>>,
    pub(crate) mailbox: Mailbox,
    pub(crate) shelf: Shelf,
}

impl Witness {
    pub(crate) fn new(stand: Stand) -> Self {
        let Stand { time, diary, auditor, ledger, mailbox, shelf } = stand;
        let laws = Mutex::default();
        Self(Arc::new(Inner { time, diary, auditor, ledger, mailbox, shelf, laws }))
    }

    /// A gateway starts with this law, and without any decision that rests on another.
    pub(crate) fn begin(&self, law: Law) {
        let mut laws = self.laws();
        *laws = Laws { now: law, gateway: laws.gateway + 1, ..Laws::default() };
    }

    /// Another gateway has taken over from the one that began, with this law.
    pub(crate) fn takes_over(&self, law: Law) {
        let mut laws = self.laws();
        laws.gateway += 1;
        laws.change(law, self.0.time.now());
    }

    /// Which gateway goes by the law, for [`Witness::reloaded`].
    pub(crate) fn gateway(&self) -> u64 {
        self.laws().gateway
    }

    /// A gateway goes by other periods from now on. What one does that was overtaken does not count.
    pub(crate) fn reloaded(&self, gateway: u64, periods: Periods) {
        let mut laws = self.laws();
        if laws.gateway == gateway {
            let law = Law { periods, ..laws.now.clone() };
            laws.change(law, self.0.time.now());
        }
    }

    /// P6: the gateway at work goes by the periods of the config that it read last.
    pub(crate) fn goes_by_the_law(&self, periods: &Periods) {
        let law = self.law().periods;
        if *periods != law {
            let how = format!("a gateway goes by {periods:?}; what it read last says {law:?}");
            self.0.diary.broken(Broken::new(Promise::P6, how));
        }
    }

    /// The law that holds.
    pub(crate) fn law(&self) -> Law {
        self.laws().now.clone()
    }

    /// Before a batch is applied.
    pub(crate) fn before(&self, changes: &[Change]) -> Seen {
        let mut seen = Seen {
            departures: Vec::new(),
            events: Vec::new(),
            deliveries: Vec::new(),
            discarded: Vec::new(),
            written: Written::by(changes, &*self.0.auditor),
            replaced: Vec::new(),
        };
        seen.replaced.extend(self.replaced(&seen.written));
        self.ledger().look_at(self.0.time.now());
        for change in changes {
            match change {
                Change::Emit(event) => seen.events.push(event.clone()),
                Change::Put(Record::Delivery(delivery)) => {
                    let known = self.ledger().deliveries.get(&delivery.id).cloned();
                    seen.deliveries.push((delivery.id, known));
                }
                Change::Put(Record::Session(session)) => {
                    let hold = session.hold.iter();
                    hold.for_each(|hold| self.0.diary.count(format!("hold: {:?}", hold.reason)));
                    if session.discard.is_some() {
                        seen.discarded.push(RecordId::Session(session.id));
                    }
                }
                Change::Delete(id, _) => seen.departures.push((id.clone(), self.may_go(id))),
                _ => {}
            }
        }
        seen
    }

    /// The runs and sessions among these, as they are stored.
    fn replaced(&self, written: &Written) -> Vec<(RecordId, Option<Record>)> {
        let ids = written.records().map(|(id, _)| id);
        let ids = ids.filter(|id| matches!(id, RecordId::Run(_) | RecordId::Session(_)));
        ids.map(|id| (id.clone(), inline_get(&self.0.auditor, id.clone()))).collect()
    }

    /// A run or a session was perhaps replaced, with these events.
    fn replaces(&self, id: &RecordId, before: Option<&Record>, events: &[NewEvent]) {
        let Some(after) = inline_get(&self.0.auditor, id.clone()) else { return };
        if let Some(before) = before {
            self.judge(commits::p1_nothing_is_undone(before, &after));
        }
        self.judge(commits::p1_told_with_it(before, &after, events));
        self.judge(commits::p5_alone(&*self.0.auditor, &after, events));
    }

    /// After it was applied, or not, and was answered like this.
    pub(crate) fn after(&self, seen: Seen, answer: &Result<Committed, CommitError>) {
        let Seen { departures, events, deliveries, discarded, written, replaced } = seen;
        replaced.iter().for_each(|(id, before)| self.replaces(id, before.as_ref(), &events));
        let (store, shelf) = (&*self.0.auditor, &self.0.shelf);
        self.judge(durable::p6_archive_before_its_record(&written, store, shelf));
        self.judge(durable::p7_as_answered(&written, answer, store));
        for id in discarded {
            self.ledger().learn(&*self.0.auditor, &id);
        }
        for (id, allowed) in departures {
            if self.ledger().has_gone(&*self.0.auditor, &id, self.0.time.now()) {
                self.judge(allowed);
                self.is_archived(&id);
            }
        }
        for (id, before) in deliveries {
            let after = self.ledger().learn(&*self.0.auditor, &RecordId::Delivery(id));
            if let Some(Record::Delivery(after)) = after {
                self.moved(before.as_ref(), &after);
                self.judge(told::p3_dead_is_told(before.as_ref(), &after, &events));
            }
        }
        if events.is_empty() {
            return;
        }
        let (mut ledger, laws) = (self.ledger(), self.laws());
        ledger.read_events(&*self.0.auditor);
        ledger.stamp(self.0.time.now());
        for event in events.iter().filter(|event| ledger.event(event.id).is_some()) {
            let deliveries: Vec<&Delivery> = ledger.deliveries_of(event.id).collect();
            let hooks: Vec<_> = laws.all().map(|law| law.hooks.as_slice()).collect();
            self.judge(told::p3_outbox(event, &deliveries, &hooks));
            self.judge(bounded::p6_overdue_is_never_told(event));
        }
    }

    fn is_archived(&self, id: &RecordId) {
        let RecordId::Session(id) = *id else { return };
        let left = inline_get(&self.0.auditor, RecordId::Archive(id));
        let archive = match &left {
            Some(Record::Archive(archive)) => Some(archive),
            _ => None,
        };
        if let Some(session) = self.ledger().sessions.get(&id) {
            self.judge(bounded::p6_is_archived(session, archive));
        }
    }

    fn may_go(&self, id: &RecordId) -> Kept {
        let store = &*self.0.auditor;
        let (mut ledger, laws) = (self.ledger(), self.laws());
        if let RecordId::Event(event) = id {
            ledger.read_events(store);
            let from = self.departure(&ledger, &laws);
            return match ledger.event(*event) {
                Some(event) => bounded::p6_event_may_go(event, &from),
                None => Ok(()),
            };
        }
        let record = ledger.learn(store, id);
        bounded::p6_may_go(id, record.as_ref(), &self.departure(&ledger, &laws))
    }

    fn departure<'a>(&'a self, ledger: &'a Ledger, laws: &'a Laws) -> bounded::Departure<'a> {
        bounded::Departure {
            store: &*self.0.auditor,
            ledger,
            periods: laws.all().map(|law| &law.periods).collect(),
            now: self.0.time.latest(),
            age: self.0.time.now(),
            distrusted: self.0.time.is_distrusted(),
        }
    }

    fn moved(&self, before: Option<&Delivery>, after: &Delivery) {
        if before.is_some_and(|before| before.state == after.state) {
            return;
        }
        self.0.diary.count(match after.state {
            DeliveryState::Dead { why, .. } => format!("delivery: dead {why:?}"),
            DeliveryState::Pending { .. } if after.by_hand => "delivery: sent again".to_owned(),
            DeliveryState::Pending { .. } => "delivery: pending".to_owned(),
            DeliveryState::Delivered { .. } => "delivery: delivered".to_owned(),
        });
        let laws = self.laws();
        self.judge(told::p3_moves(&told::Move {
            before,
            after,
            hook: laws.now.hooks.iter().find(|hook| hook.name == after.hook),
            taken: self.0.mailbox.has_taken(after.id),
            wall: self.0.time.wall(),
            now: self.0.time.latest(),
            distrusted: self.0.time.is_distrusted(),
        }));
    }

    /// What holds sessions, and whether anything is stored beyond its time. For a gateway that has been
    /// at work for a while.
    pub(crate) fn nothing_overdue(&self, slack: duration::Duration) {
        let store = &*self.0.auditor;
        let now = self.0.time.wall();
        if let Some(Record::Reaper(reaper)) = inline_get(store, RecordId::Reaper)
            && reaper.deletion_held_until.is_some_and(|until| slack.after(until) > now)
        {
            self.0.diary.count("deletion rests");
            return;
        }
        let (ledger, laws) = (self.ledger(), self.laws());
        if laws.changed_at + slack.to_std() > self.0.time.now() {
            return;
        }
        let periods = &laws.now.periods;
        let look = bounded::Settled { store, ledger: &ledger, periods, now, slack };
        match bounded::p6_nothing_overdue(look) {
            Ok(holds) => holds.iter().for_each(|it| self.0.diary.count(format!("hold: {it:?}"))),
            Err(broken) => self.0.diary.broken(broken),
        }
        self.judge(bounded::p6_the_table_is_kept(look));
    }

    fn judge(&self, kept: Kept) {
        if let Err(broken) = kept {
            self.0.diary.broken(broken);
        }
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.0.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn laws(&self) -> MutexGuard<'_, Laws> {
        self.0.laws.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn inline_get(store: &SqliteDriver, id: RecordId) -> Option<Record> {
    use sexton_store::Driver as _;
    inline(store.get(id))
}

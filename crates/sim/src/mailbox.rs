//! The mailbox: what the programs behind the hooks have received, in a place that outlives the gateway,
//! and how each of them answers. Every letter is checked against what is stored as it arrives.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sexton_domain::id::{DeliveryId, SessionId};
use sexton_domain::name::HookName;
use sexton_store_sqlite::SqliteDriver;

use crate::diary::Diary;
use crate::dice::Die;
use crate::faults::Fault;
use crate::ledger::Ledger;
use crate::promises::told;
use crate::subscribers::{Subscriber, Temper};
use crate::teller::Teller;
use crate::time::Time;

/// The mailbox. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Mailbox(Arc<Inner>);

struct Inner {
    time: Arc<Time>,
    diary: Diary,
    die: Die,
    calm: Arc<AtomicBool>,
    hooks: Vec<Subscriber>,
    auditor: Arc<SqliteDriver>,
    ledger: Arc<Mutex<Ledger>>,
    overlap: Arc<AtomicBool>,
    received: Mutex<Received>,
}

/// What has arrived so far.
#[derive(Debug, Default)]
pub(crate) struct Received {
    /// What a hook has taken: whether or not its answer arrived.
    pub(crate) taken: BTreeSet<DeliveryId>,
    /// The highest event of each (hook, session) that arrived in its order.
    pub(crate) reached: BTreeMap<(HookName, SessionId), u64>,
}

/// A letter as it arrives.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Letter<'a> {
    pub(crate) hook: &'a str,
    pub(crate) delivery: DeliveryId,
    pub(crate) body: &'a str,
}

/// How a hook answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    Acknowledges,
    Fails,
    IsGone,
    /// It has taken the letter and says nothing.
    IsLost,
    /// It never says anything.
    Hangs,
}

/// What becomes of a letter.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Course {
    pub(crate) after: Duration,
    pub(crate) answer: Answer,
}

/// Where a mailbox stands.
pub(crate) struct Place {
    pub(crate) time: Arc<Time>,
    pub(crate) diary: Diary,
    pub(crate) die: Die,
    pub(crate) calm: Arc<AtomicBool>,
    pub(crate) auditor: Arc<SqliteDriver>,
    pub(crate) ledger: Arc<Mutex<Ledger>>,
    /// Two gateways are at work: each tells what it finds to be told.
    pub(crate) overlap: Arc<AtomicBool>,
}

impl Mailbox {
    pub(crate) fn new(place: Place, hooks: Vec<Subscriber>) -> Self {
        let Place { time, diary, die, calm, auditor, ledger, overlap } = place;
        let received = Mutex::default();
        let inner = Inner { time, diary, die, calm, hooks, auditor, ledger, overlap, received };
        Self(Arc::new(inner))
    }

    /// A letter arrives: it is checked, and how it is answered is drawn.
    pub(crate) fn receive(&self, letter: Letter<'_>, teller: &Teller) -> Course {
        let inner = &*self.0;
        let Some(hook) = inner.hooks.iter().find(|hook| hook.name.as_str() == letter.hook) else {
            let how = format!("a letter arrives at {}, which is no hook", letter.hook);
            inner.diary.broken(told::broken(how));
            return Course { after: Duration::ZERO, answer: Answer::Fails };
        };
        let course = self.draw(hook);
        let mut received = self.received();
        let mut ledger = inner.ledger.lock().unwrap_or_else(PoisonError::into_inner);
        ledger.read_events(&*inner.auditor);
        // The lane and the start of the session are read as they are now.
        let arrival = told::Arrival { hook, letter, store: &*inner.auditor, teller };
        let kept = match inner.overlap.load(Ordering::Relaxed) {
            true => told::p3_known(&ledger, arrival),
            false => told::p3_letter(&ledger, &mut received, arrival),
        };
        if let Err(broken) = kept {
            inner.diary.broken(broken);
        }
        if matches!(course.answer, Answer::Acknowledges | Answer::IsLost)
            && !received.taken.insert(letter.delivery)
        {
            inner.diary.count("hook: takes a letter again");
        }
        course
    }

    /// Whether a hook has ever taken a letter.
    pub(crate) fn has_taken(&self, delivery: DeliveryId) -> bool {
        self.received().taken.contains(&delivery)
    }

    fn draw(&self, hook: &Subscriber) -> Course {
        let Inner { die, calm, diary, time, .. } = &*self.0;
        let temper = match calm.load(Ordering::Relaxed) {
            true => Temper::GOOD,
            false => hook.temper,
        };
        let longest = u64::try_from(temper.longest.as_millis()).unwrap_or(u64::MAX);
        let after = Duration::from_millis(die.spread(1, longest.max(1)));
        let (answer, fault) = match () {
            () if temper.is_down(time.now()) => (Answer::Fails, Some(Fault::HookDown)),
            () if die.chance(temper.fails) => (Answer::Fails, Some(Fault::HookFails)),
            () if die.chance(temper.hangs) => (Answer::Hangs, Some(Fault::HookHangs)),
            () if die.chance(temper.loses) => (Answer::IsLost, Some(Fault::HookAnswerLost)),
            () if die.chance(temper.gone) => (Answer::IsGone, Some(Fault::HookGone)),
            () if after > hook.timeout.to_std() => (Answer::Acknowledges, Some(Fault::HookTooSlow)),
            () => (Answer::Acknowledges, None),
        };
        match fault {
            Some(fault) => diary.strikes(fault),
            None => diary.count("hook: acknowledges"),
        }
        Course { after, answer }
    }

    fn received(&self) -> MutexGuard<'_, Received> {
        self.0.received.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

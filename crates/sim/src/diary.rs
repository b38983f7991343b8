//! The diary of a world: what happened to it, what it has covered, and the first promise it broke.

use std::cell::RefCell;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

use crate::faults::Fault;
use crate::report::Report;
use crate::time::Time;

/// What a world must keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Promise {
    /// One record.
    P1,
    /// Every session ends, once.
    P2,
    /// Every end is told.
    P3,
    /// Nothing runs for ever.
    P4,
    /// Every slot is accounted for.
    P5,
    /// Bounded.
    P6,
    /// An acknowledged write is on disk.
    P7,
    /// Stopping is bounded and honest.
    P9,
    /// Money and usage outlive sessions.
    P12,
    /// What can be done is done.
    Progress,
    /// The program does not panic.
    Sound,
}

impl fmt::Display for Promise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::P1 => "P1 (one record)",
            Self::P2 => "P2 (every session ends, once)",
            Self::P3 => "P3 (every end is told)",
            Self::P4 => "P4 (nothing runs for ever)",
            Self::P5 => "P5 (every slot is accounted for)",
            Self::P6 => "P6 (bounded)",
            Self::P7 => "P7 (an acknowledged write is on disk)",
            Self::P9 => "P9 (stopping is bounded and honest)",
            Self::P12 => "P12 (usage outlives sessions)",
            Self::Progress => "progress (what can be done is done)",
            Self::Sound => "soundness (no panic, no endless loop)",
        })
    }
}

/// A promise that was broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// Which.
    pub promise: Promise,
    /// How.
    pub how: String,
}

impl Broken {
    pub(crate) fn new(promise: Promise, how: impl Into<String>) -> Self {
        Self { promise, how: how.into() }
    }
}

/// How the note begins that a promise is broken.
pub(crate) const FOUND: &str = "this is where";

/// Something that happened.
#[derive(Debug, Clone)]
pub(crate) struct Note {
    /// The world's age.
    pub(crate) age: Duration,
    /// What the wall clock showed.
    pub(crate) at: Timestamp,
    pub(crate) what: String,
}

/// The diary. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Diary(Arc<(Arc<Time>, Mutex<Pages>)>);

#[derive(Default)]
struct Pages {
    notes: Vec<Note>,
    report: Report,
    broken: Option<Broken>,
}

impl Diary {
    pub(crate) fn new(time: Arc<Time>) -> Self {
        Self(Arc::new((time, Mutex::default())))
    }

    /// Something happened in the world.
    pub(crate) fn note(&self, what: impl fmt::Display) {
        let time = &self.0.0;
        let note = Note { age: time.now(), at: time.wall(), what: what.to_string() };
        self.pages().notes.push(note);
    }

    /// Something happened that the suite wants to have seen.
    pub(crate) fn count(&self, what: impl Into<String>) {
        self.pages().report.count(what, 1);
    }

    /// Something goes wrong on purpose.
    pub(crate) fn strikes(&self, fault: Fault) {
        self.count(fault.to_string());
    }

    /// A promise is broken; the first one counts.
    pub(crate) fn broken(&self, broken: Broken) {
        if self.verdict().is_none() {
            self.note(format_args!("{FOUND} {} is found broken", broken.promise));
            self.pages().broken = Some(broken);
        }
    }

    /// The promise that is broken, if one is.
    pub(crate) fn verdict(&self) -> Option<Broken> {
        self.pages().broken.clone()
    }

    /// Whether a promise is broken.
    pub(crate) fn is_broken(&self) -> bool {
        self.pages().broken.is_some()
    }

    pub(crate) fn notes(&self) -> Vec<Note> {
        self.pages().notes.clone()
    }

    pub(crate) fn report(&self) -> Report {
        self.pages().report.clone()
    }

    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.0.1.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

thread_local! {
    /// Panics on this thread, while somebody collects them.
    static PANICS: RefCell<Option<Vec<String>>> = const { RefCell::new(None) };
}

/// Collects the panics of this thread, also those that the engine catches.
pub(crate) struct Panics(());

impl Panics {
    pub(crate) fn collect() -> Self {
        static HOOK: Once = Once::new();
        HOOK.call_once(|| {
            let before = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |info| {
                let collected =
                    PANICS.with(|panics| match panics.try_borrow_mut().as_deref_mut() {
                        Ok(Some(panics)) => {
                            panics.push(info.to_string().replace('\n', ": "));
                            true
                        }
                        _ => false,
                    });
                if !collected {
                    before(info);
                }
            }));
        });
        PANICS.with(|panics| panics.replace(Some(Vec::new())));
        Self(())
    }

    /// The first so far.
    pub(crate) fn first(&self) -> Option<String> {
        PANICS.with(|panics| panics.borrow().as_ref().and_then(|panics| panics.first().cloned()))
    }
}

impl Drop for Panics {
    fn drop(&mut self) {
        PANICS.with(|panics| panics.replace(None));
    }
}

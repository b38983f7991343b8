//! Planted faults: what an engine with a certain bug would do, so that it can be seen that the promises find
//! it.
//!
//! The engine under test is the one that is shipped and knows nothing of this. A fault is made at the seams of
//! the simulation out of what the sound engine does: its batches are edited, split or held back (`batches`),
//! what it reads is not the truth (`reads`), what it asks of clock, processes, hooks and files is not done
//! (`seams`). Nothing but the simulation can plant one.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sexton_domain::id::RunId;
use sexton_domain::run::Run;

use crate::diary::Promise;
use crate::time::Time;

pub use caught::CAUGHT;

mod batches;
mod caught;
mod reads;
mod seams;

pub(crate) use batches::Planned;

macro_rules! faults {
    ($($(#[$doc:meta])* $fault:ident breaks $promise:ident,)*) => {
        /// A bug that an engine could have.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Planted {
            $($(#[$doc])* $fault,)*
        }

        impl Planted {
            /// Every fault.
            pub const ALL: &'static [Self] = &[$(Self::$fault),*];

            /// The promise that it breaks.
            pub fn breaks(self) -> Promise {
                match self {
                    $(Self::$fault => Promise::$promise,)*
                }
            }
        }
    };
}

faults! {
    /// A process starts before its claim is on disk: claims are acknowledged as soon as they wait,
    /// the first of each run.
    StartBeforeClaim breaks P5,
    /// A session ends without a delivery of it: those rows are taken out of the batch.
    EndWithoutDelivery breaks P3,
    /// The reaper does not care whether a session's start and end are told: it reads that they are, and its
    /// batches do not require it.
    ReaperIgnoresDeliveries breaks P6,
    /// Who was overtaken writes all the same: batches lose their guards, and every record is written over
    /// whatever version is stored.
    NoFencing breaks P1,
    /// Which process a run has is noted late and without a look at what has become of the run: the note waits for
    /// the end, and is written over it.
    LateNote breaks P1,
    /// A job's next slot is moved in one commit, and what became of the slot is recorded in a second one.
    SlotBeforeRun breaks P5,
    /// The lease is not renewed: a heartbeat is acknowledged and not written.
    LeaseNotRenewed breaks P4,
    /// A drain forgets the sessions that no run works in: it reads that its epoch has none open.
    DrainForgetsIdle breaks P4,
    /// A retry overlaps what is left of the run before it: whoever is asked to find and kill survivors says
    /// that there are none, without looking.
    RetryOverlapsSurvivor breaks P5,
    /// A commit that failed is taken for one that was stored.
    FailureAcknowledged breaks P7,
    /// Slots that nobody made up for are lost: the records of missed and coalesced ones are taken out of the
    /// batch, and out of the job's counters.
    MisfireLost breaks P5,
    /// What is held is never looked at again: the reaper's look at what is due passes over it.
    HoldNotLifted breaks P6,
    /// Archives are recorded before they are on disk: the sync of a segment does what the one before it should
    /// have done.
    ArchiveBeforeSync breaks P6,
    /// A boot does not end what the dead have left: it reads that neither runs nor sessions are theirs.
    OrphansKept breaks P4,
    /// A boot ends the runs of the dead and not their sessions between two turns: it reads that there are none.
    OrphanSessionsKept breaks P4,
    /// Usage is counted twice: each report is stored under a second id.
    UsageCountedTwice breaks P12,
    /// A delivery is acknowledged without being told: the courier does not go.
    AcknowledgedUntold breaks P3,
    /// Records and what is told of them are two commits: events follow in a batch of their own.
    EventsApart breaks P1,
    /// A hook is told the later events of a session before the earlier: the look at what is due lists what is
    /// behind the first of a lane, too, and ahead of it.
    LaneOutOfOrder breaks P3,
    /// A turn does not wait for those before it: the queue is read from its end, and nobody is seen on the key.
    TurnOutOfOrder breaks P2,
    /// A conversation never resets: nobody is found silent, and whoever is open seems to have spoken just now.
    NeverReset breaks P2,
    /// A retry does not wait for its backoff: it is stored as queued, and told so.
    RetryWithoutBackoff breaks P5,
    /// A retry waits for ever: nobody is found rested.
    RetryNotRested breaks Progress,
    /// Who is to stop is not told: the order does not reach the process, at the deadline neither.
    StopNotPassedOn breaks P4,
    /// A run that was asked to cancel goes on: the look at what is running does not show the request.
    CancelForgotten breaks P4,
    /// A stop waits until it is done, however long that takes: while the node drains, bounds do not run out.
    StopUnbounded breaks P9,
    /// A stop says that nothing is left to be told.
    StopReportLies breaks P9,
    /// A session is reaped and nobody is told: the event is taken out of the batch.
    ReapedUntold breaks P6,
    /// The end of a session is told twice, under two ids.
    EndToldTwice breaks P2,
    /// A run ends and its session does not: that end is taken out of the batch.
    EndForgetsSession breaks P1,
    /// The reaper does not care whether an open session continues the one that it deletes.
    ReaperIgnoresSuccessor breaks P6,
    /// The age of a session is counted from its start: the reaper's look at what is due says that it ended then.
    AgeFromStart breaks P6,
    /// What is held is held for ever: the time to look again is put off by a century.
    HoldWithoutEnd breaks P6,
    /// A delivery is given up and nobody is told: the event of the dead letter is taken out of the batch.
    DeadUntold breaks P3,
    /// Skipped slots are lost, as the missed ones are with [`Planted::MisfireLost`].
    SkipLost breaks P5,
    /// A run starts beside another one of its job whose overlap policy says that it may not: the queue is read as
    /// if no run were alone.
    OverlapIgnored breaks P5,
    /// The runs of one agent are never started: the queue is read without them.
    AgentStarves breaks Progress,
    /// An end that another epoch tells does not say that it is late.
    LateUnsaid breaks P3,
}

impl fmt::Display for Planted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

/// What is planted in a world, if anything, and what one gateway with it has come to. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Plant {
    fault: Option<Planted>,
    time: Arc<Time>,
    /// The gateway has said that it drains.
    draining: Arc<AtomicBool>,
    /// What it has noted and not written.
    notes: Arc<Mutex<BTreeMap<RunId, Run>>>,
    /// The runs whose claims it has taken for stored.
    claimed: Arc<Mutex<BTreeSet<RunId>>>,
}

impl Plant {
    pub(crate) fn new(fault: Option<Planted>, time: Arc<Time>) -> Self {
        Self {
            fault,
            time,
            draining: Arc::default(),
            notes: Arc::default(),
            claimed: Arc::default(),
        }
    }

    /// Whether the engine has this fault.
    pub(crate) fn is(&self, fault: Planted) -> bool {
        self.fault == Some(fault)
    }

    /// The same fault in a gateway that starts.
    pub(crate) fn begin(&self) -> Self {
        Self::new(self.fault, Arc::clone(&self.time))
    }

    /// The gateway drains from now on.
    fn drains(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    fn notes(&self) -> MutexGuard<'_, BTreeMap<RunId, Run>> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }
}

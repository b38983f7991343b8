//! Sessions: one bounded span of an agent's work, with exactly one start and exactly one end.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::change::Version;
use crate::id::{JobId, RunId, SessionId};
use crate::key::{SessionKey, SessionKind};
use crate::listed::listed;
use crate::name::{AgentName, JobKey};
use crate::node::Owner;
use crate::origin::{self, Origin};
use crate::usage::Tokens;

listed! {
    /// Why a session ended.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
    #[serde(rename_all = "snake_case")]
    pub enum EndReason {
        /// The run succeeded, or the conversation was ended by hand.
        Completed,
        /// The run failed.
        Failed,
        /// The run reached its deadline or its idle limit.
        TimedOut,
        /// The run was cancelled.
        Cancelled,
        /// The owner died while a turn was in flight.
        Interrupted,
        /// A fresh session was asked for.
        New,
        /// It was reset by hand.
        Reset,
        /// It had been silent for longer than the kind's reset policy allows.
        Idle,
        /// Its day was over by the kind's reset policy.
        Daily,
        /// Reserved: the conversation was compacted into a successor.
        Compaction,
        /// It was deleted by hand.
        Deleted,
        /// Its node was asked to stop.
        Shutdown,
        /// Its node was restarted, or died between turns.
        Restart,
        /// Imports only: the source did not say.
        Unknown,
    }
}

impl EndReason {
    /// Whether the next session on its key continues the conversation: nobody wanted it to end.
    pub fn is_continued(self) -> bool {
        matches!(self, Self::Shutdown | Self::Restart | Self::Interrupted)
    }

    /// Whether the session counts as a failure for `keep_last_failures`.
    pub fn is_failure(self) -> bool {
        matches!(self, Self::Failed | Self::TimedOut | Self::Interrupted)
    }
}

/// Why a session was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OpenReason {
    /// For an isolated run of a job.
    Run,
    /// The first session of its key, or a fresh one after an ended one.
    New,
    /// It continues the conversation of its predecessor.
    Continued,
    /// Brought in from another system.
    Imported,
}

/// Whether a session is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Owned and alive.
    Open,
    /// Over, for good.
    Ended {
        /// When.
        at: Timestamp,
        /// Why.
        reason: EndReason,
    },
}

/// What can happen to a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// It ends.
    End {
        /// When.
        at: Timestamp,
        /// Why.
        reason: EndReason,
    },
}

/// A transition that the state machine does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("apply {event:?} to a session that is {state:?}")]
pub struct Rejected {
    state: State,
    event: Event,
}

impl State {
    /// The only way a session's state moves.
    ///
    /// # Errors
    ///
    /// [`Rejected`] when the session has already ended.
    pub fn next(self, event: Event) -> Result<Self, Rejected> {
        match (self, event) {
            (Self::Open, Event::End { at, reason }) => Ok(Self::Ended { at, reason }),
            (state, event) => Err(Rejected { state, event }),
        }
    }
}

/// Why an expired session stays for now, and when the reaper looks again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// A machine-readable reason.
    pub reason: HoldReason,
    /// When to look again.
    pub until: Timestamp,
}

listed! {
    /// What keeps an expired session.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
    #[serde(rename_all = "snake_case")]
    pub enum HoldReason {
        /// A start or end of it has not reached every hook.
        DeliveryPending,
        /// An open session continues it.
        Continued,
        /// It is one of the job's newest, or newest failures, that the job keeps.
        Floor,
        /// Its archive could not be written.
        ArchiveFailed,
        /// The clock is not to be trusted.
        ClockJump,
        /// Its job's record cannot be read.
        JobUnreadable,
    }
}

/// What a deletion by hand leaves of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Discard {
    /// Its archive.
    Archive,
    /// Nothing.
    Purge,
}

/// One bounded span of an agent's work. At most 4 KiB as stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// Never reused.
    pub id: SessionId,
    /// The address; at most one open session has it.
    pub key: SessionKey,
    /// Stored, never guessed from the key later.
    pub kind: SessionKind,
    /// Who works.
    pub agent: AgentName,
    /// The job it belongs to.
    pub job: Option<JobId>,
    /// That job's key at the time.
    pub job_key: Option<JobKey>,
    /// The run of an isolated session.
    pub run: Option<RunId>,
    /// The epoch that keeps it.
    pub owner: Owner,
    /// The session on the same key whose conversation it continues.
    pub previous: Option<SessionId>,
    /// The session that was opened on the key after this one had ended for a reason that lets a
    /// conversation go on: it goes on from there or nowhere, also when that one is gone.
    #[serde(default)]
    pub next: Option<SessionId>,
    /// When it was opened.
    pub opened_at: Timestamp,
    /// Why.
    pub open_reason: OpenReason,
    /// Open or ended.
    pub state: State,
    /// How many entries it has. Moved by appends alone.
    pub entry_count: u64,
    /// The sum of their contents in bytes. Moved by appends alone.
    pub bytes: u64,
    /// An index for the reaper: when to look at it, never a verdict.
    pub expires_at: Option<Timestamp>,
    /// Why it stays although it is due.
    pub hold: Option<Hold>,
    /// Kept whatever its age.
    pub pinned: bool,
    /// When its last turn began or ended; none before the first one and for isolated runs.
    #[serde(default)]
    pub active_at: Option<Timestamp>,
    /// It ends for this reason as soon as the turn in flight has ended.
    #[serde(default)]
    pub closing: Option<EndReason>,
    /// Deleted by hand: it goes as soon as its end is told.
    #[serde(default)]
    pub discard: Option<Discard>,
    /// What its runs took, as far as their agents reported it.
    #[serde(default)]
    pub usage: Option<Tokens>,
    /// Where it came from, if it was brought in from another system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Box<Origin>>,
    /// When it was brought in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub imported_at: Option<Timestamp>,
    /// For compare-and-swap.
    pub version: Version,
}

impl Session {
    /// Whether it has not ended.
    pub fn is_open(&self) -> bool {
        self.state == State::Open
    }

    /// When it ended.
    pub fn ended_at(&self) -> Option<Timestamp> {
        match self.state {
            State::Open => None,
            State::Ended { at, .. } => Some(at),
        }
    }

    /// From when its age counts: its end, or when it was brought in after that.
    pub fn aged_from(&self) -> Option<Timestamp> {
        self.ended_at().map(|at| origin::aged_from(at, self.imported_at))
    }

    /// When the reaper looks at it next: an index, never a verdict.
    pub fn look_at(&self) -> Option<Timestamp> {
        match (&self.hold, self.pinned || self.is_open()) {
            (_, true) => None,
            (Some(hold), _) => Some(hold.until),
            (None, _) => self.expires_at,
        }
    }

    /// Why it ended.
    pub fn end_reason(&self) -> Option<EndReason> {
        match self.state {
            State::Open => None,
            State::Ended { reason, .. } => Some(reason),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// P2: exactly one end. Every (state, event) pair.
    #[test]
    fn an_open_session_takes_one_end_and_an_ended_one_takes_nothing() {
        let at = Timestamp::UNIX_EPOCH;
        for reason in EndReason::ALL {
            let ended = State::Ended { at, reason };
            assert_eq!(State::Open.next(Event::End { at, reason }), Ok(ended));
            for reason in EndReason::ALL {
                let event = Event::End { at, reason };
                assert_eq!(ended.next(event), Err(Rejected { state: ended, event }));
            }
        }
    }
}

//! Retention: when an ended session is expired, by the policy that holds now.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::duration::{Duration, Keep};
use crate::job::{Retain, Retention};
use crate::key::SessionKind;
use crate::session::{EndReason, Session};

mod lines;

pub use lines::{Kept, Line, MAX_RUNS_PER_JOB, kept};

/// How long ended sessions of each kind are kept, from their end, or their import after that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policies {
    /// Isolated runs.
    pub run: Keep,
    /// Jobs' own persistent sessions.
    pub job: Keep,
    /// Main sessions.
    pub main: Keep,
    /// Chats.
    pub chat: Keep,
    /// Subagents.
    pub subagent: Keep,
    /// Boot sessions.
    pub boot: Keep,
    /// Temporary ones.
    pub temporary: Keep,
    /// All others.
    pub other: Keep,
}

impl Default for Policies {
    fn default() -> Self {
        let hours = |n: u64| Keep::For(Duration::from_secs(n * 3600));
        Self {
            run: hours(24),
            job: hours(30 * 24),
            main: Keep::Forever,
            chat: Keep::Forever,
            subagent: hours(24),
            boot: hours(24),
            temporary: hours(1),
            other: Keep::Forever,
        }
    }
}

impl Policies {
    /// The policy of a kind.
    pub fn of(&self, kind: SessionKind) -> Keep {
        match kind {
            SessionKind::Run => self.run,
            SessionKind::Job => self.job,
            SessionKind::Main => self.main,
            SessionKind::Chat => self.chat,
            SessionKind::Subagent => self.subagent,
            SessionKind::Boot => self.boot,
            SessionKind::Temporary => self.temporary,
            SessionKind::Other => self.other,
        }
    }
}

/// How long every kind of record is kept, from its end, or its import after that: the retention table of
/// the design.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Periods {
    /// Sessions.
    pub sessions: Policies,
    /// Archives.
    pub archive: Keep,
    /// Events.
    pub events: Keep,
    /// Runs.
    pub runs: Keep,
    /// Deliveries that were given up.
    pub dead: Keep,
    /// One-shot jobs whose slot is over.
    pub job_done: Keep,
}

impl Default for Periods {
    fn default() -> Self {
        let days = |n: u64| Keep::For(Duration::from_secs(n * 24 * 3600));
        Self {
            sessions: Policies::default(),
            archive: days(30),
            events: days(30),
            runs: days(90),
            dead: days(30),
            job_done: days(7),
        }
    }
}

/// How many newer ended sessions its job has, as far as a floor or a cap asks for it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rank {
    /// Of all of them.
    pub newer: u32,
    /// Of those that failed.
    pub newer_failures: u32,
}

/// Whether a session may go, and by which rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It may go.
    Expired(Rule),
    /// It stays; with a time, age alone would expire it then.
    Kept(Rule, Option<Timestamp>),
}

/// The rule that decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// It has not ended.
    Open,
    /// It is pinned.
    Pinned,
    /// It was deleted by hand.
    Discarded,
    /// Its job keeps no more than `max_sessions`.
    MaxSessions,
    /// It is one of the job's newest.
    KeepLast,
    /// It is one of the job's newest failures.
    KeepLastFailures,
    /// It succeeded and its job keeps failures only.
    OnFailure,
    /// Its age.
    Age,
    /// Its policy keeps it for ever.
    Forever,
}

impl Rule {
    /// Every rule, in the order in which they are asked.
    pub const ALL: [Self; 9] = [
        Self::Open,
        Self::Pinned,
        Self::Discarded,
        Self::MaxSessions,
        Self::KeepLast,
        Self::KeepLastFailures,
        Self::OnFailure,
        Self::Age,
        Self::Forever,
    ];
}

/// Judges one session by the policies that hold now.
///
/// A deletion by hand and the cap (`max_sessions`) go before the floors (`keep_last`,
/// `keep_last_failures`), and those before age. A pin goes before everything. The age of what was imported
/// counts from the import.
pub fn verdict(
    session: &Session,
    kinds: &Policies,
    job: &Retention,
    rank: Rank,
    now: Timestamp,
) -> Verdict {
    let (Some(at), Some(reason)) = (session.aged_from(), session.end_reason()) else {
        return Verdict::Kept(Rule::Open, None);
    };
    if session.pinned {
        return Verdict::Kept(Rule::Pinned, None);
    }
    if session.discard.is_some() {
        return Verdict::Expired(Rule::Discarded);
    }
    if job.max_sessions.is_some_and(|max| rank.newer >= max) {
        return Verdict::Expired(Rule::MaxSessions);
    }
    let (rule, until) = match job.retain {
        Some(Retain::OnFailure) if reason == EndReason::Completed => (Rule::OnFailure, Some(at)),
        Some(Retain::Keep(keep)) => by_age(keep, at),
        Some(Retain::OnFailure) | None => by_age(kinds.of(session.kind), at),
    };
    match (floor(job, reason, rank), until) {
        (Some(floor), until) => Verdict::Kept(floor, until),
        (None, Some(until)) if until <= now => Verdict::Expired(rule),
        (None, until) => Verdict::Kept(rule, until),
    }
}

fn by_age(keep: Keep, from: Timestamp) -> (Rule, Option<Timestamp>) {
    match keep.until(from) {
        None => (Rule::Forever, None),
        until => (Rule::Age, until),
    }
}

/// The floor that keeps a session whatever its age.
fn floor(job: &Retention, reason: EndReason, rank: Rank) -> Option<Rule> {
    let among = |newer: u32, floor: Option<u32>| floor.is_some_and(|floor| newer < floor);
    match () {
        () if among(rank.newer, job.keep_last) => Some(Rule::KeepLast),
        () if reason.is_failure() && among(rank.newer_failures, job.keep_last_failures) => {
            Some(Rule::KeepLastFailures)
        }
        () => None,
    }
}

#[cfg(test)]
mod tests;

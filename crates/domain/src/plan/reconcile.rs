//! What becomes of what a dead node left behind: its runs, its sessions, itself.
//!
//! Idempotent: what these decisions produce, they do not act on again.

use jiff::Timestamp;

use crate::change::{Change, Decision, Record};
use crate::duration::Duration;
use crate::event::EventType;
use crate::node::{self, Epoch, Node, NodeEnd};
use crate::plan::Moment;
use crate::plan::admission::CatchUp;
use crate::plan::ending::{self, Ending, Snapshot};
use crate::run::{Event, Outcome, Reason, Rejected, Run, RunError, State};
use crate::session::{EndReason, Session};
use crate::usage::Spent;

/// A gateway that has been up this long did not die of its start.
pub const STABLE_AFTER: Duration = Duration::from_secs(60);
/// After this many starts in a row without a stable minute, catching up is paused.
pub const BOOT_LOOP: usize = 3;
/// A wall clock this far past the last heartbeat is not believed at once.
pub const MAX_ABSENCE: Duration = Duration::from_secs(7 * 24 * 3600);

/// Whether an epoch is over although nobody ended it.
///
/// Where the store admits one process at a time, every earlier epoch is over; a later one is the
/// proof that this one is. Elsewhere an epoch is over when its lease is.
pub fn is_dead(node: &Node, me: Epoch, fence: Fence, now: Timestamp) -> bool {
    node.epoch != me
        && node.end.is_none()
        && match fence {
            Fence::Exclusive => node.epoch < me,
            Fence::Lease => node.lease_until <= now,
        }
}

/// What keeps a dead epoch from writing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fence {
    /// The store admits one process at a time.
    Exclusive,
    /// Leases.
    Lease,
}

/// Records that an epoch is over; empty when that is recorded already.
pub fn bury_node(dead: &Node, reason: node::EndReason, moment: &mut Moment) -> Decision {
    let mut decision = Decision::default();
    if dead.end.is_some() {
        return decision;
    }
    let buried = Node { end: Some(NodeEnd { at: moment.now, reason }), ..dead.clone() };
    decision.change(moment.tell().node(EventType::NodeLost, &buried));
    decision.change(buried);
    decision
}

/// What is known of the end of a dead epoch's run.
#[derive(Debug, Clone, PartialEq)]
pub struct Loss<'a> {
    /// How the epoch was lost.
    pub reason: Reason,
    /// Its record, where it can be read.
    pub dead: Option<&'a Node>,
    /// What the run had reported until then.
    pub spent: Vec<Spent>,
}

/// Ends the run of a dead epoch: interrupted, with another attempt where the job asks for it.
///
/// # Errors
///
/// [`Rejected`] when the run has ended meanwhile.
pub fn end_orphan(
    snapshot: Snapshot<'_>,
    loss: Loss<'_>,
    moment: &mut Moment,
) -> Result<Decision, Rejected> {
    let Loss { reason, dead, spent } = loss;
    let message = match reason {
        Reason::NodeLost => "the lease of the node that ran it ran out",
        _ => "the gateway that ran it died",
    };
    let error = RunError { class: "interrupted".to_owned(), message: message.to_owned() };
    let ended = Ending::plain(Outcome::Interrupted, reason);
    let ending = Ending { error: Some(error), spent, ..ended };
    let mut decision = ending::end_run(snapshot, ending, moment)?;
    count(dead, Some(snapshot.run), &mut decision);
    Ok(decision)
}

/// Ends the open sessions of an owner that died between two turns. One that died within a turn takes
/// its session with it when that run ends: see [`end_orphan`].
pub fn end_ownerless<'a>(
    sessions: impl IntoIterator<Item = &'a Session>,
    dead: Option<&Node>,
    moment: &mut Moment,
) -> Decision {
    let mut decision = Decision::default();
    for session in sessions {
        let reason = session.closing.unwrap_or(EndReason::Restart);
        decision.merge(ending::end_session(session, reason, moment));
    }
    count(dead, None, &mut decision);
    decision
}

/// Adds what is ended for a dead epoch to its record, in the commit that ends it. Other runs may go with the
/// one that it had under way: those were not interrupted.
fn count(dead: Option<&Node>, interrupted: Option<&Run>, decision: &mut Decision) {
    let Some(dead) = dead.filter(|_| !decision.is_empty()) else { return };
    let mut left = dead.left_behind.unwrap_or_default();
    for change in &decision.changes {
        match change {
            Change::Put(Record::Run(run)) => {
                let interrupted = interrupted.map(|run| run.id);
                left.runs += u64::from(interrupted == Some(run.id));
                left.retried += u64::from(interrupted.is_some() && interrupted == run.retry_of);
            }
            Change::Put(Record::Session(session)) if !session.is_open() => left.sessions += 1,
            _ => {}
        }
    }
    decision.change(Node { left_behind: Some(left), ..dead.clone() });
}

/// Queues a retry whose backoff is over; empty while it rests.
pub fn rested(run: &Run, moment: &mut Moment) -> Decision {
    let mut decision = Decision::default();
    let due = matches!(run.state, State::Waiting { until } if until <= moment.now);
    if let Ok(state) = run.state.next(Event::Rested)
        && due
    {
        let queued = Run { state, ..run.clone() };
        decision.change(moment.tell().run(EventType::RunQueued, &queued));
        decision.change(queued);
    }
    decision
}

/// Whether catching up is paused, judged by the latest epochs, newest first, without the own one.
pub fn catch_up(earlier: &[Node]) -> CatchUp {
    let loops = earlier.len() >= BOOT_LOOP
        && earlier[..BOOT_LOOP].iter().all(|node| {
            let died =
                |end: NodeEnd| matches!(end.reason, node::EndReason::Crash | node::EndReason::Lost);
            node.stable_at.is_none() && node.end.is_none_or(died)
        });
    if loops { CatchUp::Paused } else { CatchUp::Paced }
}

/// What is wrong with the wall clock at a start, judged by the newest heartbeat in the store.
pub fn clock_at_boot(last_heartbeat: Option<Timestamp>, now: Timestamp) -> Option<ClockJump> {
    let last = last_heartbeat?;
    match () {
        () if now < last => Some(ClockJump::Back { by: Duration::between(now, last) }),
        () if MAX_ABSENCE.after(last) < now => {
            Some(ClockJump::Ahead { by: Duration::between(last, now) })
        }
        () => None,
    }
}

/// The wall clock is not distrusted for jumping by so much: as much of what it says has passed may not have.
pub const UNNOTICED_JUMP: Duration = Duration::from_secs(60);

/// A wall clock that is not believed at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClockJump {
    /// It stands before a time that was already seen.
    Back {
        /// By how much.
        by: Duration,
    },
    /// It is further ahead than the monotonic clock, or than a pause explains.
    Ahead {
        /// By how much.
        by: Duration,
    },
}

#[cfg(test)]
mod tests;

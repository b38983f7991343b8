//! What the reaper does with an ended session, by the policies of now: it goes, is held, is looked at
//! later, or stays.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::archive::{Archive, Segment};
use crate::change::{Change, Decision, Guard, RecordId};
use crate::duration::Duration;
use crate::event::EventType;
use crate::job::{Job, Retention};
use crate::key::SessionKind;
use crate::plan::Moment;
use crate::plan::reconcile::ClockJump;
use crate::retention::{Policies, Rank, Rule, Verdict, verdict};
use crate::session::{Discard, Hold, HoldReason, Session};
use crate::sweep::{Reaper, Reindex};

/// How long nothing is deleted after the wall clock jumped.
pub const DISTRUST: Duration = Duration::from_secs(3600);
/// A session that a floor of its job keeps is looked at again after this time.
pub const FLOOR_PAUSE: Duration = Duration::from_secs(3600);
/// One whose archive could not be written, after this one.
pub const ARCHIVE_PAUSE: Duration = Duration::from_secs(600);
/// Others that are held, after as long as they have been over, within these bounds.
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(600);

/// An ended session with what its fate depends on.
#[derive(Debug, Clone, Copy)]
pub struct Case<'a> {
    /// The session.
    pub session: &'a Session,
    /// Its job, removed or not, unless it has none or the job's record is gone.
    pub job: Option<&'a Job>,
    /// Its place among the job's ended sessions.
    pub rank: Rank,
    /// A delivery of it is pending.
    pub undelivered: bool,
    /// An open session names it as the one before it.
    pub continued: bool,
}

/// By what it is judged.
#[derive(Debug, Clone, Copy)]
pub struct Law<'a> {
    /// The policies of the kinds.
    pub kinds: &'a Policies,
    /// Nothing goes before this instant, which is still to come, because the wall clock is not to be trusted.
    pub held_until: Option<Timestamp>,
    /// Now.
    pub now: Timestamp,
}

/// What becomes of a session for now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It goes, and leaves this.
    Reap(Discard),
    /// It would go, but something keeps it; looked at again then.
    Hold(HoldReason, Timestamp),
    /// Its time is not over; looked at again then.
    Later(Timestamp),
    /// It stays until it is unpinned or a policy changes.
    Keep,
}

/// A fate with the rule that it follows from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Judgement {
    /// What becomes of it.
    pub fate: Fate,
    /// By which rule.
    pub rule: Rule,
}

/// Judges one session.
pub fn judge(case: Case<'_>, law: Law<'_>) -> Judgement {
    let Case { session, job, rank, .. } = case;
    let retention = job.map_or_else(Retention::default, |job| job.spec.retention);
    let (fate, rule) = match verdict(session, law.kinds, &retention, rank, law.now) {
        Verdict::Expired(rule) => (expired(case, law), rule),
        Verdict::Kept(rule, None) => (Fate::Keep, rule),
        Verdict::Kept(rule, Some(until)) if law.now < until => (Fate::Later(until), rule),
        Verdict::Kept(rule, Some(_)) => {
            (Fate::Hold(HoldReason::Floor, FLOOR_PAUSE.after(law.now)), rule)
        }
    };
    Judgement { fate, rule }
}

/// Judges a session whose job cannot be read: nobody knows for how long that keeps it.
pub fn unjudged(session: &Session, law: Law<'_>) -> Judgement {
    let Judgement { fate, rule } = judge(
        Case { session, job: None, rank: Rank::default(), undelivered: false, continued: false },
        law,
    );
    let fate = match fate {
        Fate::Keep if session.pinned => Fate::Keep,
        _ => Fate::Hold(HoldReason::JobUnreadable, LONGEST_PAUSE.after(law.now)),
    };
    Judgement { fate, rule }
}

/// What becomes of a session whose time is over.
fn expired(case: Case<'_>, law: Law<'_>) -> Fate {
    let Case { session, undelivered, continued, .. } = case;
    let pause = Duration::between(session.ended_at().unwrap_or(law.now).min(law.now), law.now);
    let again = pause.clamp(SHORTEST_PAUSE, LONGEST_PAUSE).after(law.now);
    match law.held_until {
        Some(until) => Fate::Hold(HoldReason::ClockJump, until),
        None if continued => Fate::Hold(HoldReason::Continued, again),
        None if undelivered => Fate::Hold(HoldReason::DeliveryPending, again),
        None => Fate::Reap(session.discard.unwrap_or(Discard::Archive)),
    }
}

/// The session as it is indexed after a judgement by which it stays; none when it already is.
pub fn indexed(session: &Session, fate: Fate) -> Option<Session> {
    let (expires_at, hold) = match fate {
        Fate::Reap(_) => return None,
        Fate::Hold(reason, until) => (session.expires_at, Some(Hold { reason, until })),
        Fate::Later(at) => (Some(at), None),
        // Without its pin it is looked at.
        Fate::Keep if session.pinned => (session.ended_at(), None),
        Fate::Keep => (None, None),
    };
    let judged = Session { expires_at, hold, ..session.clone() };
    (judged != *session).then_some(judged)
}

/// What becomes of a session whose archive could not be written.
pub fn archive_failed(now: Timestamp) -> Fate {
    Fate::Hold(HoldReason::ArchiveFailed, ARCHIVE_PAUSE.after(now))
}

/// A session that goes.
#[derive(Debug, Clone, Copy)]
pub struct Gone<'a> {
    /// The session.
    pub session: &'a Session,
    /// By which rule.
    pub rule: Rule,
    /// Where its transcript lies from now on, or that it is erased; none where that was known before,
    /// or where there is none.
    pub archive: Option<&'a Archive>,
}

/// Deletes sessions whose archives are on disk, and tells it: one commit for a slice. A session that
/// somebody has touched since it was judged, or that an open one continues, makes it conflict.
pub fn reap(gone: &[Gone<'_>], segment: Option<Segment>, moment: &mut Moment) -> Decision {
    let mut decision = Decision::default();
    for Gone { session, rule, archive } in gone {
        decision.change(Change::Require(Guard::NotContinued(session.id)));
        decision.change(Change::Require(Guard::Told(session.id)));
        if let Some(archive) = archive {
            decision.change((*archive).clone());
            if archive.deleted_at.is_none() {
                let mut told = moment.tell().session(EventType::SessionArchived, session);
                told.data["segment"] = archive.segment.clone().into();
                told.data["delete_after"] = archive.delete_after.map(|at| at.to_string()).into();
                decision.change(told);
            }
        }
        let mut told = moment.tell().session(EventType::SessionReaped, session);
        told.data["rule"] = serde_json::to_value(rule).unwrap_or_default();
        decision.change(told);
        decision.change(Change::Delete(RecordId::Session(session.id), session.version));
    }
    if let Some(segment) = segment {
        decision.change(segment);
    }
    decision
}

/// A wall clock that jumped: nothing is deleted for a while. After a jump back, every session is then
/// indexed anew: what was held by the clock of before would be looked at in a far future.
pub fn distrusted(reaper: &Reaper, jump: ClockJump, now: Timestamp) -> Reaper {
    let held = Reaper { deletion_held_until: Some(DISTRUST.after(now)), ..reaper.clone() };
    match jump {
        ClockJump::Ahead { .. } => held,
        ClockJump::Back { .. } => Reaper { indexed: None, reindex: Vec::new(), ..held },
    }
}

/// What is to be indexed anew because the policies are no longer those of the index; none when they
/// are.
pub fn policies_changed(reaper: &Reaper, policies: &Policies) -> Option<Reaper> {
    let before = match &reaper.indexed {
        Some(indexed) if indexed == policies => return None,
        before => before.as_ref(),
    };
    let changed =
        |kind: SessionKind| before.is_none_or(|indexed| indexed.of(kind) != policies.of(kind));
    let mut reindex = reaper.reindex.clone();
    reindex.retain(|part| !changed(part.kind));
    reindex.extend(SessionKind::ALL.into_iter().filter(|kind| changed(*kind)).map(Reindex::whole));
    Some(Reaper { indexed: Some(*policies), reindex, ..reaper.clone() })
}

/// The index after its first part has got as far as `after`; none is its end.
pub fn reindexed(reaper: &Reaper, after: Option<crate::id::SessionId>) -> Reaper {
    let mut reaper = reaper.clone();
    match (reaper.reindex.first_mut(), after) {
        (Some(part), Some(_)) => part.after = after,
        (Some(_), None) => drop(reaper.reindex.remove(0)),
        (None, _) => {}
    }
    reaper
}

/// The job once its sessions are indexed by the retention that it had in this revision; none when it
/// has another by now.
pub fn job_reindexed(job: &Job, indexed: &Retention) -> Option<Job> {
    (job.reindex && job.spec.retention == *indexed).then(|| Job { reindex: false, ..job.clone() })
}

/// For every session why it goes or stays, in words that programs read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Word {
    /// It goes.
    Reap,
    /// It is held.
    Hold,
    /// It is looked at later.
    Later,
    /// It stays.
    Keep,
}

impl Fate {
    /// The word for it.
    pub fn word(self) -> Word {
        match self {
            Self::Reap(_) => Word::Reap,
            Self::Hold(..) => Word::Hold,
            Self::Later(_) => Word::Later,
            Self::Keep => Word::Keep,
        }
    }

    /// What holds it.
    pub fn hold(self) -> Option<HoldReason> {
        match self {
            Self::Hold(reason, _) => Some(reason),
            _ => None,
        }
    }

    /// When it is looked at again.
    pub fn until(self) -> Option<Timestamp> {
        match self {
            Self::Hold(_, until) | Self::Later(until) => Some(until),
            Self::Reap(_) | Self::Keep => None,
        }
    }
}

#[cfg(test)]
mod tests;

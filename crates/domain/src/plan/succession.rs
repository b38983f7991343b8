//! Which session a run works in: one of its own, the open one behind its key, one that continues the
//! conversation, or a fresh one.
//!
//! | behind the key | the turn's session |
//! |---|---|
//! | an open session | that one |
//! | an open session that is to end: by a command, by the turn, by `[reset]` | it ends, and a fresh one is opened |
//! | the newest ended for `shutdown`, `restart` or `interrupted` | one that continues it |
//! | the same, but deleted, silent for too long, or the turn asks for a fresh one | a fresh one |
//! | the newest ended for another reason, or another one followed it and is gone, or there is none | a fresh one |

use crate::change::{Decision, Version};
use crate::event::EventType;
use crate::id::SessionId;
use crate::key::SessionKind;
use crate::node::Owner;
use crate::plan::{Moment, ending};
use crate::reset::Rules;
use crate::run::Run;
use crate::session::{EndReason, OpenReason, Session, State};

/// The sessions behind a run's key. An isolated run has none.
#[derive(Debug, Clone, Copy, Default)]
pub struct Behind<'a> {
    /// The open one.
    pub open: Option<&'a Session>,
    /// The newest that has ended. Only looked at where none is open.
    pub newest_ended: Option<&'a Session>,
}

/// The open session behind a key is kept by another epoch, which has to take the turn or to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("take a turn in session {0}: another epoch keeps it")]
pub struct Elsewhere(pub SessionId);

/// What the decision looks at.
#[derive(Debug, Clone, Copy)]
pub(super) struct Snapshot<'a> {
    pub(super) run: &'a Run,
    pub(super) owner: Owner,
    pub(super) behind: Behind<'a>,
    pub(super) rules: &'a Rules,
}

/// The session of a run that is about to start, and what has to be stored with it. The caller stores
/// the session itself.
pub(super) fn session_for(
    snapshot: Snapshot<'_>,
    moment: &mut Moment,
) -> Result<(Session, Decision), Elsewhere> {
    let Snapshot { run, owner, behind, rules } = snapshot;
    let mut decision = Decision::default();
    if run.is_isolated() {
        let session = opened(snapshot, OpenReason::Run, None, moment);
        decision.change(moment.tell().session(EventType::SessionStarted, &session));
        return Ok((session, decision));
    }
    let mut last = None;
    match behind.open {
        Some(open) if open.owner != owner => return Err(Elsewhere(open.id)),
        Some(open) => match over(open, run, rules, moment) {
            None => {
                let session = Session { active_at: Some(moment.now), ..open.clone() };
                return Ok((session, decision));
            }
            Some(reason) => decision.merge(ending::end_session(open, reason, moment)),
        },
        None => last = behind.newest_ended.filter(|newest| may_go_on(newest)),
    }
    let continued = last
        .filter(|newest| newest.discard.is_none() && over(newest, run, rules, moment).is_none());
    let reason = if continued.is_some() { OpenReason::Continued } else { OpenReason::New };
    let session = opened(snapshot, reason, continued, moment);
    if let Some(last) = last {
        // This also fails if the reaper takes it meanwhile.
        decision.change(Session { next: Some(session.id), ..last.clone() });
    }
    decision.change(moment.tell().session(EventType::SessionStarted, &session));
    Ok((session, decision))
}

/// Whether the conversation of a session that has ended was cut off, and has not gone on yet.
fn may_go_on(session: &Session) -> bool {
    session.end_reason().is_some_and(EndReason::is_continued) && session.next.is_none()
}

/// Why a turn does not go on with this session's conversation.
fn over(session: &Session, run: &Run, rules: &Rules, moment: &Moment) -> Option<EndReason> {
    let fresh = run.input.as_ref().is_some_and(|input| input.fresh);
    session.closing.or(fresh.then_some(EndReason::New)).or_else(|| silent(session, rules, moment))
}

/// The end that `[reset]` has for a session between two turns.
pub(super) fn silent(session: &Session, rules: &Rules, moment: &Moment) -> Option<EndReason> {
    let since = session.active_at.unwrap_or(session.opened_at);
    rules.of(session.kind)?.over(since, moment.now)
}

fn opened(
    snapshot: Snapshot<'_>,
    open_reason: OpenReason,
    previous: Option<&Session>,
    moment: &mut Moment,
) -> Session {
    let Snapshot { run, owner, .. } = snapshot;
    let isolated = open_reason == OpenReason::Run;
    let kind = run.session_key.kind();
    // What several may share belongs to no job.
    let of_job = isolated || kind == SessionKind::Job;
    Session {
        id: moment.ids.mint(),
        key: run.session_key.clone(),
        kind,
        agent: run.agent.clone(),
        job: run.job.filter(|_| of_job),
        job_key: run.job_key.clone().filter(|_| of_job),
        run: isolated.then_some(run.id),
        owner,
        previous: previous.map(|session| session.id),
        next: None,
        opened_at: moment.now,
        open_reason,
        state: State::Open,
        entry_count: 0,
        bytes: 0,
        expires_at: None,
        hold: None,
        pinned: false,
        active_at: (!isolated).then_some(moment.now),
        closing: None,
        discard: None,
        usage: None,
        origin: None,
        imported_at: None,
        version: Version::NEW,
    }
}

#[cfg(test)]
mod tests;

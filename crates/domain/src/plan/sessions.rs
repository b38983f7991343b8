//! What a command does to a session: end, reset, delete, pin, unpin; and the end that silence brings.
//!
//! A turn in flight is cancelled first, and the session ends in the commit that ends the turn. What
//! is queued on the key stays queued: it goes into the session that follows. Everything here may be
//! said twice.

use crate::change::Decision;
use crate::id::{RunId, SessionId};
use crate::plan::{Moment, ending, succession};
use crate::reset::Rules;
use crate::run::{Reason, Run};
use crate::session::{Discard, EndReason, Session};

/// What the decision looks at.
#[derive(Debug, Clone, Copy)]
pub struct Snapshot<'a> {
    /// The session.
    pub session: &'a Session,
    /// The run that is running in it.
    pub in_flight: Option<&'a Run>,
}

/// How a session is ended by hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The conversation is over: reason `completed`.
    End,
    /// It is to begin anew: reason `reset`.
    Reset,
}

impl End {
    const fn reason(self) -> EndReason {
        match self {
            Self::End => EndReason::Completed,
            Self::Reset => EndReason::Reset,
        }
    }
}

/// Why a command is refused. Nothing is changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The session of an isolated run has no next turn.
    #[error("reset session {session}: it belongs to run {run} alone and has no next turn")]
    Isolated {
        /// The session.
        session: SessionId,
        /// Its run.
        run: RunId,
    },
    /// It is kept whatever happens.
    #[error("delete session {0}: it is pinned")]
    Pinned(SessionId),
}

/// Ends a session. One that has ended stays as it is. That of an isolated run ends as its run does
/// when that is cancelled: with reason `cancelled`.
///
/// # Errors
///
/// [`Refused::Isolated`] for a reset.
pub fn end(snapshot: Snapshot<'_>, how: End, moment: &mut Moment) -> Result<Decision, Refused> {
    let Snapshot { session, in_flight } = snapshot;
    if let (Some(run), End::Reset) = (session.run, how) {
        return Err(Refused::Isolated { session: session.id, run });
    }
    if !session.is_open() {
        return Ok(Decision::default());
    }
    if let Some(run) = in_flight.filter(|_| session.run.is_some()) {
        return Ok(ending::stop(run, Reason::Operator, moment));
    }
    // An end that was asked for before counts.
    let reason = session.closing.unwrap_or(how.reason());
    Ok(close(snapshot, Session { closing: Some(reason), ..session.clone() }, moment))
}

/// Deletes a session, open or ended: it goes as soon as its end is told. A deletion that was asked for
/// before counts, unless this one leaves less.
///
/// # Errors
///
/// [`Refused::Pinned`].
pub fn delete(
    snapshot: Snapshot<'_>,
    discard: Discard,
    moment: &mut Moment,
) -> Result<Decision, Refused> {
    let session = snapshot.session;
    if session.pinned {
        return Err(Refused::Pinned(session.id));
    }
    let discard = match session.discard {
        Some(Discard::Purge) => Discard::Purge,
        Some(Discard::Archive) | None => discard,
    };
    let deleted = Session { discard: Some(discard), ..session.clone() };
    if session.is_open() {
        let closing = Some(EndReason::Deleted);
        return Ok(close(snapshot, Session { closing, ..deleted }, moment));
    }
    let mut decision = Decision::default();
    if session.discard != deleted.discard {
        let now = Some(moment.now);
        decision.change(Session { expires_at: now, hold: None, ..deleted });
    }
    Ok(decision)
}

/// Keeps a session whatever its age.
pub fn pin(session: &Session) -> Decision {
    let mut decision = Decision::default();
    if !session.pinned {
        decision.change(Session { pinned: true, ..session.clone() });
    }
    decision
}

/// Lets a session go again when its time is over. The reaper looks at it soon: not since when it would
/// have, or a session that was pinned for long would be overdue at once.
pub fn unpin(session: &Session, moment: &Moment) -> Decision {
    let mut decision = Decision::default();
    if session.pinned {
        let expires_at = session.ended_at().map(|_| moment.now);
        let unpinned = Session { pinned: false, hold: None, expires_at, ..session.clone() };
        decision.change(unpinned);
    }
    decision
}

/// Ends an open session between two turns when it has been silent for longer than `[reset]` allows.
pub fn expire(snapshot: Snapshot<'_>, rules: &Rules, moment: &mut Moment) -> Decision {
    let Snapshot { session, in_flight } = snapshot;
    let free = session.is_open() && session.run.is_none() && in_flight.is_none();
    match succession::silent(session, rules, moment).filter(|_| free) {
        Some(reason) => ending::end_session(session, reason, moment),
        None => Decision::default(),
    }
}

/// Ends an open session for its [`Session::closing`]: now, or with the run in flight.
fn close(snapshot: Snapshot<'_>, closing: Session, moment: &mut Moment) -> Decision {
    let reason = closing.closing.unwrap_or(EndReason::Completed);
    let Some(run) = snapshot.in_flight else {
        return ending::end_session(&closing, reason, moment);
    };
    let mut decision = ending::stop(run, Reason::Operator, moment);
    if closing != *snapshot.session {
        decision.change(closing);
    }
    decision
}

#[cfg(test)]
mod tests;

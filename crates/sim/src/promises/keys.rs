//! P2 for the sessions that follow each other behind a key.

use std::collections::BTreeMap;
use std::time::Duration;

use sexton_domain::change::RecordId;
use sexton_domain::event::EventType;
use sexton_domain::id::{RunId, SessionId};
use sexton_domain::key::{SessionKey, SessionKind};
use sexton_domain::reset::Rules;
use sexton_domain::run::Run;
use sexton_domain::session::{EndReason, OpenReason, Session};

use super::Kept;
use crate::diary::{Broken, Promise};
use crate::ledger::Ledger;
use crate::time::Time;

fn broken(how: impl Into<String>) -> Broken {
    Broken::new(Promise::P2, how)
}

/// P2: at most one session is open behind a key.
pub(crate) fn p2_one_open_per_key(ledger: &Ledger) -> Kept {
    let mut open: BTreeMap<&SessionKey, SessionId> = BTreeMap::new();
    for session in ledger.sessions.values().filter(|session| session.is_open()) {
        if let Some(other) = open.insert(&session.key, session.id) {
            let (id, key) = (session.id, &session.key);
            return Err(broken(format!("sessions {other} and {id} are both open behind {key}")));
        }
    }
    Ok(())
}

/// P2: a session continues the newest one behind its key if and only if nobody wanted that one to end.
///
/// What asks for a fresh one although the conversation could go on (a turn that says so, silence, a
/// deletion) cannot be seen in what is stored: where it was possible, both are right.
pub(crate) fn p2_succession(ledger: &Ledger, session: &Session, rules: &Rules) -> Kept {
    let id = session.id;
    let no = |how: String| Err(broken(format!("session {id} behind {}: {how}", session.key)));
    let expected = match (session.run, session.previous) {
        (Some(_), None) => OpenReason::Run,
        (Some(run), Some(_)) => return no(format!("it is of {run} alone and continues another")),
        (None, Some(_)) => OpenReason::Continued,
        (None, None) => OpenReason::New,
    };
    if session.open_reason != expected {
        return no(format!("it was opened as {:?}", session.open_reason));
    }
    let Some(began) = told_at(ledger, id, EventType::SessionStarted) else { return Ok(()) };
    let earlier = ledger.sessions.values().filter(|it| it.key == session.key && it.id != id);
    let earlier = earlier.filter_map(|it| {
        let at = told_at(ledger, it.id, EventType::SessionStarted)?;
        (at < began).then_some((at, it))
    });
    let newest = earlier.max_by_key(|(at, _)| *at).map(|(_, it)| it);
    if let Some(newest) = newest
        && told_at(ledger, newest.id, EventType::SessionEnded).is_none_or(|at| at >= began)
    {
        return no(format!("it began before {} had ended", newest.id));
    }
    match (session.previous, newest) {
        (Some(previous), Some(newest)) if previous != newest.id => {
            no(format!("it continues {previous}, the newest before it was {}", newest.id))
        }
        (Some(previous), None) => no(format!("it continues {previous}, which is unknown")),
        (Some(previous), Some(newest))
            if previous == newest.id && !newest.end_reason().is_some_and(is_continued) =>
        {
            no(format!("it continues one that ended {:?}", newest.end_reason()))
        }
        (None, Some(newest)) if goes_on(ledger, session, newest, rules) => {
            no(format!("it is fresh, although {} ended {:?}", newest.id, newest.end_reason()))
        }
        _ => Ok(()),
    }
}

/// Whether nothing could have wanted a fresh session after `newest`.
fn goes_on(ledger: &Ledger, session: &Session, newest: &Session, rules: &Rules) -> bool {
    let rule = rules.of(session.kind);
    let silent = rule.is_some_and(|rule| rule.idle.is_some() || rule.daily.is_some());
    let mut turns = ledger.runs.values().filter(|run| run.session == Some(session.id));
    let fresh = turns.any(|run| run.input.as_ref().is_some_and(|input| input.fresh));
    newest.end_reason().is_some_and(is_continued)
        && newest.discard.is_none()
        && !ledger.is_gone(&RecordId::Session(newest.id))
        && !silent
        && !fresh
}

fn is_continued(reason: EndReason) -> bool {
    matches!(reason, EndReason::Shutdown | EndReason::Restart | EndReason::Interrupted)
}

/// The number of the event that tells this of a session.
fn told_at(ledger: &Ledger, session: SessionId, kind: EventType) -> Option<u64> {
    let mut told = ledger.told_of_session(session);
    told.find(|event| event.fact.kind == kind).map(|event| event.seq)
}

/// A turn on a key: at which age of the world it was decided and stored, and how it left the queue.
struct Turn {
    run: RunId,
    decided: Duration,
    stored: Duration,
    /// The number of the event with which it left the queue.
    left: Option<u64>,
    started: bool,
}

/// Between what a decision read and its own time the store may be late a few times.
const LATE: Duration = Duration::from_secs(20);

/// P2: behind a key it is first come, first served: a turn that was stored before another was asked for
/// is started, or given up, before that one starts.
pub(crate) fn p2_first_come_first_served(ledger: &Ledger, time: &Time) -> Kept {
    let mut keys: BTreeMap<&SessionKey, Vec<Turn>> = BTreeMap::new();
    for run in ledger.runs.values().filter(|run| run.attempt == 1 && is_shared(&run.session_key)) {
        if let Some(turn) = turn(ledger, time, run) {
            keys.entry(&run.session_key).or_default().push(turn);
        }
    }
    for (key, turns) in keys {
        for later in turns.iter().filter(|turn| turn.started) {
            let overtaken = turns.iter().find(|earlier| {
                earlier.stored + LATE < later.decided
                    && earlier.left.is_none_or(|left| Some(left) > later.left)
            });
            if let Some(earlier) = overtaken {
                let (one, other) = (earlier.run, later.run);
                return Err(broken(format!("behind {key}, {other} started before {one}")));
            }
        }
    }
    Ok(())
}

/// Whether sessions follow each other behind a key.
fn is_shared(key: &SessionKey) -> bool {
    key.kind() != SessionKind::Run
}

fn turn(ledger: &Ledger, time: &Time, run: &Run) -> Option<Turn> {
    let mut told = ledger.told_of_run(run.id);
    let queued = told.find(|event| event.fact.kind == EventType::RunQueued)?;
    let left = told.find(|event| event.fact.kind != EventType::RunQueued);
    let stored = ledger.stored_at(queued.seq)?;
    Some(Turn {
        run: run.id,
        decided: time.age_of(queued.fact.at, stored),
        stored,
        left: left.map(|event| event.seq),
        started: left.is_some_and(|event| event.fact.kind == EventType::RunStarted),
    })
}

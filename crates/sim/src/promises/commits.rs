//! P1 and P5 of each commit, judged when it is stored: what it says, what it tells, what it undoes.

use sexton_domain::change::Record;
use sexton_domain::event::{EventType, NewEvent};
use sexton_domain::run::Run;
use sexton_domain::session::Session;
use sexton_store::Driver;

use super::Kept;
use crate::diary::{Broken, Promise};
use crate::ledger::inline;

fn broken(how: String) -> Broken {
    Broken::new(Promise::P1, how)
}

/// P1: where a run or a session begins, moves on or ends, the same commit tells it.
pub(crate) fn p1_told_with_it(
    before: Option<&Record>,
    after: &Record,
    events: &[NewEvent],
) -> Kept {
    let (id, state, is_told) = match (before, after) {
        (Some(Record::Run(before)), Record::Run(after)) if before.state == after.state => {
            return Ok(());
        }
        (Some(Record::Session(before)), Record::Session(after)) if before.state == after.state => {
            return Ok(());
        }
        (_, Record::Run(run)) => {
            let is_told = events.iter().any(|event| event.subject.run == Some(run.id));
            (run.id.to_string(), format!("{:?}", run.state), is_told)
        }
        (_, Record::Session(session)) => {
            let is_told = events.iter().any(|event| event.subject.session == Some(session.id));
            (session.id.to_string(), format!("{:?}", session.state), is_told)
        }
        _ => return Ok(()),
    };
    match is_told {
        true => Ok(()),
        false => Err(broken(format!("{id} becomes {state} in a commit that tells nothing of it"))),
    }
}

/// P5: a run that is alone in its job, as the job's overlap policy says, starts beside no other.
pub(crate) fn p5_alone(store: &dyn Driver, after: &Record, events: &[NewEvent]) -> Kept {
    let Record::Run(run) = after else { return Ok(()) };
    let (Some(job), true) = (run.job, run.alone && run.owner().is_some()) else { return Ok(()) };
    let starts = |it: &NewEvent| it.kind == EventType::RunStarted && it.subject.run == Some(run.id);
    if !events.iter().any(starts) {
        return Ok(());
    }
    let active = inline(store.active_runs(job));
    match active.iter().find(|other| other.owner().is_some() && other.id != run.id) {
        None => Ok(()),
        Some(other) => {
            let how = format!("{} is alone in its job and starts beside {}", run.id, other.id);
            Err(Broken::new(Promise::P5, how))
        }
    }
}

/// P1: an end stays, and so does a wish that something ends.
pub(crate) fn p1_nothing_is_undone(before: &Record, after: &Record) -> Kept {
    match (before, after) {
        (Record::Run(before), Record::Run(after)) => run(before, after),
        (Record::Session(before), Record::Session(after)) => session(before, after),
        _ => Ok(()),
    }
}

fn run(before: &Run, after: &Run) -> Kept {
    let no = |what: &str| {
        let (id, was, is) = (before.id, before.state, after.state);
        Err(broken(format!("{what} of run {id} is undone: it was {was:?} and is {is:?}")))
    };
    // A record of slots that nobody made up for grows, and is over at another time then.
    let may_grow = before.started_at.is_none() && before.outcome() == after.outcome();
    match () {
        () if !before.is_active() && before.state != after.state && !may_grow => no("the end"),
        () if before.cancel.is_some() && after.cancel.is_none() => no("a request to cancel"),
        () => Ok(()),
    }
}

fn session(before: &Session, after: &Session) -> Kept {
    let no = |what: &str| {
        let (id, was, is) = (before.id, before.state, after.state);
        Err(broken(format!("{what} of session {id} is undone: it was {was:?} and is {is:?}")))
    };
    match () {
        () if !before.is_open() && before.state != after.state => no("the end"),
        () if before.closing.is_some() && after.closing.is_none() => no("a wish to end"),
        () if before.discard.is_some() && after.discard.is_none() => no("a deletion by hand"),
        () => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use sexton_domain::change::Version;
    use sexton_domain::id::Ids;
    use sexton_domain::key::SessionKind;
    use sexton_domain::node::{Epoch, Owner};
    use sexton_domain::run::{CancelRequest, Cause, Outcome, Reason, State};
    use sexton_domain::session::{self, Discard, EndReason, OpenReason};

    use super::*;

    const AT: jiff::Timestamp = jiff::Timestamp::UNIX_EPOCH;

    fn is_undone(before: Record, after: Record) -> bool {
        p1_nothing_is_undone(&before, &after).is_err()
    }

    fn some_run() -> Run {
        let key = "agent:main:main".parse().unwrap();
        Run::queued(Ids::new(AT, 1).mint(), "main".parse().unwrap(), key, Cause::Message, AT)
    }

    fn some_session() -> Session {
        let mut ids = Ids::new(AT, 2);
        Session {
            id: ids.mint(),
            key: "agent:main:main".parse().unwrap(),
            kind: SessionKind::Main,
            agent: "main".parse().unwrap(),
            job: None,
            job_key: None,
            run: None,
            owner: Owner { node: ids.mint(), epoch: Epoch::new(1, 1) },
            previous: None,
            next: None,
            opened_at: AT,
            open_reason: OpenReason::New,
            state: session::State::Open,
            entry_count: 0,
            bytes: 0,
            expires_at: None,
            hold: None,
            pinned: false,
            active_at: None,
            closing: None,
            discard: None,
            usage: None,
            origin: None,
            imported_at: None,
            version: Version::NEW,
        }
    }

    /// P1.
    #[test]
    fn neither_an_end_of_a_run_nor_a_request_for_it_is_undone() {
        let queued = || Box::new(some_run());
        let end = State::Ended { at: AT, outcome: Outcome::Cancelled, reason: Reason::Operator };
        let ended = || Box::new(Run { state: end, started_at: Some(AT), ..some_run() });
        let cancel = Some(CancelRequest { reason: Reason::Operator, at: AT });
        let asked = || Box::new(Run { cancel, ..some_run() });
        assert!(is_undone(Record::Run(ended()), Record::Run(queued())));
        assert!(is_undone(Record::Run(asked()), Record::Run(queued())));
        assert!(!is_undone(Record::Run(queued()), Record::Run(asked())));
        assert!(!is_undone(Record::Run(queued()), Record::Run(ended())));
    }

    /// P1.
    #[test]
    fn neither_an_end_of_a_session_nor_a_wish_for_it_is_undone() {
        let open = || Record::Session(Box::new(some_session()));
        let record = |session| Record::Session(Box::new(session));
        let state = session::State::Ended { at: AT, reason: EndReason::Idle };
        let ended = || record(Session { state, ..some_session() });
        let closing = record(Session { closing: Some(EndReason::Reset), ..some_session() });
        let discard = Some(Discard::Purge);
        let deleted = record(Session { state, discard, ..some_session() });
        assert!(is_undone(ended(), open()));
        assert!(is_undone(closing, open()));
        assert!(is_undone(deleted, ended()));
        assert!(!is_undone(open(), ended()));
    }
}

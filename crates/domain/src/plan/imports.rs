//! What an import makes of a session or a run that an earlier one brought, and that is told of again.

use crate::run::{Outcome, Run};
use crate::session::{EndReason, Session};
use crate::usage::Tokens;

/// The session as it is stored from now on; none where nothing that is told of it is new. `grew` says that
/// entries were added.
///
/// What is told may be poorer than what was: histories are pruned there. So the end is taken over where it
/// is later or better known, the usage where it is more, the run where none was known. The age counts anew
/// only where one of these is news, or entries were added. What became of the session here stays: its pin,
/// a deletion, the sessions it is linked with.
pub fn regrown(before: &Session, told: &Session, grew: bool) -> Option<Session> {
    let mut grown = before.clone();
    if ends_anew(before, told, grew) {
        // With the evidence of the end.
        (grown.state, grown.origin) = (told.state, told.origin.clone());
    }
    if before.key.is_makeshift() && !told.key.is_makeshift() {
        (grown.key, grown.kind, grown.agent) = (told.key.clone(), told.kind, told.agent.clone());
        (grown.job, grown.job_key) = (told.job, told.job_key.clone());
        grown.previous = told.previous;
    }
    if grew && before.entry_count == 0 {
        // Its row alone had told when it began.
        grown.opened_at = told.opened_at;
    }
    grown.usage = more(before.usage, told.usage);
    match (before.run, told.run) {
        (None, None) => grown.active_at = before.active_at.max(told.active_at),
        (None, run) => (grown.run, grown.active_at) = (run, told.active_at),
        (Some(_), _) => {}
    }
    if grew || grown != *before {
        // The reaper looks at it once, and indexes it by the policies that hold.
        (grown.imported_at, grown.expires_at) = (told.imported_at, told.expires_at);
    }
    grown.next = before.next.or(told.next);
    (grown != *before).then_some(grown)
}

/// Whether the end is as it is told now: it came later, or is better known.
fn ends_anew(before: &Session, told: &Session, grew: bool) -> bool {
    let [was, is] = [before, told].map(|session| session.end_reason().map_or(0, known));
    // The time of a row alone is no evidence that an end which was known is not the last one.
    let timed = is > 0 || was == 0 || grew || before.entry_count > 0;
    is > was || (timed && (is == was || grew) && told.ended_at() > before.ended_at())
}

/// How well an end is known.
fn known(reason: EndReason) -> u8 {
    match reason {
        EndReason::Unknown | EndReason::Interrupted => 0,
        // It waited for its next message, or was put away whatever had ended it.
        EndReason::Restart | EndReason::Reset | EndReason::Deleted => 1,
        _ => 2,
    }
}

/// The run as it is stored from now on; none where nothing that is told of it is new: how it ended where
/// that was lost sight of, and its session where none was known.
pub fn relearned(before: &Run, told: &Run) -> Option<Run> {
    before.imported_at?;
    let is_guess = |run: &Run| run.outcome() == Some(Outcome::Interrupted);
    let mut learned = before.clone();
    if is_guess(before) && !is_guess(told) {
        (learned.state, learned.started_at) = (told.state, told.started_at);
        (learned.error, learned.origin) = (told.error.clone(), told.origin.clone());
        learned.output = told.output.clone().or(learned.output);
        learned.usage = told.usage.or(learned.usage);
    }
    learned.session = before.session.or(told.session);
    (learned != *before).then_some(learned)
}

/// The larger one.
fn more(before: Option<Tokens>, told: Option<Tokens>) -> Option<Tokens> {
    let size = |tokens: Tokens| (tokens.input.saturating_add(tokens.output), tokens.cost_micro_usd);
    if told.map(size) > before.map(size) { told } else { before }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::change::Version;
    use crate::id::{Ids, SessionId};
    use crate::key::{SessionKey, SessionKind};
    use crate::origin::Origin;
    use crate::plan::fixtures::{conversation, shared, time};
    use crate::run::{self, Cause, Reason, RunError};
    use crate::session::{Discard, EndReason, OpenReason, State};
    use crate::usage::Tokens;

    /// A chat as an import tells of it.
    fn told(ended_at: Timestamp, reason: EndReason, imported_at: Timestamp) -> Session {
        let texts = ["openclaw", "s", "sessions.json", "key s"].map(str::to_owned);
        let [system, id, source, place] = texts;
        let data = serde_json::json!({ "ended_at": ended_at });
        Session {
            id: ids()[0],
            key: shared("telegram:direct:7"),
            kind: SessionKind::Chat,
            open_reason: OpenReason::Imported,
            state: State::Ended { at: ended_at, reason },
            expires_at: Some(imported_at),
            active_at: Some(ended_at),
            usage: Some(Tokens { input: ended_at.as_second() as u64, ..Tokens::default() }),
            origin: Some(Box::new(Origin { system, id, source, place, data })),
            imported_at: Some(imported_at),
            ..conversation()
        }
    }

    fn ids() -> [SessionId; 3] {
        let mut ids = Ids::new(time("09:00"), 1);
        [ids.mint(), ids.mint(), ids.mint()]
    }

    /// As the store has it, some time after the import.
    fn kept(told: Session) -> Session {
        let [_, previous, next] = ids();
        Session {
            previous: Some(previous),
            next: Some(next),
            entry_count: 3,
            bytes: 30,
            expires_at: None,
            pinned: true,
            discard: Some(Discard::Archive),
            version: Version(4),
            ..told
        }
    }

    /// P6: what grew there is as young here as the import that brought the rest.
    #[test]
    fn a_session_that_went_on_there_ends_as_it_is_told_now_and_stays_what_it_became_here() {
        let before = kept(told(time("10:00"), EndReason::Restart, time("12:00")));
        let again = told(time("11:00"), EndReason::Interrupted, time("13:00"));
        let grown = regrown(&before, &again, true).unwrap();
        assert_eq!((grown.state, grown.active_at), (again.state, again.active_at));
        assert_eq!((grown.usage, &grown.origin), (again.usage, &again.origin));
        assert_eq!(grown.aged_from(), Some(time("13:00")));
        assert_eq!(grown.expires_at, Some(time("13:00")));
        let Session { state, active_at, usage, imported_at, expires_at, ref origin, .. } = grown;
        let origin = origin.clone();
        let rest = Session { state, active_at, usage, imported_at, expires_at, origin, ..before };
        assert_eq!(grown, rest);
        let third = told(time("11:00"), EndReason::Interrupted, time("14:00"));
        assert_eq!(regrown(&grown, &third, false), None);
    }

    /// Its index could not be read at the first import, and its conversation was nobody's for ever.
    #[test]
    fn a_session_has_its_own_key_once_that_is_told_and_keeps_it() {
        let own = told(time("10:00"), EndReason::Restart, time("12:00"));
        let key = SessionKey::makeshift(&own.agent, "s").unwrap();
        let makeshift = Session { kind: key.kind(), key, ..own.clone() };
        let again = Session { previous: Some(ids()[1]), ..own.clone() };
        let grown = regrown(&makeshift, &again, false).unwrap();
        assert_eq!((&grown.key, grown.kind, grown.previous), (&own.key, own.kind, again.previous));
        assert_eq!(regrown(&own, &makeshift, false), None);
        let other = Session { key: shared("telegram:direct:8"), ..own.clone() };
        assert_eq!(regrown(&own, &other, false), None);
    }

    #[test]
    fn a_session_began_when_its_transcript_says_once_that_is_there() {
        let row = told(time("10:00"), EndReason::Restart, time("12:00"));
        let text = Session { opened_at: time("09:30"), ..row.clone() };
        let opened = |before: &Session| regrown(before, &text, true).unwrap().opened_at;
        assert_eq!(opened(&row), time("09:30"));
        assert_eq!(opened(&kept(row.clone())), row.opened_at);
    }

    #[test]
    fn each_news_is_reason_enough_and_a_later_import_alone_is_none() {
        let before = told(time("10:00"), EndReason::Restart, time("12:00"));
        let again = told(time("10:00"), EndReason::Restart, time("13:00"));
        assert_eq!(regrown(&before, &again, false), None);
        let other = told(time("10:30"), EndReason::Failed, time("13:00"));
        let mut news = [again.clone(), again.clone(), again.clone(), again.clone()];
        news[0].state = other.state;
        news[0].origin = other.origin;
        news[1].active_at = other.active_at;
        news[2].usage = other.usage;
        (news[3].run, news[3].active_at) = (Some(Ids::new(time("09:00"), 2).mint()), None);
        for told in news {
            assert_eq!(regrown(&before, &told, false), Some(told));
        }
        assert_eq!(regrown(&before, &again, true), Some(again.clone()));
        // Being linked makes nothing younger.
        let next = Some(ids()[1]);
        let linked = regrown(&before, &Session { next, ..again }, false);
        assert_eq!(linked, Some(Session { next, ..before }));
    }

    /// P2, P6: the history of runs is pruned there after some days. What it had said of an end was taken
    /// back by the next import, and the age of the session began anew.
    #[test]
    fn what_is_told_no_more_changes_neither_the_end_nor_the_age() {
        let run = Some(Ids::new(time("09:00"), 2).mint());
        let at = |clock, reason, imported| told(time(clock), reason, time(imported));
        for known in [EndReason::Completed, EndReason::Failed, EndReason::Restart] {
            let history = at("10:00", known, "12:00");
            let before = kept(Session { run, active_at: None, ..history });
            for guess in [EndReason::Unknown, EndReason::Interrupted] {
                for clock in ["09:30", "10:00"] {
                    let poorer = Session { usage: None, ..at(clock, guess, "13:00") };
                    assert_eq!(regrown(&before, &poorer, false), None, "{known:?} {guess:?}");
                }
                // The row of a session without a transcript was written to after the end of its run.
                let bare = Session { entry_count: 0, ..before.clone() };
                let poorer = Session { usage: None, ..at("10:01", guess, "13:00") };
                assert_eq!(regrown(&bare, &poorer, false), None, "{known:?} {guess:?}");
            }
        }
        let before = kept(at("10:00", EndReason::Restart, "12:00"));
        let earlier = at("09:00", EndReason::Restart, "13:00");
        assert_eq!(regrown(&before, &earlier, false), None);
    }

    /// Putting a transcript aside there, as a sweep does, is no later end of a run's session.
    #[test]
    fn what_had_ended_is_not_ended_again_by_being_put_away() {
        let before = kept(told(time("10:00"), EndReason::Completed, time("12:00")));
        let put_away = told(time("11:00"), EndReason::Deleted, time("13:00"));
        let same = Session { usage: before.usage, active_at: before.active_at, ..put_away.clone() };
        assert_eq!(regrown(&before, &same, false), None);
        let waiting = kept(told(time("10:00"), EndReason::Restart, time("12:00")));
        assert_eq!(regrown(&waiting, &put_away, false).unwrap().state, put_away.state);
    }

    #[test]
    fn an_end_that_was_guessed_is_taken_over_once_it_is_known() {
        let at = |clock, reason| told(time(clock), reason, time("13:00"));
        for (guess, known) in [
            (EndReason::Unknown, EndReason::Completed),
            (EndReason::Interrupted, EndReason::Failed),
            (EndReason::Interrupted, EndReason::Restart),
            // It is put away there, and waits no more.
            (EndReason::Restart, EndReason::Completed),
        ] {
            let before = kept(at("10:00", guess));
            let told = at("09:59", known);
            let grown = regrown(&before, &told, false).unwrap();
            assert_eq!((grown.state, &grown.origin), (told.state, &told.origin), "{guess:?}");
            assert_eq!((grown.active_at, grown.usage), (before.active_at, before.usage));
        }
    }

    /// A run as an import tells of it.
    fn ran(outcome: Outcome, session: Option<SessionId>, imported: &str) -> Run {
        let Session { agent, key, origin, imported_at, .. } =
            told(time("10:00"), EndReason::Completed, time(imported));
        let reason = Reason::Crash;
        let id = Ids::new(time("09:00"), 3).mint();
        Run {
            state: run::State::Ended { at: time("10:00"), outcome, reason },
            session,
            error: Some(RunError { class: "c".to_owned(), message: format!("{outcome:?}") }),
            origin,
            imported_at,
            ..Run::queued(id, agent, key, Cause::Schedule, time("09:00"))
        }
    }

    /// P2: an import met a run whose end was not written down yet, and it stayed interrupted for ever.
    #[test]
    fn a_run_that_was_lost_sight_of_has_its_end_and_its_session_once_they_are_told() {
        let [session, other, _] = ids();
        let before = Run { version: Version(4), ..ran(Outcome::Interrupted, None, "12:00") };
        let told = ran(Outcome::Failed, Some(session), "13:00");
        let learned = relearned(&before, &told).unwrap();
        let Run { imported_at, version, .. } = before;
        assert_eq!(learned, Run { imported_at, version, ..told });

        let poorer = |session| Run { error: None, ..ran(Outcome::Interrupted, session, "14:00") };
        assert_eq!(relearned(&learned, &poorer(None)), None);
        assert_eq!(relearned(&learned, &ran(Outcome::Ok, Some(other), "14:00")), None);
        let linked = relearned(&before, &poorer(Some(session)));
        assert_eq!(linked, Some(Run { session: Some(session), ..before.clone() }));
        let own = Run { imported_at: None, ..before };
        assert_eq!(relearned(&own, &ran(Outcome::Ok, Some(session), "13:00")), None);
    }
}

//! In which session a turn works, for everything that may lie behind its key.

use super::*;
use crate::change::{Change, Effect, Record};
use crate::id::RunId;
use crate::job::{Overlap, Spec, Target};
use crate::plan::admission::NotClaimed;
use crate::plan::ending::Ending;
use crate::plan::fixtures::{World, cron, message, node, ok, shared, span, spec, time};
use crate::plan::messages::{Message, Place};
use crate::plan::sessions::{self, End};
use crate::reset::Rule;
use crate::run::{Outcome, Reason};
use crate::session::Discard;

/// A world in which a first turn on `main` has ended at 10:00, and its session.
fn talked() -> (World, Session) {
    let mut world = World::new("10:00");
    world.send("main", "hello").unwrap();
    world.run_first(ok());
    let session = world.open_on(&shared("main")).unwrap().clone();
    (world, session)
}

/// One turn more, from its claim to its end; the session in which it worked.
fn turn(world: &mut World) -> Session {
    world.send("main", "and then?").unwrap();
    let run = world.run_first(ok());
    world.sessions[&world.runs[&run].session.unwrap()].clone()
}

/// What a turn finds when the open session ended for this reason.
fn after(reason: EndReason) -> (World, Session, Session) {
    let (mut world, first) = talked();
    let decision = ending::end_session(&first, reason, &mut world.moment());
    world.commit(decision);
    let next = turn(&mut world);
    (world, first, next)
}

/// P2: turns share the session behind their key; it stays open between them.
#[test]
fn a_turn_works_in_the_open_session_behind_its_key() {
    let (mut world, first) = talked();
    assert_eq!((first.run, first.job), (None, None));
    assert_eq!((first.open_reason, first.previous), (OpenReason::New, None));
    assert_eq!((first.active_at, first.is_open()), (Some(time("10:00")), true));
    world.at("11:00");
    let session = turn(&mut world);
    assert_eq!((session.id, session.active_at), (first.id, Some(time("11:00"))));
    assert_eq!(world.told(EventType::SessionStarted), 1);
    assert_eq!(world.told(EventType::SessionEnded), 0);
}

#[test]
fn silence_counts_from_the_start_of_a_turn_and_again_from_its_end() {
    let (mut world, first) = talked();
    world.send("main", "work long").unwrap();
    world.at("12:00");
    let run = world.start_first();
    assert_eq!(world.sessions[&first.id].active_at, Some(time("12:00")));
    world.at("13:00").end(run, ok());
    assert_eq!(world.sessions[&first.id].active_at, Some(time("13:00")));
}

/// The conversation goes on where nobody wanted it to end, and nowhere else: every reason.
#[test]
fn a_conversation_goes_on_after_a_stop_and_a_crash_and_begins_anew_after_everything_else() {
    for reason in EndReason::ALL {
        let (_, first, next) = after(reason);
        let goes_on =
            matches!(reason, EndReason::Shutdown | EndReason::Restart | EndReason::Interrupted);
        let expected = match goes_on {
            true => (OpenReason::Continued, Some(first.id)),
            false => (OpenReason::New, None),
        };
        assert_eq!((next.open_reason, next.previous), expected, "{reason:?}");
        assert_ne!(next.id, first.id);
    }
}

/// P6: between the look of the claim and its commit the reaper may take the predecessor.
#[test]
fn a_claim_that_continues_a_session_requires_that_it_is_still_there_and_names_its_successor_in_it()
{
    let (mut world, first) = talked();
    let decision = ending::end_session(&first, EndReason::Restart, &mut world.moment());
    world.commit(decision);
    let run = world.send("main", "go on").unwrap();
    let mut moment = world.moment();
    let claim = world.claimed(run, &mut moment).unwrap();
    let put = claim.changes.iter().find_map(|change| match change {
        Change::Put(Record::Session(session)) if session.id == first.id => Some(session),
        _ => None,
    });
    let put = put.expect("the predecessor is stored with its successor");
    assert_eq!(put.version, world.sessions[&first.id].version);
    let next = put.next;
    world.commit(claim);
    assert_eq!(next, Some(world.open_on(&shared("main")).unwrap().id));
}

/// The session in which the conversation went on, or after which it was over, was deleted: what comes then
/// does not go back to the part before it.
#[test]
fn a_conversation_goes_on_once() {
    for (clock, goes_on) in [("10:59", true), ("11:00", false)] {
        let (mut world, first) = talked();
        world.rules.main = Rule { idle: Some(span("1h")), daily: None };
        world.crash();
        let second = turn(world.at(clock));
        assert_eq!(second.previous, goes_on.then_some(first.id));
        world.sessions.remove(&second.id);
        world.rules = Rules::default();
        let third = turn(&mut world);
        assert_eq!((third.open_reason, third.previous), (OpenReason::New, None), "{clock}");
    }
}

#[test]
fn a_deleted_conversation_does_not_go_on() {
    let (mut world, first) = talked();
    world.crash();
    world
        .command(first.id, |snapshot, moment| sessions::delete(snapshot, Discard::Purge, moment))
        .unwrap();
    let next = turn(&mut world);
    assert_eq!((next.open_reason, next.previous), (OpenReason::New, None));
}

/// Restarts alone do not keep a conversation alive for longer than `[reset]` allows.
#[test]
fn a_conversation_that_was_silent_for_too_long_does_not_go_on_after_a_restart() {
    for (clock, goes_on) in [("10:59", true), ("11:00", false)] {
        let (mut world, _) = talked();
        world.rules.main = Rule { idle: Some(span("1h")), daily: None };
        world.at("10:30").crash();
        world.at(clock);
        assert_eq!(turn(&mut world).previous.is_some(), goes_on, "{clock}");
    }
}

/// P2: what is over ends in the commit that opens what follows.
#[test]
fn a_turn_after_too_long_a_silence_ends_the_open_session_and_opens_a_fresh_one() {
    let (mut world, first) = talked();
    world.rules.main = Rule { idle: Some(span("1h")), daily: None };
    world.at("11:00");
    let next = turn(&mut world);
    let ended = &world.sessions[&first.id];
    assert_eq!(ended.end_reason(), Some(EndReason::Idle));
    assert_eq!((next.open_reason, next.previous), (OpenReason::New, None));
    assert_ne!(next.id, first.id);
}

#[test]
fn a_message_that_asks_for_it_opens_a_fresh_session() {
    let (mut world, first) = talked();
    world.say(Message { place: Place::Fresh, ..message("main", "/new") }).unwrap();
    world.run_first(ok());
    assert_eq!(world.sessions[&first.id].end_reason(), Some(EndReason::New));
    let next = world.open_on(&shared("main")).unwrap();
    assert_eq!((next.open_reason, next.previous), (OpenReason::New, None));
    // Also where a crash has ended the one before.
    world.crash();
    world.say(Message { place: Place::Fresh, ..message("main", "/new") }).unwrap();
    let run = world.run_first(ok());
    assert_eq!(world.sessions[&world.runs[&run].session.unwrap()].previous, None);
}

/// P4: a session has one owner; nobody else works in it.
#[test]
fn a_session_that_another_epoch_keeps_is_left_to_it() {
    let (mut world, first) = talked();
    let run = world.send("main", "go on").unwrap();
    world.owner = node(2).owner();
    let mut moment = world.moment();
    let refused = world.claimed(run, &mut moment);
    assert_eq!(refused.unwrap_err(), NotClaimed::Elsewhere(Elsewhere(first.id)));
}

fn on(target: Target) -> Spec {
    Spec { target, overlap: Overlap::Allow, ..spec(cron("0 * * * *")) }
}

/// A session that several may share belongs to no job; a job's own one does.
#[test]
fn only_a_jobs_own_session_belongs_to_it() {
    for (key, is_its_own) in [("main", false), ("telegram:group:1", false), ("cron:job", true)] {
        let (mut world, job) = World::with("10:30", on(Target::Key(shared(key))));
        world.at("11:00").account(job);
        world.run_first(ok());
        let session = world.open_on(&shared(key)).unwrap();
        assert_eq!(session.job, is_its_own.then_some(job), "{key}");
        assert_eq!(session.job_key.is_some(), is_its_own);
    }
}

/// A job on a shared key is one of those who talk there.
#[test]
fn runs_of_a_job_and_messages_work_in_one_session() {
    let (mut world, job) = World::with("10:30", on(Target::Main));
    world.send("main", "hello").unwrap();
    world.at("11:00").account(job);
    world.send("main", "hello again").unwrap();
    let sessions: Vec<_> = (0..3)
        .map(|_| {
            let run: RunId = world.run_first(ok());
            (world.runs[&run].job, world.runs[&run].session)
        })
        .collect();
    let shared = sessions[0].1;
    assert_eq!(sessions, [(None, shared), (Some(job), shared), (None, shared)]);
}

/// The retry of a job on a shared key is a turn on that key.
#[test]
fn a_retry_stays_on_its_key() {
    let spec = Spec { retries: Some(1), ..on(Target::Main) };
    let (mut world, job) = World::with("10:30", spec);
    world.at("11:00").account(job);
    let failed = Ending::plain(Outcome::Failed, Reason::Exit);
    let first = world.run_first(failed);
    world.rest(job);
    let second = world.run_first(ok());
    let runs = [first, second].map(|run| world.runs[&run].clone());
    assert_eq!(runs[0].session_key, runs[1].session_key);
    assert_eq!(runs[0].session, runs[1].session);
    assert!(world.open_on(&shared("main")).is_some());
}

#[test]
fn the_effect_carries_the_session_as_it_is_stored() {
    let (mut world, first) = talked();
    let run = world.send("main", "go on").unwrap();
    let effects = world.start(run);
    let stored = world.sessions[&first.id].clone();
    let [Effect::Start { session, .. }] = &effects[..] else { panic!("{effects:?}") };
    assert_eq!(**session, stored);
}

#[test]
fn a_session_that_is_to_end_and_has_no_turn_ends_when_the_next_one_comes() {
    let (mut world, first) = talked();
    // No decision leaves this behind; a turn that finds it puts it right.
    let closing = Session { closing: Some(EndReason::Reset), ..first.clone() };
    world.sessions.insert(first.id, closing);
    assert_ne!(turn(&mut world).id, first.id);
    assert_eq!(world.sessions[&first.id].end_reason(), Some(EndReason::Reset));
    let again = world.command(first.id, |it, moment| sessions::end(it, End::Reset, moment));
    assert_eq!(again.unwrap(), []);
}

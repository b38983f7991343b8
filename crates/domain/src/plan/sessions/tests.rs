//! Commands on sessions in every state they can be in, and any mix of everything that can happen.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::change::Effect;
use crate::event::EventType;
use crate::plan::ending::Ending;
use crate::plan::fixtures::{World, crashed, cron, failed, message, ok, shared, span, spec, time};
use crate::plan::messages::{Message, Place};
use crate::reset::Rule;
use crate::run::Outcome;
use crate::session::OpenReason;

/// Every command that ends a session, and the reason that it gives.
const ENDS: [(Command, EndReason); 4] = [
    (Command::End, EndReason::Completed),
    (Command::Reset, EndReason::Reset),
    (Command::Delete(Discard::Archive), EndReason::Deleted),
    (Command::Delete(Discard::Purge), EndReason::Deleted),
];

#[derive(Debug, Clone, Copy)]
enum Command {
    End,
    Reset,
    Delete(Discard),
    Pin,
    Unpin,
}

fn run(world: &mut World, id: SessionId, command: Command) -> Result<Vec<Effect>, Refused> {
    world.command(id, |snapshot, moment| match command {
        Command::End => end(snapshot, End::End, moment),
        Command::Reset => end(snapshot, End::Reset, moment),
        Command::Delete(discard) => delete(snapshot, discard, moment),
        Command::Pin => Ok(pin(snapshot.session)),
        Command::Unpin => Ok(unpin(snapshot.session, moment)),
    })
}

/// A conversation between two turns.
fn talked() -> (World, SessionId) {
    let mut world = World::new("10:00");
    world.send("main", "hello").unwrap();
    world.run_first(ok());
    let session = world.open_on(&shared("main")).unwrap().id;
    (world, session)
}

/// A conversation in the middle of a turn.
fn talking() -> (World, SessionId, RunId) {
    let (mut world, session) = talked();
    let run = world.send("main", "work").unwrap();
    world.start(run);
    (world, session, run)
}

/// P2: between two turns a command ends the session at once; said twice, it is done once.
#[test]
fn between_two_turns_a_session_ends_at_once_and_once() {
    for (command, reason) in ENDS {
        let (mut world, session) = talked();
        for _ in 0..2 {
            assert_eq!(run(&mut world, session, command).unwrap(), []);
        }
        let ended = &world.sessions[&session];
        assert_eq!(ended.end_reason(), Some(reason), "{command:?}");
        assert_eq!(world.told(EventType::SessionEnded), 1);
        let discard = if let Command::Delete(discard) = command { Some(discard) } else { None };
        assert_eq!(ended.discard, discard);
    }
}

/// P2: a turn in flight is cancelled first; its end and that of the session are one commit.
#[test]
fn a_turn_in_flight_is_cancelled_first_and_takes_the_session_with_it() {
    for (command, reason) in ENDS {
        for ending in [Ending::plain(Outcome::Cancelled, Reason::Operator), ok(), failed()] {
            let (mut world, session, turn) = talking();
            for _ in 0..2 {
                assert_eq!(run(&mut world, session, command).unwrap(), [Effect::Stop(turn)]);
                assert!(world.sessions[&session].is_open());
                assert_eq!(world.runs[&turn].cancel.unwrap().reason, Reason::Operator);
            }
            world.at("10:05").end(turn, ending);
            let ended = &world.sessions[&session];
            assert_eq!(ended.end_reason(), Some(reason), "{command:?}");
            assert_eq!(ended.ended_at(), Some(time("10:05")));
            assert_eq!(world.told(EventType::SessionEnded), 1);
        }
    }
}

/// The wish survives the gateway: what was to be reset does not go on after a crash.
#[test]
fn a_session_that_is_to_end_ends_for_that_reason_also_when_its_owner_dies() {
    for (command, reason) in ENDS {
        let (mut world, session, _) = talking();
        run(&mut world, session, command).unwrap();
        world.crash();
        assert_eq!(world.sessions[&session].end_reason(), Some(reason), "{command:?}");
        assert_eq!(world.told(EventType::SessionEnded), 1);
    }
}

#[test]
fn of_two_ends_the_first_counts_and_a_deletion_always() {
    let reason = |commands: &[Command]| {
        let (mut world, session, turn) = talking();
        for command in commands {
            run(&mut world, session, *command).unwrap();
        }
        world.end(turn, ok());
        let ended = &world.sessions[&session];
        (ended.end_reason().unwrap(), ended.discard)
    };
    use Command::{Delete, End, Reset};
    use Discard::{Archive, Purge};
    assert_eq!(reason(&[End, Reset]), (EndReason::Completed, None));
    assert_eq!(reason(&[Reset, End]), (EndReason::Reset, None));
    assert_eq!(reason(&[Reset, Delete(Archive)]), (EndReason::Deleted, Some(Archive)));
    assert_eq!(reason(&[Delete(Archive), Delete(Purge)]), (EndReason::Deleted, Some(Purge)));
    assert_eq!(reason(&[Delete(Purge), Delete(Archive), End]), (EndReason::Deleted, Some(Purge)));
}

/// What waits on the key is not lost: it goes into the session that follows.
#[test]
fn what_is_queued_goes_into_the_session_that_follows() {
    for (command, _) in ENDS {
        let (mut world, session, turn) = talking();
        let waiting = world.send("main", "later").unwrap();
        run(&mut world, session, command).unwrap();
        world.end(turn, Ending::plain(Outcome::Cancelled, Reason::Operator));
        world.run_first(ok());
        let next = world.runs[&waiting].session.unwrap();
        assert_ne!(next, session);
        let next = &world.sessions[&next];
        assert_eq!((next.open_reason, next.previous), (OpenReason::New, None), "{command:?}");
    }
}

/// P6: deleted by hand, an ended session is due at once, whatever held it.
#[test]
fn an_ended_session_that_is_deleted_is_due_at_once() {
    let (mut world, session) = talked();
    run(&mut world, session, Command::End).unwrap();
    world.at("11:00");
    let delete = Command::Delete(Discard::Archive);
    run(&mut world, session, delete).unwrap();
    let before = world.sessions[&session].clone();
    assert_eq!(before.look_at(), Some(time("11:00")));
    assert_eq!(before.end_reason(), Some(EndReason::Completed), "its end stays what it was");
    run(&mut world, session, delete).unwrap();
    assert_eq!(world.sessions[&session], before, "twice is once");
    run(&mut world, session, Command::Delete(Discard::Purge)).unwrap();
    assert_eq!(world.sessions[&session].discard, Some(Discard::Purge));
}

#[test]
fn a_pinned_session_is_not_deleted_until_it_is_unpinned() {
    let (mut world, session) = talked();
    let delete = Command::Delete(Discard::Archive);
    run(&mut world, session, Command::Pin).unwrap();
    run(&mut world, session, Command::Pin).unwrap();
    assert_eq!(run(&mut world, session, delete), Err(Refused::Pinned(session)));
    run(&mut world, session, Command::End).unwrap();
    assert_eq!(run(&mut world, session, delete), Err(Refused::Pinned(session)));
    assert_eq!(world.sessions[&session].look_at(), None);
    run(&mut world, session, Command::Unpin).unwrap();
    assert!(world.sessions[&session].look_at().is_some());
    run(&mut world, session, delete).unwrap();
    assert!(world.sessions[&session].discard.is_some());
}

/// A session was pinned for a day after its time was over and then unpinned: it was overdue from that
/// moment on, by a day, until the next sweep came, and an alert said so.
#[test]
fn an_unpinned_session_is_looked_at_soon_and_not_since_long_ago() {
    let (mut world, session) = talked();
    run(&mut world, session, Command::End).unwrap();
    run(&mut world, session, Command::Pin).unwrap();
    world.at("18:00");
    run(&mut world, session, Command::Unpin).unwrap();
    assert_eq!(world.sessions[&session].look_at(), Some(time("18:00")));
}

/// An isolated session lives as long as its run.
#[test]
fn the_session_of_an_isolated_run_ends_by_cancelling_it_and_has_no_reset() {
    let isolated = || {
        let (mut world, job) = World::with("10:30", spec(cron("0 * * * *")));
        world.at("11:00").account(job);
        let turn = world.start_first();
        let session = world.runs[&turn].session.unwrap();
        (world, session, turn)
    };
    let (mut world, session, turn) = isolated();
    let refused = run(&mut world, session, Command::Reset);
    assert_eq!(refused, Err(Refused::Isolated { session, run: turn }));
    for _ in 0..2 {
        assert_eq!(run(&mut world, session, Command::End).unwrap(), [Effect::Stop(turn)]);
    }
    world.end(turn, Ending::plain(Outcome::Cancelled, Reason::Operator));
    assert_eq!(world.sessions[&session].end_reason(), Some(EndReason::Cancelled));

    let (mut world, session, turn) = isolated();
    run(&mut world, session, Command::Delete(Discard::Purge)).unwrap();
    world.end(turn, Ending::plain(Outcome::Cancelled, Reason::Operator));
    let deleted = &world.sessions[&session];
    assert_eq!(deleted.end_reason(), Some(EndReason::Deleted));
    assert_eq!(deleted.discard, Some(Discard::Purge));
}

fn silence(world: &mut World, session: SessionId) {
    let rules = world.rules.clone();
    let expired: Result<_, std::convert::Infallible> =
        world.command(session, |snapshot, moment| Ok(expire(snapshot, &rules, moment)));
    assert_eq!(expired.unwrap(), []);
}

/// P2: silence ends a session between two turns, never within one.
#[test]
fn a_silent_session_ends_by_the_rule_of_its_kind_unless_a_turn_is_in_flight() {
    let rule = Rule { idle: Some(span("1h")), daily: None };
    let (mut world, session) = talked();
    world.rules.chat = rule.clone();
    silence(world.at("23:00"), session);
    assert!(world.sessions[&session].is_open(), "the rule is that of chats");
    world.rules.main = rule.clone();
    silence(world.at("10:59"), session);
    assert!(world.sessions[&session].is_open());
    for clock in ["11:00", "11:00"] {
        silence(world.at(clock), session);
    }
    assert_eq!(world.sessions[&session].end_reason(), Some(EndReason::Idle));
    assert_eq!(world.told(EventType::SessionEnded), 1);

    let (mut world, session, turn) = talking();
    world.rules.main = rule;
    silence(world.at("15:00"), session);
    assert!(world.sessions[&session].is_open(), "a turn is in flight");
    world.end(turn, ok());
    silence(world.at("15:30"), session);
    assert!(world.sessions[&session].is_open(), "it spoke half an hour ago");
}

#[derive(Debug, Clone)]
enum Step {
    Send { key: u8, fresh: bool },
    Slot,
    Start,
    End(u8),
    Command(Command, u8),
    Silence,
    Wait(u64),
    Crash,
}

fn step() -> impl Strategy<Value = Step> {
    let command = prop_oneof![
        Just(Command::End),
        Just(Command::Reset),
        Just(Command::Delete(Discard::Archive)),
        Just(Command::Delete(Discard::Purge)),
        Just(Command::Pin),
        Just(Command::Unpin),
    ];
    prop_oneof![
        6 => (0_u8..3, proptest::bool::weighted(0.2)).prop_map(|(key, fresh)| Step::Send { key, fresh }),
        2 => Just(Step::Slot),
        6 => Just(Step::Start),
        6 => (0_u8..4).prop_map(Step::End),
        4 => (command, 0_u8..4).prop_map(|(command, which)| Step::Command(command, which)),
        1 => Just(Step::Silence),
        3 => (1_u64..3000).prop_map(Step::Wait),
        1 => Just(Step::Crash),
    ]
}

fn take(world: &mut World, step: Step) {
    match step {
        Step::Send { key, fresh } => {
            let place = if fresh { Place::Fresh } else { Place::Conversation };
            let name = ["main", "telegram:group:1", "cron:job"][usize::from(key)];
            let _ = world.say(Message { place, ..message(name, "hello") });
        }
        Step::Slot => {
            let jobs: Vec<_> = world.jobs.keys().copied().collect();
            for job in jobs {
                world.account(job);
            }
        }
        Step::Start => {
            let running = world.running();
            let busy = |run: &Run| running.iter().any(|it| it.session_key == run.session_key);
            if let Some(run) = world.queued().into_iter().find(|run| !busy(run)) {
                world.start(run.id);
            }
        }
        Step::End(how) => {
            if let Some(run) = world.running().into_iter().next() {
                let ending = [
                    ok(),
                    failed(),
                    crashed(),
                    Ending::plain(Outcome::Cancelled, Reason::Operator),
                ];
                world.end(run.id, ending[usize::from(how)].clone());
            }
        }
        Step::Command(command, which) => {
            let newest = world.sessions.keys().rev().nth(usize::from(which)).copied();
            if let Some(session) = newest {
                let _ = run(world, session, command);
            }
        }
        Step::Silence => {
            let open: Vec<_> = world.sessions.keys().copied().collect();
            open.into_iter().for_each(|session| silence(world, session));
        }
        Step::Wait(seconds) => {
            world.now = crate::duration::Duration::from_secs(seconds).after(world.now);
        }
        Step::Crash => world.crash(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// P2: whatever the mix, a session has one start and at most one end, in this order; one is open
    /// per key (the world checks it with every decision); what runs, runs in an open session; and in
    /// the end nothing is left open that nobody keeps.
    #[test]
    fn every_session_starts_once_and_ends_once_whatever_happens(
        steps in proptest::collection::vec(step(), 1..80),
    ) {
        use crate::job::{Overlap, Spec, Target};
        let shared = |target| Spec { target, overlap: Overlap::Allow, ..spec(cron("*/20 * * * *")) };
        let mut world = World::new("06:00");
        world.rules.main = Rule { idle: Some(span("1h")), daily: None };
        world.put("job", shared(Target::Key(self::shared("cron:job"))));
        world.put("main", shared(Target::Main));
        for step in steps {
            take(&mut world, step);
            for run in world.running() {
                let session = &world.sessions[&run.session.unwrap()];
                prop_assert!(session.is_open(), "{:?} runs in {:?}", run, session);
                prop_assert_eq!(&session.key, &run.session_key);
            }
        }
        world.crash();
        let mut told: BTreeMap<SessionId, Vec<EventType>> = BTreeMap::new();
        for event in world.events.iter().filter(|event| event.kind.name().starts_with("session.")) {
            told.entry(event.subject.session.unwrap()).or_default().push(event.kind);
        }
        prop_assert_eq!(told.len(), world.sessions.len());
        for (session, told) in told {
            prop_assert_eq!(&told[..], &[EventType::SessionStarted, EventType::SessionEnded]);
            prop_assert!(!world.sessions[&session].is_open());
        }
    }
}

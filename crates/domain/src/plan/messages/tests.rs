//! What becomes of a message, and whose turn it is on a key.

use proptest::prelude::*;

use super::*;
use crate::agent::DEFAULT_TIMEOUT;
use crate::job::{Overlap, Spec, Target};
use crate::plan::admission::{Admission, CatchUp, Conditions, Headroom, Limits};
use crate::plan::fixtures::{World, cron, every, message, ok, shared, span, spec};
use crate::plan::jobs;
use crate::plan::turns::{MAX_QUEUED, ahead, is_next};
use crate::run::State;

fn prompt(run: &Run) -> &str {
    &run.input.as_ref().unwrap().prompt
}

#[test]
fn a_message_is_a_turn_with_everything_it_works_from() {
    let mut world = World::new("10:00");
    let run = world.send("main", "hello").unwrap();
    let run = &world.runs[&run];
    assert_eq!((run.cause, run.job, run.slot), (Cause::Message, None, None));
    assert_eq!((run.state, run.session), (State::Queued, None));
    assert_eq!((run.agent.as_str(), prompt(run)), ("shell", "hello"));
    let input = run.input.as_ref().unwrap();
    assert_eq!((input.timeout, input.fresh), (span("10m"), false));
    assert!(!run.is_isolated());
    assert_eq!(world.told(EventType::RunQueued), 1);
}

#[test]
fn who_answers_is_named_or_has_the_conversation_or_is_in_the_key() {
    let mut world = World::new("10:00");
    let opaque = |agent: Option<&str>| Message {
        key: "my-chat".parse().unwrap(),
        agent: agent.map(|agent| agent.parse().unwrap()),
        ..message("main", "hello")
    };
    assert_eq!(world.say(opaque(None)), Err(Refused::NoAgent(opaque(None).key)));
    world.say(opaque(Some("scout"))).unwrap();
    world.run_first(ok());
    let again = world.say(opaque(None)).unwrap();
    assert_eq!(world.runs[&again].agent.as_str(), "scout");
    let named = world.say(opaque(Some("shell"))).unwrap();
    assert_eq!(world.runs[&named].agent.as_str(), "shell");
}

#[test]
fn what_cannot_be_a_turn_is_refused_and_leaves_nothing() {
    let mut world = World::new("10:00");
    let long = "x".repeat(MAX_PROMPT_BYTES + 1);
    let of_run = shared("cron:job:run:1");
    for (name, text, refused) in [
        ("main", " \n", Refused::Empty),
        ("main", &long, Refused::TooLong { len: MAX_PROMPT_BYTES + 1 }),
        ("cron:job:run:1", "hello", Refused::RunKey(of_run)),
    ] {
        assert_eq!(world.send(name, text), Err(refused));
    }
    assert!(world.runs.is_empty() && world.events.is_empty());
    world.send("main", &long[1..]).unwrap();
}

#[test]
fn an_agent_that_nobody_knows_yet_has_the_default_deadline() {
    let said = message("main", "hello");
    let agent = answerer(&said, None).unwrap();
    let snapshot = Snapshot { message: &said, agent: &agent, settings: None, on_key: &[], turn: 7 };
    let mut moment = World::new("10:00").moment();
    let run = turn(snapshot, &mut moment);
    assert_eq!((run.input.unwrap().timeout, run.turn), (DEFAULT_TIMEOUT, 7));
}

/// P6: queues are bounded, and the refusal changes nothing.
#[test]
fn as_many_turns_wait_on_a_key_as_may_and_no_more() {
    let mut world = World::new("10:00");
    world.send("main", "running").unwrap();
    world.start_first();
    for _ in 0..MAX_QUEUED {
        world.send("main", "waiting").unwrap();
    }
    let full = QueueFull { key: shared("main") };
    assert_eq!(world.send("main", "too many"), Err(Refused::QueueFull(full.clone())));
    world.send("other", "elsewhere there is room").unwrap();
    // Nor do those of a job that may overlap itself.
    let allow = Spec { target: Target::Main, overlap: Overlap::Allow, ..spec(every("1h")) };
    let job = world.put("job", allow);
    assert_eq!(world.trigger(job), Err(jobs::Refused::QueueFull(full)));
    let running = world.running()[0].id;
    world.end(running, ok());
    let next = world.on_key(&shared("main"))[0].id;
    world.start(next);
    world.trigger(job).unwrap();
}

/// P5: the slot of a job that finds the queue full is accounted for.
#[test]
fn a_slot_that_finds_the_queue_of_its_key_full_is_skipped() {
    let allow = Spec { target: Target::Main, overlap: Overlap::Allow, ..spec(cron("0 * * * *")) };
    let (mut world, job) = World::with("10:30", allow);
    world.at("11:00").account(job);
    for _ in 1..MAX_QUEUED {
        world.send("main", "waiting").unwrap();
    }
    world.at("12:00").account(job);
    assert_eq!(world.history(job), ["11:00 queued", "12:00 skipped queue_full"]);
}

/// The key's order holds also for runs of jobs that have waited less than others.
#[test]
fn turns_on_a_key_are_taken_in_the_order_in_which_they_were_queued() {
    let on_main = Spec { target: Target::Main, ..spec(cron("0 * * * *")) };
    let (mut world, job) = World::with("10:30", on_main);
    for text in ["one", "two", "three"] {
        world.send("main", text).unwrap();
    }
    world.at("11:00").account(job);
    world.send("main", "four").unwrap();
    let mut taken = Vec::new();
    while let Some(run) = world.queued().first().cloned() {
        assert!(is_next(&run, &world.on_key(&run.session_key)));
        taken.push(prompt(&run).to_owned());
        world.run_first(ok());
    }
    assert_eq!(taken, ["one", "two", "three", "work", "four"]);
}

#[test]
fn a_turn_knows_how_many_come_before_it() {
    let mut world = World::new("10:00");
    let sent: Vec<_> = (0..3).map(|_| world.send("main", "hello").unwrap()).collect();
    let place = |world: &World| {
        let on_key = world.on_key(&shared("main"));
        sent.iter().map(|run| ahead(&world.runs[run], &on_key)).collect::<Vec<_>>()
    };
    assert_eq!(place(&world), [0, 1, 2]);
    world.start(sent[0]);
    assert_eq!(place(&world), [0, 1, 2]);
    world.end(sent[0], ok());
    assert_eq!(place(&world), [0, 0, 1]);
}

/// A later turn does not overtake one whose agent has no room, whose claim was missed, or which this
/// node cannot take.
#[test]
fn nothing_overtakes_a_turn_that_cannot_start_now() {
    let mut world = World::new("10:00");
    let first = world.send("main", "one").unwrap();
    let agent = Some("scout".parse().unwrap());
    let second = world.say(Message { agent, ..message("main", "two") }).unwrap();
    let elsewhere = world.send("other", "three").unwrap();
    let next = |run| is_next(&world.runs[&run], &world.on_key(&world.runs[&run].session_key));
    assert_eq!([first, second, elsewhere].map(next), [true, false, true]);
}

/// A retry that rests does not stop a conversation.
#[test]
fn a_retry_that_rests_does_not_hold_up_its_key() {
    let backoff = "1h".parse().unwrap();
    let retrying =
        Spec { target: Target::Main, retries: Some(1), backoff, ..spec(cron("0 * * * *")) };
    let (mut world, job) = World::with("10:30", retrying);
    world.at("11:00").account(job);
    world.run_first(crate::plan::fixtures::failed());
    let hello = world.send("main", "hello").unwrap();
    assert!(is_next(&world.runs[&hello], &world.on_key(&shared("main"))));
    assert_eq!(ahead(&world.runs[&hello], &world.on_key(&shared("main"))), 0);
}

#[test]
fn a_queued_message_can_be_cancelled() {
    let mut world = World::new("10:00");
    let run = world.send("main", "hello").unwrap();
    world.cancel(run).unwrap();
    assert_eq!(world.told(EventType::RunEnded), 1);
    assert!(world.queued().is_empty() && world.sessions.is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// Keys share the places; on each of them messages are answered in order, one at a time, whatever
    /// the others do.
    #[test]
    fn messages_are_answered_in_order_on_every_key(
        sends in proptest::collection::vec((0_u8..4, 0_u8..3), 1..60),
        places in 1_usize..4,
    ) {
        let mut world = World::new("10:00");
        let mut sent: Vec<(u8, RunId)> = Vec::new();
        let mut answered: Vec<(u8, RunId)> = Vec::new();
        let limits = Limits { runs: places, runs_per_agent: places };
        let open = Conditions { catch_up: CatchUp::Paced, headroom: Headroom::Kept };
        let mut look = |world: &mut World, sent: &[(u8, RunId)]| {
            let mut admission = Admission::new(limits, open, &world.running());
            for run in world.queued() {
                if is_next(&run, &world.on_key(&run.session_key)) && admission.offer(&run).is_ok() {
                    world.start(run.id);
                    let key = sent.iter().find(|(_, id)| *id == run.id).unwrap().0;
                    answered.push((key, run.id));
                }
            }
        };
        for (key, ends) in sends {
            if let Ok(run) = world.send(&format!("chat{key}"), "hello") {
                sent.push((key, run));
            }
            look(&mut world, &sent);
            for run in world.running().into_iter().take(ends.into()) {
                world.end(run.id, ok());
            }
        }
        while !world.queued().is_empty() || !world.running().is_empty() {
            look(&mut world, &sent);
            let run = world.running()[0].id;
            world.end(run, ok());
        }
        for key in 0..4 {
            let of_key = |runs: &[(u8, RunId)]| -> Vec<RunId> {
                runs.iter().filter(|(of, _)| *of == key).map(|(_, run)| *run).collect()
            };
            prop_assert_eq!(of_key(&sent), of_key(&answered));
        }
    }
}

//! Conversations: turns on session keys, what their agents are told, and how their sessions end.

use std::path::Path;
use std::time::Duration;

use futures_util::future::join_all;
use sexton_domain::event::EventType::SessionEnded;
use sexton_domain::id::RunId;
use sexton_domain::job::{Overlap, Target};
use sexton_domain::key::SessionKey;
use sexton_domain::node::EndReason as Stopped;
use sexton_domain::plan::admission::Limits;
use sexton_domain::plan::messages::{Message, Place, Refused};
use sexton_domain::plan::sessions::End;
use sexton_domain::plan::turns::MAX_QUEUED;
use sexton_domain::reset::{Daily, Rule};
use sexton_domain::run::{Outcome, Reason, Run};
use sexton_domain::schedule::Zone;
use sexton_domain::session::{Discard, EndReason, OpenReason};
use sexton_engine::handle::Error;
use sexton_engine::history;

use crate::mailbox::{Then, eventually};
use crate::support::{Node, World, appears, message, starts_and_ends};

/// Keeps what it is told, under the name that the prompt gives, and answers with that name.
const LISTENER: &str = "name=$(cat); cp \"$SEXTON_HISTORY\" \"$name\"; \
    echo \"${SEXTON_PREVIOUS_SESSION_ID:-none}\" > \"$name.previous\"; echo \"you said $name\"";
/// Says that it works and does so until it is let go.
const WORKER: &str = "name=$(cat); touch \"$name.up\"; \
    while [ ! -e \"$name.go\" ]; do sleep 0.01; done; echo \"$name\" >> log; echo done";

/// The texts that an agent found in its history.
fn told(file: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(file).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    lines.map(|line| line["content"].as_str().unwrap().to_owned()).collect()
}

fn log(world: &World) -> Vec<String> {
    std::fs::read_to_string(world.file("log")).unwrap().lines().map(str::to_owned).collect()
}

fn let_go(world: &World, name: &str) {
    std::fs::write(world.file(&format!("{name}.go")), "").unwrap();
}

/// P2: one session for all turns; it knows them all and stays open between them.
#[tokio::test]
async fn turns_share_a_session_and_its_transcript_goes_on_over_all_of_them() {
    let world = World::new().agent("a", LISTENER);
    let node = world.start().await;
    let mut turns = Vec::new();
    for name in ["one", "two", "three"] {
        turns.push(node.ask("main", name).await);
    }
    assert!(turns.iter().all(|turn| turn.outcome() == Some(Outcome::Ok)), "{turns:?}");
    assert!(turns.iter().all(|turn| turn.session == turns[0].session));
    let texts = ["one", "you said one", "two", "you said two", "three", "you said three"];
    assert_eq!(node.transcript(&turns[0]).await, texts);
    let session = node.session_of(&turns[0]).await;
    assert!(session.is_open());
    assert_eq!((session.run, session.entry_count), (None, 6));
    assert_eq!(starts_and_ends(&node.events().await), (1, 0));

    assert_eq!(told(&world.file("one")), [""; 0]);
    assert_eq!(told(&world.file("three")), texts[..4]);
    let first = std::fs::read_to_string(world.file("two")).unwrap();
    let first: serde_json::Value = serde_json::from_str(first.lines().next().unwrap()).unwrap();
    assert_eq!((&first["seq"], &first["role"]), (&1.into(), &"user".into()));
    assert_eq!(first["session_id"], session.id.to_string());
    assert!(first["at"].is_string());
    assert!(
        !world.file("runs").join(turns[2].id.to_string()).exists(),
        "the file goes with its run"
    );
    node.stop(Stopped::Shutdown).await;
}

/// What isolated runs are told has no history.
#[tokio::test]
async fn an_isolated_run_has_no_history() {
    let world = World::new().agent("a", "echo \"${SEXTON_HISTORY:-none}\"");
    let node = world.start().await;
    let job = node.job("j", "a", |_| {}).await;
    assert_eq!(node.run(&job).await.output.as_deref(), Some("none"));
    node.stop(Stopped::Shutdown).await;
}

/// The conversation goes on after a stop; the agent is told of it and of the session before.
#[tokio::test]
async fn a_conversation_goes_on_after_a_stop_and_not_after_a_reset() {
    let world = World::new().agent("a", LISTENER);
    let node = world.start().await;
    let first = node.ask("main", "one").await;
    let first = node.session_of(&first).await;
    node.stop(Stopped::Restart).await;

    let node = world.start().await;
    let second = node.ask("main", "two").await;
    let second = node.session_of(&second).await;
    let before = node.handle.session(first.id).await.unwrap();
    assert_eq!(before.end_reason(), Some(EndReason::Restart));
    assert_eq!((second.open_reason, second.previous), (OpenReason::Continued, Some(first.id)));
    assert_eq!(told(&world.file("two")), ["one", "you said one"]);
    let previous = std::fs::read_to_string(world.file("two.previous")).unwrap();
    assert_eq!(previous.trim(), first.id.to_string());
    node.ask("main", "three").await;
    assert_eq!(told(&world.file("three")), ["one", "you said one", "two", "you said two"]);

    let ended = node.handle.end_session(second.id, End::Reset).await.unwrap();
    assert_eq!(ended.end_reason(), Some(EndReason::Reset));
    let third = node.ask("main", "four").await;
    let third = node.session_of(&third).await;
    assert_eq!((third.open_reason, third.previous), (OpenReason::New, None));
    assert_eq!(told(&world.file("four")), [""; 0]);

    let fresh = Message { place: Place::Fresh, ..message("main", "five") };
    let run = node.handle.send(&fresh).await.unwrap().run;
    node.ended(run.id).await;
    let over = node.handle.session(third.id).await.unwrap();
    assert_eq!(over.end_reason(), Some(EndReason::New));
    assert_eq!(starts_and_ends(&node.events().await), (4, 3));
    node.stop(Stopped::Shutdown).await;
}

/// Limits on every input: a long conversation is told from its newest end, in whole entries.
#[tokio::test]
async fn of_a_long_conversation_the_agent_is_told_the_newest_mebibyte() {
    let talker = "name=$(cat); cp \"$SEXTON_HISTORY\" told; \
        yes \"$name $(head -c 5000 /dev/zero | tr '\\0' x)\" | head -n 120";
    let world = World::new().agent("a", talker).tuned("a", |agent| {
        agent.output_limit_bytes = 1 << 30;
    });
    let node = world.start().await;
    for name in ["one", "two", "three", "four"] {
        let run = node.ask("main", name).await;
        assert_eq!(run.outcome(), Some(Outcome::Ok), "{:?}", run.error);
    }
    let bytes = std::fs::read(world.file("told")).unwrap();
    assert!(bytes.len() <= history::MAX_BYTES, "{}", bytes.len());
    assert!(bytes.len() > history::MAX_BYTES - 10_000, "{}", bytes.len());
    let texts = told(&world.file("told"));
    assert!(texts.last().unwrap().starts_with("three x"));
    assert!(texts.first().unwrap().starts_with("two x") || texts.first().unwrap() == "two");
    let seqs: Vec<u64> = String::from_utf8(bytes).unwrap().lines().map(seq).collect();
    assert!(seqs.windows(2).all(|pair| pair[0] + 1 == pair[1]), "{seqs:?}");
    assert_eq!(seqs.last(), Some(&363));
    node.stop(Stopped::Shutdown).await;
}

fn seq(line: &str) -> u64 {
    serde_json::from_str::<serde_json::Value>(line).unwrap()["seq"].as_u64().unwrap()
}

/// P6: the queue of a key is bounded however many send at once; what is accepted is answered, one
/// after the other, in order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_fifty_messages_at_once_as_many_are_taken_as_there_is_room_for() {
    let world = World::new().agent("a", WORKER);
    let node = world.start().await;
    let first = node.send("main", "first").await;
    appears(&world.file("first.up")).await;
    let names: Vec<String> = (0..50).map(|n| format!("m{n}")).collect();
    names.iter().for_each(|name| let_go(&world, name));
    let messages: Vec<Message> = names.iter().map(|name| message("main", name)).collect();
    let answers = join_all(messages.iter().map(|message| node.handle.send(message))).await;
    let mut taken: Vec<Run> = Vec::new();
    for answer in answers {
        match answer {
            Ok(turn) => taken.push(turn.run),
            Err(Error::Message(Refused::QueueFull(full))) => {
                assert_eq!(full.key.as_str(), "agent:a:main");
            }
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!(taken.len(), MAX_QUEUED);
    taken.sort_by_key(|run| (run.turn, run.id));
    let_go(&world, "first");
    node.ended(taken.last().unwrap().id).await;
    let prompts: Vec<String> = std::iter::once("first".to_owned())
        .chain(taken.iter().map(|run| run.input.as_ref().unwrap().prompt.clone()))
        .collect();
    assert_eq!(log(&world), prompts);
    let turn = node.ended(first.id).await;
    assert_eq!(node.transcript(&turn).await.len(), 2 * prompts.len());
    assert_eq!(starts_and_ends(&node.events().await), (1, 0));
    node.stop(Stopped::Shutdown).await;
}

/// Messages that are sent one after the other are answered in that order on every key, also where
/// another agent has room and the one before has none.
#[tokio::test]
async fn nothing_overtakes_a_message_whose_agent_has_no_place() {
    let world = World { limits: Limits { runs: 8, runs_per_agent: 1 }, ..World::new() };
    let world = world.agent("a", WORKER).agent("b", WORKER);
    let node = world.start().await;
    let busy = node.send("elsewhere", "busy").await;
    appears(&world.file("busy.up")).await;
    for name in ["one", "two"] {
        let_go(&world, name);
    }
    let one = node.send("main", "one").await;
    let by_b = Message { agent: Some("b".parse().unwrap()), ..message("main", "two") };
    let two = node.handle.send(&by_b).await.unwrap();
    assert_eq!(two.ahead, 1);
    // Agent b is free: this one, sent last, is answered first.
    let by_b = Message { agent: Some("b".parse().unwrap()), ..message("other", "three") };
    let three = node.handle.send(&by_b).await.unwrap().run;
    let_go(&world, "three");
    node.ended(three.id).await;
    assert_eq!(node.handle.run(two.run.id).await.unwrap().started_at, None);
    let_go(&world, "busy");
    node.ended(two.run.id).await;
    assert_eq!(log(&world), ["three", "busy", "one", "two"]);
    for run in [busy.id, one.id] {
        assert_eq!(node.ended(run).await.outcome(), Some(Outcome::Ok));
    }
    node.stop(Stopped::Shutdown).await;
}

/// A job that works in a conversation takes its turn like everybody else.
#[tokio::test]
async fn a_job_on_the_main_session_takes_its_turn_between_messages() {
    let world = World::new().agent("a", WORKER);
    let node = world.start().await;
    let job = node
        .job("j", "a", |spec| {
            spec.target = Target::Main;
            spec.overlap = Overlap::Allow;
            spec.prompt = "job".to_owned();
        })
        .await;
    let first = node.send("main", "one").await;
    appears(&world.file("one.up")).await;
    let mut turns: Vec<RunId> = vec![node.handle.run_job(&job).await.unwrap().id];
    turns.push(node.send("main", "two").await.id);
    turns.push(node.handle.run_job(&job).await.unwrap().id);
    for name in ["one", "two", "job"] {
        let_go(&world, name);
    }
    for turn in turns {
        let turn = node.ended(turn).await;
        assert_eq!(turn.session, node.handle.run(first.id).await.unwrap().session);
    }
    assert_eq!(log(&world), ["one", "job", "two", "job"]);
    assert_eq!(starts_and_ends(&node.events().await), (1, 0));
    node.stop(Stopped::Shutdown).await;
}

/// Closes the session of a turn in flight by a command, and gives it a message that waits.
async fn interrupted(
    node: &Node,
    world: &World,
    name: &str,
    close: impl AsyncFn(&Node, &Run),
) -> (Run, Run) {
    let turn = node.send("main", name).await;
    appears(&world.file(&format!("{name}.up"))).await;
    let next = format!("after-{name}");
    let waiting = node.send("main", &next).await;
    let_go(world, &next);
    let turn = node.handle.run(turn.id).await.unwrap();
    for _ in 0..2 {
        close(node, &turn).await;
    }
    (node.ended(turn.id).await, node.ended(waiting.id).await)
}

/// P2: end, reset and delete cancel the turn in flight first, and the session ends once, with it; what
/// waits goes into a fresh one.
#[tokio::test]
async fn a_command_cancels_the_turn_in_flight_and_ends_its_session_once() {
    let world = World::new().agent("a", WORKER);
    let node = world.start().await;
    let end = async |node: &Node, turn: &Run| {
        let session = node.handle.end_session(turn.session.unwrap(), End::End).await.unwrap();
        assert!(session.closing.is_some() || !session.is_open());
    };
    let reset = async |node: &Node, turn: &Run| {
        node.handle.end_session(turn.session.unwrap(), End::Reset).await.unwrap();
    };
    let delete = async |node: &Node, turn: &Run| {
        node.handle.delete_session(turn.session.unwrap(), Discard::Archive).await.unwrap();
    };
    let ended = [
        (interrupted(&node, &world, "end", end).await, EndReason::Completed),
        (interrupted(&node, &world, "reset", reset).await, EndReason::Reset),
        (interrupted(&node, &world, "delete", delete).await, EndReason::Deleted),
    ];
    for ((turn, next), reason) in &ended {
        assert_eq!(
            (turn.outcome(), turn.reason()),
            (Some(Outcome::Cancelled), Some(Reason::Operator))
        );
        assert_eq!(next.outcome(), Some(Outcome::Ok));
        assert_ne!(next.session, turn.session);
        let events = node.events().await;
        let of_session = events.iter().filter(|it| it.fact.subject.session == turn.session);
        let ends: Vec<_> = of_session.filter(|it| it.fact.kind.name() == "session.ended").collect();
        assert_eq!(ends.len(), 1);
        assert_eq!(ends[0].fact.data["reason"], serde_json::to_value(reason).unwrap());
    }
    node.stop(Stopped::Shutdown).await;
}

/// Silence ends a session by itself, and at the latest when the next turn comes.
#[tokio::test]
async fn a_silent_session_ends_by_the_rule_of_its_kind() {
    let mut world = World::new().agent("a", LISTENER);
    let hours = |hours: u64| Duration::from_secs(3600 * hours);
    let idle = Some("12h".parse().unwrap());
    world.reset.main = Rule { idle, daily: None };
    let at = jiff::civil::time(4, 0, 0, 0);
    world.reset.chat = Rule { idle: None, daily: Some(Daily { at, zone: Zone::UTC }) };
    let node = world.start().await;
    let main = node.ask("main", "one").await;
    let main = node.session_of(&main).await;
    let chat = node.ask("telegram:direct:anna", "two").await;
    let chat = node.session_of(&chat).await;
    world.clock.forward(hours(13));
    assert_eq!(node.over(&main).await.end_reason(), Some(EndReason::Idle));
    let fresh = node.ask("main", "three").await;
    let fresh = node.session_of(&fresh).await;
    assert_eq!((fresh.open_reason, fresh.previous), (OpenReason::New, None));
    world.clock.forward(hours(11));
    assert_eq!(node.over(&chat).await.end_reason(), Some(EndReason::Daily));
    assert!(node.handle.session(fresh.id).await.unwrap().is_open(), "eleven hours are no twelve");
    // Also a restart does not make a conversation of yesterday go on.
    node.stop(Stopped::Restart).await;
    world.clock.forward(hours(13));
    let node = world.start().await;
    let fresh = node.ask("main", "four").await;
    assert_eq!(node.session_of(&fresh).await.previous, None);
    assert_eq!(told(&world.file("four")), [""; 0]);
    node.stop(Stopped::Shutdown).await;
}

/// Bad input: a clear error, and nothing is there afterwards.
#[tokio::test]
async fn a_message_that_nobody_can_answer_is_refused() {
    let world = World::new().agent("a", LISTENER);
    let node = world.start().await;
    let to = |key: &str| Message { key: SessionKey::parse(key).unwrap(), ..message("main", "hi") };
    let refused = [
        node.handle.send(&to("agent:unknown:main")).await.unwrap_err(),
        node.handle.send(&to("my chat")).await.unwrap_err(),
        node.handle.send(&to("agent:a:cron:j:run:1")).await.unwrap_err(),
        node.handle.send(&message("main", "")).await.unwrap_err(),
    ];
    assert!(
        matches!(&refused[0], Error::UnknownAgent { agent, .. } if agent.as_str() == "unknown")
    );
    assert!(matches!(&refused[1], Error::Message(Refused::NoAgent(_))));
    assert!(matches!(&refused[2], Error::Message(Refused::RunKey(_))));
    assert!(matches!(&refused[3], Error::Message(Refused::Empty)));
    let queue = node.handle.runs(Default::default(), sexton_engine::page::PageRequest::first(9));
    assert!(queue.await.unwrap().items.is_empty());
    node.stop(Stopped::Shutdown).await;
}

/// P6: a sweep is due in five minutes; who deletes a session by hand does not wait for that, but for the
/// session's end and for whoever is to be told of it.
#[tokio::test]
async fn a_session_that_is_deleted_by_hand_goes_as_soon_as_its_end_is_told() {
    let world = World::new().agent("a", WORKER).hook("h", &[SessionEnded]);
    world.mailbox.behave("h", |_| Then::Refuse);
    let node = world.start().await;
    let turn = node.send("main", "work").await;
    appears(&world.file("work.up")).await;
    let id = node.running(turn.id).await.session.unwrap();
    node.handle.delete_session(id, Discard::Purge).await.unwrap();
    node.ended(turn.id).await;
    eventually("it is told, in vain", || world.mailbox.tries("h") > 2).await;
    assert!(node.store.session(id).await.unwrap().is_some());
    world.mailbox.behave("h", |_| Then::Take);
    node.told("h", 1).await;
    for _ in 0..1000 {
        if node.store.session(id).await.unwrap().is_none() {
            return node.stop(Stopped::Shutdown).await;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it is still there: {:?}", node.store.session(id).await);
}

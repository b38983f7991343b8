//! Hooks that hear of every end, whatever they do themselves: order, lanes, retries, dead letters.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use sexton_domain::duration;
use sexton_domain::event::EventType::{
    HookDeadLettered, HookDisabled, HookEnabled, RunEnded, SessionEnded, SessionStarted,
};
use sexton_domain::hook::{DeadReason, Delivery, DeliveryState};
use sexton_domain::node::EndReason;
use sexton_engine::courier::Answer;
use sexton_engine::handle::{Error, Switch};
use sexton_store_sqlite::{Faults, Point};

use crate::mailbox::{Then, eventually};
use crate::support::World;

fn is_dead(delivery: &Delivery, why: DeadReason) -> bool {
    matches!(delivery.state, DeliveryState::Dead { why: is, .. } if is == why)
}

/// P1, P3: in the order of the session, once each, with everything a reader needs.
#[tokio::test]
async fn a_hook_hears_of_start_and_end_in_order_and_of_the_answer() {
    let world =
        World::new().agent("a", "echo 42").hook("h", &[SessionStarted, SessionEnded, RunEnded]);
    let node = world.start().await;
    let job = node.job("j", "a", |_| {}).await;
    let run = node.run(&job).await;
    node.told("h", 3).await;
    assert_eq!(world.mailbox.kinds("h"), ["session.started", "session.ended", "run.ended"]);
    let heard = world.mailbox.heard("h");
    let ended = &heard[1].body;
    assert_eq!(ended["data"]["session_id"], run.session.unwrap().to_string());
    assert_eq!(
        (&ended["data"]["reason"], &ended["data"]["job_key"]),
        (&"completed".into(), &"j".into())
    );
    assert_eq!(
        (&ended["late"], &ended["gap"], &ended["attempt"]),
        (&false.into(), &false.into(), &1.into())
    );
    assert!(ended["id"].as_str().unwrap().starts_with("evt_"));
    let events = node.events().await;
    let seq = events.iter().find(|event| event.fact.kind == SessionEnded).unwrap().seq;
    assert_eq!(ended["seq"], seq);
    let answer = &heard[2].body["data"];
    assert_eq!((&answer["output"], &answer["outcome"]), (&"42".into(), &"ok".into()));
    assert_eq!(answer["kind"], "run");
    node.stop(EndReason::Shutdown).await;
}

/// P3: what fails is tried again under the same id, and what comes after it in its session waits.
#[tokio::test]
async fn a_hook_that_fails_half_the_time_hears_everything_in_order_under_stable_ids() {
    let world =
        World::new().agent("a", "true").hook("h", &[SessionStarted, SessionEnded, RunEnded]);
    let count = AtomicUsize::new(0);
    world.mailbox.behave("h", move |_| match count.fetch_add(1, Ordering::SeqCst) % 2 {
        0 => Then::Refuse,
        _ => Then::Take,
    });
    let node = world.start().await;
    for key in ["i", "j", "k"] {
        let job = node.job(key, "a", |_| {}).await;
        node.run(&job).await;
    }
    let delivered = node.told("h", 9).await;
    let mut sessions: BTreeMap<String, Vec<(String, String)>> = BTreeMap::new();
    for heard in world.mailbox.heard("h") {
        let of_session = sessions.entry(heard.session().to_owned()).or_default();
        let (kind, id) = (heard.kind().to_owned(), heard.id);
        if of_session.last().is_none_or(|(last, _)| *last != kind) {
            of_session.push((kind, id));
        } else {
            assert_eq!(of_session.last().unwrap().1, id, "a retry has the id of the first try");
        }
    }
    assert_eq!(sessions.len(), 3);
    for told in sessions.values() {
        let kinds: Vec<&str> = told.iter().map(|(kind, _)| kind.as_str()).collect();
        assert_eq!(kinds, ["session.started", "session.ended", "run.ended"]);
    }
    assert!(delivered.iter().any(|delivery| delivery.attempts > 1));
    node.stop(EndReason::Shutdown).await;
}

/// P10: one session that a hook cannot take keeps none of the others from it.
#[tokio::test]
async fn a_lane_that_is_stuck_does_not_keep_the_others() {
    let world = World::new().agent("a", "true").hook("h", &[SessionStarted, SessionEnded]);
    let world = world.tell("h", |hook| {
        hook.subscription.backoff = "10m".parse().unwrap();
    });
    world.mailbox.behave("h", |heard| match &heard.body["data"]["job_key"] {
        key if key == "bad" => Then::Refuse,
        _ => Then::Take,
    });
    let node = world.start().await;
    for key in ["bad", "good"] {
        let job = node.job(key, "a", |_| {}).await;
        node.run(&job).await;
    }
    let all = node
        .deliveries_become("h", |all| {
            all.iter().filter(|it| it.state.name() == "delivered").count() == 2
        })
        .await;
    assert_eq!(all.len(), 4);
    let bad: Vec<_> = all.iter().filter(|it| it.state.name() == "pending").collect();
    assert_eq!((bad[0].attempts, bad[0].last_error.as_deref()), (1, Some("refused")));
    assert_eq!((bad[1].attempts, &bad[1].last_error), (0, &None), "the end waits for its start");
    node.stop(EndReason::Shutdown).await;
}

/// P10: a hook that never answers, or that breaks what calls it, delays itself alone.
#[tokio::test]
async fn hooks_that_hang_or_panic_delay_nobody_else() {
    let world = World::new()
        .agent("a", "true")
        .hook("hangs", &[SessionEnded])
        .hook("panics", &[SessionEnded])
        .hook("works", &[SessionEnded]);
    world.mailbox.behave("hangs", |_| Then::Hang);
    world.mailbox.behave("panics", |_| Then::Panic);
    let node = world.start().await;
    for key in ["i", "j"] {
        let job = node.job(key, "a", |_| {}).await;
        node.run(&job).await;
    }
    node.told("works", 2).await;
    assert_eq!(node.states("hangs").await, ["pending", "pending"]);
    let broken = node.deliveries_become("panics", |all| all.iter().all(|it| it.attempts > 1)).await;
    assert_eq!(broken[0].last_error.as_deref(), Some("the delivery panicked"));
    node.stop(EndReason::Shutdown).await;
}

/// P3: a hook that does not answer in its time has not acknowledged.
#[tokio::test]
async fn no_answer_in_time_is_a_failure() {
    let world = World::new().agent("a", "true").hook("h", &[SessionEnded]).tell("h", |hook| {
        hook.timeout = duration::Duration::from_millis(50);
    });
    let first = AtomicBool::new(true);
    world.mailbox.behave("h", move |_| match first.swap(false, Ordering::SeqCst) {
        true => Then::Hang,
        false => Then::Take,
    });
    let node = world.start().await;
    let job = node.job("j", "a", |_| {}).await;
    node.run(&job).await;
    let told = node.told("h", 1).await;
    assert_eq!((told[0].attempts, &told[0].last_error), (2, &None));
    let heard = world.mailbox.heard("h");
    assert_eq!(heard[0].id, heard[1].id);
    assert_eq!(heard[1].body["attempt"], 2);
    node.stop(EndReason::Shutdown).await;
}

/// P3: never dropped: dead after its tries, told to others, and the end that follows says `gap`.
#[tokio::test]
async fn the_end_after_a_dead_start_goes_out_with_a_gap() {
    let world = World::new()
        .agent("a", "true")
        .hook("h", &[SessionStarted, SessionEnded, HookDeadLettered])
        .hook("other", &[HookDeadLettered])
        .tell("h", |hook| hook.subscription.max_attempts = 3);
    world.mailbox.behave("h", |heard| match heard.kind() {
        "session.started" => Then::Refuse,
        _ => Then::Take,
    });
    let node = world.start().await;
    let job = node.job("j", "a", |_| {}).await;
    node.run(&job).await;
    let all = node
        .deliveries_become("h", |all| {
            all.len() == 2 && all.iter().all(|it| it.state.name() != "pending")
        })
        .await;
    assert!(is_dead(&all[0], DeadReason::MaxAttempts));
    assert_eq!((all[0].attempts, all[1].state.name()), (3, "delivered"));
    assert_eq!(
        world.mailbox.kinds("h"),
        ["session.started", "session.started", "session.started", "session.ended"]
    );
    assert_eq!(world.mailbox.heard("h")[3].body["gap"], true);
    // Its own death is told to others alone.
    node.told("other", 1).await;
    let letter = &world.mailbox.heard("other")[0].body["data"];
    assert_eq!((&letter["hook"], &letter["why"]), (&"h".into(), &"max_attempts".into()));

    // By hand it goes out again, outside the order, with all its tries before it.
    world.mailbox.behave("h", |_| Then::Take);
    let again = node.handle.redeliver(all[0].id).await.unwrap();
    assert_eq!((again.by_hand, again.attempts), (true, 0));
    node.told("h", 2).await;
    let heard = world.mailbox.heard("h");
    assert_eq!((heard[4].kind(), &heard[4].id), ("session.started", &heard[0].id));
    node.stop(EndReason::Shutdown).await;
}

#[tokio::test]
async fn only_what_is_settled_can_be_sent_again_by_hand() {
    let world = World::new().agent("a", "true").hook("h", &[SessionEnded]);
    world.mailbox.behave("h", |_| Then::Hang);
    let node = world.start().await;
    let job = node.job("j", "a", |_| {}).await;
    node.run(&job).await;
    let id = node.deliveries("h").await[0].id;
    let refused = node.handle.redeliver(id).await;
    assert!(matches!(refused, Err(Error::Pending { .. })), "{refused:?}");
    node.stop(EndReason::Shutdown).await;
}

/// P3, P9: an end that its own epoch could not tell is told by the next one, as late.
#[tokio::test]
async fn what_was_not_delivered_goes_out_after_the_restart_as_late() {
    let world = World::new().agent("a", "true").hook("h", &[SessionStarted, SessionEnded]);
    world.mailbox.behave("h", |_| Then::Refuse);
    let node = world.start().await;
    let job = node.job("j", "a", |_| {}).await;
    node.run(&job).await;
    node.stop(EndReason::Restart).await;
    world.mailbox.behave("h", |_| Then::Take);
    let node = world.start().await;
    node.told("h", 2).await;
    let heard = world.mailbox.heard("h");
    let [.., start, end] = &heard[..] else { panic!("{heard:?}") };
    assert_eq!((start.kind(), end.kind()), ("session.started", "session.ended"));
    assert_eq!((&start.body["late"], &end.body["late"]), (&true.into(), &true.into()));
    assert_eq!(end.body["gap"], false);
    // What this epoch owns is not late.
    node.run(&job).await;
    node.told("h", 4).await;
    assert_eq!(world.mailbox.heard("h").last().unwrap().body["late"], false);
    node.stop(EndReason::Shutdown).await;
}

/// P2, P3: a run that a stop cuts off while its hook does not answer: the next start tells the true reason.
#[tokio::test]
async fn the_end_of_a_run_that_a_stop_cut_off_is_told_late_with_its_reason() {
    let world =
        World::new().agent("a", "sleep 600").hook("h", &[SessionStarted, SessionEnded, RunEnded]);
    world.mailbox.behave("h", |_| Then::Hang);
    let node = world.start().await;
    let job = node.job("j", "a", |_| {}).await;
    let run = node.handle.run_job(&job).await.unwrap();
    node.running(run.id).await;
    node.stop(EndReason::Shutdown).await;
    world.mailbox.behave("h", |_| Then::Take);
    let node = world.start().await;
    node.told("h", 3).await;
    let told: Vec<_> = world.mailbox.heard("h").into_iter().rev().take(3).collect();
    let [run_ended, session_ended, started] = &told[..] else { panic!("{told:?}") };
    assert_eq!(
        (started.kind(), session_ended.kind(), run_ended.kind()),
        ("session.started", "session.ended", "run.ended")
    );
    assert_eq!(session_ended.body["data"]["reason"], "shutdown");
    let end = &run_ended.body["data"];
    assert_eq!((&end["outcome"], &end["reason"]), (&"interrupted".into(), &"shutdown".into()));
    assert!(told.iter().all(|heard| heard.body["late"] == true), "{told:?}");
    node.stop(EndReason::Shutdown).await;
}

/// P3: while a hook is off nothing is lost; it goes out in its order when the hook is on again.
#[tokio::test]
async fn a_hook_that_is_off_keeps_what_it_misses() {
    let world = World::new()
        .agent("a", "true")
        .hook("h", &[SessionStarted, SessionEnded])
        .hook("other", &[HookDisabled, HookEnabled]);
    let node = world.start().await;
    let name = "h".parse().unwrap();
    let hook = node.handle.switch_hook(&name, Switch::Off).await.unwrap();
    assert_eq!(hook.record.unwrap().disabled.unwrap().why, "operator");
    let job = node.job("j", "a", |_| {}).await;
    node.run(&job).await;
    node.told("other", 1).await;
    assert_eq!(node.states("h").await, ["pending", "pending"]);
    assert!(world.mailbox.heard("h").is_empty());
    node.handle.switch_hook(&name, Switch::On).await.unwrap();
    node.told("h", 2).await;
    assert_eq!(world.mailbox.kinds("h"), ["session.started", "session.ended"]);
    node.told("other", 2).await;
    assert_eq!(world.mailbox.kinds("other"), ["hook.disabled", "hook.enabled"]);
    node.stop(EndReason::Shutdown).await;
}

/// Interface §6: 410 switches the hook off, and what it refused waits until somebody brings it back.
#[tokio::test]
async fn a_hook_that_is_gone_is_switched_off_and_can_be_brought_back() {
    let world = World::new().agent("a", "true").hook("h", &[SessionStarted, SessionEnded]);
    world.mailbox.behave("h", |_| Then::Go);
    let node = world.start().await;
    let job = node.job("j", "a", |_| {}).await;
    node.run(&job).await;
    let off = node.deliveries_become("h", |all| all.len() == 2 && all[0].attempts == 1).await;
    assert_eq!(off[0].last_error.as_deref(), Some("410 gone"));
    assert_eq!(node.states("h").await, ["pending", "pending"]);
    let state = node.handle.hooks().await.unwrap().remove(0);
    assert_eq!(state.record.unwrap().disabled.unwrap().why, "410 gone");
    assert_eq!(state.pending, 2);
    // Off after a restart, too.
    node.stop(EndReason::Restart).await;
    world.mailbox.behave("h", |_| Then::Take);
    let node = world.start().await;
    assert_eq!(world.mailbox.heard("h").len(), 1);
    node.handle.switch_hook(&"h".parse().unwrap(), Switch::On).await.unwrap();
    node.told("h", 2).await;
    node.stop(EndReason::Shutdown).await;
}

/// P3, P6: pending at most for `max_age`, also while the hook is off.
#[tokio::test]
async fn what_is_too_old_is_dead_also_while_the_hook_is_off() {
    let world = World::new().agent("a", "true").hook("h", &[SessionEnded]).tell("h", |hook| {
        hook.subscription.max_age = duration::Duration::from_millis(1500);
    });
    let node = world.start().await;
    node.handle.switch_hook(&"h".parse().unwrap(), Switch::Off).await.unwrap();
    let job = node.job("j", "a", |_| {}).await;
    node.run(&job).await;
    node.stop(EndReason::Restart).await;
    let node = world.start().await;
    let all = node.deliveries_become("h", |all| all[0].state.name() == "dead").await;
    assert!(is_dead(&all[0], DeadReason::MaxAge));
    assert_eq!(all[0].attempts, 0);
    let events = node.events().await;
    assert!(events.iter().any(|event| event.fact.kind == HookDeadLettered));
    node.stop(EndReason::Shutdown).await;
}

/// P3: a hook that leaves the config with rows pending: they end with it, and one event says so.
#[tokio::test]
async fn a_hook_that_leaves_the_config_gives_up_what_it_was_to_be_told() {
    let mut world = World::new().agent("a", "true").hook("h", &[SessionStarted, SessionEnded]);
    world.mailbox.behave("h", |_| Then::Refuse);
    let node = world.start().await;
    let job = node.job("j", "a", |_| {}).await;
    node.run(&job).await;
    node.stop(EndReason::Shutdown).await;
    let removed = std::mem::take(&mut world.hooks);
    let node = world.start().await;
    let all = node.deliveries("h").await;
    assert_eq!(all.len(), 2);
    assert!(all.iter().all(|delivery| is_dead(delivery, DeadReason::HookRemoved)), "{all:?}");
    assert!(node.handle.hooks().await.unwrap().is_empty());
    let refused = node.handle.redeliver(all[0].id).await;
    assert!(matches!(refused, Err(Error::NotFound { what: "hook", .. })), "{refused:?}");
    let events = node.events().await;
    let letters: Vec<_> =
        events.iter().filter(|event| event.fact.kind == HookDeadLettered).collect();
    assert_eq!((letters.len(), &letters[0].fact.data["count"]), (1, &2.into()));
    // It comes back as a new one, by a reload.
    let mut settings = (*node.handle.settings().unwrap()).clone();
    settings.hooks = removed;
    world.mailbox.behave("h", |_| Then::Take);
    let empty = sexton_domain::plan::jobs::Empty::Allow;
    node.handle.reload("config", &[], empty, settings).await.unwrap();
    let known = || async { node.handle.hooks().await.unwrap()[0].record.is_some() };
    while !known().await {
        tokio::task::yield_now().await;
    }
    node.run(&job).await;
    node.deliveries_become("h", |all| {
        all.iter().filter(|it| it.state.name() == "delivered").count() == 2
    })
    .await;
    node.stop(EndReason::Shutdown).await;
}

/// P3: who subscribes while a session is open hears of its end without its start.
#[tokio::test]
async fn a_session_that_is_older_than_the_hook_ends_with_a_gap() {
    let mut world = World::new().agent("a", "touch up; while [ ! -e go ]; do sleep 0.01; done");
    let node = world.start().await;
    let job = node.job("j", "a", |_| {}).await;
    let run = node.handle.run_job(&job).await.unwrap();
    crate::support::appears(&world.file("up")).await;
    world = world.hook("h", &[SessionStarted, SessionEnded]);
    let mut settings = (*node.handle.settings().unwrap()).clone();
    settings.hooks = world.hooks.clone();
    let empty = sexton_domain::plan::jobs::Empty::Allow;
    node.handle.reload("config", &[], empty, settings).await.unwrap();
    while node.handle.hooks().await.unwrap()[0].record.is_none() {
        tokio::task::yield_now().await;
    }
    std::fs::write(world.file("go"), "").unwrap();
    node.ended(run.id).await;
    node.told("h", 1).await;
    let heard = world.mailbox.heard("h");
    assert_eq!((heard[0].kind(), &heard[0].body["gap"]), ("session.ended", &true.into()));
    node.stop(EndReason::Shutdown).await;
}

/// P3, P7: an acknowledgement that did not reach the disk is no acknowledgement: sent again, same id.
#[tokio::test]
async fn an_acknowledgement_that_is_not_on_disk_is_sent_again_under_the_same_id() {
    let broken = Arc::new(AtomicBool::new(false));
    let (strikes, breaks) = (Arc::clone(&broken), Arc::clone(&broken));
    let mut world = World::new().agent("a", "true").hook("h", &[SessionEnded]);
    world.faults =
        Faults::when(move |point| point == Point::BeforeCommit && strikes.load(Ordering::SeqCst));
    // The store breaks in the moment in which the hook has heard.
    world.mailbox.behave("h", move |_| {
        breaks.store(true, Ordering::SeqCst);
        Then::Take
    });
    let node = world.start().await;
    let job = node.job("j", "a", |_| {}).await;
    node.handle.run_job(&job).await.unwrap();
    eventually("the hook hears", || !world.mailbox.heard("h").is_empty()).await;
    assert_eq!(node.states("h").await, ["pending"]);
    node.handle.stop(EndReason::Shutdown);
    node.engine.wait().await;
    broken.store(false, Ordering::SeqCst);
    world.mailbox.behave("h", |_| Then::Take);
    let node = world.start().await;
    node.deliveries_become("h", |all| all[0].state.name() == "delivered").await;
    let heard = world.mailbox.heard("h");
    assert_eq!((heard.len(), &heard[0].id), (2, &heard[1].id));
    node.stop(EndReason::Shutdown).await;
}

/// P3: whichever answer of the store is lost, a delivery is settled once.
#[tokio::test]
async fn a_lost_answer_of_the_store_is_found_by_reading() {
    let lost = Arc::new(AtomicBool::new(false));
    let strikes = Arc::clone(&lost);
    let mut world = World::new().agent("a", "true").hook("h", &[SessionEnded]);
    world.faults = Faults::when(move |point| {
        point == Point::AfterCommit && strikes.swap(false, Ordering::SeqCst)
    });
    world.mailbox.behave("h", move |_| {
        lost.store(true, Ordering::SeqCst);
        Then::Take
    });
    let node = world.start().await;
    let job = node.job("j", "a", |_| {}).await;
    node.run(&job).await;
    let told = node.told("h", 1).await;
    assert_eq!((told[0].attempts, world.mailbox.heard("h").len()), (1, 1));
    node.stop(EndReason::Shutdown).await;
}

/// An outage costs no tries: a hook that fails again and again is left alone, then tried with one.
#[tokio::test]
async fn an_outage_spends_the_tries_of_few_deliveries() {
    let world = World::new().agent("a", "true").hook("h", &[SessionEnded]).tell("h", |hook| {
        hook.subscription.backoff = "1ms,1m".parse().unwrap();
        hook.concurrency = 1;
    });
    let node = world.start().await;
    let name = "h".parse().unwrap();
    node.handle.switch_hook(&name, Switch::Off).await.unwrap();
    for n in 0..20 {
        let job = node.job(&format!("j{n}"), "a", |_| {}).await;
        node.run(&job).await;
    }
    world.mailbox.behave("h", |_| Then::Refuse);
    node.handle.switch_hook(&name, Switch::On).await.unwrap();
    // 16 in a row, and one after a rest of a millisecond; the next rest is a minute.
    eventually("it is tried", || world.mailbox.heard("h").len() == 17).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    let tries: u32 = node.deliveries("h").await.iter().map(|delivery| delivery.attempts).sum();
    assert_eq!(tries, 17);
    node.stop(EndReason::Shutdown).await;
}

#[tokio::test]
async fn a_test_shows_what_the_hook_answers_and_stores_nothing() {
    let world = World::new().agent("a", "true").hook("h", &[SessionStarted, SessionEnded]);
    let node = world.start().await;
    let before = node.events().await.len();
    let name = "h".parse().unwrap();
    let test = node.handle.test_hook(&name).await.unwrap();
    assert_eq!((test.reply.answer, test.reply.said.as_str()), (Answer::Acknowledged, "taken"));
    let body = &world.mailbox.heard("h")[0].body;
    assert_eq!((&body["type"], &body["data"]["test"]), (&"session.ended".into(), &true.into()));
    assert!(node.deliveries("h").await.is_empty());
    assert_eq!(node.events().await.len(), before);
    let unknown = node.handle.test_hook(&"x".parse().unwrap()).await;
    assert!(matches!(unknown, Err(Error::NotFound { what: "hook", .. })), "{unknown:?}");
    node.stop(EndReason::Shutdown).await;
}

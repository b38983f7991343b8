//! Rows that cannot be read: the node starts and works, and what the row stood for is made up for (P10).

use sexton_domain::alert::AlertCode;
use sexton_domain::event::EventType::{AlertRaised, SessionEnded, SessionStarted};
use sexton_domain::hook::{DeadReason, DeliveryState};
use sexton_domain::node::{EndReason, Epoch};

use crate::mailbox::Then;
use crate::support::{Node, PATIENCE, World};

/// Makes rows of a store that nobody has open unreadable.
fn damage(world: &World, rows: &str) {
    let db = rusqlite::Connection::open(world.file("sexton.db")).unwrap();
    let (table, which) = rows.split_once(' ').unwrap();
    let damaged = db.execute(&format!("UPDATE {table} SET body = '{{' WHERE {which}"), []).unwrap();
    assert_eq!(damaged, 1, "{rows}");
}

async fn epoch(node: &Node) -> Epoch {
    node.store.read().nodes(1).await.unwrap()[0].epoch
}

/// The engine did not start: the hook was added as if it were new, for ever.
#[tokio::test]
async fn a_hook_that_cannot_be_read_begins_anew_and_others_hear_all_the_same() {
    let world =
        World::new().agent("a", "true").hook("bad", &[SessionEnded]).hook("good", &[SessionEnded]);
    world.start().await.stop(EndReason::Shutdown).await;
    damage(&world, "hook name = 'bad'");
    let node = world.start().await;
    let job = node.job("j", "a", |_| {}).await;
    node.run(&job).await;
    node.told("good", 1).await;
    node.told("bad", 1).await;
    let hooks = node.handle.hooks().await.unwrap();
    assert!(hooks.iter().all(|hook| hook.record.as_ref().unwrap().disabled.is_none()));
    node.stop(EndReason::Shutdown).await;
}

/// A hook that left the config kept the engine from starting, too, and its letters were pending for ever.
#[tokio::test]
async fn a_hook_that_cannot_be_read_can_be_removed_with_what_it_was_to_be_told() {
    let mut world =
        World::new().agent("a", "true").hook("bad", &[SessionEnded]).hook("good", &[SessionEnded]);
    world.mailbox.behave("bad", |_| Then::Hang);
    let node = world.start().await;
    let job = node.job("j", "a", |_| {}).await;
    node.run(&job).await;
    node.told("good", 1).await;
    node.stop(EndReason::Shutdown).await;
    damage(&world, "hook name = 'bad'");
    damage(&world, "delivery hook = 'bad'");
    world.hooks.remove(&"bad".parse().unwrap());
    let node = world.start().await;
    assert_eq!(node.handle.hooks().await.unwrap().len(), 1);
    let pending = node.store.read().tally().await.unwrap().deliveries;
    assert!(pending.iter().all(|((hook, _), count)| hook.as_str() != "bad" || *count == 0));
    node.run(&job).await;
    node.told("good", 2).await;
    node.stop(EndReason::Shutdown).await;
}

/// The engine did not start: it took the epoch of the row that it could not see.
#[tokio::test]
async fn an_epoch_whose_row_cannot_be_read_is_not_taken_again() {
    let world = World::new().agent("a", "true");
    let node = world.start().await;
    let first = epoch(&node).await;
    node.stop(EndReason::Shutdown).await;
    world.start().await.stop(EndReason::Shutdown).await;
    damage(&world, "node epoch = (SELECT max(epoch) FROM node)");
    let node = world.start().await;
    assert_eq!(epoch(&node).await.number(), first.number() + 2);
    let job = node.job("j", "a", |_| {}).await;
    node.run(&job).await;
    node.stop(EndReason::Shutdown).await;
}

/// The loop of alerts failed at every look, and no other alert was raised.
#[tokio::test]
async fn an_alert_that_cannot_be_read_is_raised_again_and_keeps_no_other_from_it() {
    let world = World::new().agent("a", "false");
    let node = world.start().await;
    let raised = async |node: &Node, count: usize| {
        let wait = async {
            loop {
                let events = node.events().await;
                if events.iter().filter(|event| event.fact.kind == AlertRaised).count() == count {
                    return;
                }
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.expect("the alerts are raised");
    };
    let [first, second] =
        [node.job("first", "a", |_| {}).await, node.job("second", "a", |_| {}).await];
    node.run(&first).await;
    node.run(&first).await;
    raised(&node, 1).await;
    node.stop(EndReason::Shutdown).await;
    damage(&world, "alert cleared_at IS NULL");
    let node = world.start().await;
    node.run(&second).await;
    node.run(&second).await;
    raised(&node, 3).await;
    let alerts = node.handle.status().await.unwrap().alerts;
    assert!(alerts.iter().all(|alert| alert.key.code == AlertCode::JobFailing));
    assert_eq!(alerts.len(), 2);
    assert_eq!(node.store.read().tally().await.unwrap().alerts, 2, "as many as the list has");
    node.stop(EndReason::Shutdown).await;
}

/// A world that has stopped before its hook took the start and the end of a session, and the first of the two
/// cannot be read.
async fn untold() -> World {
    let world = World::new().agent("a", "true").hook("h", &[SessionStarted, SessionEnded]);
    world.mailbox.behave("h", |_| Then::Hang);
    let node = world.start().await;
    let job = node.job("j", "a", |_| {}).await;
    node.run(&job).await;
    node.stop(EndReason::Shutdown).await;
    damage(&world, "delivery head = 1");
    world
}

/// P3: a letter that cannot be read was the first of its session for ever, and nothing after it went out.
#[tokio::test]
async fn a_delivery_that_cannot_be_read_is_written_anew_and_its_session_is_told_in_order() {
    let world = untold().await;
    let heard = world.mailbox.heard("h").len();
    world.mailbox.behave("h", |_| Then::Take);
    let node = world.start().await;
    node.told("h", 2).await;
    assert_eq!(world.mailbox.kinds("h")[heard..], ["session.started", "session.ended"]);
    node.stop(EndReason::Shutdown).await;
}

/// Without its event there is nothing to write it anew from: it is given up, visibly.
#[tokio::test]
async fn a_delivery_that_is_lost_with_its_event_does_not_keep_its_session() {
    let world = untold().await;
    damage(&world, "event id = (SELECT event FROM delivery WHERE head = 1)");
    world.mailbox.behave("h", |_| Then::Take);
    let node = world.start().await;
    node.told("h", 1).await;
    assert_eq!(world.mailbox.kinds("h").last().unwrap(), "session.ended");
    let told = node.events().await;
    assert!(told.iter().any(|event| event.fact.kind.name() == "hook.dead_lettered"));
    node.stop(EndReason::Shutdown).await;
}

/// P10: the gateway did not start: the clock had jumped, and what is to be remembered of that has its place beside
/// what could not be read.
#[tokio::test]
async fn a_jump_is_noted_also_where_what_the_reaper_remembers_cannot_be_read() {
    let world = World::new();
    let node = world.start().await;
    node.handle.sweep().await.unwrap();
    node.stop(EndReason::Shutdown).await;
    damage(&world, "reaper one = 1");
    world.clock.set_wrong(std::time::Duration::from_secs(30 * 86_400));
    let node = world.start().await;
    let held = node.handle.status().await.unwrap().reaper.held_until(node.handle.now());
    assert!(held.is_some());
    node.stop(EndReason::Shutdown).await;
}

/// P10: the keeper of the hooks gave nothing up any more, because nobody knew whether deletion was held.
#[tokio::test]
async fn deliveries_grow_old_also_while_what_the_reaper_remembers_cannot_be_read() {
    let world = World::new().agent("a", "true").hook("h", &[SessionEnded]).tell("h", |hook| {
        hook.subscription.max_age = sexton_domain::duration::Duration::from_millis(1500);
        hook.subscription.max_attempts = 100_000;
    });
    world.mailbox.behave("h", |_| Then::Refuse);
    let node = world.start().await;
    node.handle.sweep().await.unwrap();
    let job = node.job("j", "a", |_| {}).await;
    node.run(&job).await;
    node.stop(EndReason::Shutdown).await;
    damage(&world, "reaper 1 = 1");
    let node = world.start().await;
    let all = node.deliveries_become("h", |all| all[0].state.name() == "dead").await;
    assert!(matches!(all[0].state, DeliveryState::Dead { why: DeadReason::MaxAge, .. }), "{all:?}");
    node.stop(EndReason::Shutdown).await;
}

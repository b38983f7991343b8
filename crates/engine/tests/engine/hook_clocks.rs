//! Hooks while the wall clock is wrong.

use std::time::Duration;

use sexton_domain::change::{Change, Record, RecordId};
use sexton_domain::duration;
use sexton_domain::event::EventType::SessionEnded;
use sexton_domain::event::{NewEvent, Subject};
use sexton_domain::id::Ids;
use sexton_domain::node::EndReason;
use sexton_domain::retry::Backoff;
use sexton_domain::sweep::Reaper;
use sexton_engine::handle::Switch;

use crate::mailbox::Then;
use crate::support::{Node, World};

/// P3: a wall clock that is days ahead for a while makes nothing too old, and what was to be tried again by
/// it does not wait until it shows that time again; whether it is set back at work or between two starts.
#[tokio::test]
async fn a_wall_clock_that_is_wrong_for_a_while_costs_no_delivery() {
    const DAYS: Duration = Duration::from_secs(9 * 24 * 3600);
    const HOUR: Duration = Duration::from_secs(3600);
    for restart in [false, true] {
        let world = World::new().agent("a", "true").hook("h", &[SessionEnded]).tell("h", |hook| {
            let hour = duration::Duration::from_secs(3600);
            hook.subscription.max_age = hour.saturating_mul(7 * 24);
            hook.subscription.backoff = Backoff::new(vec![hour]).unwrap();
        });
        world.mailbox.behave("h", |_| Then::Refuse);
        let mut node = world.start().await;
        let job = node.job("j", "a", |_| {}).await;
        node.run(&job).await;
        node.deliveries_become("h", |all| all[0].attempts == 1).await;
        world.clock.set_wrong(DAYS);
        every_loop_looks(&world, &node).await;
        node.run(&job).await;
        let all = node.deliveries_become("h", |all| all.len() == 2 && all[1].attempts == 1).await;
        assert_eq!(all[0].state.name(), "pending", "it is too old only by a wrong clock");
        if restart {
            node.stop(EndReason::Restart).await;
            world.clock.set_wrong(Duration::ZERO);
            node = world.start().await;
        } else {
            world.clock.set_wrong(Duration::ZERO);
        }
        world.mailbox.behave("h", |_| Then::Take);
        every_loop_looks(&world, &node).await;
        // The wait is an hour, give or take a fifth.
        world.clock.forward(2 * HOUR);
        node.told("h", 2).await;
        node.stop(EndReason::Shutdown).await;
    }
}

/// The clock was ahead for half a minute. The heartbeat saw it jump there and back; the hooks' keeper, which looked
/// before and after, saw nothing, and what had failed meanwhile was to wait until the clock showed that time
/// again. P3.
#[tokio::test]
async fn a_clock_that_was_ahead_between_two_looks_of_the_keeper_costs_no_delivery() {
    const HOUR: Duration = Duration::from_secs(3600);
    let world = World::new().agent("a", "true").hook("h", &[SessionEnded]).tell("h", |hook| {
        hook.subscription.backoff =
            Backoff::new(vec![duration::Duration::from_secs(3600)]).unwrap();
    });
    world.mailbox.behave("h", |_| Then::Refuse);
    let node = world.start().await;
    let job = node.job("j", "a", |_| {}).await;
    world.clock.set_wrong(24 * HOUR);
    node.run(&job).await;
    node.deliveries_become("h", |all| all.len() == 1 && all[0].attempts == 1).await;
    world.clock.set_wrong(Duration::ZERO);
    world.mailbox.behave("h", |_| Then::Take);
    let memory = match node.store.read().get(RecordId::Reaper).await.unwrap() {
        Some(Record::Reaper(memory)) => memory,
        _ => Reaper::default(),
    };
    let deletion_held_until = Some(duration::Duration::from_secs(3600).after(node.handle.now()));
    let seen = Record::Reaper(Reaper { deletion_held_until, ..memory });
    node.store.commit(vec![Change::Put(seen)]).await.unwrap();
    every_loop_looks(&world, &node).await;
    // The wait is an hour, give or take a fifth.
    world.clock.forward(2 * HOUR);
    node.told("h", 1).await;
    node.stop(EndReason::Shutdown).await;
}

/// P3, P10: what looks too old by a wrong clock goes out, and keeps nothing else from going: more of it than
/// a look reads.
#[tokio::test]
async fn what_looks_too_old_by_a_wrong_clock_keeps_nothing_else_waiting() {
    const OLD: usize = 300;
    let world = World::new().hook("h", &[SessionEnded]);
    let node = world.start().await;
    let hook = "h".parse().unwrap();
    node.handle.switch_hook(&hook, Switch::Off).await.unwrap();
    let ends = |count: usize| {
        let now = node.handle.now();
        let mut ids = Ids::new(now, count as u128);
        let mut end = || {
            let subject = Subject { session: Some(ids.mint()), ..Subject::default() };
            let data = serde_json::json!({});
            Change::Emit(NewEvent { id: ids.mint(), kind: SessionEnded, at: now, subject, data })
        };
        (0..count).map(|_| end()).collect::<Vec<_>>()
    };
    node.store.commit(ends(OLD)).await.unwrap();
    world.clock.set_wrong(Duration::from_secs(24 * 3600));
    every_loop_looks(&world, &node).await;
    node.store.commit(ends(1)).await.unwrap();
    node.handle.switch_hook(&hook, Switch::On).await.unwrap();
    node.told("h", OLD + 1).await;
    node.stop(EndReason::Shutdown).await;
}

/// After the wall clock jumped: until that is known, and for a while more.
async fn every_loop_looks(world: &World, node: &Node) {
    // No loop rests longer.
    const MINUTE: Duration = Duration::from_secs(60);
    let mut looks = 0;
    while looks < 3 {
        world.clock.forward(MINUTE);
        tokio::time::sleep(Duration::from_millis(50)).await;
        let held = node.handle.status().await.unwrap().reaper.deletion_held_until;
        looks += i32::from(held.is_some_and(|until| node.handle.now() < until));
    }
}

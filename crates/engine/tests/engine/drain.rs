//! The way to rest of a whole node: whose sessions end, in how many commits, and who is told.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::mailbox::{Then, eventually};
use crate::support::{PATIENCE, World, starts_and_ends};
use jiff::Timestamp;
use sexton_domain::change::{Change, Version};
use sexton_domain::event::EventType::{
    self, NodeDraining, NodeStarted, NodeStopped, RunStarted, SessionEnded, SessionStarted,
};
use sexton_domain::id::Ids;
use sexton_domain::key::SessionKind;
use sexton_domain::node::{DrainedDeliveries, EndReason, Owner};
use sexton_domain::plan::drain::Step;
use sexton_domain::session::{self, OpenReason, Session, State};
use sexton_store_sqlite::{Faults, Gate};

/// How many sessions idle when the node stops.
const SESSIONS: usize = 10_000;

/// Open sessions between two turns.
fn idle(owner: Owner) -> impl Iterator<Item = Session> {
    let opened_at: Timestamp = "2026-11-20T18:00:00Z".parse().unwrap();
    let mut ids = Ids::new(opened_at, 1);
    (0..SESSIONS).map(move |n| Session {
        id: ids.mint(),
        key: format!("agent:a:telegram:direct:{n}").parse().unwrap(),
        kind: SessionKind::Chat,
        agent: "a".parse().unwrap(),
        job: None,
        job_key: None,
        run: None,
        owner,
        previous: None,
        next: None,
        opened_at,
        open_reason: OpenReason::New,
        state: State::Open,
        entry_count: 0,
        bytes: 0,
        expires_at: None,
        hold: None,
        pinned: false,
        active_at: Some(opened_at),
        closing: None,
        discard: None,
        usage: Default::default(),
        origin: None,
        imported_at: None,
        version: Version::NEW,
    })
}

/// P9: the report counts deliveries, not tries, from the begin of the drain to the end that it is part of.
#[tokio::test]
async fn the_report_tells_what_became_of_each_delivery_since_the_drain_began() {
    let world = World::new()
        .agent("a", "until [ -e go ]; do sleep 0.01; done")
        .hook("takes", &[NodeDraining, RunStarted])
        .hook("refuses", &[SessionStarted, SessionEnded, NodeStopped])
        .tell("refuses", |hook| hook.subscription.max_attempts = 100_000);
    world.mailbox.behave("refuses", |_| Then::Refuse);
    let node = world.start().await;
    let owner = node.store.read().living_nodes().await.unwrap()[0].owner();
    let job = node.job("j", "a", |_| {}).await;
    let run = node.handle.run_job(&job).await.unwrap();
    node.running(run.id).await;
    // Before the drain: not in the report.
    node.told("takes", 1).await;
    node.handle.stop(EndReason::Shutdown);
    node.told("takes", 2).await;
    let before = world.mailbox.tries("refuses");
    eventually("it is tried again and again", || world.mailbox.tries("refuses") > before + 3).await;
    std::fs::write(world.file("go"), "").unwrap();
    tokio::time::timeout(PATIENCE, node.engine.wait()).await.expect("a stop is bounded");

    let node = world.start().await;
    let left = node.store.node(owner.epoch).await.unwrap().unwrap().drained.unwrap();
    // The end of the session waits for its start, and the end of the epoch for the next one.
    let expected = DrainedDeliveries { delivered: 1, failed: 1, pending: 3 };
    assert_eq!(left.deliveries, expected);
    node.stop(EndReason::Shutdown).await;
}

/// P9: an acknowledgement that waits for the disk when the report is made is in it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_report_waits_for_what_is_on_its_way_to_the_disk() {
    let gate = Gate::default();
    let mut world = World::new().hook("takes", &[NodeStarted, NodeDraining]);
    world.faults = Faults::slow(&gate);
    let shut = gate.closer();
    world.mailbox.behave("takes", move |heard| {
        if heard.kind() == NodeDraining.name() {
            shut();
        }
        Then::Take
    });
    let node = world.start().await;
    node.told("takes", 1).await;
    let epoch = node.store.read().living_nodes().await.unwrap()[0].epoch;
    node.handle.stop(EndReason::Shutdown);
    eventually("the hook to hear it", || world.mailbox.tries("takes") == 2).await;
    let is_at = |step| node.handle.progress().is_some_and(|progress| progress.step == step);
    eventually("the record to be made", || {
        world.clock.forward(Duration::from_millis(200));
        is_at(Step::Record)
    })
    .await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    world.mailbox.behave("takes", |_| Then::Take);
    drop(gate);
    tokio::time::timeout(PATIENCE, node.engine.wait()).await.expect("a stop is bounded");

    let node = world.start().await;
    let left = node.store.node(epoch).await.unwrap().unwrap().drained.unwrap();
    let expected = DrainedDeliveries { delivered: 1, ..DrainedDeliveries::default() };
    assert_eq!(left.deliveries, expected);
    node.stop(EndReason::Shutdown).await;
}

/// P2, P3, P9: however many sessions are open, they end in one commit, and each of them is told: with a
/// hook that does not answer before the next start.
#[tokio::test]
async fn ten_thousand_idle_sessions_end_in_one_commit() {
    let world = World::new()
        .agent("a", "true")
        .hook("h", &[SessionEnded])
        .tell("h", |hook| hook.concurrency = 64);
    world.mailbox.behave("h", |_| Then::Hang);
    let node = world.start().await;
    let owner = node.store.read().living_nodes().await.unwrap()[0].owner();
    node.store.commit(idle(owner).map(Change::from).collect()).await.unwrap();
    let (store, epoch) = (node.store.clone(), owner.epoch);
    let before = store.read().stats().commits;
    let sum = node.handle.settings().unwrap().budget().total();
    node.handle.stop(EndReason::Restart);
    tokio::time::timeout(sum.to_std(), node.engine.wait()).await.expect("a stop is bounded");
    // The begin, the sessions, the end; and now and then a heartbeat or a look of another loop.
    let commits = store.read().stats().commits - before;
    assert!((3..30).contains(&commits), "{commits} commits");

    world.mailbox.behave("h", |_| Then::Take);
    let before = world.mailbox.tries("h");
    let node = world.start().await;
    let events = node.events().await;
    assert_eq!(starts_and_ends(&events).1, SESSIONS);
    let ends = events.iter().filter(|event| event.fact.kind == EventType::SessionEnded);
    let (first, last) = (ends.clone().next().unwrap(), ends.clone().next_back().unwrap());
    assert_eq!(last.seq - first.seq + 1, SESSIONS as u64, "nothing is between them");
    assert_eq!(first.fact.at, last.fact.at);
    assert_eq!(first.fact.data["reason"], "restart");
    let left = node.store.node(epoch).await.unwrap().unwrap().drained.unwrap();
    assert_eq!(left.sessions_ended, SESSIONS as u64);
    let expected = DrainedDeliveries { pending: SESSIONS as u64, ..DrainedDeliveries::default() };
    assert_eq!(left.deliveries, expected, "each end has its delivery");
    for quarter in 1..=4 {
        let told = || world.mailbox.tries("h") - before >= SESSIONS / 4 * quarter;
        eventually("each end to go out", told).await;
    }
    let late = world.mailbox.heard("h").into_iter().filter(|it| it.body["late"] == true);
    assert_eq!(late.map(|it| it.id).collect::<BTreeSet<_>>().len(), SESSIONS);
    assert!(left.took_ms <= sum.as_millis(), "{left:?}");
    let session = node.handle.session(first.fact.subject.session.unwrap()).await.unwrap();
    assert_eq!(session.end_reason(), Some(session::EndReason::Restart));
    node.stop(EndReason::Shutdown).await;
}

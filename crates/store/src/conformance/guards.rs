//! Guards: what a decision relied on is still so, or the decision is taken again.

use sexton_domain::alert::AlertCode;
use sexton_domain::change::{Change, Guard, RecordId, Version};
use sexton_domain::event::EventType;
use sexton_domain::hook::{Delivery, DeliveryState};
use sexton_domain::run::{Outcome, State};
use sexton_domain::session::EndReason;

use super::World;
use super::make::{append, at, ended_run, ended_session, epoch};
use super::world::id_of;
use crate::driver::Conflict;

async fn holds(world: &World, guard: Guard) -> bool {
    match world.driver().commit(vec![Change::Require(guard.clone())]).await {
        Ok(_) => true,
        Err(crate::CommitError::Conflict(conflict)) => {
            assert_eq!(conflict, Conflict::Guard(guard));
            false
        }
        Err(other) => panic!("{other}"),
    }
}

/// P4: the fence before every write made for a run.
pub async fn a_guard_for_a_living_epoch_holds_until_the_epoch_ends(world: World) {
    let alive = Guard::Alive(epoch(1));
    assert!(!holds(&world, alive.clone()).await, "an unknown epoch is not alive");
    let mut node = world.make.node(1);
    world.put(node.clone()).await;
    assert!(holds(&world, alive.clone()).await);
    node.end = world.make.ended_node(1).end;
    node.version = Version(1);
    world.put(node).await;
    assert!(!holds(&world, alive).await);
}

/// P9: what a node says of its end was counted before, and nothing has happened since.
pub async fn a_guard_for_the_end_of_the_log_notices_every_event(world: World) {
    assert!(holds(&world, Guard::NothingSince(0)).await, "nothing has ever happened");
    world.put(world.make.event()).await;
    world.put(world.make.event()).await;
    let (_, newest) = world.driver().event_range().await.expect("it reads").expect("two events");
    assert!(holds(&world, Guard::NothingSince(newest)).await);
    assert!(!holds(&world, Guard::NothingSince(newest - 1)).await);
    assert!(!holds(&world, Guard::NothingSince(0)).await);
    world.put(world.make.event()).await;
    assert!(!holds(&world, Guard::NothingSince(newest)).await);
}

/// A record that a decision read and did not write.
pub async fn a_guard_for_an_unchanged_record_notices_every_change(world: World) {
    let mut job = world.make.job("job");
    let session = world.make.session("agent:main:main");
    world.store(vec![job.clone().into(), session.clone().into()]).await;
    let unchanged = |version| Guard::Unchanged(RecordId::Job(job.id), Version(version));
    assert!(holds(&world, unchanged(1)).await);
    assert!(!holds(&world, unchanged(2)).await);
    job.version = Version(1);
    world.put(job.clone()).await;
    assert!(!holds(&world, unchanged(1)).await);
    assert!(holds(&world, unchanged(2)).await);
    world.store(vec![Change::Delete(RecordId::Job(job.id), Version(2))]).await;
    assert!(!holds(&world, unchanged(2)).await);

    world.store(vec![append(&session, 1, &["an append is no change of the record"])]).await;
    assert!(holds(&world, Guard::Unchanged(RecordId::Session(session.id), Version(1))).await);
}

/// Version zero: there is none.
pub async fn a_guard_for_an_absent_record_notices_its_insertion(world: World) {
    let fact = world.make.event();
    let records: Vec<Change> = vec![
        world.make.node(3).into(),
        world.make.job("job").into(),
        world.make.run("agent:main:main").into(),
        world.make.session("agent:main:main").into(),
        world.make.hook("hook").into(),
        world.make.delivery(fact.id, "hook").into(),
        world.make.usage().into(),
        world.make.archive().into(),
        world.make.segment("segment").into(),
        world.make.alert(AlertCode::BootLoop, "").into(),
        world.make.reaper().into(),
        world.make.answer("key").into(),
        world.make.token("hash").into(),
    ];
    let mut guards: Vec<Guard> = records
        .iter()
        .map(|record| Guard::Unchanged(id_of(record.clone()), Version::NEW))
        .collect();
    guards.push(Guard::Unchanged(RecordId::Event(fact.id), Version::NEW));
    for guard in &guards {
        assert!(holds(&world, guard.clone()).await, "{guard:?}");
    }
    world.store(records).await;
    world.put(fact).await;
    for guard in guards {
        assert!(!holds(&world, guard.clone()).await, "{guard:?}");
    }
}

/// P5: two slots of a job that must not overlap.
pub async fn a_guard_for_a_job_without_running_runs_notices_one(world: World) {
    let (job, other) = (world.make.job("job"), world.make.job("other"));
    let idle = Guard::NothingRunning(job.id);
    let mut running = world.make.running("agent:main:a", 1);
    running.job = Some(other.id);
    let mut queued = world.make.run("agent:main:b");
    queued.job = Some(job.id);
    world.store(vec![running.into(), queued.clone().into()]).await;
    assert!(holds(&world, idle.clone()).await, "queued runs and runs of other jobs do not count");
    queued.version = Version(1);
    queued.state = State::Running { owner: world.make.owner(1), deadline: super::make::at(9) };
    world.put(queued.clone()).await;
    assert!(!holds(&world, idle.clone()).await);
    queued.version = Version(2);
    world.put(ended_run(queued, Outcome::Ok)).await;
    assert!(holds(&world, idle).await);
}

/// P2: one turn at a time on a session key.
pub async fn a_guard_for_an_idle_key_notices_a_running_run(world: World) {
    let idle = Guard::KeyIdle("agent:main:main".parse().expect("it is a key"));
    let queued = world.make.run("agent:main:main");
    let elsewhere = world.make.running("agent:main:other", 1);
    world.store(vec![queued.into(), elsewhere.into()]).await;
    assert!(holds(&world, idle.clone()).await);
    let mut running = world.make.running("agent:main:main", 1);
    world.put(running.clone()).await;
    assert!(!holds(&world, idle.clone()).await);
    running.version = Version(1);
    world.put(ended_run(running, Outcome::Failed)).await;
    assert!(holds(&world, idle).await);
}

/// P6: a queue stays bounded whoever adds to it at the same time.
pub async fn a_guard_for_room_in_a_queue_counts_the_queued_runs_of_its_key(world: World) {
    let room = Guard::QueueRoom("agent:main:main".parse().expect("it is a key"), 2);
    let running = world.make.running("agent:main:main", 1);
    let over = ended_run(world.make.run("agent:main:main"), Outcome::Cancelled);
    let elsewhere = world.make.run("agent:main:other");
    let queued = world.make.run("agent:main:main");
    world.store(vec![running.into(), over.into(), elsewhere.into(), queued.clone().into()]).await;
    assert!(holds(&world, room.clone()).await, "only queued runs of the key count");
    world.put(world.make.run("agent:main:main")).await;
    assert!(!holds(&world, room.clone()).await);
    let mut cancelled = ended_run(queued, Outcome::Cancelled);
    cancelled.version = Version(1);
    world.put(cancelled).await;
    assert!(holds(&world, room).await);
}

/// P6: a session that another continues stays, also when that one opens in the meantime.
pub async fn a_guard_for_a_session_that_nobody_continues_notices_a_successor(world: World) {
    let before = ended_session(world.make.session("agent:main:main"), EndReason::Restart);
    let alone = Guard::NotContinued(before.id);
    let mut successor = world.make.session("agent:main:main");
    successor.previous = Some(world.make.id());
    let other = world.make.session("agent:main:other");
    world.store(vec![before.clone().into(), successor.clone().into(), other.into()]).await;
    assert!(holds(&world, alone.clone()).await, "others do not count");
    successor.version = Version(1);
    successor.previous = Some(before.id);
    world.put(successor.clone()).await;
    assert!(!holds(&world, alone.clone()).await);
    successor.version = Version(2);
    world.put(ended_session(successor, EndReason::Idle)).await;
    assert!(holds(&world, alone).await, "ended ones do not count");
}

/// P6: a session of which somebody is to be told stays, also when that is asked for in the meantime.
pub async fn a_guard_for_a_session_that_is_told_notices_what_is_to_be_told(world: World) {
    let session = ended_session(world.make.session("agent:main:main"), EndReason::Idle);
    let other = ended_session(world.make.session("agent:main:other"), EndReason::Idle);
    world.store(vec![session.clone().into(), other.clone().into()]).await;
    let told = Guard::Told(session.id);
    let fact = world.make.event();
    let elsewhere = Delivery { session: Some(other.id), ..world.make.delivery(fact.id, "first") };
    let of_run = Delivery {
        session: Some(session.id),
        event_type: Some(EventType::RunEnded),
        ..world.make.delivery(fact.id, "second")
    };
    world.store(vec![fact.clone().into(), elsewhere.into(), of_run.into()]).await;
    assert!(holds(&world, told.clone()).await, "others do not count");
    let mut delivery =
        Delivery { session: Some(session.id), ..world.make.delivery(fact.id, "third") };
    world.put(delivery.clone()).await;
    assert!(!holds(&world, told.clone()).await);
    delivery.version = Version(1);
    delivery.state = DeliveryState::Delivered { at: at(9) };
    world.put(delivery).await;
    assert!(holds(&world, told).await, "what has arrived does not count");
}

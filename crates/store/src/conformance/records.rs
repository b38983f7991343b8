//! Records: they come back as they were put, and are replaced and deleted only by who knows them.

use serde_json::json;
use sexton_domain::alert::AlertCode;
use sexton_domain::change::{Change, Record, RecordId, Version};
use sexton_domain::event::NewEvent;
use sexton_domain::hook::{DeadReason, DeliveryState};
use sexton_domain::job::Source;
use sexton_domain::name::HookName;
use sexton_domain::run::{CancelRequest, Outcome, Range, Reason, RunError};
use sexton_domain::session::{Discard, EndReason, Hold, HoldReason};
use sexton_domain::usage::Tokens;

use super::World;
use super::make::{Make, at, ended_run, ended_session};
use super::world::{accepted, id_of};
use crate::driver::Conflict;

/// One of each kind, and two of those that have two shapes; no field left at its default.
pub(super) fn one_of_each(make: &Make, fact: &NewEvent) -> Vec<Record> {
    let mut job = make.job("job");
    job.source = Source::Config("main".to_owned());
    job.next_slot = Some(at(1));
    job.last_slot = Some(at(-1));
    job.backoff_until = Some(at(2));
    job.counters.failing_streak = 4;
    job.counters.missed_streak = 5;
    job.last_turn = 77;
    job.reindex = true;
    job.spec.retention.max_sessions = Some(9);
    let mut run = ended_run(make.slot(&job, at(1)), Outcome::TimedOut);
    run.range = Some(Range { to: at(7), count: 3 });
    run.session = Some(make.id());
    run.retry_of = Some(make.id());
    run.cancel = Some(CancelRequest { reason: Reason::Operator, at: at(3) });
    run.error = Some(RunError { class: "exit".to_owned(), message: "exit code 2".to_owned() });
    run.output = Some("output".to_owned());
    run.stderr = Some("stderr".to_owned());
    run.usage = Some(Tokens { input: 1, output: 2, cached: 3, cost_micro_usd: 4 });
    run.shim = Some(sexton_domain::node::ProcessId { pid: 9, started: 10 });
    let mut session = ended_session(make.session("agent:main:main"), EndReason::Idle);
    session.job = Some(job.id);
    session.job_key = Some(job.key.clone());
    session.run = Some(run.id);
    session.previous = Some(make.id());
    session.expires_at = Some(at(99));
    session.hold = Some(Hold { reason: HoldReason::Continued, until: at(100) });
    session.pinned = true;
    session.active_at = Some(at(59));
    session.closing = Some(EndReason::Reset);
    session.discard = Some(Discard::Purge);
    let mut delivered = make.delivery(fact.id, "other");
    delivered.state = DeliveryState::Delivered { at: at(6) };
    let mut dead = make.delivery(fact.id, "third");
    dead.state = DeliveryState::Dead { at: at(7), why: DeadReason::MaxAge };
    dead.by_hand = true;
    let mut cleared = make.alert(AlertCode::LowDisk, "");
    cleared.cleared_at = Some(at(90));
    vec![
        Record::Node(make.ended_node(1)),
        Record::Node(make.node(2)),
        Record::Job(job.into()),
        Record::Run(run.into()),
        Record::Run(make.running("agent:main:other", 2).into()),
        Record::Session(session.into()),
        Record::Session(make.session("agent:main:main").into()),
        Record::Hook(make.hook("hook")),
        Record::Delivery(make.delivery(fact.id, "hook")),
        Record::Delivery(delivered),
        Record::Delivery(dead),
        Record::Usage(make.usage()),
        Record::Archive(make.archive()),
        Record::Segment(make.segment("2027-01-15.szst")),
        Record::Alert(make.alert(AlertCode::DeadLetters, "a:hook")),
        Record::Alert(cleared),
        Record::Reaper(make.reaper()),
        Record::Idempotency(make.answer("key")),
        Record::Token(make.token("hash")),
        Record::ReceiptPart(make.receipt_part(json!({ "imported": [1, "two", null] }))),
    ]
}

/// P1: what was acknowledged is there, whole, also after a restart.
pub async fn every_kind_of_record_comes_back_equal_after_reopening(mut world: World) {
    let fact = world.make.event();
    let records = one_of_each(&world.make, &fact);
    for record in &records {
        world.store(vec![Change::Put(record.clone())]).await;
    }
    world.put(fact.clone()).await;
    for reopened in [false, true] {
        for record in &records {
            let stored = world.get(record.id()).await;
            assert_eq!(stored, Some(accepted(record.clone())), "reopened: {reopened}");
        }
        let events = world.driver().events(0, 10).await.unwrap();
        assert!(events.iter().map(|event| &event.fact).eq([&fact]));
        world.reopen().await;
    }
    let unknown = world.make.id();
    assert_eq!(world.get(RecordId::Run(unknown)).await, None);
}

fn is_reinsertable(record: &Record) -> bool {
    matches!(record, Record::Usage(_))
}

/// Version zero inserts and never replaces.
pub async fn a_new_record_is_inserted_once(world: World) {
    let fact = world.make.event();
    for record in one_of_each(&world.make, &fact) {
        let (id, put) = (record.id(), Change::Put(record.clone()));
        world.store(vec![put.clone()]).await;
        if is_reinsertable(&record) {
            world.store(vec![put]).await;
        } else {
            assert_eq!(world.conflict(vec![put]).await, Conflict::Version(id.clone()));
        }
        assert_eq!(world.get(id).await, Some(accepted(record)));
    }
}

fn at_version(record: &Record, version: u64) -> Record {
    let mut record = record.clone();
    let place = match &mut record {
        Record::Node(node) => &mut node.version,
        Record::Job(job) => &mut job.version,
        Record::Run(run) => &mut run.version,
        Record::Session(session) => &mut session.version,
        Record::Hook(hook) => &mut hook.version,
        Record::Delivery(delivery) => &mut delivery.version,
        Record::Archive(archive) => &mut archive.version,
        Record::Segment(segment) => &mut segment.version,
        Record::Alert(alert) => &mut alert.version,
        Record::Reaper(reaper) => &mut reaper.version,
        Record::Token(token) => &mut token.version,
        Record::ReceiptPart(part) => &mut part.version,
        Record::Usage(_) | Record::Idempotency(_) => panic!("it has no version"),
    };
    *place = Version(version);
    record
}

fn is_versioned(record: &Record) -> bool {
    !matches!(record, Record::Usage(_) | Record::Idempotency(_))
}

/// Compare and swap: of two that read the same version one wins.
pub async fn a_record_is_replaced_only_at_the_version_that_was_read(world: World) {
    let fact = world.make.event();
    for record in one_of_each(&world.make, &fact).into_iter().filter(is_versioned) {
        let id = record.id();
        let missing = world.conflict(vec![Change::Put(at_version(&record, 1))]).await;
        assert_eq!(missing, Conflict::Version(id.clone()));
        world.store(vec![Change::Put(record.clone())]).await;
        for stale in [0, 2, 3, u64::MAX] {
            let conflict = world.conflict(vec![Change::Put(at_version(&record, stale))]).await;
            assert_eq!(conflict, Conflict::Version(id.clone()), "stale at {stale}");
        }
        for version in 1..=3 {
            let current = at_version(&record, version);
            world.store(vec![Change::Put(current.clone())]).await;
            assert_eq!(world.get(id.clone()).await, Some(at_version(&record, version + 1)));
            let again = world.conflict(vec![Change::Put(current)]).await;
            assert_eq!(again, Conflict::Version(id.clone()));
        }
    }
}

/// A record that has changed since it was read is not deleted.
pub async fn a_record_is_deleted_only_at_the_version_that_was_read(world: World) {
    let fact = world.make.event();
    for record in one_of_each(&world.make, &fact).into_iter().filter(is_versioned) {
        let id = record.id();
        world.store(vec![Change::Put(record.clone())]).await;
        world.store(vec![Change::Put(at_version(&record, 1))]).await;
        for stale in [0, 1, 3] {
            let delete = Change::Delete(id.clone(), Version(stale));
            assert_eq!(world.conflict(vec![delete]).await, Conflict::Version(id.clone()));
        }
        assert_eq!(world.get(id.clone()).await, Some(at_version(&record, 2)));
        world.store(vec![Change::Delete(id.clone(), Version(2))]).await;
        assert_eq!(world.get(id).await, None);
    }
}

/// P6: whatever is stored can go, once, and its place is free again.
pub async fn every_kind_of_record_can_be_deleted(mut world: World) {
    let fact = world.make.event();
    let records = one_of_each(&world.make, &fact);
    world.store(records.iter().cloned().map(Change::Put).collect()).await;
    for record in &records {
        let version = if is_versioned(record) { Version(1) } else { Version::NEW };
        let delete = Change::Delete(record.id(), version);
        world.store(vec![delete.clone()]).await;
        assert_eq!(world.get(record.id()).await, None);
        assert_eq!(world.conflict(vec![delete]).await, Conflict::Version(record.id()));
    }
    world.reopen().await;
    for record in &records {
        assert_eq!(world.get(record.id()).await, None);
    }
    world.store(records.into_iter().map(Change::Put).collect()).await;
}

/// P3: one event goes to one hook once.
pub async fn a_delivery_is_unique_per_event_and_hook(world: World) {
    let (one, two) = (world.make.event(), world.make.event());
    let first = world.make.delivery(one.id, "hook");
    world.put(first.clone()).await;
    let double = world.make.delivery(one.id, "hook");
    let conflict = world.conflict(vec![double.into()]).await;
    assert!(matches!(conflict, Conflict::Unique(_)), "{conflict:?}");
    world.put(world.make.delivery(one.id, "other")).await;
    world.put(world.make.delivery(two.id, "hook")).await;
    let hook: HookName = "hook".parse().expect("it is a name");
    assert_eq!(first.hook, hook);
}

/// A secret opens one door.
pub async fn a_token_is_unique_per_hash(world: World) {
    let first = world.make.token("hash");
    world.put(first.clone()).await;
    let conflict = world.conflict(vec![world.make.token("hash").into()]).await;
    assert!(matches!(conflict, Conflict::Unique(_)), "{conflict:?}");
    world.put(world.make.token("other")).await;
    world.store(vec![Change::Delete(id_of(first), Version(1))]).await;
    world.put(world.make.token("hash")).await;
}

/// A repeated call is answered as the first one was.
pub async fn a_remembered_answer_is_stored_once(world: World) {
    let mut first = world.make.answer("key");
    first.id.token = None;
    world.put(first.clone()).await;
    let mut second = first.clone();
    second.result = "another".to_owned();
    let conflict = world.conflict(vec![second.clone().into()]).await;
    assert_eq!(conflict, Conflict::Version(id_of(first.clone())));
    assert_eq!(world.stored(first.clone()).await, Some(Record::Idempotency(first.clone())));
    second.id.token = Some(world.make.id());
    world.put(second.clone()).await;
    second.id.route = "DELETE /v1/jobs".to_owned();
    world.put(second).await;
}

/// Epochs and cursors are made from it.
pub async fn a_store_keeps_its_id_and_generation(mut world: World) {
    let meta = world.driver().meta().await.unwrap();
    assert_eq!(meta.generation, 1);
    assert!(meta.schema > 0);
    world.put(world.make.job("job")).await;
    world.reopen().await;
    assert_eq!(world.driver().meta().await.unwrap(), meta);
    world.crash().await;
    assert_eq!(world.driver().meta().await.unwrap(), meta);
}

//! Batches: all or nothing, in order, and each for itself.

use sexton_domain::change::{Change, Guard, RecordId, Version};

use super::World;
use super::make::{append, epoch};
use super::world::{accepted, id_of};
use crate::driver::{CommitError, Conflict, Error};
use crate::ticket::answers;

/// P1: what changes together is stored together or not at all.
pub async fn a_batch_that_fails_in_the_middle_leaves_no_trace(mut world: World) {
    let kept = world.make.session("agent:main:main");
    world.put(kept.clone()).await;
    let (job, run) = (world.make.job("job"), world.make.run("agent:main:other"));
    let fresh = world.make.session("agent:main:fresh");
    let usage = world.make.usage();
    let event = world.make.event();
    let batch = vec![
        job.clone().into(),
        run.clone().into(),
        fresh.clone().into(),
        append(&fresh, 1, &["one", "two"]),
        append(&kept, 1, &["one"]),
        usage.clone().into(),
        event.into(),
        Change::Delete(RecordId::Session(kept.id), Version(1)),
        Change::Require(Guard::Alive(epoch(99))),
        world.make.job("never").into(),
    ];
    let conflict = world.conflict(batch).await;
    assert_eq!(conflict, Conflict::Guard(Guard::Alive(epoch(99))));

    world.reopen().await;
    for record in [id_of(job), id_of(run), id_of(fresh.clone()), id_of(usage.clone())] {
        assert_eq!(world.get(record).await, None);
    }
    assert_eq!(world.session(kept.id).await.entry_count, 0);
    assert!(world.entries(&kept).await.is_empty());
    assert!(world.entries(&fresh).await.is_empty());
    assert_eq!(world.driver().events(0, 10).await.unwrap(), []);
    assert_eq!(world.driver().daily_usage(jiff::civil::Date::MIN).await.unwrap(), []);
    assert_eq!(world.driver().tally().await.unwrap().jobs, 0);
}

/// P10: a decision that comes too late does not take others with it that wait for the same fsync.
pub async fn a_conflict_undoes_its_own_batch_and_no_other_of_the_group(world: World) {
    let jobs: Vec<_> = (0..5).map(|n| world.make.job(&format!("job-{n}"))).collect();
    let mut group: Vec<Vec<Change>> =
        jobs.iter().map(|job| vec![Change::from(job.clone())]).collect();
    for conflicting in [1, 3] {
        let event = world.make.event();
        group[conflicting].push(event.into());
        group[conflicting].push(Change::Require(Guard::Alive(epoch(9))));
    }
    let answers = answers(world.driver().claim(group)).await;
    for (index, answer) in answers.iter().enumerate() {
        let conflicts = matches!(answer, Err(CommitError::Conflict(_)));
        assert_eq!(conflicts, [1, 3].contains(&index), "{answer:?}");
        let stored = world.stored(jobs[index].clone()).await;
        assert_eq!(stored.is_none(), conflicts);
    }
    assert_eq!(world.driver().events(0, 10).await.unwrap(), []);
}

/// A claim that lost its race gets its own answer, not that of another.
pub async fn claims_are_answered_in_their_order(world: World) {
    let runs: Vec<_> = (0..40).map(|n| world.make.run(&format!("agent:main:k{n}"))).collect();
    for run in &runs {
        world.put(run.clone()).await;
    }
    let taken = |index: usize| index.is_multiple_of(3);
    for run in runs.iter().enumerate().filter(|(index, _)| taken(*index)).map(|(_, run)| run) {
        world.put(world.run(run).await).await;
    }
    let mut claims = Vec::new();
    for run in &runs {
        let mut claimed = run.clone();
        claimed.version = Version(1);
        claims.push(vec![Change::from(claimed), world.make.event().into()]);
    }
    let answers = answers(world.driver().claim(claims)).await;
    assert_eq!(answers.len(), runs.len());
    let mut last = 0;
    for (index, (answer, run)) in answers.into_iter().zip(&runs).enumerate() {
        match answer {
            Ok(committed) if !taken(index) => {
                let seq = committed.last_seq.expect("the claim has an event");
                assert!(seq > last, "events are numbered in the order of the claims");
                last = seq;
            }
            Err(CommitError::Conflict(Conflict::Version(id))) if taken(index) => {
                assert_eq!(id, RecordId::Run(run.id));
            }
            other => panic!("claim {index}: {other:?}"),
        }
        assert_eq!(world.run(run).await.version, Version(2));
    }
}

/// P7: what is queued without waiting is stored before what is queued after it.
pub async fn batches_of_one_task_are_applied_in_order_without_waiting(world: World) {
    let session = world.make.session("agent:main:main");
    let mut tickets = vec![world.driver().commit(vec![session.clone().into()])];
    for seq in 1..=300 {
        tickets.push(world.driver().commit(vec![append(&session, seq, &["line"])]));
    }
    let last = tickets.pop().expect("there are tickets");
    last.await.unwrap();
    assert_eq!(world.session(session.id).await.entry_count, 300);
    for ticket in tickets {
        ticket.await.unwrap();
    }
}

/// P7: not waiting for an answer is the caller's choice and changes nothing.
pub async fn a_dropped_ticket_does_not_undo_its_batch(mut world: World) {
    let job = world.make.job("job");
    drop(world.driver().commit(vec![job.clone().into()]));
    world.reopen().await;
    assert!(world.stored(job).await.is_some());
}

/// P7: who was told that it is stored finds it.
pub async fn an_acknowledged_batch_is_seen_by_every_later_read(world: World) {
    let mut job = world.make.job("job");
    for revision in 0..50 {
        job.revision = revision;
        world.put(job.clone()).await;
        job.version = job.version.next();
        let reads = [world.job(&job).await, world.job(&job).await, world.job(&job).await];
        assert_eq!(reads, [job.clone(), job.clone(), job.clone()]);
    }
}

/// A decision is a sequence of changes: each one finds what those before it did.
pub async fn changes_of_one_batch_see_each_other(world: World) {
    let mut session = world.make.session("agent:main:main");
    let next = world.make.session("agent:main:main");
    let mut batch = vec![session.clone().into(), append(&session, 1, &["one"])];
    batch.push(append(&session, 2, &["two", "three"]));
    session = super::make::ended_session(session, sexton_domain::session::EndReason::New);
    session.version = Version(1);
    batch.extend([session.clone().into(), next.clone().into()]);
    world.store(batch).await;
    let ended = world.session(session.id).await;
    assert_eq!((ended.is_open(), ended.entry_count, ended.bytes), (false, 3, 11));
    assert_eq!(ended.version, Version(2));
    assert!(world.session(next.id).await.is_open());
}

/// Nothing to store is nothing to fail.
pub async fn an_empty_batch_is_acknowledged(world: World) {
    assert_eq!(world.store(Vec::new()).await.last_seq, None);
    assert_eq!(answers(world.driver().claim(Vec::new())).await, []);
}

/// P7, P9: closing finishes what was accepted and refuses what comes later.
pub async fn a_closed_store_refuses_and_keeps_what_it_accepted(mut world: World) {
    let jobs: Vec<_> = (0..50).map(|n| world.make.job(&format!("job-{n}"))).collect();
    let tickets: Vec<_> =
        jobs.iter().map(|job| world.driver().commit(vec![job.clone().into()])).collect();
    world.driver().close().await;
    for ticket in tickets {
        ticket.await.unwrap();
    }
    let late = world.make.job("late");
    assert_eq!(world.fail(vec![late.clone().into()]).await, Error::Closed);
    assert_eq!(world.driver().tally().await, Err(Error::Closed));
    world.driver().close().await;
    world.crash().await;
    for job in jobs {
        let Change::Put(record) = Change::from(job.clone()) else { continue };
        assert_eq!(world.stored(job).await, Some(accepted(record)));
    }
    assert_eq!(world.stored(late).await, None);
}

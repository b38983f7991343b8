//! Expired records: of every kind, those whose time was over, and no others (P6).

use sexton_domain::alert::AlertCode;
use sexton_domain::change::{Change, RecordId, Version};
use sexton_domain::hook::{DeadReason, Delivery, DeliveryState};
use sexton_domain::node::{EndReason, NodeEnd};
use sexton_domain::run::{Outcome, Reason, Run, State};

use super::World;
use super::make::{at, ended_run, ended_session, epoch};
use crate::page::Expired;

/// What the query finds: all of it, the first two of it, and whether it can be deleted as it says.
#[track_caller]
fn finds(world: &World, what: Expired, expected: Vec<RecordId>) -> impl Future<Output = ()> {
    let caller = std::panic::Location::caller();
    async move {
        let found = world.driver().expired(what.clone(), u32::MAX).await.unwrap();
        let ids: Vec<RecordId> = found.iter().map(|(id, _)| id.clone()).collect();
        assert_eq!(ids, expected, "{caller}: {what:?}");
        let some = world.driver().expired(what.clone(), 2).await.unwrap();
        assert_eq!(some, found[..found.len().min(2)], "{caller}: {what:?}");
        for (id, version) in found {
            world.store(vec![Change::Delete(id, version)]).await;
        }
        assert_eq!(world.driver().expired(what, u32::MAX).await.unwrap(), []);
    }
}

/// 30 days after their end.
pub async fn nodes_expire_by_their_end(world: World) {
    let ended = |count, seconds| {
        let end = Some(NodeEnd { at: at(seconds), reason: EndReason::Crash });
        sexton_domain::node::Node { end, ..world.make.node(count) }
    };
    let nodes = [ended(1, 30), ended(2, 10), ended(3, 20), world.make.node(4), ended(5, 19)];
    world.store(nodes.map(Change::from).into()).await;
    finds(&world, Expired::Nodes(at(20)), [2, 5].map(|n| RecordId::Node(epoch(n))).into()).await;
    finds(&world, Expired::Nodes(at(99)), [3, 1].map(|n| RecordId::Node(epoch(n))).into()).await;
}

/// A tombstone stays while a session of the job does.
pub async fn jobs_expire_by_removal_without_sessions_and_by_being_done(world: World) {
    let job = |key: &str, removed: Option<i64>, done: Option<i64>| {
        let mut job = world.make.job(key);
        job.removed_at = removed.map(at);
        job.done_at = done.map(at);
        job
    };
    let (old, new) = (job("a", Some(1), None), job("b", Some(50), None));
    let (kept, older) = (job("c", Some(2), None), job("d", Some(0), Some(0)));
    let (done, done_first) = (job("e", None, Some(8)), job("f", None, Some(7)));
    // A job of a config source goes with its source.
    let declared = sexton_domain::job::Job {
        source: sexton_domain::job::Source::Config("api".to_owned()),
        ..job("h", None, Some(6))
    };
    let mut session = ended_session(
        world.make.session("agent:main:main"),
        sexton_domain::session::EndReason::Completed,
    );
    session.job = Some(kept.id);
    let all = [&old, &new, &kept, &older, &done, &done_first, &job("g", None, None), &declared];
    world.store(all.map(|job| job.clone().into()).into()).await;
    world.put(session.clone()).await;
    let ids = |jobs: &[&sexton_domain::job::Job]| -> Vec<RecordId> {
        jobs.iter().map(|job| RecordId::Job(job.id)).collect()
    };
    finds(&world, Expired::Tombstones(at(50)), ids(&[&older, &old])).await;
    world.store(vec![Change::Delete(RecordId::Session(session.id), Version(1))]).await;
    finds(&world, Expired::Tombstones(at(51)), ids(&[&kept, &new])).await;
    finds(&world, Expired::DoneJobs(at(8)), ids(&[&done_first])).await;
    finds(&world, Expired::DoneJobs(at(9)), ids(&[&done])).await;
}

/// 90 days after their end, or after their import.
pub async fn runs_expire_by_their_end(world: World) {
    let ended = |seconds| Run {
        state: State::Ended { at: at(seconds), outcome: Outcome::Ok, reason: Reason::Exit },
        ..world.make.run("agent:main:main")
    };
    let imported = Run { imported_at: Some(at(11)), ..ended(1) };
    let runs = [ended(9), ended(7), ended(10), world.make.run("agent:main:main"), imported];
    world.store(runs.iter().cloned().map(Change::from).collect()).await;
    let expected = [&runs[1], &runs[0]].map(|run| RecordId::Run(run.id)).into();
    finds(&world, Expired::Runs(at(10)), expected).await;
}

/// At most so many a job; one that has not ended stays and counts.
pub async fn runs_beyond_the_newest_of_a_job_expire(world: World) {
    let (job, other) = (world.make.job("job"), world.make.job("other"));
    let mut runs: Vec<Run> =
        (0..8).map(|n| ended_run(world.make.slot(&job, at(n)), Outcome::Ok)).collect();
    runs[1].state = State::Queued;
    runs[7].state = State::Queued;
    world.store(runs.iter().rev().cloned().map(Change::from).collect()).await;
    let two = [0, 1].map(|n| ended_run(world.make.slot(&other, at(n)), Outcome::Ok));
    world.store(two.iter().cloned().map(Change::from).collect()).await;
    world.put(ended_run(world.make.run("agent:main:main"), Outcome::Ok)).await;
    let over = async |keep| world.driver().jobs_over(keep, 9).await.unwrap();
    assert_eq!(over(0).await, [job.id, other.id]);
    assert_eq!(over(2).await, [job.id]);
    assert_eq!(over(8).await, []);
    assert_eq!(world.driver().jobs_over(0, 1).await.unwrap(), [job.id]);
    finds(&world, Expired::RunsBeyond(job.id, 8), Vec::new()).await;
    let expected = [0, 2, 3, 4].map(|n: usize| RecordId::Run(runs[n].id)).into();
    finds(&world, Expired::RunsBeyond(job.id, 3), expected).await;
    assert_eq!(over(3).await, [job.id], "the queued one is over and stays");
    let expected = two.iter().map(|run| RecordId::Run(run.id)).collect();
    finds(&world, Expired::RunsBeyond(other.id, 0), expected).await;
    assert_eq!(over(0).await, [job.id]);
}

/// P3: an event stays while somebody is still to be told, or was given up on.
pub async fn an_event_does_not_expire_while_a_delivery_of_it_is_pending_or_dead(world: World) {
    let facts: Vec<_> = (0..6).map(|_| world.make.event()).collect();
    world.store(facts.iter().rev().cloned().map(Change::from).collect()).await;
    let state =
        |n: usize, hook: &str, state| Delivery { state, ..world.make.delivery(facts[n].id, hook) };
    let pending = DeliveryState::Pending { next_at: at(5) };
    let delivered = DeliveryState::Delivered { at: at(5) };
    let dead = DeliveryState::Dead { at: at(5), why: DeadReason::MaxAge };
    let deliveries = [
        state(0, "hook", pending),
        state(1, "hook", delivered),
        state(2, "hook", dead),
        state(3, "hook", delivered),
        state(3, "other", pending),
    ];
    world.store(deliveries.iter().cloned().map(Change::from).collect()).await;
    let ids = |of: &[usize]| of.iter().map(|n| RecordId::Event(facts[*n].id)).collect::<Vec<_>>();
    finds(&world, Expired::Events(facts[5].at), ids(&[1, 4])).await;
    for mut told in [deliveries[0].clone(), deliveries[4].clone()] {
        (told.state, told.version) = (delivered, Version(1));
        world.put(told).await;
    }
    finds(&world, Expired::Events(at(60)), ids(&[0, 3, 5])).await;
    world.store(vec![Change::Delete(RecordId::Delivery(deliveries[2].id), Version(1))]).await;
    finds(&world, Expired::Events(at(60)), ids(&[2])).await;
}

/// 24 hours after the acknowledgement, or by `retention.dead`.
pub async fn deliveries_expire_by_how_they_came_to_their_end(world: World) {
    let make = |state| Delivery { state, ..world.make.delivery(world.make.id(), "hook") };
    let dead = |seconds| make(DeliveryState::Dead { at: at(seconds), why: DeadReason::MaxAge });
    let delivered = |seconds| make(DeliveryState::Delivered { at: at(seconds) });
    let all = [
        delivered(9),
        delivered(3),
        delivered(10),
        dead(9),
        dead(2),
        dead(10),
        make(DeliveryState::Pending { next_at: at(1) }),
    ];
    world.store(all.iter().cloned().map(Change::from).collect()).await;
    let ids = |of: [usize; 2]| of.map(|n| RecordId::Delivery(all[n].id)).to_vec();
    finds(&world, Expired::Delivered(at(10)), ids([1, 0])).await;
    finds(&world, Expired::Dead(at(10)), ids([4, 3])).await;
}

/// Reports go, the daily sums stay; remembered answers go after 24 hours.
pub async fn usage_reports_and_remembered_answers_expire_by_their_time(world: World) {
    let mut reports = [7, 3, 10].map(|seconds| (seconds, world.make.usage()));
    let mut answers = [7, 3, 10].map(|seconds| (seconds, world.make.answer("key")));
    answers[1].1.id.token = None;
    for (seconds, report) in &mut reports {
        report.at = at(*seconds);
        world.put(report.clone()).await;
    }
    for (seconds, answer) in &mut answers {
        answer.at = at(*seconds);
        world.put(answer.clone()).await;
    }
    let ids = [1, 0].map(|n: usize| RecordId::Usage(reports[n].1.id)).into();
    finds(&world, Expired::Usage(at(10)), ids).await;
    let ids = [1, 0].map(|n: usize| RecordId::Idempotency(answers[n].1.id.clone())).into();
    finds(&world, Expired::Idempotency(at(10)), ids).await;
}

/// Stubs of archives and segments go 30 days after what they stand for.
pub async fn stubs_of_archives_and_segments_expire_by_their_deletion(world: World) {
    let mut archives = [Some(9), Some(2), None, Some(10)].map(|gone| (gone, world.make.archive()));
    for (gone, archive) in &mut archives {
        archive.deleted_at = gone.map(at);
        world.put(archive.clone()).await;
    }
    for (name, gone) in [("a", Some(9)), ("b", Some(2)), ("c", None), ("d", Some(10))] {
        let mut segment = world.make.segment(name);
        segment.deleted_at = gone.map(at);
        world.put(segment).await;
    }
    let ids = [1, 0].map(|n: usize| RecordId::Archive(archives[n].1.session)).into();
    finds(&world, Expired::Stubs(at(10)), ids).await;
    let ids = ["b", "a"].map(|name| RecordId::Segment(name.to_owned())).into();
    finds(&world, Expired::Segments(at(10)), ids).await;
}

/// 30 days after they were cleared.
pub async fn alerts_expire_by_when_they_were_cleared(world: World) {
    let mut alerts = [Some(9), Some(2), None, Some(10)].map(|cleared| {
        (cleared, world.make.alert(AlertCode::JobFailing, &format!("{cleared:?}:x")))
    });
    alerts[1].1.key.about = String::new();
    for (cleared, alert) in &mut alerts {
        alert.cleared_at = cleared.map(at);
        world.put(alert.clone()).await;
    }
    let ids = [1, 0].map(|n: usize| RecordId::Alert(alerts[n].1.key.clone())).into();
    finds(&world, Expired::Alerts(at(10)), ids).await;
}

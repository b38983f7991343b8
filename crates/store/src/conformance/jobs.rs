//! Jobs: unique keys, and who is due.

use sexton_domain::change::{Change, RecordId, Version};
use sexton_domain::id::JobId;
use sexton_domain::job::{Job, SuspendedBy, Suspension};

use super::World;
use super::make::at;
use crate::driver::Conflict;

/// A key is an address: a removed job does not keep it.
pub async fn a_job_key_is_unique_among_jobs_that_are_not_removed(world: World) {
    let mut first = world.make.job("job");
    let second = world.make.job("job");
    let key = first.key.clone();
    world.put(first.clone()).await;
    let taken = world.conflict(vec![second.clone().into()]).await;
    assert_eq!(taken, Conflict::JobKeyTaken(key.clone()));
    world.put(world.make.job("JOB")).await;

    first.version = Version(1);
    first.removed_at = Some(at(5));
    world.put(first.clone()).await;
    assert_eq!(world.driver().job_by_key(key.clone()).await.unwrap(), None);
    world.put(second.clone()).await;
    let found = world.driver().job_by_key(key.clone()).await.unwrap().expect("it is there");
    assert_eq!(found.id, second.id);

    first.version = Version(2);
    first.removed_at = None;
    let taken = world.conflict(vec![first.into()]).await;
    assert_eq!(taken, Conflict::JobKeyTaken(key), "a removed job cannot come back behind its key");
}

fn due(job: &Job, slot: i64) -> Job {
    Job { next_slot: Some(at(slot)), ..job.clone() }
}

/// P5: whoever is due longest is looked at first, and who does not run is not looked at.
pub async fn due_jobs_come_longest_due_first_and_only_active_ones(world: World) {
    let jobs: Vec<Job> = (0..9).map(|n| world.make.job(&format!("job-{n}"))).collect();
    let mut disabled = due(&jobs[5], 1);
    disabled.spec.enabled = false;
    let suspension = Suspension { by: SuspendedBy::Operator, since: at(0) };
    let stored = [
        due(&jobs[0], 30),
        due(&jobs[1], 10),
        due(&jobs[2], 20),
        due(&jobs[3], 20),
        jobs[4].clone(),
        disabled,
        Job { suspension: Some(suspension), ..due(&jobs[6], 1) },
        Job { done_at: Some(at(0)), ..due(&jobs[7], 1) },
        Job { removed_at: Some(at(0)), ..due(&jobs[8], 1) },
    ];
    world.store(stored.into_iter().map(Change::from).collect()).await;
    let ids = |jobs: Vec<Job>| jobs.into_iter().map(|job| job.id).collect::<Vec<_>>();
    let due_at = |seconds, limit| world.driver().due_jobs(at(seconds), limit);
    let in_order = [jobs[1].id, jobs[2].id, jobs[3].id, jobs[0].id];
    assert_eq!(ids(due_at(30, 10).await.unwrap()), in_order);
    assert_eq!(ids(due_at(29, 10).await.unwrap()), in_order[..3]);
    assert_eq!(ids(due_at(30, 2).await.unwrap()), in_order[..2]);
    assert_eq!(ids(due_at(9, 10).await.unwrap()), []);
}

/// P5: the scheduler sleeps until then.
pub async fn the_next_due_time_is_the_earliest_of_active_jobs(world: World) {
    assert_eq!(world.driver().next_due().await.unwrap(), None);
    let (early, late) = (world.make.job("early"), world.make.job("late"));
    world.store(vec![due(&early, 10).into(), due(&late, 20).into()]).await;
    assert_eq!(world.driver().next_due().await.unwrap(), Some(at(10)));
    let mut moved = due(&early, 30);
    moved.version = Version(1);
    world.put(moved).await;
    assert_eq!(world.driver().next_due().await.unwrap(), Some(at(20)));
    world.store(vec![Change::Delete(RecordId::Job(late.id), Version(1))]).await;
    assert_eq!(world.driver().next_due().await.unwrap(), Some(at(30)));
    let mut none = early.clone();
    none.version = Version(2);
    world.put(none).await;
    assert_eq!(world.driver().next_due().await.unwrap(), None);
}

/// P6, P8: the loops find the jobs they are for among any number of others, removed ones too.
pub async fn capped_changed_and_troubled_jobs_are_found_among_all(world: World) {
    let mut jobs: Vec<Job> = (0..40).map(|n| world.make.job(&format!("job-{n}"))).collect();
    for (n, job) in jobs.iter_mut().enumerate() {
        job.spec.retention.max_sessions = n.is_multiple_of(3).then_some(5);
        job.reindex = n.is_multiple_of(4);
        job.counters.failing_streak = if n.is_multiple_of(5) { 2 } else { 1 };
        job.removed_at = n.is_multiple_of(6).then(|| at(1));
    }
    world.store(jobs.iter().cloned().map(Change::from).collect()).await;
    jobs[4].reindex = false;
    jobs[5].counters.failing_streak = 0;
    jobs[9].spec.retention.max_sessions = None;
    for index in [4, 5, 9] {
        world.put(Job { version: Version(1), ..jobs[index].clone() }).await;
    }
    let ids = |found: Vec<Job>| found.into_iter().map(|job| job.id).collect::<Vec<_>>();
    let expected = |test: fn(&Job) -> bool| -> Vec<JobId> {
        jobs.iter().filter(|job| test(job)).map(|job| job.id).collect()
    };
    let capped = expected(|job| job.spec.retention.max_sessions.is_some());
    assert_eq!(ids(world.driver().capped_jobs(None, 99).await.unwrap()), capped);
    assert_eq!(ids(world.driver().capped_jobs(Some(capped[2]), 4).await.unwrap()), capped[3..7]);
    let changed = expected(|job| job.reindex);
    assert_eq!(ids(world.driver().jobs_to_reindex(99).await.unwrap()), changed);
    assert_eq!(ids(world.driver().jobs_to_reindex(2).await.unwrap()), changed[..2]);
    let troubled = expected(Job::is_troubled);
    assert!(troubled.len() < expected(|job| job.counters.failing_streak == 2).len());
    assert_eq!(ids(world.driver().troubled_jobs(99).await.unwrap()), troubled);
    assert_eq!(ids(world.driver().troubled_jobs(1).await.unwrap()), troubled[..1]);
}

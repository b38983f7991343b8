//! Jobs: unique keys, and who is due.

use sexton_domain::change::{Change, RecordId, Version};
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

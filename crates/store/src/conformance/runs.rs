//! Runs: one attempt of a slot, one turn on a key, and the orders in which they are looked at.

use sexton_domain::change::{Change, RecordId, Version};
use sexton_domain::run::{Outcome, Run, State};

use super::World;
use super::chance::Chance;
use super::lists::{Names, random_run};
use super::make::{agent, at, ended_run, epoch};
use crate::driver::Conflict;
use crate::page::Queue;

fn ids(runs: Vec<Run>) -> Vec<sexton_domain::id::RunId> {
    runs.into_iter().map(|run| run.id).collect()
}

/// P5: never two runs of one attempt, and a slot is claimed once.
pub async fn an_attempt_of_a_slot_is_unique(world: World) {
    let (job, other) = (world.make.job("job"), world.make.job("other"));
    let first = world.make.slot(&job, at(60));
    world.put(first.clone()).await;
    let double = world.make.slot(&job, at(60));
    assert_eq!(world.conflict(vec![double.clone().into()]).await, Conflict::SlotTaken);
    world.put(Run { attempt: 2, ..double.clone() }).await;
    world.put(world.make.slot(&job, at(61))).await;
    world.put(world.make.slot(&other, at(60))).await;
    let mut moved = world.make.slot(&job, at(62));
    world.put(moved.clone()).await;
    moved.version = Version(1);
    moved.slot = Some(at(60));
    assert_eq!(world.conflict(vec![moved.into()]).await, Conflict::SlotTaken);
    for _ in 0..3 {
        let manual = Run { job: Some(job.id), ..world.make.run("agent:main:main") };
        world.put(manual).await;
    }
    world.store(vec![Change::Delete(RecordId::Run(first.id), Version(1))]).await;
    world.put(Run { attempt: 1, ..world.make.slot(&job, at(60)) }).await;
}

/// P2: two turns of one session never run at once.
pub async fn one_run_at_most_is_running_on_a_key(world: World) {
    let key = "agent:main:main";
    let running = world.make.running(key, 1);
    let mut queued = world.make.run(key);
    world.store(vec![running.clone().into(), queued.clone().into()]).await;
    let taken = Conflict::KeyRunning(running.session_key.clone());
    assert_eq!(world.conflict(vec![world.make.running(key, 1).into()]).await, taken);
    queued.version = Version(1);
    queued.state = State::Running { owner: world.make.owner(1), deadline: at(9) };
    assert_eq!(world.conflict(vec![queued.clone().into()]).await, taken);
    world.put(world.make.running("agent:main:other", 1)).await;
    let mut over = ended_run(running, Outcome::Ok);
    over.version = Version(1);
    world.store(vec![over.into(), queued.into()]).await;
}

/// P10: an agent that has no room does not hold up the others.
pub async fn the_queue_is_ordered_by_turn_and_leaves_agents_out(world: World) {
    let chance = &mut Chance::new(21);
    let names = Names::new(&world.make);
    let runs: Vec<Run> = (0..150).map(|n| random_run(&world.make, chance, &names, n)).collect();
    world.store(runs.iter().cloned().map(Change::from).collect()).await;
    for without in
        [vec![], vec!["main"], vec!["main", "ops"], vec!["nobody"], vec!["main", "ops", "research"]]
    {
        let without: Vec<_> = without.into_iter().map(agent).collect();
        let mut expected: Vec<&Run> = runs
            .iter()
            .filter(|run| run.state == State::Queued && !without.contains(&run.agent))
            .collect();
        expected.sort_by_key(|run| (run.turn, run.id));
        for limit in [1, 4, 1000] {
            let mut queue = Queue { without: without.clone(), after: None, limit };
            let mut found = Vec::new();
            loop {
                let part = world.driver().queue(queue.clone()).await.unwrap();
                assert!(part.len() <= limit as usize);
                let Some(last) = part.last() else { break };
                queue.after = Some((last.turn, last.id));
                found.extend(part.into_iter().map(|run| run.id));
            }
            assert!(expected.iter().map(|run| run.id).eq(found), "without {without:?} by {limit}");
        }
    }
}

/// P4: a retry that has rested is queued, and the first to have rested first.
pub async fn rested_runs_come_longest_rested_first(world: World) {
    assert_eq!(world.driver().next_rested().await.unwrap(), None);
    let mut waiting = Vec::new();
    for (n, until) in [30, 10, 20, 20, 40].into_iter().enumerate() {
        let state = State::Waiting { until: at(until) };
        waiting.push(Run { state, ..world.make.run(&format!("agent:main:k{n}")) });
    }
    let queued = world.make.run("agent:main:main");
    let batch = waiting.iter().cloned().chain([queued]).map(Change::from).collect();
    world.store(batch).await;
    let order = [1, 2, 3, 0].map(|index: usize| waiting[index].id);
    let rested = |now, limit| world.driver().rested_runs(at(now), limit);
    assert_eq!(ids(rested(30, 10).await.unwrap()), order);
    assert_eq!(ids(rested(30, 3).await.unwrap()), order[..3]);
    assert_eq!(ids(rested(9, 10).await.unwrap()), []);
    assert_eq!(world.driver().next_rested().await.unwrap(), Some(at(10)));
    let over = Run { state: State::Queued, version: Version(1), ..waiting[1].clone() };
    world.put(over).await;
    assert_eq!(world.driver().next_rested().await.unwrap(), Some(at(20)));
}

/// P5: what overlap is judged by.
pub async fn active_runs_of_a_job_come_oldest_first(world: World) {
    let chance = &mut Chance::new(22);
    let names = Names::new(&world.make);
    let runs: Vec<Run> = (0..150).map(|n| random_run(&world.make, chance, &names, n)).collect();
    world.store(runs.iter().rev().cloned().map(Change::from).collect()).await;
    for job in names.jobs {
        let expected = runs.iter().filter(|run| run.job == Some(job) && run.is_active());
        let expected: Vec<_> = expected.map(|run| run.id).collect();
        assert!(!expected.is_empty());
        assert_eq!(ids(world.driver().active_runs(job).await.unwrap()), expected);
    }
    assert_eq!(world.driver().active_runs(world.make.id()).await.unwrap(), []);
}

/// P5: where the next slot is counted from.
pub async fn the_newest_slot_of_a_job_has_the_highest_attempt(world: World) {
    let (job, other) = (world.make.job("job"), world.make.job("other"));
    let newest = |world: &World| {
        let driver = std::sync::Arc::clone(world.driver());
        async move { driver.newest_slot(job.id).await.unwrap().map(|run| run.id) }
    };
    assert_eq!(newest(&world).await, None);
    let manual = Run { job: Some(job.id), ..world.make.run("agent:main:main") };
    world.put(manual).await;
    assert_eq!(newest(&world).await, None, "a run by hand is of no slot");
    let retried = Run { attempt: 2, ..world.make.slot(&job, at(20)) };
    let first = world.make.slot(&job, at(20));
    let batch: Vec<Change> = vec![
        retried.clone().into(),
        first.into(),
        world.make.slot(&job, at(-20)).into(),
        Run { attempt: 9, ..world.make.slot(&job, at(10)) }.into(),
        world.make.slot(&other, at(99)).into(),
    ];
    world.store(batch).await;
    assert_eq!(newest(&world).await, Some(retried.id));
}

/// P5: a turn that was given is not given again.
pub async fn the_last_turn_is_that_of_a_started_run_and_never_falls(mut world: World) {
    let last = |world: &World| {
        let driver = std::sync::Arc::clone(world.driver());
        async move { driver.last_turn().await.unwrap() }
    };
    assert_eq!(last(&world).await, 0);
    let mut queued = Run { turn: 90, ..world.make.run("agent:main:queued") };
    let running = Run { turn: 40, ..world.make.running("agent:main:main", 1) };
    world.store(vec![queued.clone().into(), running.clone().into()]).await;
    assert_eq!(last(&world).await, 40);
    world.put(Run { turn: 30, ..world.make.running("agent:main:lower", 1) }).await;
    assert_eq!(last(&world).await, 40);
    queued.version = Version(1);
    queued.started_at = Some(at(1));
    queued.state = State::Running { owner: world.make.owner(1), deadline: at(9) };
    world.put(queued.clone()).await;
    assert_eq!(last(&world).await, 90);
    world.store(vec![Change::Delete(RecordId::Run(queued.id), Version(2))]).await;
    world.reopen().await;
    assert_eq!(last(&world).await, 90);
}

/// P4: all of them, because each must have a living owner.
pub async fn running_runs_come_oldest_first(world: World) {
    let chance = &mut Chance::new(23);
    let names = Names::new(&world.make);
    let runs: Vec<Run> = (0..100).map(|n| random_run(&world.make, chance, &names, n)).collect();
    world.store(runs.iter().rev().cloned().map(Change::from).collect()).await;
    let expected = runs.iter().filter(|run| run.owner().is_some()).map(|run| run.id);
    assert!(ids(world.driver().running().await.unwrap()).into_iter().eq(expected));
}

/// P4: a dead owner's runs are found, and only those.
pub async fn orphan_runs_are_those_of_epochs_that_do_not_live(world: World) {
    let chance = &mut Chance::new(24);
    let names = Names::new(&world.make);
    let runs: Vec<Run> = (0..150).map(|n| random_run(&world.make, chance, &names, n)).collect();
    world.store(runs.iter().rev().cloned().map(Change::from).collect()).await;
    for living in [vec![], vec![1], vec![1, 3], vec![1, 2, 3, 4], vec![9]] {
        let living: Vec<_> = living.into_iter().map(epoch).collect();
        let orphans = runs
            .iter()
            .filter(|run| run.owner().is_some_and(|owner| !living.contains(&owner.epoch)));
        let expected: Vec<_> = orphans.map(|run| run.id).collect();
        for limit in [0, 1, 5, 1000] {
            let found = ids(world.driver().orphan_runs(living.clone(), limit).await.unwrap());
            let most = expected.len().min(limit as usize);
            assert_eq!(found, expected[..most], "living {living:?}, at most {limit}");
        }
    }
}

/// P2: the turns of a conversation, one after the other.
pub async fn active_runs_on_a_key_come_in_the_order_of_their_turns(world: World) {
    let on = |key: &str, turn| Run { turn, ..world.make.run(key) };
    let mut runs = [on("agent:main:a", 3), on("agent:main:a", 1), on("agent:main:a", 3)].to_vec();
    runs.push(Run { turn: 2, ..world.make.running("agent:main:a", 1) });
    runs.push(ended_run(on("agent:main:a", 0), Outcome::Ok));
    runs.push(on("agent:main:b", 0));
    world.store(runs.iter().rev().cloned().map(Change::from).collect()).await;
    let key = |key: &str| key.parse().expect("it is a key");
    let active = world.driver().active_on(key("agent:main:a")).await.unwrap();
    let expected = [1, 3, 0, 2].map(|n: usize| runs[n].id);
    assert_eq!(active.iter().map(|run| run.id).collect::<Vec<_>>(), expected);
    assert!(world.driver().active_on(key("agent:main:c")).await.unwrap().is_empty());
}

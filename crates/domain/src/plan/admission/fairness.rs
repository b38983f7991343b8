//! Start-time fair queuing, simulated: who starts when there are more runs than places.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::duration::Duration;
use crate::id::RunId;
use crate::job::{Misfire, Overlap, Spec};
use crate::plan::fixtures::{World, every, failed, ok, span, spec};

/// Jobs, the places they share, and a clock that moves by a second.
struct House {
    world: World,
    jobs: Vec<JobId>,
    limits: Limits,
    /// When each run that is running will end.
    ends: BTreeMap<RunId, u64>,
    second: u64,
    /// The jobs of the runs that were started, in order.
    starts: Vec<JobId>,
}

impl House {
    fn new(specs: Vec<Spec>, places: usize) -> Self {
        let mut world = World::new("00:00");
        let jobs: Vec<JobId> = (specs.into_iter().enumerate())
            .map(|(n, spec)| world.put(&format!("job{n}"), spec))
            .collect();
        let limits = Limits { runs: places, runs_per_agent: places };
        Self { world, jobs, limits, ends: BTreeMap::new(), second: 0, starts: Vec::new() }
    }

    /// One second: ends, slots, claims. `lasts` says how long a run of a job takes.
    fn tick(&mut self, lasts: impl Fn(usize) -> u64) {
        self.second += 1;
        self.world.now = Duration::from_secs(1).after(self.world.now);
        let over: Vec<RunId> =
            self.ends.iter().filter(|(_, end)| **end <= self.second).map(|(run, _)| *run).collect();
        for run in over {
            self.ends.remove(&run);
            self.world.end(run, ok());
        }
        // What is over takes no part.
        self.world.runs.retain(|_, run| run.is_active());
        self.world.sessions.retain(|_, session| session.is_open());
        for job in self.jobs.clone() {
            self.world.account(job);
        }
        let mut admission = Admission::new(
            self.limits,
            Conditions { catch_up: CatchUp::Paced, headroom: Headroom::Kept },
            &self.world.running(),
        );
        for run in self.world.queued() {
            if admission.offer(&run).is_ok() {
                self.world.start(run.id);
                let job = run.job.unwrap();
                let number = self.jobs.iter().position(|it| *it == job).unwrap();
                self.ends.insert(run.id, self.second + lasts(number));
                self.starts.push(job);
            }
        }
    }
}

/// Decision 4, and the reason for turns: 30 jobs that each want to run all the time share 4 places.
#[test]
fn no_job_runs_twice_while_another_that_wants_to_has_not_run() {
    for overlap in [Overlap::Skip, Overlap::Queue, Overlap::Allow] {
        let specs = (0..30).map(|_| Spec { overlap, ..spec(every("5s")) }).collect();
        let mut house = House::new(specs, 4);
        for _ in 0..90 {
            house.tick(|_| 3);
        }
        assert!(house.starts.len() > 4 * 25, "every place is used: {}", house.starts.len());
        for round in house.starts.chunks_exact(30) {
            let mut jobs = round.to_vec();
            jobs.sort();
            jobs.dedup();
            assert_eq!(jobs.len(), 30, "a job ran twice in a round ({overlap:?})");
        }
    }
}

/// A job with a hundred runs in the queue does not hold up one that comes later with one.
#[test]
fn a_long_queue_of_one_job_lets_others_in_between() {
    let flood = Spec { misfire: Misfire::All, ..spec(every("1m")) };
    let mut house = House::new(vec![flood, spec(every("5s"))], 1);
    house.world.now = span("2h").after(house.world.now);
    for _ in 0..40 {
        house.tick(|_| 1);
    }
    let [flood, small] = house.jobs[..] else { unreachable!("there are two jobs") };
    let starts = |job| house.starts.iter().filter(|it| **it == job).count();
    assert!(starts(small) >= 7, "one start for each slot: {}", starts(small));
    assert!(starts(flood) >= 25, "and no place is left unused: {}", starts(flood));
}

/// Who comes late does not get what others had before: its turns begin where the queue is.
#[test]
fn a_job_that_comes_late_with_a_long_queue_shares_the_place_from_then_on() {
    let late = Spec { misfire: Misfire::All, ..spec(every("1m")) };
    let mut house = House::new(vec![spec(every("1s")), late], 1);
    let [old, late] = house.jobs[..] else { unreachable!("there are two jobs") };
    for _ in 0..30 {
        house.tick(|_| 1);
    }
    house.world.now = span("2h").after(house.world.now);
    house.starts.clear();
    for _ in 0..20 {
        house.tick(|_| 1);
    }
    let starts = |job| house.starts.iter().filter(|it| **it == job).count();
    assert!(starts(old) >= 9 && starts(late) >= 9, "{} and {}", starts(old), starts(late));
}

/// A retry is a turn like any other: a job that fails does not run twice as often for it.
#[test]
fn the_retries_of_a_failing_job_do_not_overtake_what_was_queued_before_them() {
    let eager = Spec { retries: Some(9), backoff: "0s".parse().unwrap(), ..spec(every("1m")) };
    let specs = (0..6).map(|_| eager.clone()).collect();
    let mut house = House::new(specs, 1);
    house.world.now = span("1m").after(house.world.now);
    for job in house.jobs.clone() {
        house.world.account(job);
    }
    let mut starts = Vec::new();
    for _ in 0..18 {
        let run = house.world.run_first(failed());
        starts.push(house.world.runs[&run].job.unwrap());
        for job in house.jobs.clone() {
            house.world.rest(job);
        }
    }
    for round in starts.chunks_exact(6) {
        let mut jobs = round.to_vec();
        jobs.sort();
        jobs.dedup();
        assert_eq!(jobs.len(), 6, "{starts:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever they take, two jobs that both want to run at every moment of a span start about as
    /// often in it; and no place stays empty while a run that could use it waits.
    #[test]
    fn jobs_that_always_want_to_run_start_about_as_often(
        lasts in proptest::collection::vec(1_u64..6, 3..9),
        places in 1_usize..4,
    ) {
        let greedy = Spec { overlap: Overlap::Allow, ..spec(every("1s")) };
        let places = places.min(lasts.len() - 1);
        let mut house = House::new(lasts.iter().map(|_| greedy.clone()).collect(), places);
        for _ in 0..40 {
            house.tick(|job| lasts[job]);
            prop_assert_eq!(house.world.running().len(), places);
        }
        let mut starts: BTreeMap<JobId, usize> = BTreeMap::new();
        house.starts.iter().for_each(|job| *starts.entry(*job).or_default() += 1);
        prop_assert_eq!(starts.len(), lasts.len());
        let (least, most) = (starts.values().min().unwrap(), starts.values().max().unwrap());
        prop_assert!(most - least <= 1, "{:?}", starts);
    }
}

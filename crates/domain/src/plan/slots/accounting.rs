//! Random lives of a job, and the books at their end: every slot exactly once.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::id::JobId;
use crate::job::{OnInterrupt, Spec};
use crate::plan::fixtures::{World, crashed, cron, every, failed, ok, once, span, spec, temporary};
use crate::plan::jobs;
use crate::schedule::Schedule;

#[derive(Debug, Clone)]
enum Step {
    /// Time passes without anybody looking, and then the scheduler looks.
    Pass(u64),
    /// Time passes and nobody looks.
    Outage(u64),
    /// The wall clock is set back.
    Back(u64),
    /// The dispatcher starts the first queued run that may start.
    Start,
    /// A running run ends.
    End(u8),
    /// Waiting retries have rested.
    Rest,
    Trigger,
    Cancel,
    Suspend,
    Resume,
    Edit(Box<Spec>),
}

fn schedules() -> impl Strategy<Value = Schedule> {
    prop_oneof![
        (1_u64..120).prop_map(|minutes| every(&format!("{minutes}m"))),
        Just(every("45s")),
        Just(cron("* * * * *")),
        Just(cron("*/7 9-17 * * *")),
        Just(cron("30 3 * * *")),
        (0_u32..24).prop_map(|hour| once(&format!("{hour:02}:30"))),
    ]
}

fn specs() -> impl Strategy<Value = Spec> {
    let overlaps = [Overlap::Skip, Overlap::Queue, Overlap::Replace, Overlap::Allow];
    let misfires = [Misfire::Skip, Misfire::Latest, Misfire::All, Misfire::Within(span("20m"))];
    (
        schedules(),
        proptest::sample::select(overlaps.to_vec()),
        proptest::sample::select(misfires.to_vec()),
        proptest::option::of(0_u32..3),
        prop_oneof![Just("0s"), Just("0s"), Just("10m")],
        prop_oneof![Just("0s"), Just("0s"), Just("4m7s"), Just("3h")],
        any::<bool>(),
        proptest::bool::weighted(0.9),
    )
        .prop_map(|(schedule, overlap, misfire, retries, jitter, offset, retry, enabled)| {
            Spec {
                overlap,
                misfire,
                retries,
                jitter: span(jitter),
                offset: span(offset),
                backoff: "20s,2m,10m".parse().unwrap(),
                on_interrupt: if retry { OnInterrupt::Retry } else { OnInterrupt::Fail },
                enabled,
                ..spec(schedule)
            }
        })
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => (1_u64..400).prop_map(Step::Pass),
        1 => (400_u64..30_000).prop_map(Step::Pass),
        2 => (1_u64..50_000).prop_map(Step::Outage),
        1 => (1_u64..20_000).prop_map(Step::Back),
        6 => Just(Step::Start),
        6 => (0_u8..6).prop_map(Step::End),
        2 => Just(Step::Rest),
        1 => Just(Step::Trigger),
        1 => Just(Step::Cancel),
        1 => Just(Step::Suspend),
        2 => Just(Step::Resume),
        1 => specs().prop_map(|spec| Step::Edit(Box::new(spec))),
    ];
    proptest::collection::vec(step, 1..60)
}

/// A job's life, and by a second, simpler set of books the slots that it owes an account of.
struct Life {
    world: World,
    job: JobId,
    owed: BTreeSet<Timestamp>,
    /// The time up to which slots have come due since the job was last added, edited or resumed.
    period: Option<Period>,
}

/// While one schedule is in force.
#[derive(Debug, Clone)]
struct Period {
    schedule: Schedule,
    delay: Duration,
    first: Option<Timestamp>,
    through: Timestamp,
}

impl Life {
    fn new(spec: Spec) -> Self {
        let (world, job) = World::with("08:00", spec);
        let mut life = Self { world, job, owed: BTreeSet::new(), period: None };
        life.open_period();
        life
    }

    fn record(&self) -> &Job {
        &self.world.jobs[&self.job]
    }

    fn open_period(&mut self) {
        let job = self.record();
        self.period = job.is_active().then(|| Period {
            schedule: job.spec.schedule.clone(),
            delay: job.delay(),
            first: job.next_slot,
            through: Timestamp::MIN,
        });
    }

    /// Slots have come due until now.
    fn look(&mut self) {
        if let Some(period) = &mut self.period {
            period.through = period.through.max(period.delay.before(self.world.now));
        }
    }

    fn close_period(&mut self) {
        let Some(Period { schedule, first, through, .. }) = self.period.take() else { return };
        let mut slot = first;
        while let Some(due) = slot.filter(|&slot| slot <= through) {
            assert!(self.owed.insert(due), "the schedule named a slot again");
            slot = schedule.next(due);
        }
    }

    fn account(&mut self) {
        self.look();
        while self.world.account(self.job) {}
        let due = self.record().due_at();
        assert!(due.is_none_or(|due| due > self.world.now), "the job is still due");
    }

    fn take(&mut self, step: Step) {
        let before = self.record().clone();
        let edit = matches!(step, Step::Edit(_) | Step::Resume);
        self.act(step);
        let after = self.record().clone();
        if !edit && let (Some(old), Some(new)) = (before.next_slot, after.next_slot) {
            assert!(new >= old, "the next slot moved back");
        }
        let timing = |job: &Job| (job.is_active(), job.spec.schedule.clone(), job.delay());
        if timing(&before) != timing(&after) {
            self.look();
            self.close_period();
            self.open_period();
        }
    }

    fn act(&mut self, step: Step) {
        let job = self.job;
        match step {
            Step::Pass(seconds) => {
                self.world.now = Duration::from_secs(seconds).after(self.world.now);
                self.account();
            }
            Step::Outage(seconds) => {
                self.world.now = Duration::from_secs(seconds).after(self.world.now);
            }
            Step::Back(seconds) => {
                self.world.now = Duration::from_secs(seconds).before(self.world.now);
            }
            Step::Start => {
                let running = self.world.running();
                let may = |run: &Run| running.is_empty() || !run.alone;
                if let Some(run) = self.world.queued().into_iter().find(may) {
                    self.world.start(run.id);
                }
            }
            Step::End(how) => {
                let ending = match how {
                    0 | 1 => failed(),
                    2 => temporary(),
                    3 => crashed(),
                    4 => ending::Ending::plain(Outcome::Interrupted, Reason::Shutdown),
                    _ => ok(),
                };
                let run = self.world.running().into_iter().next();
                if let Some(run) = run {
                    let stopped = ending::Ending::plain(Outcome::Cancelled, Reason::Replaced);
                    self.world.end(run.id, if run.cancel.is_some() { stopped } else { ending });
                }
            }
            Step::Rest => self.world.rest(job),
            Step::Trigger => drop(self.world.trigger(job)),
            Step::Cancel => {
                if let Some(run) = self.world.active(job).pop() {
                    self.world.cancel(run.id).unwrap();
                }
            }
            Step::Suspend => drop(self.world.decide(job, jobs::suspend)),
            Step::Resume => {
                let mut moment = self.world.moment();
                if let Ok(decision) = jobs::resume(self.record(), &mut moment) {
                    self.world.commit(decision);
                }
            }
            Step::Edit(spec) => {
                self.world.decide(job, |it, moment| jobs::edit(it, *spec, moment));
            }
        }
    }

    /// The slots that the job's records account for, each once.
    fn accounted(&self) -> BTreeSet<Timestamp> {
        let mut accounted = BTreeSet::new();
        for run in self.world.runs.values().filter(|run| run.retry_of.is_none()) {
            let Some(from) = run.slot else { continue };
            let to = run.range.map_or(from, |range| range.to);
            let slots: Vec<_> = self.owed.range(from..=to).collect();
            assert_eq!(slots.len() as u64, run.range.map_or(1, |range| range.count), "{run:#?}");
            for slot in slots {
                assert!(accounted.insert(*slot), "slot {slot} is accounted for twice");
            }
        }
        accounted
    }

    /// The job's counters are what its records say.
    fn check_counters(&self) {
        let mut tally: BTreeMap<Outcome, u64> = BTreeMap::new();
        for run in self.world.runs.values() {
            if let Some(outcome) = run.outcome() {
                *tally.entry(outcome).or_default() += run.range.map_or(1, |range| range.count);
            }
        }
        let counters = self.record().counters;
        let counted = [
            (Outcome::Ok, counters.ok),
            (Outcome::Failed, counters.failed),
            (Outcome::TimedOut, counters.timed_out),
            (Outcome::Cancelled, counters.cancelled),
            (Outcome::Interrupted, counters.interrupted),
            (Outcome::Skipped, counters.skipped),
            (Outcome::Missed, counters.missed),
            (Outcome::Coalesced, counters.coalesced),
        ];
        for (outcome, count) in counted {
            assert_eq!(count, tally.get(&outcome).copied().unwrap_or_default(), "{outcome:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    /// P5: whatever happens to a job - outages, clocks set back, edits, pauses, crashes, retries -
    /// each slot of the schedules that were in force is in exactly one record.
    #[test]
    fn every_slot_of_every_life_is_accounted_for_exactly_once(spec in specs(), steps in steps()) {
        let mut life = Life::new(spec);
        for step in steps {
            life.take(step);
        }
        life.take(Step::Pass(0));
        life.close_period();
        prop_assert_eq!(life.accounted(), life.owed.clone());
        life.check_counters();
    }

    /// P4, P6: a job never ends up without a next slot, without an active run and without being
    /// done: nothing would ever look at it again.
    #[test]
    fn a_job_whose_schedule_is_over_is_done_when_nothing_of_it_is_active(
        clock in 0_u32..24,
        spec in specs(),
        steps in steps(),
    ) {
        let schedule = once(&format!("{clock:02}:30"));
        let mut life = Life::new(Spec { schedule, ..spec });
        for step in steps.into_iter().filter(|step| !matches!(step, Step::Edit(_))) {
            life.take(step);
            let job = life.record();
            let over = job.next_slot.is_none() && life.world.active(life.job).is_empty();
            prop_assert_eq!(job.done_at.is_some() && life.world.active(life.job).is_empty(), over);
        }
    }
}

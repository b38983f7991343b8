//! Which conditions hold, and what follows when they begin and end.

use super::*;
use crate::change::{Change, Record};
use crate::id::Ids;
use crate::job::{Spec, Suspension};
use crate::plan::fixtures::{World, every, failed, moment, node, ok, span, spec, time};

const NOW: &str = "10:00";

fn nothing<'a>(dead: &'a BTreeMap<HookName, u64>) -> Snapshot<'a> {
    Snapshot {
        epoch: node(1).epoch,
        jobs: &[],
        dead,
        overdue: 0,
        deletion_held_until: None,
        catch_up: CatchUp::Paced,
        space: Space { free_bytes: Some(u64::MAX), alarm_bytes: 10, ..Space::default() },
        faults: &[],
    }
}

/// The codes and what they are about.
fn found(snapshot: Snapshot<'_>) -> Vec<String> {
    conditions(snapshot).keys().map(ToString::to_string).collect()
}

fn job(tune: impl FnOnce(&mut Job)) -> Job {
    let (world, id) = World::with("09:00", spec(every("1h")));
    let mut job = world.jobs[&id].clone();
    tune(&mut job);
    job
}

#[test]
fn nothing_needs_a_look_while_all_is_well() {
    let none = BTreeMap::new();
    assert_eq!(found(nothing(&none)), [""; 0]);
    let well = job(|job| job.counters.failing_streak = FAILING_STREAK - 1);
    assert_eq!(found(Snapshot { jobs: &[well], ..nothing(&none) }), [""; 0]);
}

#[test]
fn each_trouble_of_a_job_is_an_alert_about_it() {
    let none = BTreeMap::new();
    let off = |by| Some(Suspension { by, since: time(NOW) });
    let cases: [(Job, &[&str]); 7] = [
        (job(|job| job.counters.failing_streak = 2), &["job_failing"]),
        (job(|job| job.counters.missed_streak = 1), &["job_missed"]),
        (job(|job| job.counters.replaced_streak = 3), &["replace_limit"]),
        (
            job(|job| {
                job.counters.failing_streak = 10;
                job.suspension = off(SuspendedBy::AutoDisable);
            }),
            &["job_failing", "job_auto_disabled"],
        ),
        // Whoever took it off its schedule knows.
        (
            job(|job| {
                job.counters.failing_streak = 10;
                job.suspension = off(SuspendedBy::Operator);
            }),
            &[],
        ),
        (
            job(|job| {
                job.counters.missed_streak = 3;
                job.spec.enabled = false;
            }),
            &[],
        ),
        (
            job(|job| {
                job.counters.missed_streak = 3;
                job.removed_at = Some(time(NOW));
            }),
            &[],
        ),
    ];
    for (job, codes) in cases {
        let expected: Vec<String> = codes.iter().map(|code| format!("{code}:{}", job.id)).collect();
        let jobs = [job];
        let snapshot = Snapshot { jobs: &jobs, ..nothing(&none) };
        assert_eq!(found(snapshot), expected, "{:?}", jobs[0].counters);
        let conditions = conditions(snapshot);
        assert!(conditions.values().all(|found| found.subject.job == Some(jobs[0].id)));
    }
}

/// What is raised for a job is what its index finds: no trouble is left out by the read.
#[test]
fn a_job_with_an_alert_is_a_troubled_job() {
    for tune in [
        |job: &mut Job| job.counters.failing_streak = FAILING_STREAK,
        |job: &mut Job| job.counters.missed_streak = 1,
        |job: &mut Job| job.counters.replaced_streak = MAX_REPLACED,
    ] {
        let job = job(tune);
        assert!(job.is_troubled() && !of_job(&job).is_empty(), "{:?}", job.counters);
    }
}

#[test]
fn each_trouble_of_node_store_and_hooks_is_an_alert() {
    let none = BTreeMap::new();
    let dead = BTreeMap::from([("memory".parse().unwrap(), 2), ("calm".parse().unwrap(), 0)]);
    let faults = [Fault { segment: "2026-11-20".to_owned(), message: "it is gone".to_owned() }];
    let space = |store_bytes, free_bytes| Space {
        store_bytes,
        log_bytes: 0,
        free_bytes,
        alarm_bytes: 100 << 30,
    };
    let later = Some(time("10:30"));
    let base = nothing(&none);
    let cases = [
        (Snapshot { dead: &dead, ..base }, "dead_letters:memory"),
        (Snapshot { overdue: 1, ..base }, "overdue"),
        (Snapshot { deletion_held_until: later, ..base }, "clock_jump"),
        (Snapshot { catch_up: CatchUp::Paused, ..base }, "boot_loop"),
        (Snapshot { space: space(101 << 30, None), ..base }, "store_size"),
        (Snapshot { space: space(100 << 30, None), ..base }, ""),
        (Snapshot { space: space(0, Some(LOW_DISK_BYTES - 1)), ..base }, "low_disk"),
        (Snapshot { space: space(0, Some(LOW_DISK_BYTES)), ..base }, ""),
        // A large store needs more than the floor.
        (Snapshot { space: space(50 << 30, Some(4 << 30)), ..base }, "low_disk"),
        (Snapshot { faults: &faults, ..base }, "archives:2026-11-20"),
    ];
    for (snapshot, expected) in cases {
        assert_eq!(found(snapshot).join(" "), expected);
    }
}

/// P6: a node was a second old by the steady clock, and two sweeps by one that jumped by less than a minute.
#[test]
fn nothing_is_overdue_before_two_sweeps_and_an_unnoticed_jump_had_time() {
    for (able_for, swept) in [("0s", false), ("10m", false), ("10m59s", false), ("11m", true)] {
        assert_eq!(has_swept(span(able_for), span("5m")), swept, "{able_for}");
    }
}

/// The alerts of a store that takes what is decided.
#[derive(Default)]
struct Stored(Vec<Alert>);

impl Stored {
    /// What is told when these are the messages of the conditions that hold.
    fn at(&mut self, clock: &str, holds: &[&str]) -> Vec<&'static str> {
        let conditions: Conditions = holds
            .iter()
            .map(|message| {
                condition(AlertCode::Overdue, "", (*message).to_owned(), Subject::default())
            })
            .collect();
        let mut told = Vec::new();
        let mut moment = Moment { now: time(clock), ids: Ids::new(time(clock), 7) };
        for change in follow(&conditions, &self.0, &mut moment).changes {
            match change {
                Change::Put(Record::Alert(alert)) => {
                    self.0 = vec![Alert { version: alert.version.next(), ..alert }];
                }
                Change::Emit(event) => told.push(event.kind.name()),
                other => panic!("{other:?}"),
            }
        }
        told
    }

    fn is_active(&self) -> bool {
        self.0.iter().any(Alert::is_active)
    }
}

#[test]
fn an_alert_is_raised_once_and_cleared_once() {
    let mut stored = Stored::default();
    assert_eq!(stored.at("10:00", &[]), [""; 0]);
    assert_eq!(stored.at("10:01", &["one"]), ["alert.raised"]);
    assert_eq!(stored.at("10:02", &["one"]), [""; 0]);
    assert_eq!(stored.at("10:03", &["two"]), [""; 0]);
    assert_eq!((stored.0[0].message.as_str(), stored.0[0].raised_at), ("two", time("10:01")));
    assert_eq!(stored.at("10:04", &[]), ["alert.cleared"]);
    assert_eq!(stored.at("10:05", &[]), [""; 0]);
    assert!(!stored.is_active());
}

/// What stays as it was is not written.
#[test]
fn a_look_that_finds_nothing_new_changes_nothing() {
    let mut stored = Stored::default();
    stored.at("10:00", &["one"]);
    let version = stored.0[0].version;
    stored.at("10:30", &["one"]);
    assert_eq!(stored.0[0].version, version);
}

#[test]
fn an_alert_that_comes_back_soon_is_active_and_not_told_again() {
    let mut stored = Stored::default();
    stored.at("10:00", &["one"]);
    stored.at("10:10", &[]);
    assert_eq!(stored.at("11:09", &["one"]), [""; 0]);
    assert!(stored.is_active());
    // Who was not told of it is not told that it is gone.
    assert_eq!(stored.at("11:20", &[]), [""; 0]);
    assert!(!stored.is_active());
    assert_eq!(stored.at("12:20", &["one"]), ["alert.raised"]);
}

#[test]
fn an_alert_that_came_back_soon_and_stays_is_told_in_the_end() {
    let mut stored = Stored::default();
    stored.at("10:00", &["one"]);
    stored.at("10:10", &[]);
    stored.at("10:20", &["one"]);
    assert_eq!(stored.at("11:19", &["one"]), [""; 0]);
    assert_eq!(stored.at("11:20", &["one"]), ["alert.raised"]);
    assert_eq!(stored.at("11:21", &["one"]), [""; 0]);
    assert_eq!(stored.at("11:22", &[]), ["alert.cleared"]);
}

/// The event says all there is to say.
#[test]
fn an_alert_event_is_self_contained() {
    let jobs = [job(|job| job.counters.failing_streak = 2)];
    let none = BTreeMap::new();
    let conditions = conditions(Snapshot { jobs: &jobs, ..nothing(&none) });
    let decision = follow(&conditions, &[], &mut moment(NOW));
    let [Change::Emit(event), Change::Put(Record::Alert(alert))] = &decision.changes[..] else {
        panic!("{decision:?}")
    };
    assert_eq!(
        (event.data["code"].as_str(), event.subject.job),
        (Some("job_failing"), Some(jobs[0].id))
    );
    assert_eq!(event.data["message"], alert.message);
    assert!(alert.message.contains("failed 2 times in a row"), "{}", alert.message);
}

/// Missed slots count until a run ends well; those that pass because the job was taken off do not.
#[test]
fn missed_slots_need_a_look_until_a_run_ends_well() {
    let spec = Spec { misfire: crate::job::Misfire::Skip, ..spec(every("1m")) };
    let (mut world, job) = World::with("10:00", spec);
    world.at("10:05:30").account(job);
    assert_eq!(world.jobs[&job].counters.missed_streak, 4);
    let run = world.start_first();
    world.end(run, failed());
    assert_eq!(world.jobs[&job].counters.missed_streak, 4);
    world.jobs.get_mut(&job).unwrap().backoff_until = None;
    world.at("10:06:30").account(job);
    let run = world.start_first();
    world.end(run, ok());
    assert_eq!(world.jobs[&job].counters.missed_streak, 0);
}

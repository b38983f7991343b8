//! What becomes of slots that are due.

use super::*;
use crate::job::Spec;
use crate::plan::fixtures::{World, cron, every, failed, ok, once, span, spec, temporary, time};

fn minutely() -> Spec {
    spec(cron("* * * * *"))
}

/// P5: what the misfire policy makes of slots that passed, and what starts.
#[test]
fn each_misfire_policy_accounts_for_every_slot_of_an_outage() {
    let within = |text| Misfire::Within(span(text));
    let cases: [(Misfire, &str, &[&str]); 14] = [
        // On time: only the newest slot is due, and it runs whatever the policy.
        (Misfire::Skip, "10:01:30", &["10:01 queued"]),
        (Misfire::Latest, "10:01:30", &["10:01 queued"]),
        (Misfire::All, "10:01:30", &["10:01 queued"]),
        (within("1m"), "10:01:30", &["10:01 queued"]),
        // Up to a minute late is on time.
        (Misfire::Skip, "10:02", &["10:01 missed misfire", "10:02 queued"]),
        (Misfire::Skip, "10:05", &["10:01..10:04 x4 missed misfire", "10:05 queued"]),
        (Misfire::Latest, "10:02:59", &["10:01 coalesced misfire", "10:02 queued"]),
        (Misfire::Latest, "10:05", &["10:01..10:04 x4 coalesced misfire", "10:05 queued"]),
        (
            Misfire::All,
            "10:03",
            &["10:01 queued catch_up", "10:02 queued catch_up", "10:03 queued catch_up"],
        ),
        (within("30s"), "10:03", &["10:01..10:02 x2 coalesced misfire", "10:03 queued"]),
        (within("2h"), "10:03", &["10:01..10:02 x2 coalesced misfire", "10:03 queued"]),
        // Nothing is due yet.
        (Misfire::Latest, "10:00:59.999", &[]),
        (Misfire::All, "10:00", &[]),
        (Misfire::Skip, "09:00", &[]),
    ];
    for (misfire, now, expected) in cases {
        let (mut world, job) = World::with("10:00", Spec { misfire, ..minutely() });
        world.at(now).account(job);
        assert_eq!(world.history(job), expected, "{misfire:?} at {now}");
        assert!(!world.account(job), "{misfire:?} at {now}: twice is once");
    }
}

/// P5: the same where the newest slot is late itself.
#[test]
fn a_late_slot_runs_or_is_missed_by_its_policy() {
    let within = |text| Misfire::Within(span(text));
    let cases: [(Misfire, &str, &[&str]); 10] = [
        (Misfire::Skip, "11:01", &["11:00 queued"]),
        (Misfire::Skip, "11:01:01", &["11:00 missed misfire"]),
        (Misfire::Skip, "12:30", &["11:00..12:00 x2 missed misfire"]),
        (Misfire::Latest, "11:01:01", &["11:00 queued catch_up"]),
        (Misfire::Latest, "12:30", &["11:00 coalesced misfire", "12:00 queued catch_up"]),
        (Misfire::All, "11:30", &["11:00 queued catch_up"]),
        (Misfire::All, "12:30", &["11:00 queued catch_up", "12:00 queued catch_up"]),
        (within("30m"), "12:30", &["11:00 coalesced misfire", "12:00 queued catch_up"]),
        (within("30m"), "12:30:00.001", &["11:00..12:00 x2 missed misfire"]),
        // A limit shorter than a minute is a minute: else nothing would ever be on time.
        (within("1s"), "11:00:30", &["11:00 queued"]),
    ];
    for (misfire, now, expected) in cases {
        let (mut world, job) = World::with("10:00", Spec { misfire, ..spec(cron("0 * * * *")) });
        world.at(now).account(job);
        assert_eq!(world.history(job), expected, "{misfire:?} at {now}");
    }
}

/// P5, P6: `all` makes up for the newest hundred.
#[test]
fn catching_up_on_all_takes_the_newest_hundred_and_records_the_others_as_missed() {
    let (mut world, job) = World::with("10:00", Spec { misfire: Misfire::All, ..minutely() });
    world.at("12:30").account(job);
    let history = world.history(job);
    assert_eq!(history.len(), 101);
    assert_eq!(history[..2], ["10:01..10:50 x50 missed misfire", "10:51 queued catch_up"]);
    assert_eq!(history[100], "12:30 queued catch_up");
    assert_eq!(world.jobs[&job].counters.missed, 50);
}

/// P5, P6: a decision looks at a bounded number of slots; the fate of a slot does not depend on
/// where that bound falls. Regression: the newest slots of a scan that had reached its limit were
/// missed, also where the policy makes up for them.
#[test]
fn slots_beyond_the_scan_limit_are_accounted_for_by_the_next_decisions() {
    let cases: [(Misfire, &str, usize); 2] =
        [(Misfire::All, "missed", 100), (Misfire::Within(span("1h")), "coalesced", 1)];
    for (misfire, passed, runs) in cases {
        let (mut world, job) = World::with("00:00", Spec { misfire, ..spec(cron("* * * * * *")) });
        // One more than a scan: by the first decision none of the newest may be decided about.
        world.now = Duration::from_secs(MAX_SCAN as u64 + 1).after(time("00:00"));
        let mut decisions = 0;
        while world.account(job) {
            decisions += 1;
        }
        assert_eq!(decisions, 2);
        let history = world.history(job);
        assert_eq!(history.len(), 1 + runs, "{misfire:?}");
        let count = MAX_SCAN + 1 - runs;
        assert!(history[0].contains(&format!("x{count} {passed} misfire")), "{}", history[0]);
        assert!(history[1..].iter().all(|line| line.contains("queued")), "{misfire:?}");
    }
}

/// P5, P6: a slot that is skipped again and again is one record.
#[test]
fn a_contiguous_range_of_one_fate_is_one_record_over_many_decisions() {
    let (mut world, job) = World::with("10:00", minutely());
    world.at("10:01").account(job);
    let run = world.start_first();
    for now in ["10:02", "10:03", "10:04"] {
        world.at(now).account(job);
    }
    assert_eq!(world.history(job), ["10:01 running", "10:02..10:04 x3 skipped overlap"]);
    world.end(run, ok());
    world.at("10:05").account(job);
    world.start_first();
    world.at("10:06").account(job);
    assert_eq!(
        world.history(job),
        [
            "10:01 ok exit",
            "10:02..10:04 x3 skipped overlap",
            "10:05 running",
            "10:06 skipped overlap"
        ]
    );
    assert_eq!(world.jobs[&job].counters.skipped, 4);
    assert_eq!(world.told(EventType::RunSkipped), 4);
}

/// P5: a record says "from, to, count" of a contiguous range. Regression: a range was extended over
/// a pause of the job in which slots were nobody's.
#[test]
fn a_range_is_not_extended_over_slots_that_it_does_not_account_for() {
    let (mut world, job) = World::with("10:00", minutely());
    world.at("10:01").account(job);
    world.start_first();
    world.at("10:02").account(job);
    world.at("10:02:10").decide(job, crate::plan::jobs::suspend);
    world.at("10:05:10").decide(job, |it, moment| crate::plan::jobs::resume(it.job, moment));
    world.at("10:06").account(job);
    assert_eq!(
        world.history(job),
        ["10:01 running", "10:02 skipped overlap", "10:06 skipped overlap"]
    );
}

/// P5: another fate is another record.
#[test]
fn slots_of_different_fates_do_not_share_a_record() {
    let (mut world, job) = World::with("10:00", minutely());
    world.at("10:01").account(job);
    world.start_first();
    world.at("10:02").account(job);
    world.at("10:05").account(job);
    assert_eq!(
        world.history(job),
        [
            "10:01 running",
            "10:02 skipped overlap",
            "10:03..10:04 x2 coalesced misfire",
            "10:05 skipped overlap"
        ]
    );
}

/// P5: `next_slot` does not go back with the clock, and no slot comes twice.
#[test]
fn a_clock_that_jumps_back_neither_repeats_nor_loses_a_slot() {
    let (mut world, job) = World::with("10:00", minutely());
    world.at("10:05").account(job);
    world.run_first(ok());
    assert!(!world.at("10:02").account(job));
    assert_eq!(world.jobs[&job].next_slot, Some(time("10:06")));
    world.at("10:06").account(job);
    assert_eq!(
        world.history(job),
        ["10:01..10:04 x4 coalesced misfire", "10:05 ok exit", "10:06 queued"]
    );
}

/// P5: jitter moves the start of a slot, not its identity.
#[test]
fn jitter_delays_each_slot_by_the_same_part_and_the_slot_keeps_its_time() {
    let hourly = Spec { jitter: span("30m"), ..spec(cron("0 * * * *")) };
    let (mut world, job) = World::with("10:30", hourly);
    let record = world.jobs[&job].clone();
    let jitter = record.jitter();
    assert!(!jitter.is_zero() && jitter < span("30m"), "{jitter}");
    assert_eq!(record.due_at(), record.next_slot.map(|slot| jitter.after(slot)));
    let due = jitter.after(time("11:00"));
    world.now = Duration::from_millis(1).before(due);
    assert!(world.now > time("11:00"));
    assert!(!world.account(job));
    world.now = due;
    assert!(world.account(job));
    assert_eq!(world.history(job), ["11:00 queued"]);
    assert_eq!(world.jobs[&job].next_slot, Some(time("12:00")));
}

#[test]
fn an_offset_delays_each_slot_by_itself_and_comes_on_top_of_the_jitter() {
    let hourly = Spec { offset: span("4m7s"), ..spec(cron("0 * * * *")) };
    let both = Spec { jitter: span("30m"), ..hourly.clone() };
    let (mut world, job) = World::with("11:04", hourly);
    let due = span("4m7s").after(time("11:00"));
    assert_eq!(world.jobs[&job].next_slot, Some(time("11:00")));
    assert_eq!(world.jobs[&job].due_at(), Some(due));
    world.now = Duration::from_millis(1).before(due);
    assert!(!world.account(job));
    world.now = due;
    assert!(world.account(job));
    assert_eq!(world.history(job), ["11:00 queued"]);
    let (world, job) = World::with("10:30", both);
    let record = &world.jobs[&job];
    assert_eq!(record.delay(), span("4m7s").saturating_add(record.jitter()));
    assert!(record.delay() > span("4m7s"));
}

/// OpenClaw b2.22: a job that is added between a slot and its delayed start gets that start.
#[test]
fn the_first_slot_is_the_first_whose_delayed_start_is_still_to_come() {
    let hourly = Spec { jitter: span("30m"), ..spec(cron("0 * * * *")) };
    let (world, job) = World::with("10:00", hourly);
    let job = &world.jobs[&job];
    let jitter = job.jitter();
    let first = |now| Job { last_slot: None, ..job.clone() }.first_slot(now);
    assert_eq!(
        first(Duration::from_millis(1).before(jitter.after(time("11:00")))),
        Some(time("11:00"))
    );
    assert_eq!(first(jitter.after(time("11:00"))), Some(time("12:00")));
}

/// P5: what happens to a slot while an earlier run of the job is active.
#[test]
fn each_overlap_policy_decides_what_a_slot_does_beside_an_active_run() {
    let cases: [(Overlap, &[&str]); 4] = [
        (Overlap::Skip, &["10:01 running", "10:02..10:03 x2 skipped overlap"]),
        (Overlap::Queue, &["10:01 running", "10:02 queued", "10:03 skipped queue_full"]),
        (Overlap::Replace, &["10:01 running stopping", "10:02 cancelled replaced", "10:03 queued"]),
        (Overlap::Allow, &["10:01 running", "10:02 queued", "10:03 queued"]),
    ];
    for (overlap, expected) in cases {
        let (mut world, job) = World::with("10:00", Spec { overlap, ..minutely() });
        world.at("10:01").account(job);
        world.start_first();
        world.at("10:02").account(job);
        world.at("10:03").account(job);
        assert_eq!(world.history(job), expected, "{overlap:?}");
        let alone = overlap != Overlap::Allow;
        assert!(world.runs.values().filter(|run| run.is_active()).all(|run| run.alone == alone));
    }
}

/// `replace` starves no job for ever: what is stopped before it can finish may finish the fourth
/// time, however long that takes. Regression: the count began anew after each skipped slot, so a
/// run that took three periods never finished.
#[test]
fn after_three_replacements_slots_are_skipped_until_the_run_has_ended() {
    let (mut world, job) = World::with("10:00", Spec { overlap: Overlap::Replace, ..minutely() });
    world.at("10:01").account(job);
    let mut run = world.start_first();
    for now in ["10:02", "10:03", "10:04"] {
        world.at(now).account(job);
        let stopped = world.runs[&run].cancel.expect("the old run is asked to stop");
        assert_eq!(stopped.reason, Reason::Replaced);
        world.end(run, ending::Ending::plain(Outcome::Cancelled, Reason::Replaced));
        run = world.start_first();
    }
    for now in ["10:05", "10:06", "10:07"] {
        world.at(now).account(job);
    }
    assert_eq!(world.jobs[&job].counters.replaced_streak, MAX_REPLACED);
    world.end(run, failed());
    world.jobs.get_mut(&job).unwrap().backoff_until = None;
    world.at("10:08").account(job);
    world.start_first();
    world.at("10:09").account(job);
    assert_eq!(
        world.history(job),
        [
            "10:01 cancelled replaced",
            "10:02 cancelled replaced",
            "10:03 cancelled replaced",
            "10:04 failed exit",
            "10:05..10:07 x3 skipped replace_limit",
            "10:08 running stopping",
            "10:09 queued",
        ]
    );
    assert_eq!(world.jobs[&job].counters.replaced_streak, 1);
}

/// The stop is asked for once and the effect is there to make it quick.
#[test]
fn a_replaced_run_is_asked_to_stop_by_its_record_and_by_an_effect() {
    let (mut world, job) = World::with("10:00", Spec { overlap: Overlap::Replace, ..minutely() });
    world.at("10:01").account(job);
    let run = world.start_first();
    let decision = world.at("10:02").accounted(job);
    assert_eq!(decision.effects, [crate::change::Effect::Stop(run)]);
    world.commit(decision);
    let stored = world.runs[&run].clone();
    world.at("10:03").account(job);
    assert_eq!(world.runs[&run], stored, "asking twice changes nothing");
}

/// A waiting retry is active until the next slot, which takes its place and says so.
#[test]
fn the_next_slot_supersedes_a_waiting_retry() {
    for overlap in [Overlap::Skip, Overlap::Queue, Overlap::Replace, Overlap::Allow] {
        for misfire in [Misfire::Latest, Misfire::All] {
            let slow = "1h".parse().unwrap();
            let spec = Spec { overlap, misfire, retries: Some(3), backoff: slow, ..minutely() };
            let (mut world, job) = World::with("10:00", spec);
            world.at("10:01").account(job);
            world.run_first(failed());
            assert_eq!(world.history(job)[1], "10:01 #2 waiting for 11:01");
            world.at("10:03:30").account(job);
            let history = world.history(job);
            assert_eq!(history[1], "10:01 #2 cancelled superseded", "{overlap:?} {misfire:?}");
            assert!(history[3].starts_with("10:03 queued"), "{history:?}");
        }
    }
}

/// Regression: a slot that was itself skipped superseded the retry, and neither of them ran.
#[test]
fn a_slot_that_is_skipped_leaves_the_waiting_retry_alone() {
    let (mut world, job) = World::with(
        "10:00",
        Spec {
            overlap: Overlap::Queue,
            retries: Some(1),
            backoff: "1h".parse().unwrap(),
            ..minutely()
        },
    );
    world.at("10:01").account(job);
    world.run_first(failed());
    world.trigger(job).unwrap();
    world.at("10:02").account(job);
    assert_eq!(
        world.history(job),
        [
            "- queued manual",
            "10:01 failed exit",
            "10:01 #2 waiting for 11:01",
            "10:02 skipped queue_full"
        ]
    );
}

/// OpenClaw b6.67, b6.68, b6.70: a failing job rests, and what comes due before that is skipped.
#[test]
fn slots_of_a_failing_job_are_skipped_until_it_has_rested() {
    let cases: [(u32, &str, &[&str]); 4] = [
        // One failure that ended at 04:01:30 rests for 30 s.
        (1, "04:01:59", &["04:00 failed exit", "04:01 skipped backoff"]),
        (1, "04:02", &["04:00 failed exit", "04:01 skipped backoff", "04:02 queued"]),
        // The fourth in a row rests for 15 min.
        (4, "04:16", &["04:00 failed exit", "04:01..04:16 x16 skipped backoff"]),
        (4, "04:17", &["04:00 failed exit", "04:01..04:16 x16 skipped backoff", "04:17 queued"]),
    ];
    for (failures, now, expected) in cases {
        let (mut world, job) = World::with("03:59", minutely());
        world.at("04:00").account(job);
        let run = world.start_first();
        world.jobs.get_mut(&job).unwrap().counters.failing_streak = failures - 1;
        world.at("04:01:30").end(run, failed());
        while world.now < time(now) {
            world.account(job);
            world.now = span("29s").after(world.now).min(time(now));
        }
        world.account(job);
        assert_eq!(world.history(job), expected, "{failures} at {now}");
    }
}

/// Regression: slots that `all` makes up for ran in spite of the rest.
#[test]
fn a_failing_job_rests_also_where_all_slots_are_made_up_for() {
    let backoff = "4m".parse().unwrap();
    let spec = Spec { misfire: Misfire::All, backoff, ..minutely() };
    let (mut world, job) = World::with("10:00", spec);
    world.at("10:01").account(job);
    world.run_first(failed());
    world.at("10:06:30").account(job);
    assert_eq!(
        world.history(job),
        [
            "10:01 failed exit",
            "10:02..10:04 x3 skipped backoff",
            "10:05 queued catch_up",
            "10:06 queued catch_up",
        ]
    );
}

/// `all` runs one after the other whatever the overlap policy. Regression: one late slot alone went
/// by the overlap policy and could be skipped.
#[test]
fn slots_that_are_made_up_for_run_one_after_the_other_whatever_the_overlap_policy() {
    for overlap in [Overlap::Skip, Overlap::Queue, Overlap::Replace, Overlap::Allow] {
        let spec = Spec { misfire: Misfire::All, overlap, ..spec(cron("0 * * * *")) };
        let (mut world, job) = World::with("10:00", spec);
        world.at("11:00").account(job);
        world.start_first();
        world.at("12:30").account(job);
        world.at("14:30").account(job);
        assert_eq!(
            world.history(job),
            [
                "11:00 running",
                "12:00 queued catch_up",
                "13:00 queued catch_up",
                "14:00 queued catch_up"
            ],
            "{overlap:?}"
        );
        assert!(world.queued().iter().all(|run| run.alone));
        let turns: Vec<u64> = world.queued().iter().map(|run| run.turn).collect();
        assert_eq!(turns, [2, 3, 4]);
    }
}

/// OpenClaw b6.61, b7.76: a one-shot runs once and is done; a late one runs late.
#[test]
fn a_one_shot_is_done_when_its_slot_is_over() {
    let (mut world, job) = World::with("10:00", spec(once("10:30")));
    world.at("11:00").account(job);
    assert_eq!(world.history(job), ["10:30 queued catch_up"]);
    assert_eq!(world.jobs[&job].next_slot, None);
    assert_eq!(world.jobs[&job].done_at, None, "its run is to come");
    world.at("11:01").run_first(ok());
    assert_eq!(world.jobs[&job].done_at, Some(time("11:01")));
    assert!(!world.at("12:00").account(job));

    let (mut world, job) =
        World::with("10:00", Spec { misfire: Misfire::Skip, ..spec(once("10:30")) });
    world.at("11:00").account(job);
    assert_eq!(world.history(job), ["10:30 missed misfire"]);
    assert_eq!(world.jobs[&job].done_at, Some(time("11:00")));
}

#[test]
fn a_one_shot_that_is_skipped_beside_a_manual_run_is_done_with_that_run() {
    let (mut world, job) = World::with("10:00", spec(once("10:30")));
    world.trigger(job).unwrap();
    let run = world.start_first();
    world.at("10:30").account(job);
    assert_eq!(world.history(job), ["- running manual", "10:30 skipped overlap"]);
    assert_eq!(world.jobs[&job].done_at, None);
    world.at("10:31").end(run, ok());
    assert_eq!(world.jobs[&job].done_at, Some(time("10:31")));
}

/// A one-shot whose failure is retried is done after the last attempt (OpenClaw b7.76: four).
#[test]
fn a_one_shot_that_fails_for_now_is_retried_three_times_and_is_done() {
    let (mut world, job) = World::with("10:00", spec(once("10:30")));
    world.at("10:30").account(job);
    for attempt in 1..=4 {
        assert_eq!(world.jobs[&job].done_at, None, "attempt {attempt}");
        world.run_first(temporary());
        world.rest(job);
    }
    assert!(world.jobs[&job].done_at.is_some());
    assert_eq!(world.history(job).last().unwrap(), "10:30 #4 failed exit");
}

/// A minute in the past is meant. Regression: a one-shot that was read as a moment ago never ran
/// and never was done.
#[test]
fn a_one_shot_of_a_moment_ago_runs_and_one_of_yesterday_is_done_at_once() {
    let (mut world, job) = World::with("10:30:40", spec(once("10:30")));
    world.account(job);
    assert_eq!(world.history(job), ["10:30 queued"]);

    let (world, job) = World::with("10:32", spec(once("10:30")));
    assert_eq!(world.history(job), [] as [&str; 0]);
    assert_eq!(world.jobs[&job].done_at, Some(time("10:32")));
    assert_eq!(world.told(EventType::JobDone), 1);
}

/// A grid is anchored: a late look does not move it.
#[test]
fn an_interval_keeps_to_its_grid_however_late_it_is_looked_at() {
    let (mut world, job) = World::with("10:00", spec(every("7m")));
    world.at("10:29").account(job);
    assert_eq!(world.history(job), ["10:02..10:16 x3 coalesced misfire", "10:23 queued catch_up"]);
    assert_eq!(world.jobs[&job].next_slot, Some(time("10:30")));
}

/// P5: what a run works from is fixed when it is made.
#[test]
fn a_run_is_made_with_everything_it_works_from() {
    let (mut world, job) = World::with("10:00", minutely());
    world.at("10:01").account(job);
    let run = world.queued().remove(0);
    let input = run.input.clone().unwrap();
    assert_eq!((input.prompt.as_str(), input.job_revision), ("work", Some(1)));
    assert_eq!((input.timeout, input.idle_timeout), (span("10m"), None));
    assert_eq!(
        run.session_key,
        SessionKey::for_run(&run.agent, run.job_key.as_ref().unwrap(), run.id)
    );
    world.put("job", Spec { prompt: "other".to_owned(), timeout: Some(span("5m")), ..minutely() });
    assert_eq!(world.queued()[0].input.as_ref(), Some(&input));

    let unknown = input_of(&world.jobs[&job], None);
    assert_eq!((unknown.settings, unknown.timeout), (None, span("5m")));
}

fn input_of(job: &Job, settings: Option<&Agent>) -> Input {
    super::input(job, settings)
}

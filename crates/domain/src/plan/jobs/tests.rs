//! Adding, changing, suspending and removing jobs, and reloads of a config.

use super::*;
use crate::change::{Change, Effect};
use crate::job::Target;
use crate::plan::fixtures::{World, cron, failed, key, ok, once, span, spec, time};
use crate::schedule::Schedule;

fn hourly() -> Spec {
    spec(cron("0 * * * *"))
}

fn told(world: &World) -> Vec<&'static str> {
    world
        .events
        .iter()
        .map(|event| event.kind.name())
        .filter(|name| name.starts_with("job."))
        .collect()
}

#[test]
fn the_same_job_put_twice_changes_nothing_the_second_time() {
    let (mut world, job) = World::with("10:30", hourly());
    let stored = world.jobs[&job].clone();
    assert_eq!((stored.next_slot, stored.revision), (Some(time("11:00")), 1));
    world.at("12:00").put("job", hourly());
    assert_eq!(world.jobs[&job], stored);
    assert_eq!(told(&world), ["job.added"]);
}

/// P5: an edit that leaves the schedule alone leaves its slots alone (OpenClaw b5.53).
#[test]
fn another_prompt_keeps_a_slot_that_is_due() {
    let (mut world, job) = World::with("10:30", hourly());
    world.at("11:05").put("job", Spec { prompt: "other".to_owned(), ..hourly() });
    let stored = &world.jobs[&job];
    assert_eq!((stored.next_slot, stored.revision), (Some(time("11:00")), 2));
    world.account(job);
    assert_eq!(world.history(job), ["11:00 queued catch_up"]);
    assert_eq!(world.queued()[0].input.as_ref().unwrap().job_revision, Some(2));
}

/// P5. Regression: slots that were due when their schedule was edited left no trace.
#[test]
fn slots_that_an_edit_of_the_schedule_overtakes_are_missed() {
    let (mut world, job) = World::with("10:30", hourly());
    world.at("13:05").put("job", spec(cron("30 * * * *")));
    assert_eq!(world.history(job), ["11:00..13:00 x3 missed rescheduled"]);
    assert_eq!(world.jobs[&job].next_slot, Some(time("13:30")));
    assert_eq!(world.jobs[&job].counters.missed, 3);
    world.at("13:30").account(job);
    assert_eq!(world.history(job)[1], "13:30 queued");
}

/// P5: the same for every other way to take a job off its schedule.
#[test]
fn slots_that_are_due_when_a_job_is_disabled_or_removed_are_missed() {
    type Act = fn(Existing<'_>, &mut Moment) -> Result<Decision, Refused>;
    let off: Act = |it, moment| edit(it, Spec { enabled: false, ..it.job.spec.clone() }, moment);
    let cases: [(Act, &str); 3] =
        [(suspend, "job_disabled"), (off, "job_disabled"), (remove, "job_removed")];
    for (act, reason) in cases {
        let (mut world, job) = World::with("10:30", hourly());
        world.at("12:05").decide(job, act);
        assert_eq!(world.history(job), [format!("11:00..12:00 x2 missed {reason}")]);
        // The pause itself has no slots.
        assert!(!world.at("15:00").account(job));
    }
}

/// P5, P6: a cron of every second that was overtaken by a long outage is walked to its end.
#[test]
fn more_slots_than_one_scan_are_missed_in_one_decision() {
    let (mut world, job) = World::with("00:00", spec(cron("* * * * * *")));
    world.now = span("28h").after(time("00:00"));
    world.decide(job, suspend);
    let count: u64 = world.runs.values().map(|run| run.range.unwrap().count).sum();
    assert_eq!(count, 28 * 3600);
    assert_eq!(world.jobs[&job].counters.missed, count);
}

/// Disabling or deleting a job ends what waits, and lets run what runs.
#[test]
fn disabling_and_removing_cancel_what_has_not_started() {
    type Act = fn(Existing<'_>, &mut Moment) -> Result<Decision, Refused>;
    let off: Act = |it, moment| edit(it, Spec { enabled: false, ..it.job.spec.clone() }, moment);
    let cases: [(Act, &str); 3] =
        [(suspend, "job_disabled"), (off, "job_disabled"), (remove, "job_removed")];
    for (act, reason) in cases {
        let allow = Spec {
            overlap: Overlap::Allow,
            retries: Some(1),
            backoff: "3h".parse().unwrap(),
            ..hourly()
        };
        let (mut world, job) = World::with("10:30", allow);
        world.at("11:00").account(job);
        world.run_first(failed());
        world.trigger(job).unwrap();
        world.start_first();
        world.trigger(job).unwrap();
        world.decide(job, act);
        let history = world.history(job);
        assert_eq!(
            history[2..],
            ["11:00 failed exit".to_owned(), format!("11:00 #2 cancelled {reason}")]
        );
        let mut manual = history[..2].to_vec();
        manual.sort();
        assert_eq!(manual, [format!("- cancelled {reason} manual"), "- running manual".to_owned()]);
        assert_eq!(world.jobs[&job].counters.cancelled, 2);
    }
}

#[test]
fn a_suspended_job_goes_on_with_its_first_slot_after_it_is_resumed() {
    let (mut world, job) = World::with("10:30", hourly());
    world.at("10:40").decide(job, suspend);
    world.decide(job, suspend);
    assert_eq!(world.jobs[&job].due_at(), None);
    world.at("13:10").decide(job, |it, moment| resume(it.job, moment));
    world.decide(job, |it, moment| resume(it.job, moment));
    assert_eq!(world.jobs[&job].next_slot, Some(time("14:00")));
    assert_eq!(told(&world), ["job.added", "job.disabled", "job.enabled"]);
}

/// A person's word counts more than the record of failures.
#[test]
fn resuming_forgets_the_failing_streak_and_its_rest() {
    let (mut world, job) = World::with("10:30", hourly());
    world.at("11:00").account(job);
    world.jobs.get_mut(&job).unwrap().counters.failing_streak = 9;
    world.run_first(failed());
    assert_eq!(world.jobs[&job].suspension.unwrap().by, SuspendedBy::AutoDisable);
    world.decide(job, |it, moment| resume(it.job, moment));
    let resumed = &world.jobs[&job];
    assert_eq!((resumed.counters.failing_streak, resumed.backoff_until), (0, None));
    assert!(resumed.is_active());
}

/// Regression: `job enable` of a job that was added with `--disabled` said that it was enabled and
/// left it off.
#[test]
fn enabling_a_job_that_was_added_disabled_switches_it_on() {
    let (mut world, job) = World::with("10:30", Spec { enabled: false, ..hourly() });
    world.at("12:30").decide(job, |it, moment| resume(it.job, moment));
    let resumed = &world.jobs[&job];
    assert!(resumed.is_active());
    assert_eq!((resumed.next_slot, resumed.revision), (Some(time("13:00")), 2));
}

#[test]
fn enabling_a_job_that_its_config_switches_off_is_refused() {
    let mut world = World::new("10:30");
    load(&mut world, &[declared("job", Spec { enabled: false, ..hourly() })]).unwrap();
    let job = world.jobs.values().next().unwrap().clone();
    let refused = resume(&job, &mut world.moment());
    assert!(matches!(refused, Err(Refused::OwnedByConfig { .. })), "{refused:?}");
}

/// P6. Regression: a one-shot whose queued run was cancelled by its being disabled had no slot, no
/// run and no end.
#[test]
fn a_one_shot_that_is_disabled_before_its_run_starts_is_done() {
    let (mut world, job) = World::with("10:30", spec(once("11:00")));
    world.at("11:00").account(job);
    world.decide(job, suspend);
    assert_eq!(world.jobs[&job].done_at, Some(time("11:00")));
    let refused = resume(&world.jobs[&job].clone(), &mut world.moment());
    assert_eq!(refused, Err(Refused::Done { key: key("job") }));
}

#[test]
fn a_one_shot_that_is_edited_before_its_run_starts_is_done_with_that_run() {
    let (mut world, job) = World::with("10:30", spec(once("11:00")));
    world.at("11:00").account(job);
    world.put("job", Spec { prompt: "other".to_owned(), ..spec(once("11:00")) });
    assert_eq!((world.jobs[&job].done_at, world.queued().len()), (None, 1));
    world.run_first(ok());
    assert_eq!(world.jobs[&job].done_at, Some(time("11:00")));
}

/// While its run is running, a disabled one-shot is not done yet.
#[test]
fn a_one_shot_that_is_disabled_while_it_runs_is_done_with_its_run() {
    let (mut world, job) = World::with("10:30", spec(once("11:00")));
    world.at("11:00").account(job);
    let run = world.start_first();
    world.decide(job, suspend);
    assert_eq!(world.jobs[&job].done_at, None);
    world.end(run, ok());
    assert!(world.jobs[&job].done_at.is_some());
}

/// Regression: enabling a one-shot whose time had passed while it was off made it wait for ever.
#[test]
fn a_one_shot_whose_time_passed_while_it_was_off_cannot_be_resumed() {
    let (mut world, job) = World::with("10:30", Spec { enabled: false, ..spec(once("11:00")) });
    world.at("12:00");
    let refused = resume(&world.jobs[&job].clone(), &mut world.moment());
    assert_eq!(refused, Err(Refused::Done { key: key("job") }));
}

#[test]
fn a_one_shot_that_is_done_runs_again_at_a_new_time() {
    let (mut world, job) = World::with("10:30", spec(once("11:00")));
    world.at("11:00").account(job);
    world.run_first(ok());
    assert!(world.jobs[&job].done_at.is_some());
    world.put("job", spec(once("12:00")));
    assert_eq!(world.jobs[&job].done_at, None);
    world.at("12:00").account(job);
    world.run_first(ok());
    assert_eq!(world.history(job), ["11:00 ok exit", "12:00 ok exit"]);
    // A time that is over does not bring it back.
    world.put("job", spec(once("11:30")));
    assert_eq!(world.jobs[&job].done_at, Some(time("12:00")));
}

/// OpenClaw b5.56: what "run now" does beside an active run.
#[test]
fn a_trigger_follows_the_overlap_policy() {
    let refusal = |state, overlap| Err(Refused::Active { key: key("job"), state, overlap });
    // What is active, and what a trigger makes of it under each policy.
    type Expected = Result<&'static [&'static str], Refused>;
    let cases: [(&str, Overlap, Expected); 12] = [
        ("queued", Overlap::Skip, refusal("queued", "skip")),
        ("running", Overlap::Skip, refusal("running", "skip")),
        ("waiting", Overlap::Skip, refusal("waiting", "skip")),
        ("queued", Overlap::Queue, refusal("queued", "queue")),
        ("running", Overlap::Queue, Ok(&["- queued manual", "11:00 running"])),
        (
            "waiting",
            Overlap::Queue,
            Ok(&["- queued manual", "11:00 failed exit", "11:00 #2 waiting for 11:00:30"]),
        ),
        ("queued", Overlap::Replace, Ok(&["- queued manual", "11:00 cancelled replaced"])),
        ("running", Overlap::Replace, Ok(&["- queued manual", "11:00 running stopping"])),
        (
            "waiting",
            Overlap::Replace,
            Ok(&["- queued manual", "11:00 failed exit", "11:00 #2 cancelled replaced"]),
        ),
        ("queued", Overlap::Allow, Ok(&["- queued manual", "11:00 queued"])),
        ("running", Overlap::Allow, Ok(&["- queued manual", "11:00 running"])),
        (
            "waiting",
            Overlap::Allow,
            Ok(&["- queued manual", "11:00 failed exit", "11:00 #2 waiting for 11:00:30"]),
        ),
    ];
    for (state, overlap, expected) in cases {
        let (mut world, job) = World::with("10:30", Spec { overlap, retries: Some(1), ..hourly() });
        world.at("11:00").account(job);
        match state {
            "running" => drop(world.start_first()),
            "waiting" => drop(world.run_first(failed())),
            _ => {}
        }
        match (world.trigger(job), expected) {
            (Ok(_), Ok(history)) => assert_eq!(world.history(job), history, "{state} {overlap:?}"),
            (got, expected) => {
                assert_eq!(got.err(), expected.err(), "{state} {overlap:?}");
            }
        }
    }
}

#[test]
fn a_trigger_runs_a_job_that_is_off_or_done_but_not_one_that_is_removed() {
    let (mut world, job) = World::with("10:30", Spec { enabled: false, ..hourly() });
    world.trigger(job).unwrap();
    world.run_first(ok());
    assert_eq!(world.history(job), ["- ok exit manual"]);
    assert_eq!(world.jobs[&job].done_at, None);
    world.decide(job, remove);
    assert_eq!(world.trigger(job), Err(Refused::Removed { key: key("job") }));
}

/// A manual run spends no slot.
#[test]
fn a_trigger_does_not_move_the_next_slot() {
    let (mut world, job) = World::with("10:30", hourly());
    world.trigger(job).unwrap();
    world.run_first(ok());
    assert_eq!(world.jobs[&job].next_slot, Some(time("11:00")));
    assert_eq!(world.jobs[&job].last_slot, None);
}

#[test]
fn cancelling_ends_what_waits_at_once_and_asks_what_runs() {
    let (mut world, job) = World::with("10:30", Spec { retries: Some(1), ..hourly() });
    world.at("11:00").account(job);
    let queued = world.queued()[0].id;
    assert_eq!(world.cancel(queued).unwrap(), []);
    assert_eq!(world.history(job), ["11:00 cancelled operator"]);
    assert_eq!(world.cancel(queued), Err(Refused::RunEnded));

    world.at("12:00").account(job);
    let running = world.start_first();
    assert_eq!(world.cancel(running).unwrap(), [Effect::Stop(running)]);
    let asked = world.runs[&running].clone();
    assert_eq!(asked.cancel.unwrap().reason, Reason::Operator);
    assert_eq!(world.cancel(running).unwrap(), [Effect::Stop(running)], "the effect may be lost");
    assert_eq!(world.runs[&running], asked);
    world.end(running, Ending::plain(Outcome::Cancelled, Reason::Operator));

    world.at("13:00").account(job);
    world.run_first(failed());
    let waiting = world.active(job)[0].id;
    world.cancel(waiting).unwrap();
    assert_eq!(world.history(job).last().unwrap(), "13:00 #2 cancelled operator");
    assert_eq!(world.jobs[&job].counters.cancelled, 3);
}

#[test]
fn what_was_removed_cannot_be_changed() {
    let (mut world, job) = World::with("10:30", hourly());
    world.decide(job, remove);
    let tombstone = world.jobs[&job].clone();
    assert_eq!((tombstone.removed_at, tombstone.next_slot), (Some(time("10:30")), None));
    let existing = Existing { job: &tombstone, active: &[] };
    let moment = &mut world.moment();
    let removed = Err(Refused::Removed { key: key("job") });
    assert_eq!(edit(existing, hourly(), moment), removed);
    assert_eq!(remove(existing, moment), removed);
    assert_eq!(suspend(existing, moment), removed);
    assert_eq!(resume(&tombstone, moment), removed);
}

fn declared(name: &str, spec: Spec) -> Declared {
    Declared { key: key(name), spec, renamed_from: None }
}

fn renamed(from: &str, name: &str) -> Declared {
    Declared { renamed_from: Some(key(from)), ..declared(name, hourly()) }
}

/// Reloads the config source `file`.
fn load(world: &mut World, declared: &[Declared]) -> Result<(), Refused> {
    load_from(world, "file", declared, Empty::Refuse)
}

fn load_from(
    world: &mut World,
    source: &str,
    declared: &[Declared],
    empty: Empty,
) -> Result<(), Refused> {
    let existing: Vec<(Job, Vec<Run>)> = world
        .jobs
        .values()
        .filter(|job| job.removed_at.is_none())
        .filter(|job| {
            job.source == Source::Config(source.to_owned())
                || declared.iter().any(|declared| declared.key == job.key)
        })
        .map(|job| (job.clone(), world.active(job.id)))
        .collect();
    let reload = Reload { source, declared, existing: &existing, empty };
    let decision = super::reload(reload, &mut world.moment())?;
    world.commit(decision);
    Ok(())
}

/// The jobs that are not removed: key, source, revision.
fn jobs(world: &World) -> Vec<(String, String, u32)> {
    let mut jobs: Vec<_> = world
        .jobs
        .values()
        .filter(|job| job.removed_at.is_none())
        .map(|job| (job.key.to_string(), job.source.to_string(), job.revision))
        .collect();
    jobs.sort();
    jobs
}

fn owned(list: &[(&str, &str, u32)]) -> Vec<(String, String, u32)> {
    list.iter().map(|&(key, source, rev)| (key.to_owned(), source.to_owned(), rev)).collect()
}

#[test]
fn a_reload_adds_changes_and_removes_the_jobs_of_its_source_and_no_others() {
    let mut world = World::new("10:30");
    world.put("by-hand", hourly());
    load_from(&mut world, "other", &[declared("theirs", hourly())], Empty::Refuse).unwrap();
    load(&mut world, &[declared("a", hourly()), declared("b", hourly())]).unwrap();
    let list = |list| {
        let mut all = owned(&[("by-hand", "api", 1), ("theirs", "other", 1)]);
        all.extend(owned(list));
        all.sort();
        all
    };
    assert_eq!(jobs(&world), list(&[("a", "file", 1), ("b", "file", 1)]));

    let before = world.clone();
    load(&mut world, &[declared("b", hourly()), declared("a", hourly())]).unwrap();
    assert_eq!(world.jobs, before.jobs, "the same again changes nothing");

    let other = Spec { prompt: "other".to_owned(), ..hourly() };
    load(&mut world, &[declared("b", other), declared("c", hourly())]).unwrap();
    assert_eq!(jobs(&world), list(&[("b", "file", 2), ("c", "file", 1)]));
    assert_eq!(world.told(EventType::JobRemoved), 1);
}

#[test]
fn a_reload_that_would_remove_every_job_asks_for_leave() {
    let mut world = World::new("10:30");
    load(&mut world, &[]).unwrap();
    load(&mut world, &[declared("a", hourly())]).unwrap();
    let refused = load(&mut world, &[]);
    assert_eq!(refused, Err(Refused::WouldRemoveAll("file".to_owned())));
    assert_eq!(jobs(&world).len(), 1);
    load_from(&mut world, "file", &[], Empty::Allow).unwrap();
    assert_eq!(jobs(&world), []);
}

/// All or nothing: a key that belongs to someone else leaves the whole source as it was.
#[test]
fn a_reload_does_not_take_a_key_that_belongs_to_another() {
    let mut world = World::new("10:30");
    world.put("b", hourly());
    let refused = load(&mut world, &[declared("a", hourly()), declared("b", hourly())]);
    assert_eq!(refused, Err(Refused::KeyTaken { key: key("b"), owner: Source::Api }));
    assert_eq!(jobs(&world), owned(&[("b", "api", 1)]));
    let stolen = load(&mut world, &[renamed("b", "c")]);
    assert_eq!(stolen, Ok(()));
    assert_eq!(jobs(&world), owned(&[("b", "api", 1), ("c", "file", 1)]));
}

/// A renamed job keeps its id, its history and what runs.
#[test]
fn a_job_is_renamed_where_the_config_says_so_and_else_replaced() {
    let mut world = World::new("10:30");
    load(&mut world, &[declared("a", hourly())]).unwrap();
    let id = world.jobs.values().next().unwrap().id;
    load(&mut world, &[renamed("a", "b")]).unwrap();
    assert_eq!((world.jobs[&id].key.as_str(), world.jobs[&id].removed_at), ("b", None));
    assert_eq!(world.told(EventType::JobChanged), 1);
    // The line stays in the file and does nothing more.
    load(&mut world, &[renamed("a", "b")]).unwrap();
    assert_eq!(world.told(EventType::JobChanged), 1);
    load(&mut world, &[declared("c", hourly())]).unwrap();
    assert!(world.jobs[&id].removed_at.is_some());
    assert_eq!(jobs(&world), owned(&[("c", "file", 1)]));
}

/// Regression: whether a job that is still declared was renamed away depended on the order of the
/// file.
#[test]
fn a_job_that_is_still_declared_is_not_renamed_away() {
    for turned in [false, true] {
        let mut world = World::new("10:30");
        load(&mut world, &[declared("a", hourly())]).unwrap();
        let id = world.jobs.values().next().unwrap().id;
        let mut file = [declared("a", hourly()), renamed("a", "b")];
        if turned {
            file.reverse();
        }
        load(&mut world, &file).unwrap();
        assert_eq!(world.jobs[&id].key, key("a"));
        assert_eq!(jobs(&world), owned(&[("a", "file", 1), ("b", "file", 1)]));
    }
}

/// What a config source owns is changed there and nowhere else; suspending it is not a change.
#[test]
fn a_job_of_a_config_source_is_suspended_by_hand_but_not_edited_or_removed() {
    let mut world = World::new("10:30");
    load(&mut world, &[declared("a", hourly())]).unwrap();
    let job = world.jobs.values().next().unwrap().clone();
    let existing = Existing { job: &job, active: &[] };
    let refused = Err(Refused::OwnedByConfig { key: key("a"), owner: "file".to_owned() });
    let moment = &mut world.moment();
    assert_eq!(edit(existing, hourly(), moment), refused);
    assert_eq!(remove(existing, moment), refused);
    let put = put(&key("a"), &Source::Api, hourly(), Some(existing), moment);
    let taken = Refused::KeyTaken { key: key("a"), owner: job.source.clone() };
    assert_eq!(put, Err(taken));
    world.decide(job.id, suspend);
    let other = Spec { prompt: "other".to_owned(), ..hourly() };
    load(&mut world, &[declared("a", other)]).unwrap();
    assert!(world.jobs[&job.id].suspension.is_some(), "it survives a reload");
}

/// Jitter is a field of its own: another expression keeps it (OpenClaw b2.26).
#[test]
fn a_job_keeps_its_jitter_when_only_its_expression_changes() {
    let (mut world, job) = World::with("10:30", Spec { jitter: span("5m"), ..hourly() });
    let before = world.jobs[&job].jitter();
    world.put("job", Spec { jitter: span("5m"), ..spec(cron("30 * * * *")) });
    assert_eq!(world.jobs[&job].jitter(), before);
}

#[test]
fn another_offset_is_another_first_slot() {
    let (mut world, job) = World::with("10:30", hourly());
    assert_eq!(world.jobs[&job].next_slot, Some(time("11:00")));
    world.put("job", Spec { offset: span("45m"), ..hourly() });
    assert_eq!(world.jobs[&job].next_slot, Some(time("10:00")));
}

/// Every decision names the job once, whatever it does to it.
#[test]
fn a_job_that_is_edited_and_switched_off_at_once_is_stored_once() {
    let (mut world, job) = World::with("10:30", Spec { target: Target::Main, ..hourly() });
    world.at("12:10");
    let edited = Spec { enabled: false, ..spec(Schedule::At { at: time("11:00") }) };
    let decision =
        edit(Existing { job: &world.jobs[&job].clone(), active: &[] }, edited, &mut world.moment())
            .unwrap();
    let puts = decision.changes.iter().filter(|change| matches!(change, Change::Put(_))).count();
    assert_eq!(puts, 2, "the missed slots and the job");
    world.commit(decision);
    assert_eq!(world.history(job), ["11:00..12:00 x2 missed job_disabled"]);
    assert!(world.jobs[&job].done_at.is_some());
}

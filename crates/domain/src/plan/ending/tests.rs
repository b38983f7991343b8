//! What follows the end of a run, outcome by outcome.

use super::*;
use crate::change::{Change, Record};
use crate::id::{JobId, RunId};
use crate::job::{Overlap, Spec, Target};
use crate::plan::fixtures::{World, crashed, cron, failed, ok, once, span, spec, temporary, time};
use crate::plan::jobs;
use crate::usage::Tokens;

fn hourly() -> Spec {
    spec(cron("0 * * * *"))
}

fn timed_out() -> Ending {
    Ending::plain(Outcome::TimedOut, Reason::Deadline)
}

fn shut_down() -> Ending {
    Ending::plain(Outcome::Interrupted, Reason::Shutdown)
}

fn says(retry: RetryWish) -> Ending {
    Ending { retry, ..failed() }
}

fn report(line: u64, input: u64) -> Spent {
    Spent { line, model: "m".to_owned(), tokens: Tokens { input, ..Tokens::default() } }
}

/// A world in which the job's slot of 11:00 is running.
fn running(spec: Spec) -> (World, JobId, RunId) {
    let (mut world, job) = World::with("10:30", spec);
    world.at("11:00").account(job);
    let run = world.start_first();
    (world, job, run)
}

/// Ends what runs, lets retries rest and runs them, as often as endings are given.
fn live(spec: Spec, endings: &[Ending]) -> (World, JobId) {
    let (mut world, job, run) = running(spec);
    world.end(run, endings[0].clone());
    for ending in &endings[1..] {
        world.rest(job);
        world.run_first(ending.clone());
    }
    (world, job)
}

/// P1, P2: a run's isolated session ends with it, in the same decision, with the reason that goes
/// with the outcome.
#[test]
fn an_isolated_session_ends_with_its_run_and_for_its_reason() {
    let ending = Ending::plain;
    let cases = [
        (ok(), EndReason::Completed),
        (ending(Outcome::Skipped, Reason::Declared), EndReason::Completed),
        (failed(), EndReason::Failed),
        (ending(Outcome::Failed, Reason::StartFailed), EndReason::Failed),
        (timed_out(), EndReason::TimedOut),
        (ending(Outcome::TimedOut, Reason::IdleLimit), EndReason::TimedOut),
        (ending(Outcome::Cancelled, Reason::Operator), EndReason::Cancelled),
        (ending(Outcome::Cancelled, Reason::Replaced), EndReason::Cancelled),
        (crashed(), EndReason::Interrupted),
        (ending(Outcome::Interrupted, Reason::NodeLost), EndReason::Interrupted),
        (shut_down(), EndReason::Shutdown),
        (ending(Outcome::Interrupted, Reason::Restart), EndReason::Restart),
    ];
    for (ending, reason) in cases {
        let (mut world, _, run) = running(hourly());
        let session = world.runs[&run].session.unwrap();
        assert!(world.sessions[&session].is_open());
        world.end(run, ending.clone());
        assert_eq!(world.sessions[&session].end_reason(), Some(reason), "{ending:?}");
        assert_eq!(world.sessions[&session].ended_at(), Some(world.now));
        assert_eq!(world.runs[&run].outcome(), Some(ending.outcome));
        assert_eq!(world.runs[&run].reason(), Some(ending.reason));
        assert_eq!(world.told(EventType::RunEnded), 1);
        assert_eq!(world.told(EventType::SessionEnded), 1);
    }
}

/// P2: a persistent session outlives its turns, but not its owner.
#[test]
fn a_persistent_session_stays_unless_its_owner_died() {
    for (ending, stays) in [(ok(), true), (failed(), true), (shut_down(), true), (crashed(), false)]
    {
        let (mut world, _, run) = running(Spec { target: Target::Main, ..hourly() });
        let session = world.runs[&run].session.unwrap();
        world.end(run, ending.clone());
        assert_eq!(world.sessions[&session].is_open(), stays, "{ending:?}");
    }
}

/// P1: the end of the run, of its session, the retry, the job's books and all events are one batch.
#[test]
fn an_end_is_one_batch_with_everything_that_follows_from_it() {
    let (mut world, job, run) = running(Spec { retries: Some(1), ..hourly() });
    let ending = Ending {
        output: Some("answer".to_owned()),
        stderr: Some("noise".to_owned()),
        error: Some(RunError { class: "exit".to_owned(), message: "exit code 1".to_owned() }),
        spent: vec![report(1, 10), report(4, 5)],
        ..failed()
    };
    let decision = world.ended(run, ending.clone()).unwrap();
    let stored: Vec<&Record> = decision
        .changes
        .iter()
        .filter_map(|change| match change {
            Change::Put(record) => Some(record),
            _ => None,
        })
        .collect();
    assert!(matches!(
        stored[..],
        [
            Record::Session(_),
            Record::Usage(_),
            Record::Usage(_),
            Record::Run(_),
            Record::Job(_),
            Record::Run(_)
        ]
    ));
    world.commit(decision);
    let ended = &world.runs[&run];
    assert_eq!((&ended.output, &ended.stderr), (&ending.output, &ending.stderr));
    let sum = Some(Tokens { input: 15, ..Tokens::default() });
    assert_eq!((&ended.error, ended.usage), (&ending.error, sum));
    assert_eq!(world.sessions[&ended.session.unwrap()].usage, sum);
    let retry = world.active(job).remove(0);
    assert_eq!((retry.retry_of, retry.attempt, retry.failures), (Some(run), 2, 1));
    assert_eq!((retry.output, retry.stderr, retry.error, retry.usage), (None, None, None, None));
    assert_eq!((retry.session, retry.started_at, retry.cancel), (None, None, None));
    assert_eq!(retry.input, world.runs[&run].input);
}

/// P12: the ledger, the run, its session and the events that hooks get say the same.
#[test]
fn what_a_run_reports_is_counted_once_and_told_with_its_end() {
    let (mut world, job, run) = running(hourly());
    let ending = Ending { spent: vec![report(2, 7), report(3, 8)], ..crashed() };
    let decision = world.ended(run, ending).unwrap();
    let rows: Vec<&Usage> = decision
        .changes
        .iter()
        .filter_map(|change| match change {
            Change::Put(Record::Usage(usage)) => Some(usage),
            _ => None,
        })
        .collect();
    let ids: Vec<_> = rows.iter().map(|row| row.id).collect();
    assert_eq!(ids, [UsageId::of(run, 2), UsageId::of(run, 3)]);
    let session = world.runs[&run].session;
    assert!(rows.iter().all(|row| (row.job, row.run, row.session) == (Some(job), run, session)));
    let told = |kind: EventType| {
        let mut events = decision.changes.iter().filter_map(|change| match change {
            Change::Emit(event) if event.kind == kind => {
                Some(event.data["usage"]["input_tokens"].clone())
            }
            _ => None,
        });
        events.next().unwrap()
    };
    assert_eq!(told(EventType::RunEnded), 15);
    assert_eq!(told(EventType::SessionEnded), 15);
}

/// P12: a persistent session knows what all of its turns took.
#[test]
fn a_session_that_stays_open_adds_up_what_its_turns_took() {
    let (mut world, _, run) = running(Spec { target: Target::Main, ..hourly() });
    let session = world.runs[&run].session.unwrap();
    let open = world.sessions.get_mut(&session).unwrap();
    open.run = None;
    open.usage = Some(Tokens { input: 1, output: 2, cached: 3, cost_micro_usd: 4 });
    world.end(run, Ending { spent: vec![report(1, 10)], ..ok() });
    let sum = Tokens { input: 11, output: 2, cached: 3, cost_micro_usd: 4 };
    assert_eq!(world.sessions[&session].usage, Some(sum));
    assert!(world.sessions[&session].is_open());
}

/// P2: exactly once.
#[test]
fn a_run_that_has_ended_cannot_end_again() {
    let (mut world, _, run) = running(hourly());
    world.end(run, timed_out());
    for ending in [ok(), failed(), crashed(), Ending::plain(Outcome::Cancelled, Reason::Operator)] {
        assert!(world.ended(run, ending).is_err());
    }
}

/// What a job's `retries` and what its agent says make of failures (decision 5).
#[test]
fn the_number_of_attempts_follows_from_the_policy_and_from_what_the_agent_says() {
    use RetryWish::{After, Never};
    let cases: [(Option<u32>, Ending, u32); 13] = [
        (None, failed(), 1),
        (None, timed_out(), 1),
        (None, temporary(), 4),
        (None, says(After(span("7m"))), 4),
        (None, says(Never), 1),
        (Some(0), failed(), 1),
        (Some(0), temporary(), 1),
        (Some(0), says(After(span("7m"))), 1),
        (Some(2), failed(), 3),
        (Some(2), timed_out(), 3),
        (Some(2), temporary(), 3),
        (Some(2), says(Never), 1),
        (Some(5), says(After(span("7m"))), 6),
    ];
    for (retries, ending, attempts) in cases {
        // A one-shot: no later slot comes between.
        let (mut world, job) = World::with("10:30", Spec { retries, ..spec(once("11:00")) });
        world.at("11:00").account(job);
        while !world.active(job).is_empty() {
            world.rest(job);
            world.run_first(ending.clone());
        }
        assert_eq!(world.runs.len() as u32, attempts, "{retries:?} {ending:?}");
        assert_eq!(world.jobs[&job].counters.failing_streak, 1);
        assert!(world.jobs[&job].done_at.is_some());
    }
}

#[test]
fn each_failure_of_a_slot_waits_longer_and_an_agent_can_name_its_own_wait() {
    let day = || Spec { retries: Some(5), ..spec(once("11:00")) };
    let (mut world, job) = World::with("10:30", day());
    world.at("11:00").account(job);
    for wait in ["30s", "1m", "5m", "15m", "1h"] {
        world.run_first(failed());
        let until = span(wait).after(world.now);
        assert_eq!(world.active(job)[0].state, State::Waiting { until }, "{wait}");
        world.rest(job);
    }
    let (world, job) = live(day(), &[says(RetryWish::After(span("7m")))]);
    assert_eq!(world.active(job)[0].state, State::Waiting { until: time("11:07") });
}

/// An attempt's number only grows; an interruption spends nothing of the retry policy.
#[test]
fn an_interruption_raises_the_attempt_and_a_failure_also_what_is_spent() {
    let spec = Spec { retries: Some(1), on_interrupt: OnInterrupt::Retry, ..spec(once("11:00")) };
    let (world, job) = live(spec, &[crashed(), shut_down(), failed(), crashed(), failed()]);
    assert_eq!(
        world.history(job),
        [
            "11:00 interrupted crash",
            "11:00 #2 interrupted shutdown",
            "11:00 #3 failed exit",
            "11:00 #4 interrupted crash",
            "11:00 #5 failed exit",
        ]
    );
    let mut runs: Vec<_> = world.runs.values().collect();
    runs.sort_by_key(|run| run.attempt);
    let spent: Vec<_> = runs.iter().map(|run| (run.failures, run.interruptions)).collect();
    assert_eq!(spent, [(0, 0), (0, 1), (0, 1), (1, 1), (1, 2)]);
    assert!(world.jobs[&job].done_at.is_some());
}

/// P4: a slot that kills its gateway does so three times at most.
#[test]
fn the_third_crash_of_a_slot_ends_it_as_a_crash_loop() {
    let spec = Spec { on_interrupt: OnInterrupt::Retry, retries: Some(9), ..hourly() };
    let lost = Ending::plain(Outcome::Interrupted, Reason::NodeLost);
    let (world, job) = live(spec, &[crashed(), lost, crashed()]);
    assert_eq!(
        world.history(job),
        ["11:00 interrupted crash", "11:00 #2 interrupted node_lost", "11:00 #3 failed crash_loop"]
    );
    let counters = world.jobs[&job].counters;
    assert_eq!((counters.interrupted, counters.failed, counters.failing_streak), (2, 1, 1));
    assert!(world.jobs[&job].backoff_until.is_some());
    let reasons: Vec<_> = world.sessions.values().filter_map(Session::end_reason).collect();
    assert_eq!(reasons, [EndReason::Interrupted; 3]);
}

/// Regression: a slot that was cut off by two stops and one crash was taken for a crash loop.
#[test]
fn a_stop_of_the_gateway_is_no_crash() {
    let spec = Spec { on_interrupt: OnInterrupt::Retry, ..hourly() };
    let (world, job) =
        live(spec, &[shut_down(), shut_down(), shut_down(), shut_down(), crashed(), ok()]);
    assert_eq!(world.history(job).last().unwrap(), "11:00 #6 ok exit");
}

/// The default: work that was cut off may have been half done, and is not done again unasked.
#[test]
fn an_interrupted_run_is_not_repeated_unless_its_job_says_so() {
    for ending in [crashed(), shut_down()] {
        let (world, job) = live(Spec { retries: Some(3), ..hourly() }, &[ending]);
        assert_eq!(world.active(job), []);
        let counters = world.jobs[&job].counters;
        assert_eq!((counters.interrupted, counters.failing_streak), (1, 0));
        assert_eq!(world.jobs[&job].backoff_until, None);
    }
}

#[test]
fn an_isolated_retry_has_a_key_of_its_own_and_a_shared_key_stays() {
    let retried = |target| {
        let (world, job) = live(Spec { retries: Some(1), target, ..hourly() }, &[failed()]);
        let retry = world.active(job).remove(0);
        (world.runs[&retry.retry_of.unwrap()].session_key.clone(), retry)
    };
    let (first, retry) = retried(Target::Isolated);
    assert_ne!(first, retry.session_key);
    assert!(retry.session_key.as_str().ends_with(&retry.id.to_string()));
    let (first, retry) = retried(Target::Main);
    assert_eq!(first, retry.session_key);
}

/// A retry takes its place behind what was queued before it (decision 4). Regression: it kept the
/// turn of the attempt before and went first.
#[test]
fn a_retry_gets_a_later_turn_than_the_attempt_before_it() {
    let (mut world, job) = live(Spec { retries: Some(2), ..hourly() }, &[failed(), failed()]);
    let turns: Vec<_> = world.runs.values().map(|run| (run.attempt, run.turn)).collect();
    assert!([(1, 1), (2, 2), (3, 3)].iter().all(|turn| turns.contains(turn)), "{turns:?}");
    assert_eq!(world.jobs[&job].last_turn, 3);
    world.at("12:00").account(job);
    assert_eq!(world.queued()[0].turn, 4);
}

/// Whoever asked for the end of a run does not want it again.
#[test]
fn a_run_that_was_asked_to_stop_is_not_retried_however_it_ends() {
    for ending in [failed(), temporary(), timed_out(), crashed()] {
        let spec = Spec { retries: Some(3), on_interrupt: OnInterrupt::Retry, ..hourly() };
        let (mut world, job, run) = running(spec);
        world.cancel(run).unwrap();
        world.end(run, ending);
        assert_eq!(world.active(job), []);
    }
}

/// A later slot that waits to start takes the place of a retry of the earlier one.
#[test]
fn no_retry_is_made_while_a_later_slot_is_queued() {
    for ending in [failed(), crashed()] {
        let spec = Spec {
            retries: Some(3),
            on_interrupt: OnInterrupt::Retry,
            overlap: Overlap::Queue,
            ..hourly()
        };
        let (mut world, job, run) = running(spec);
        world.at("12:00").account(job);
        world.end(run, ending);
        assert!(world.history(job)[1..].iter().eq(&["12:00 queued"]), "{:?}", world.history(job));
    }
}

/// Slots that are all made up for do not take each other's place. Regression: the second attempt of
/// such a slot was given up where the first was not.
#[test]
fn every_attempt_of_a_slot_that_is_made_up_for_is_retried_beside_the_others() {
    let spec = Spec { retries: Some(2), misfire: crate::job::Misfire::All, ..hourly() };
    let (mut world, job) = World::with("10:30", spec);
    world.at("13:30").account(job);
    let first = world.start_first();
    world.end(first, failed());
    world.rest(job);
    let retry = world.active(job).into_iter().find(|run| run.attempt == 2).unwrap();
    world.start(retry.id);
    world.end(retry.id, failed());
    assert_eq!(
        world.history(job),
        [
            "11:00 failed exit catch_up",
            "11:00 #2 failed exit",
            "11:00 #3 waiting for 13:31:30",
            "12:00 queued catch_up",
            "13:00 queued catch_up",
        ]
    );
}

/// Lets the job fail at every slot, with whatever retries there are, until it stops.
fn fail_until_disabled(spec: Spec) -> (World, JobId, u64) {
    let (mut world, job) = World::with("00:00", spec);
    while world.jobs[&job].is_active() {
        let due = world.jobs[&job].due_at().unwrap();
        let retry = world.active(job).into_iter().find_map(|run| match run.state {
            State::Waiting { until } => Some(until),
            _ => None,
        });
        world.now = retry.map_or(due, |retry| retry.min(due));
        while world.account(job) {}
        if retry.is_some_and(|retry| retry < due) {
            world.rest(job);
        }
        while !world.queued().is_empty() {
            world.run_first(failed());
        }
        assert!(world.runs.len() < 1000, "it goes on for ever");
    }
    assert_eq!(world.active(job), [], "nothing of it goes on");
    let failures = world.jobs[&job].counters.failed;
    (world, job, failures)
}

/// A job that only fails is stopped after ten slots, with a word to whoever looks after it.
#[test]
fn a_job_is_disabled_after_ten_slots_in_a_row_that_failed() {
    let (world, job, failures) = fail_until_disabled(hourly());
    assert_eq!(failures, 10);
    let suspension = world.jobs[&job].suspension.unwrap();
    assert_eq!(suspension, Suspension { by: SuspendedBy::AutoDisable, since: world.now });
    assert_eq!(world.told(EventType::JobDisabled), 1);
}

/// A failing streak counts slots, not attempts (decision 5).
#[test]
fn the_failing_streak_counts_slots_and_not_attempts() {
    let (world, job, failures) = fail_until_disabled(Spec { retries: Some(2), ..hourly() });
    assert_eq!(failures, 3 * 9 + 1, "the tenth slot is not retried any more");
    assert_eq!(world.jobs[&job].counters.failing_streak, 10);
}

/// Regression: a retry that each next slot superseded hid every failure from the streak, so that a
/// job which only failed was never disabled and never rested.
#[test]
fn a_job_whose_retries_are_always_superseded_is_disabled_all_the_same() {
    let spec =
        Spec { retries: Some(2), backoff: "90s".parse().unwrap(), ..spec(cron("* * * * *")) };
    let (world, job, failures) = fail_until_disabled(spec);
    assert_eq!(failures, 10);
    assert_eq!(world.jobs[&job].counters.cancelled, 9, "{:#?}", world.history(job));
}

/// What waits when a job is disabled ends with it. Regression: a job that was disabled for its
/// failures went on with what was queued.
#[test]
fn a_job_that_is_disabled_for_its_failures_takes_its_queued_runs_with_it() {
    let spec = Spec { misfire: crate::job::Misfire::All, ..hourly() };
    let (mut world, job) = World::with("00:30", spec);
    world.at("20:30").account(job);
    assert_eq!(world.queued().len(), 20);
    for _ in 0..10 {
        world.run_first(failed());
    }
    assert_eq!(world.queued(), []);
    let counters = world.jobs[&job].counters;
    assert_eq!((counters.failed, counters.cancelled), (10, 10));
    assert_eq!(world.history(job)[19], "20:00 cancelled job_disabled catch_up");
}

/// P6: the same where no slot is to come: such a job is done, not only disabled.
#[test]
fn a_job_that_is_disabled_for_its_failures_after_its_last_slot_is_done() {
    let one_day = spec(cron("0 0 * 2 3 * 2026"));
    let spec = Spec { misfire: crate::job::Misfire::All, ..one_day };
    let (mut world, job) = World::with("00:30", spec);
    world.at("23:30").account(job);
    assert_eq!((world.jobs[&job].next_slot, world.queued().len()), (None, 23));
    for _ in 0..10 {
        assert_eq!(world.jobs[&job].done_at, None);
        world.run_first(failed());
    }
    assert_eq!(world.queued(), []);
    assert_eq!(world.jobs[&job].done_at, Some(time("23:30")));
}

#[test]
fn a_success_ends_the_streak_and_the_rest() {
    for good in [ok(), Ending::plain(Outcome::Skipped, Reason::Declared)] {
        let (mut world, job) = live(hourly(), &[failed()]);
        assert_eq!(world.jobs[&job].counters.failing_streak, 1);
        assert_eq!(world.jobs[&job].backoff_until, Some(time("11:00:30")));
        world.at("12:00").account(job);
        world.run_first(good);
        assert_eq!(world.jobs[&job].counters.failing_streak, 0);
        assert_eq!(world.jobs[&job].backoff_until, None);
    }
}

/// Interface 4: an agent may declare that there was nothing to do. Regression: the state machine
/// did not know it, and the run would have stayed running.
#[test]
fn a_run_that_declares_itself_skipped_ends_as_one_that_was_started() {
    let (mut world, job, run) = running(hourly());
    world.end(run, Ending::plain(Outcome::Skipped, Reason::Declared));
    assert_eq!(world.history(job), ["11:00 skipped declared"]);
    assert_eq!(world.jobs[&job].counters.skipped, 1);
    assert_eq!((world.told(EventType::RunEnded), world.told(EventType::RunSkipped)), (1, 0));
}

/// What runs when its job is removed runs to its end, and no further.
#[test]
fn the_end_of_a_run_does_not_touch_a_job_that_was_removed() {
    let (mut world, job, run) = running(Spec { retries: Some(3), ..hourly() });
    world.decide(job, jobs::remove);
    let tombstone = world.jobs[&job].clone();
    world.end(run, failed());
    assert_eq!(world.jobs[&job], tombstone);
    assert_eq!(world.active(job), []);
}

#[test]
fn nothing_of_a_job_is_retried_once_it_is_disabled() {
    let spec = Spec { retries: Some(3), on_interrupt: OnInterrupt::Retry, ..hourly() };
    for ending in [failed(), crashed()] {
        let (mut world, job, run) = running(spec.clone());
        world.decide(job, jobs::suspend);
        world.end(run, ending);
        assert_eq!(world.active(job), []);
    }
}

//! The worlds that are part of every test run: a fixed number of seeds, and the seeds that once broke
//! a promise.

use sexton_sim::{Budget, Report, run, run_logged, seeds};

/// So many seeds, shared out over a few tests that run side by side.
const SEEDS: u64 = 24;
const SHARES: u64 = 2;

/// What these worlds can reach, and so must. A crash loop and the limit of replacements come in some hundred
/// worlds a few times: `cargo xtask sim` counts them, and `domain` tests them.
const REACHED: &[&str] = &[
    "boot",
    "boot failed",
    "death",
    "stop: Restart",
    "stop: Shutdown",
    "runner adopted",
    "survivor killed",
    "fault: a commit fails",
    "fault: a read fails",
    "fault: a transaction is rolled back",
    "fault: an answer is lost",
    "run: Ok Exit",
    "run: Failed Exit",
    "run: Failed StartFailed",
    "run: TimedOut Deadline",
    "run: TimedOut IdleLimit",
    "run: Cancelled Operator",
    "run: Cancelled Replaced",
    "run: Cancelled Superseded",
    "run: Cancelled JobDisabled",
    "run: Cancelled JobRemoved",
    "run: Interrupted Crash",
    "run: Interrupted Restart",
    "run: Interrupted Shutdown",
    "run: Skipped Overlap",
    "run: Skipped QueueFull",
    "run: Skipped Backoff",
    "run: Missed Misfire",
    "run: Missed JobDisabled",
    "run: Missed JobRemoved",
    "run: Missed Rescheduled",
    "run: Coalesced Misfire",
    "cause: Schedule",
    "cause: CatchUp",
    "cause: Retry",
    "cause: Manual",
    "session: Completed",
    "session: Failed",
    "session: TimedOut",
    "session: Cancelled",
    "session: Interrupted",
    "session: Shutdown",
    "session: Restart",
    "event: job.added",
    "event: job.changed",
    "event: job.removed",
    "event: job.enabled",
    "event: job.disabled",
    "event: job.done",
    "event: node.lost",
    "event: node.stopped",
    "cause: Message",
    "session: New",
    "session: Reset",
    "session: Idle",
    "session: Daily",
    "session: Deleted",
    "delivery: pending",
    "delivery: delivered",
    "delivery: dead MaxAttempts",
    "delivery: dead MaxAge",
    "delivery: dead HookRemoved",
    "delivery: sent again",
    "hold: Floor",
    "hold: ArchiveFailed",
    "hook: is too slow",
    "hook: fails",
    "hook: is down",
    "hook: hangs",
    "hook: its answer is lost",
    "hook: is gone",
    "hook: takes a letter again",
    "fault: an archive cannot be written",
    "archive verified",
    "archive deleted",
    "archive purged",
    "event: session.archived",
    "event: session.reaped",
    "event: hook.disabled",
    "event: hook.enabled",
    "event: hook.dead_lettered",
    "event: node.draining",
];

fn world(seed: u64) -> Report {
    run(seed, Budget::default()).unwrap_or_else(|failure| panic!("{failure}"))
}

/// P1-P6, P9, P12. And a run that passes because nothing happened does not count.
#[test]
fn no_world_of_the_fixed_seeds_breaks_a_promise_and_together_they_reach_everything() {
    let shares = (0..SHARES).map(|share| {
        std::thread::spawn(move || {
            let mut sum = Report::default();
            (1..=SEEDS).filter(|seed| seed % SHARES == share).for_each(|n| sum.merge(&world(n)));
            sum
        })
    });
    let shares: Vec<_> = shares.collect();
    let mut sum = Report::default();
    for share in shares {
        sum.merge(&share.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
    }
    let missing: Vec<_> = REACHED.iter().filter(|what| sum.reached(what) == 0).collect();
    assert!(missing.is_empty(), "never reached: {missing:?}\n{sum}");
}

/// A seed that ever broke a promise stays.
#[test]
fn the_seeds_that_once_broke_a_promise_keep_them_all() {
    for (seed, _story) in seeds::REGRESSIONS {
        world(*seed);
    }
}

/// Without this no failure could be looked into.
#[test]
fn one_seed_run_twice_gives_the_identical_event_log() {
    let logs = [5, 6].map(|seed| {
        let [first, second] = [(), ()].map(|()| run_logged(seed, Budget { slots: 100 }).1);
        let differs = first.iter().zip(&second).position(|(a, b)| a != b);
        let line = differs.map(|at| (at, &first[at], &second[at]));
        assert!(line.is_none() && first.len() == second.len(), "seed {seed}: {line:?}");
        assert!(first.len() > 100, "seed {seed} has only {} lines", first.len());
        first
    });
    assert_ne!(logs[0], logs[1]);
}

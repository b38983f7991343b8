//! Agents that must be ended, and what they leave behind: it is all dead before `Exited`.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "helpers of tests are tests, too")]

mod process_support;

use std::time::Duration;

use process_support::{
    LONG, alive_of, eventually, finish, is_alive, kill, line, monotonic, pid, run, sh, start, work,
};
use rustix::process::Signal;
use sexton_engine::executor::{Executor, Exit, Progress};

const SHORT: Duration = Duration::from_millis(300);

/// An agent that says goodbye within the grace is not killed.
#[tokio::test]
async fn a_stop_lets_the_agent_end_by_itself() {
    let mut polite = start(sh("trap 'echo bye; exit 5' TERM; echo ready; sleep 1000 & wait")).await;
    assert_eq!(line(&mut *polite).await, "ready");
    polite.stop();
    let report = finish(&mut *polite).await;
    assert_eq!(report.stdout, ["bye"]);
    assert_eq!(report.exit, Exit::Code(5));
}

/// Gemini's wrapper ignores TERM for as long as it likes (agents.md section 5.2).
#[tokio::test]
async fn an_agent_that_ignores_term_is_killed_after_the_grace() {
    let mut stubborn = sh("trap '' TERM; echo ready; while :; do sleep 1000; done");
    stubborn.grace = SHORT;
    let run = stubborn.run;
    let mut stubborn = start(stubborn).await;
    assert_eq!(line(&mut *stubborn).await, "ready");
    let before = monotonic();
    stubborn.stop();
    let exit = finish(&mut *stubborn).await.exit;
    let took = monotonic() - before;
    assert_eq!(exit, Exit::Signal(9));
    assert!(took >= SHORT && took < LONG, "{took:?}");
    assert_eq!(alive_of(run), []);
}

/// A second order to stop, or one that comes too late, changes nothing.
#[tokio::test]
async fn a_stop_is_idempotent() {
    let script = "exec 2>/dev/null; trap 'echo term; over=1' TERM; echo ready
        while [ -z \"$over\" ]; do sleep 0.02; done; sleep 0.1";
    let mut agent = start(sh(script)).await;
    assert_eq!(line(&mut *agent).await, "ready");
    agent.stop();
    agent.stop();
    assert_eq!(line(&mut *agent).await, "term");
    agent.stop();
    let report = finish(&mut *agent).await;
    assert_eq!(report.stdout, [""; 0]);
    agent.stop();
}

/// P4: what is left in the background, with stdout open, neither delays the end nor survives it.
#[tokio::test]
async fn a_background_child_dies_before_the_end_is_told() {
    let before = monotonic();
    let mut forker = start(sh("sleep 1000 & echo $!")).await;
    let child = pid(&mut *forker).await;
    assert_eq!(finish(&mut *forker).await.exit, Exit::Code(0));
    assert!(!is_alive(child));
    assert!(monotonic() - before < LONG);
}

/// The classic daemon: forked twice, in a session of its own, deaf to TERM, environment replaced.
#[tokio::test]
async fn a_daemon_that_ignores_term_dies_before_the_end_is_told() {
    let mut work = sh("(setsid env -i /bin/sh -c \
        'trap \"\" TERM; echo $$; while :; do sleep 1000; done' &) ; sleep 0.2; exit 4");
    work.grace = SHORT;
    let mut daemon = start(work).await;
    let child = pid(&mut *daemon).await;
    assert_eq!(finish(&mut *daemon).await.exit, Exit::Code(4));
    assert!(!is_alive(child));
}

/// All four real agents start their tools in sessions of their own, where a group signal misses
/// them (agents.md section 5.3).
#[tokio::test]
async fn a_child_in_another_session_dies_on_stop() {
    let script = "setsid sh -c 'echo $$; sleep 1000; :' & trap : TERM; wait; wait; sleep 1000";
    let mut work = sh(script);
    work.grace = SHORT;
    let mut agent = start(work).await;
    let child = pid(&mut *agent).await;
    agent.stop();
    finish(&mut *agent).await;
    assert!(!is_alive(child));
}

/// What forks faster than one round of killing is killed by the next.
#[tokio::test]
async fn a_tree_that_keeps_forking_dies() {
    let script = "trap '' TERM
        hop() { while :; do (sleep 0.01; :) & sleep 0.001; done; }
        hop & hop & setsid sh -c 'trap \"\" TERM; while :; do sleep 0.01 & sleep 0.001; done' &
        echo ready; wait";
    let mut work = sh(script);
    work.grace = SHORT;
    let run = work.run;
    let mut forker = start(work).await;
    assert_eq!(line(&mut *forker).await, "ready");
    forker.stop();
    assert_eq!(finish(&mut *forker).await.exit, Exit::Signal(9));
    assert_eq!(alive_of(run), []);
}

/// The end of the output is not the end of the run.
#[tokio::test]
async fn an_agent_that_closes_its_output_lives_on_until_its_end() {
    let silent = "echo $$; exec >&- 2>&- <&-; exec sleep 1000";
    let mut agent = start(sh(silent)).await;
    let child = pid(&mut *agent).await;
    tokio::select! {
        progress = agent.progress() => panic!("{progress:?}"),
        () = eventually("it sleeps", || {
            std::fs::read(format!("/proc/{child}/cmdline")).is_ok_and(|c| c.starts_with(b"sleep"))
        }) => {}
    }
    agent.stop();
    assert_eq!(finish(&mut *agent).await.exit, Exit::Signal(15));

    assert_eq!(run(sh("exec >&- 2>&-; sleep 0.1; exit 6")).await.exit, Exit::Code(6));
}

/// A process that is stopped hears no TERM; it must not need the kill for that.
#[tokio::test]
async fn a_suspended_agent_hears_the_stop() {
    let mut agent = start(sh("trap 'exit 7' TERM; echo $$; kill -STOP $$; sleep 1000")).await;
    let child = pid(&mut *agent).await;
    eventually("it is suspended", || {
        std::fs::read_to_string(format!("/proc/{child}/stat")).is_ok_and(|s| s.contains(") T "))
    })
    .await;
    agent.stop();
    assert_eq!(finish(&mut *agent).await.exit, Exit::Code(7));
}

/// An agent that waits for a reader who does not read is killed like any other, and what it had
/// written before is still reported.
#[tokio::test]
async fn an_agent_that_is_stuck_in_writing_dies_on_stop() {
    let mut work = work(&["yes"]);
    work.grace = SHORT;
    let mut stuck = start(work).await;
    assert_eq!(line(&mut *stuck).await, "y");
    stuck.stop();
    let report = finish(&mut *stuck).await;
    assert_eq!(report.exit, Exit::Signal(15));
    assert!(report.stdout.iter().all(|line| line == "y" || line.is_empty()));
}

/// P4: an execution that nobody holds any more leaves nothing alive.
#[tokio::test]
async fn dropping_an_execution_kills_its_tree() {
    let work = sh("setsid sleep 1000 & echo ready; sleep 1000");
    let run = work.run;
    let mut agent = start(work).await;
    assert_eq!(line(&mut *agent).await, "ready");
    assert!(!alive_of(run).is_empty());
    drop(agent);
    eventually("all are dead", || alive_of(run).is_empty()).await;
}

/// The same for a start that is given up half-way.
#[tokio::test]
async fn dropping_a_start_kills_what_it_started() {
    let work = sh("sleep 1000");
    let run = work.run;
    let executor = process_support::executor();
    {
        let start = executor.start(work);
        tokio::pin!(start);
        tokio::select! {
            biased;
            // On a busy machine the shim may be that fast; then the execution is dropped.
            _ = &mut start => {}
            () = tokio::task::yield_now() => {}
        }
    }
    eventually("all are dead", || alive_of(run).is_empty()).await;
}

/// A supervisor that signals every process of a service must not take the shim before its tree.
#[tokio::test]
async fn signals_to_the_shim_do_nothing() {
    let mut agent = start(sh("echo ready; read -r line; sleep 0.2; echo done; exit 8")).await;
    assert_eq!(line(&mut *agent).await, "ready");
    let shim = agent.process().unwrap().pid;
    for signal in [Signal::TERM, Signal::INT, Signal::HUP, Signal::QUIT, Signal::USR1] {
        kill(shim, signal);
    }
    assert_eq!(line(&mut *agent).await, "done");
    assert_eq!(finish(&mut *agent).await.exit, Exit::Code(8));
}

/// The shim reaps the orphans of a long run as they die: no zombies pile up.
#[tokio::test]
async fn orphans_are_reaped_while_the_agent_works() {
    let mut agent = start(sh("(true & true & true &); echo ready; sleep 1000")).await;
    assert_eq!(line(&mut *agent).await, "ready");
    let shim = agent.process().unwrap().pid;
    let children = format!("/proc/{shim}/task/{shim}/children");
    eventually("only the agent is left", || {
        std::fs::read_to_string(&children).is_ok_and(|pids| pids.split_whitespace().count() == 1)
    })
    .await;
    agent.stop();
    assert!(matches!(finish(&mut *agent).await.exit, Exit::Signal(15)));
}

/// Somebody outside of the tree who holds the agent's stdout (here: the test, through `/proc`)
/// cannot hold up the end of the run.
#[tokio::test]
async fn a_stranger_who_holds_stdout_open_does_not_delay_the_end() {
    let mut agent = start(sh("echo $$; sleep 1000")).await;
    let child = pid(&mut *agent).await;
    let path = format!("/proc/{child}/fd/1");
    let stranger = std::fs::OpenOptions::new().write(true).open(path).unwrap();
    agent.stop();
    assert_eq!(finish(&mut *agent).await.exit, Exit::Signal(15));
    drop(stranger);
}

/// Output that was written before the end is reported before the end, however the agent ended.
#[tokio::test]
async fn everything_written_is_reported_before_the_end() {
    for _ in 0..20 {
        let mut agent = start(sh("i=0; while [ $i -lt 500 ]; do echo $i; i=$((i+1)); done")).await;
        let mut count = 0;
        while let Progress::Stdout(_) = process_support::next(&mut *agent).await {
            count += 1;
        }
        assert_eq!(count, 500);
    }
}

/// P4: an agent may stop its own shim, so that the order to end is never heard. The node does not
/// wait for ever.
#[tokio::test]
async fn a_shim_that_was_stopped_itself_is_killed_with_its_tree() {
    // The prompt does not fit into its pipe: its end is read only after the start is known here.
    let mut work = sh("cat > /dev/null; kill -STOP $PPID; echo stopped; sleep 1000");
    work.prompt = "x".repeat(1 << 20);
    work.grace = SHORT;
    let run = work.run;
    let mut agent = start(work).await;
    assert_eq!(line(&mut *agent).await, "stopped");
    agent.stop();
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(60)).await;
    tokio::time::resume();
    assert!(matches!(finish(&mut *agent).await.exit, Exit::Lost { .. }));
    assert_eq!(alive_of(run), []);
}

//! Nodes and shims that are killed themselves: whatever they leave alive is found and killed.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "helpers of tests are tests, too")]

#[expect(dead_code, reason = "each test binary uses its part of this")]
mod process_support;

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use process_support::{
    LONG, alive_of, eventually, executor, finish, fixture, is_alive, kill, line, monotonic,
    new_run, pid, sh, start,
};
use rustix::process::Signal;
use sexton_engine::executor::{Executor, Exit};
use uuid::Uuid;

/// Tools of its own session, a daemon, and a main process, all deaf to TERM; each says its pid.
const STUBBORN: &str = "trap '' TERM
    setsid sh -c 'echo $$; while :; do sleep 1000; done' &
    (setsid sh -c 'echo $$; while :; do sleep 1000; done' &)
    echo $$; while :; do sleep 1000; done";

/// P4: the SIGKILL of a gateway is the end of its agents, within the grace and without its help.
#[tokio::test]
async fn a_killed_node_takes_its_trees_with_it() {
    let run = new_run();
    let mut node = Node::start(run, "500", STUBBORN);
    let pids = [node.pid(), node.pid(), node.pid()];
    assert!(pids.into_iter().all(is_alive));
    let before = monotonic();
    node.kill();
    eventually("all are dead", || alive_of(run).is_empty()).await;
    let took = monotonic() - before;
    assert!(!pids.into_iter().any(is_alive));
    assert!(took >= Duration::from_millis(500) && took < LONG, "{took:?}");
}

/// P4: a shim that is killed cannot prove anything any more; then the node does.
#[tokio::test]
async fn a_killed_shim_is_reported_as_lost_with_its_tree_dead() {
    let work = sh(STUBBORN);
    let run = work.run;
    let mut agent = start(work).await;
    let pids = [pid(&mut *agent).await, pid(&mut *agent).await, pid(&mut *agent).await];
    kill(agent.process().unwrap().pid, Signal::KILL);
    let exit = finish(&mut *agent).await.exit;
    // Three shells, and their sleeps, which a shell may start anew while it is hunted.
    assert!(matches!(exit, Exit::Lost { killed: 3.. }), "{exit:?}");
    assert!(!pids.into_iter().any(is_alive));
    assert_eq!(alive_of(run), []);
}

/// The environment is not all there is to go by: who replaced it and stayed in the session of the
/// shim is found as well.
#[tokio::test]
async fn a_killed_shim_does_not_hide_a_process_with_another_environment() {
    let mut agent = start(sh("env -i sh -c 'echo $$; sleep 1000; :' & exec sleep 1000")).await;
    let child = pid(&mut *agent).await;
    kill(agent.process().unwrap().pid, Signal::KILL);
    assert!(matches!(finish(&mut *agent).await.exit, Exit::Lost { .. }));
    assert!(!is_alive(child));
}

/// What the agent wrote before its shim was killed is not lost.
#[tokio::test]
async fn output_survives_a_killed_shim() {
    let mut agent = start(sh("printf 'one\\ntwo\\nthree\\n'; sleep 1000")).await;
    assert_eq!(line(&mut *agent).await, "one");
    kill(agent.process().unwrap().pid, Signal::KILL);
    assert_eq!(finish(&mut *agent).await.stdout, ["two", "three"]);
}

/// P4: with node and shim killed at once, the next boot finds what they left.
#[tokio::test]
async fn bury_kills_what_node_and_shim_left() {
    let run = new_run();
    let mut node = Node::start(run, "50000", STUBBORN);
    let pids = [node.pid(), node.pid(), node.pid()];
    // Suspended first, so that the shim does not notice the death of the node.
    kill(node.shim, Signal::STOP);
    node.kill();
    kill(node.shim, Signal::KILL);
    eventually("the shim is dead", || !is_alive(node.shim)).await;
    assert!(pids.into_iter().all(is_alive));

    let buried = executor().bury(&|found| found == run).await.unwrap();
    assert!(pids.iter().all(|pid| buried.iter().any(|s| s.process.pid == *pid && s.run == run)));
    assert!(!pids.into_iter().any(is_alive));
    assert_eq!(alive_of(run), []);
}

/// The shim of a dead node may be in its grace, or stuck; a retry must wait for neither.
#[tokio::test]
async fn bury_kills_shims_of_dead_nodes_too() {
    for is_stuck in [false, true] {
        let run = new_run();
        let mut node = Node::start(run, "50000", STUBBORN);
        node.pid();
        if is_stuck {
            kill(node.shim, Signal::STOP);
        }
        node.kill();
        let before = monotonic();
        executor().bury(&|found| found == run).await.unwrap();
        assert!(monotonic() - before < LONG / 2);
        assert!(!is_alive(node.shim));
        assert_eq!(alive_of(run), []);
    }
}

/// P10: runs that are alive, or of another store, are none of our business.
#[tokio::test]
async fn bury_spares_everybody_else() {
    let mut agent = start(sh("echo $$; sleep 0.3; exit 9")).await;
    pid(&mut *agent).await;
    let nobody = new_run();
    assert_eq!(executor().bury(&|found| found == nobody).await.unwrap(), []);
    assert_eq!(finish(&mut *agent).await.exit, Exit::Code(9));
}

/// A gateway that an agent started carries that agent's mark: it must not bury itself.
#[tokio::test]
async fn bury_spares_itself() {
    let run = new_run();
    let output = Command::new(fixture())
        .args(["bury", &run.to_string()])
        .env("SEXTON_RUN_ID", run.to_string())
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "buried 0 marked true\n");
}

/// A node in a process of its own.
struct Node {
    child: Child,
    stdout: BufReader<ChildStdout>,
    shim: u32,
}

impl Node {
    fn start(run: Uuid, grace_ms: &str, script: &str) -> Node {
        let mut child = Command::new(fixture())
            .args(["node", &run.to_string(), grace_ms, "sh", "-c", script])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let mut node = Node { child, stdout, shim: 0 };
        node.shim = node.line().strip_prefix("shim ").unwrap().parse().unwrap();
        node
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    fn pid(&mut self) -> u32 {
        self.line().parse().unwrap()
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Node {
    /// A test that fails leaves no node behind; its shim does the rest.
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

//! What the tests of `process` share: work to do, and ways to wait for what can be observed.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use rustix::time::{ClockId, clock_gettime};
use sexton_engine::executor::{Execution, Executor, Exit, Progress, StartError, Survivor, Work};
use sexton_engine::process::{ProcessExecutor, ShimCommand, survivors};
use uuid::Uuid;

/// No test waits longer than this for anything.
const PATIENCE: Duration = Duration::from_secs(60);

/// A grace that only a test that gives up on TERM would wait for.
pub const LONG: Duration = Duration::from_secs(50);

/// The program that is shim and node for these tests. Cargo builds examples with the tests unless
/// it is asked for single ones.
pub fn fixture() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let profile = test.parent().and_then(|deps| deps.parent()).unwrap();
    let fixture = profile.join("examples/process_fixture");
    assert!(fixture.exists(), "run: cargo build -p sexton-engine --example process_fixture");
    fixture
}

pub fn executor() -> ProcessExecutor {
    ProcessExecutor::new(ShimCommand { program: fixture(), args: vec!["__shim".into()] })
}

/// A run that no other test, of this or another process, has.
pub fn new_run() -> Uuid {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let low = u64::from(std::process::id()) << 32 | u64::from(NEXT.fetch_add(1, Ordering::Relaxed));
    Uuid::from_u64_pair(u64::try_from(monotonic().as_nanos()).unwrap(), low)
}

pub fn work(command: &[&str]) -> Work {
    Work {
        run: new_run(),
        command: command.iter().map(ToString::to_string).collect(),
        cwd: "/".into(),
        env: vec![("PATH".into(), "/usr/local/bin:/usr/bin:/bin".into())],
        prompt: String::new(),
        grace: LONG,
        line_limit_bytes: 1 << 20,
    }
}

pub fn sh(script: &str) -> Work {
    work(&["sh", "-c", script])
}

pub async fn start(work: Work) -> Box<dyn Execution> {
    try_start(work).await.unwrap()
}

pub async fn try_start(work: Work) -> Result<Box<dyn Execution>, StartError> {
    tokio::time::timeout(PATIENCE, executor().start(work)).await.expect("a start is prompt")
}

/// All that work reports.
#[derive(Debug, PartialEq, Eq)]
pub struct Report {
    pub stdout: Vec<String>,
    pub stderr: Vec<String>,
    pub exit: Exit,
}

pub async fn run(work: Work) -> Report {
    finish(&mut *start(work).await).await
}

pub async fn finish(execution: &mut dyn Execution) -> Report {
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    loop {
        match next(execution).await {
            Progress::Stdout(line) => stdout.push(line),
            Progress::Stderr(line) => stderr.push(line),
            Progress::Exited(exit) => return Report { stdout, stderr, exit },
        }
    }
}

pub async fn next(execution: &mut dyn Execution) -> Progress {
    tokio::time::timeout(PATIENCE, execution.progress()).await.expect("something happens in time")
}

/// The next line of stdout, which is the next thing to happen.
pub async fn line(execution: &mut dyn Execution) -> String {
    match next(execution).await {
        Progress::Stdout(line) => line,
        other => panic!("expected a line, got {other:?}"),
    }
}

/// The next line of stdout, which is a pid.
pub async fn pid(execution: &mut dyn Execution) -> u32 {
    line(execution).await.trim().parse().unwrap()
}

/// Waits until what is observed becomes true.
pub async fn eventually(what: &str, mut observed: impl FnMut() -> bool) {
    let look = async {
        while !observed() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, look).await.is_ok(), "in vain: {what}");
}

/// Whether there is such a process, and it is more than a zombie.
pub fn is_alive(pid: u32) -> bool {
    let exists = test_kill_process(raw(pid)) != Err(Errno::SRCH);
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    exists && !stat.rsplit(')').next().is_some_and(|rest| rest.starts_with(" Z"))
}

/// The living processes that carry `run`.
pub fn alive_of(run: Uuid) -> Vec<Survivor> {
    survivors::scan().unwrap().into_iter().filter(|survivor| survivor.run == run).collect()
}

pub fn kill(pid: u32, signal: Signal) {
    kill_process(raw(pid), signal).unwrap();
}

fn raw(pid: u32) -> Pid {
    Pid::from_raw(pid.cast_signed()).unwrap()
}

pub fn monotonic() -> Duration {
    let now = clock_gettime(ClockId::Monotonic);
    Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).unwrap())
}

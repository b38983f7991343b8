//! Processes of this machine: who works for which run or hook, what they have used, and signals to them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::Context as _;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// What the shim of a run is called in the process table.
const SHIM_NAME: &str = "sexton-shim";

/// One life of a process: its pid and when it started, in clock ticks since boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Life {
    /// The process id.
    pub pid: u32,
    /// Field 22 of `/proc/<pid>/stat`.
    pub started: u64,
}

/// A process that works for a run, or for a command hook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Worker {
    /// Which process.
    pub life: Life,
    /// Its `SEXTON_RUN_ID`; commands of hooks have one as well.
    pub run: String,
    /// Whether a hook's command started it.
    pub is_of_hook: bool,
    /// Its name in the process table.
    pub name: String,
    /// Its session, in the sense of `setsid`.
    pub session: u32,
}

impl Worker {
    /// Whether it is the run's shim.
    pub fn is_shim(&self) -> bool {
        self.name == SHIM_NAME
    }
}

/// Whether this system has a process table that can be read.
pub fn can_scan() -> bool {
    Path::new("/proc/self/environ").exists()
}

/// Every living process whose environment has both `mark` (`NAME=value`) and a run.
pub fn workers(mark: &str) -> anyhow::Result<Vec<Worker>> {
    if !can_scan() {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").context("list the processes")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else { continue };
        // Processes that end while we look, and those of others, have nothing to say.
        let Ok(environment) = fs::read(format!("/proc/{pid}/environ")) else { continue };
        let Some((run, is_of_hook)) = work_of(&environment, mark) else { continue };
        let Some(stat) = Stat::of(pid).filter(|stat| !stat.is_dead()) else { continue };
        let life = Life { pid, started: stat.number(22) };
        let (name, session) = (stat.name.clone(), stat.number(6) as u32);
        found.push(Worker { life, run, is_of_hook, name, session });
    }
    Ok(found)
}

/// For which run a marked process works, and whether for a hook.
fn work_of(environment: &[u8], mark: &str) -> Option<(String, bool)> {
    let (mut run, mut is_marked, mut is_of_hook) = (None, false, false);
    for variable in environment.split(|&byte| byte == 0) {
        is_marked |= variable == mark.as_bytes();
        is_of_hook |= variable.starts_with(b"SEXTON_EVENT_ID=");
        if let Some(value) = variable.strip_prefix(b"SEXTON_RUN_ID=") {
            run = Some(String::from_utf8_lossy(value).into_owned());
        }
    }
    run.filter(|_| is_marked).map(|run| (run, is_of_hook))
}

/// Whether this very process still lives.
pub fn lives(life: Life) -> bool {
    Stat::of(life.pid).is_some_and(|stat| stat.number(22) == life.started && !stat.is_dead())
}

/// Whether every thread of a process has stopped for a signal.
pub fn is_stopped(pid: u32) -> bool {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let mut states = tasks.filter_map(|task| Stat::read(&task.path().join("stat")));
    states.next().is_some_and(|first| first.is_stopped()) && states.all(|stat| stat.is_stopped())
}

/// Sends a signal; a process that is gone is no error.
pub fn send(pid: u32, signal: Signal) {
    let _ = kill(Pid::from_raw(pid.cast_signed()), signal);
}

/// CPU time in seconds that a process used, with all children it waited for.
pub fn cpu_seconds(pid: u32) -> anyhow::Result<f64> {
    let stat = Stat::of(pid).with_context(|| format!("read what process {pid} used"))?;
    let ticks: u64 = (14..=17).map(|field| stat.number(field)).sum();
    Ok(ticks as f64 / ticks_per_second())
}

fn ticks_per_second() -> f64 {
    let ticks = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK).ok().flatten();
    ticks.unwrap_or(100) as f64
}

/// Memory that a process has in RAM, in bytes.
pub fn resident_bytes(pid: u32) -> anyhow::Result<u64> {
    let kib = status_number(&format!("/proc/{pid}/status"), "VmRSS:")?;
    Ok(kib * 1024)
}

/// How often the threads of a process went to sleep by themselves so far, thread by thread.
pub fn wake_ups(pid: u32) -> anyhow::Result<BTreeMap<u32, u64>> {
    let mut sum = BTreeMap::new();
    for entry in fs::read_dir(format!("/proc/{pid}/task"))? {
        let task = entry?.file_name().to_string_lossy().into_owned();
        let path = format!("/proc/{pid}/task/{task}/status");
        sum.insert(task.parse()?, status_number(&path, "voluntary_ctxt_switches:")?);
    }
    Ok(sum)
}

fn status_number(path: &str, key: &str) -> anyhow::Result<u64> {
    let text = fs::read_to_string(path).with_context(|| format!("read {path}"))?;
    let line = text.lines().find_map(|line| line.strip_prefix(key));
    let number = line.and_then(|line| line.split_whitespace().next());
    number.with_context(|| format!("find {key} in {path}"))?.parse().context("read a number")
}

/// The fields of `/proc/<pid>/stat`, numbered as in proc(5).
struct Stat {
    name: String,
    after_name: Vec<String>,
}

impl Stat {
    fn of(pid: u32) -> Option<Self> {
        Self::read(Path::new(&format!("/proc/{pid}/stat")))
    }

    fn read(path: &Path) -> Option<Self> {
        let text = fs::read(path).ok()?;
        let text = String::from_utf8_lossy(&text).into_owned();
        // The name may hold anything, parentheses included: it ends at the last one.
        let (open, close) = (text.find('(')?, text.rfind(')')?);
        let name = text.get(open + 1..close)?.to_owned();
        let after_name = text.get(close + 1..)?.split_whitespace().map(str::to_owned).collect();
        Some(Self { name, after_name })
    }

    fn number(&self, field: usize) -> u64 {
        self.after_name.get(field - 3).and_then(|text| text.parse().ok()).unwrap_or(0)
    }

    fn is_stopped(&self) -> bool {
        self.after_name.first().is_some_and(|state| state == "T")
    }

    fn is_dead(&self) -> bool {
        matches!(self.after_name.first().map(String::as_str), Some("Z" | "X") | None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_is_known_by_its_mark_and_by_what_it_works_for() {
        let environment = b"PATH=/bin\0SEXTON_RUN_ID=r1\0DEMO=a\0";
        assert_eq!(work_of(environment, "DEMO=a"), Some(("r1".to_owned(), false)));
        assert_eq!(work_of(environment, "DEMO=b"), None);
        assert_eq!(work_of(b"DEMO=a\0", "DEMO=a"), None);
        let of_hook = b"SEXTON_RUN_ID=d1\0SEXTON_EVENT_ID=evt_1\0DEMO=a\0";
        assert_eq!(work_of(of_hook, "DEMO=a"), Some(("d1".to_owned(), true)));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn this_process_lives_and_uses_memory() {
        let pid = std::process::id();
        let started = Stat::of(pid).unwrap().number(22);
        assert!(lives(Life { pid, started }));
        assert!(!lives(Life { pid, started: started + 1 }));
        assert!(resident_bytes(pid).unwrap() > 100_000);
        assert!(!wake_ups(pid).unwrap().is_empty());
        assert!(cpu_seconds(pid).unwrap() >= 0.0);
    }
}

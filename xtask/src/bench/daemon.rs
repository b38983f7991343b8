//! Figures of the whole gateway: a real process, looked at from outside.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde::Deserialize;

use super::report::Figure;
use super::{LARGE, Lab, MIDDLE};
use crate::gateway::Gateway;
use crate::{clock, process};

/// Starts of each store; what counts is their median.
const STARTS: usize = 5;
/// How long an idle gateway is watched.
const WATCH: Duration = Duration::from_secs(30);
/// How long a gateway gets to come to rest.
const SETTLE: Duration = Duration::from_secs(5);
/// Runs that are measured, at least.
const RUNS: u64 = 800;
/// Jobs that make them.
const JOBS: u32 = 20;

const NOTHING: &str = "[server]\nlisten = \"127.0.0.1:0\"\n";

/// CPU time of the gateway, its shims and the agents, per run of `/bin/true`.
pub fn cpu_per_run(lab: &Lab) -> anyhow::Result<Vec<Figure>> {
    let mut config = format!(
        "{NOTHING}\n[limits]\nruns = 8\nruns_per_agent = 8\n\n\
         [agents.true]\nexecutor = \"process\"\ncommand = [\"/bin/true\"]\n\n"
    );
    for job in 0..JOBS {
        config += &format!("[jobs.job{job}]\nagent = \"true\"\nevery = \"1s\"\n\n");
    }
    let mut gateway = Gateway::new(&lab.program, "bench-run", &config)?;
    gateway.start()?;
    clock::sleep(SETTLE);
    let pid = gateway.pid()?;
    let (runs_before, before) = (runs_ended(&gateway)?, process::cpu_seconds(pid)?);
    let start = clock::monotonic();
    let mut runs = 0;
    let enough = || {
        runs = runs_ended(&gateway)? - runs_before;
        clock::sleep(Duration::from_millis(500));
        Ok(runs >= RUNS)
    };
    ensure!(
        clock::until(Duration::from_secs(300), enough)?.is_some(),
        "too few runs came to an end"
    );
    let took = start.elapsed().as_secs_f64();
    let runs = (runs_ended(&gateway)? - runs_before) as f64;
    let per_run = (process::cpu_seconds(pid)? - before) / runs * 1e3;
    let raw = raw_spawn()?;
    Ok(vec![Figure {
        what: "CPU of everything Sexton does per run of /bin/true".into(),
        value: format!("{per_run:.2} ms ({:.1}x a raw spawn of it, {raw:.2} ms)", per_run / raw),
        goal: "<= 10 ms".into(),
        is_met: per_run <= 10.0,
        conditions: format!(
            "gateway, shim and agent, user and system; {runs:.0} runs in {took:.0} s by {JOBS} jobs \
             every second, 8 at once; raw: spawn and wait, 500 times"
        ),
    }])
}

#[derive(Debug, Deserialize)]
struct Status {
    runs: Vec<RunCount>,
}

#[derive(Debug, Deserialize)]
struct RunCount {
    outcome: Option<String>,
    count: u64,
}

/// Runs that ended well.
pub fn runs_ended(gateway: &Gateway) -> anyhow::Result<u64> {
    let status: Status = gateway.client()?.get("/v1/status")?;
    let ok = status.runs.iter().filter(|count| count.outcome.as_deref() == Some("ok"));
    Ok(ok.map(|count| count.count).sum())
}

/// CPU time in milliseconds of spawning `/bin/true` and waiting for it, ours included.
fn raw_spawn() -> anyhow::Result<f64> {
    const SPAWNS: u32 = 500;
    let me = std::process::id();
    let before = process::cpu_seconds(me)?;
    for _ in 0..SPAWNS {
        let mut command = Command::new("/bin/true");
        let status = command.stdin(Stdio::null()).status().context("spawn /bin/true")?;
        ensure!(status.success(), "/bin/true says no");
    }
    Ok((process::cpu_seconds(me)? - before) / f64::from(SPAWNS) * 1e3)
}

/// How often the threads of an idle gateway wake up.
pub fn idle_wake_ups(lab: &Lab) -> anyhow::Result<Figure> {
    let config = format!(
        "{NOTHING}\n[agents.true]\nexecutor = \"process\"\ncommand = [\"/bin/true\"]\n\n\
         [jobs.daily]\nagent = \"true\"\nevery = \"24h\"\n"
    );
    let mut gateway = Gateway::new(&lab.program, "bench-idle", &config)?;
    gateway.start()?;
    clock::sleep(SETTLE * 3);
    let pid = gateway.pid()?;
    let (before, cpu) = (process::wake_ups(pid)?, process::cpu_seconds(pid)?);
    clock::sleep(WATCH);
    let (after, cpu) = (process::wake_ups(pid)?, process::cpu_seconds(pid)? - cpu);
    let woken: u64 = after
        .iter()
        .map(|(thread, count)| count.saturating_sub(before.get(thread).copied().unwrap_or(0)))
        .sum();
    let per_second = woken as f64 / WATCH.as_secs_f64();
    Ok(Figure {
        what: "wake-ups per second of an idle gateway".into(),
        value: format!("{per_second:.2} ({:.0} ms of CPU in {} s)", cpu * 1e3, WATCH.as_secs()),
        goal: "<= 2".into(),
        is_met: per_second <= 2.0,
        conditions: format!(
            "voluntary context switches of all {} threads over {} s; one job, due tomorrow",
            after.len(),
            WATCH.as_secs()
        ),
    })
}

/// From start to ready with a large store against an empty one.
pub fn time_to_ready(lab: &Lab) -> anyhow::Result<Figure> {
    let filled = lab.filled(MIDDLE)?;
    let (mut empty, mut full, mut ratios, mut read) = (Vec::new(), Vec::new(), Vec::new(), 0);
    let mut full_gateway = with_store(lab, "bench-start-full", &filled)?;
    for _ in 0..STARTS {
        let mut gateway = Gateway::new(&lab.program, "bench-start-empty", NOTHING)?;
        let of_empty = gateway.start()?.as_secs_f64() * 1e3;
        gateway.stop()?;
        let of_full = full_gateway.start()?.as_secs_f64() * 1e3;
        read = bytes_read(full_gateway.pid()?)?;
        full_gateway.stop()?;
        ratios.push(of_full / of_empty);
        empty.push(of_empty);
        full.push(of_full);
    }
    let (empty, full, ratio) = (median(empty), median(full), median(ratios));
    let size = fs::metadata(&filled)?.len();
    let share = read as f64 / size as f64;
    Ok(Figure {
        what: format!("ready after start with {MIDDLE} sessions against an empty store"),
        value: format!(
            "{ratio:.2}x ({full:.0} ms against {empty:.0} ms); {:.1} MiB read of {:.0} MiB",
            read as f64 / 1_048_576.0,
            size as f64 / 1_048_576.0
        ),
        goal: "<= 5x, nothing read whole".into(),
        is_met: ratio <= 5.0 && share < 0.2,
        conditions: format!(
            "from spawn to a 200 of /readyz, looked at every 10 ms; median of {STARTS} starts each, in \
             turn; the empty store is made in that time"
        ),
    })
}

/// Resident memory at rest.
pub fn memory(lab: &Lab) -> anyhow::Result<Vec<Figure>> {
    let mut gateway = Gateway::new(&lab.program, "bench-memory-empty", NOTHING)?;
    gateway.start()?;
    clock::sleep(SETTLE);
    let empty = process::resident_bytes(gateway.pid()?)? as f64 / 1e6;
    drop(gateway);
    let mut gateway = with_store(lab, "bench-memory-large", &lab.filled(LARGE)?)?;
    gateway.start()?;
    // What people look at when they look around.
    for path in
        ["/v1/status", "/v1/sessions?kind=all&limit=500", "/v1/runs", "/v1/events?limit=500"]
    {
        gateway.client()?.get::<serde_json::Value>(path)?;
    }
    clock::sleep(SETTLE);
    let large = process::resident_bytes(gateway.pid()?)? as f64 / 1e6;
    let figure = |what: String, value: f64, goal: f64, conditions: String| Figure {
        what,
        value: format!("{value:.1} MB ({:.2}x of empty)", value / empty),
        goal: format!("<= {goal} MB"),
        is_met: value <= goal,
        conditions,
    };
    let settle = SETTLE.as_secs();
    Ok(vec![
        figure(
            "resident memory at rest, empty store".into(),
            empty,
            30.0,
            format!("VmRSS {settle} s after ready"),
        ),
        figure(
            format!("resident memory at rest, {LARGE} sessions"),
            large,
            120.0,
            format!("VmRSS {settle} s after a look at status, 500 sessions, runs and 500 events"),
        ),
    ])
}

/// A gateway whose store is this file.
fn with_store(lab: &Lab, name: &str, file: &Path) -> anyhow::Result<Gateway> {
    let config = format!("{NOTHING}\n[store]\nurl = \"sqlite:{}\"\n", file.display());
    Gateway::new(&lab.program, name, &config)
}

/// Bytes that a process read, from the cache or not.
fn bytes_read(pid: u32) -> anyhow::Result<u64> {
    let io = fs::read_to_string(format!("/proc/{pid}/io")).context("read what a process read")?;
    let line = io.lines().find_map(|line| line.strip_prefix("rchar: "));
    line.context("find rchar")?.trim().parse().context("read a number")
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

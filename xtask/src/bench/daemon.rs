//! Figures of the whole gateway: a real process, looked at from outside.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde::Deserialize;

use super::Lab;
use super::book::Figure;
use crate::gateway::Gateway;
use crate::{clock, process};

/// Starts of each store; what counts is their median.
const STARTS: usize = 5;
/// Runs that are cut off by each kill.
const RUNS: u32 = 8;
/// How long an idle gateway is watched.
const WATCH: Duration = Duration::from_secs(30);
/// How long a gateway gets to come to rest.
const SETTLE: Duration = Duration::from_secs(5);

const NOTHING: &str = "[server]\nlisten = \"127.0.0.1:0\"\n";

#[derive(Debug, Deserialize)]
struct Status {
    runs: Vec<RunCount>,
}

#[derive(Debug, Deserialize)]
struct RunCount {
    state: String,
    outcome: Option<String>,
    count: u64,
}

/// How many runs are in a state, or ended with an outcome.
pub fn runs(gateway: &Gateway, word: &str) -> anyhow::Result<u64> {
    let status: Status = gateway.client()?.get("/v1/status")?;
    let is_it = |it: &&RunCount| it.state == word || it.outcome.as_deref() == Some(word);
    Ok(status.runs.iter().filter(is_it).map(|count| count.count).sum())
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
    let figure = Figure::new(
        "wake-ups per second of an idle gateway",
        format!("{per_second:.2} ({:.0} ms of CPU in {} s)", cpu * 1e3, WATCH.as_secs()),
        format!(
            "voluntary context switches of all {} threads over {} s; one job, due tomorrow",
            after.len(),
            WATCH.as_secs()
        ),
    );
    Ok(figure.goal("<= 2", per_second <= 2.0))
}

/// From start to ready after kill -9 in the middle of runs: large stores against an empty one.
pub fn boot(lab: &Lab) -> anyhow::Result<Vec<Figure>> {
    let sizes = [lab.size(100_000, 1_000), lab.large()];
    let mut gateways = vec![with_jobs(lab, "bench-boot-empty", None)?];
    for sessions in sizes {
        let file = lab.copied(sessions, &format!("boot-{sessions}"))?;
        gateways.push(with_jobs(lab, &format!("bench-boot-{sessions}"), Some(&file))?);
    }
    let mut times: Vec<Vec<f64>> = gateways.iter().map(|_| Vec::new()).collect();
    let mut read = vec![0; gateways.len()];
    for gateway in &mut gateways {
        gateway.start()?;
    }
    for _ in 0..STARTS {
        for (index, gateway) in gateways.iter_mut().enumerate() {
            kill_in_the_middle(gateway)?;
            times[index].push(gateway.start()?.as_secs_f64() * 1e3);
            read[index] = bytes_read(gateway.pid()?)?;
        }
    }
    let medians: Vec<f64> = times.into_iter().map(median).collect();
    let figures = sizes.iter().enumerate().map(|(index, sessions)| {
        let (ms, read) = (medians[index + 1], read[index + 1]);
        let ratio = ms / medians[0];
        let figure = Figure::new(
            format!("ready after kill -9 with {sessions} sessions against an empty store"),
            format!(
                "{ratio:.2}x ({ms:.0} ms against {:.0} ms); {:.1} MiB read",
                medians[0],
                read as f64 / 1_048_576.0
            ),
            format!(
                "from spawn to a 200 of /readyz, looked at every 10 ms, with the ends of the {RUNS} runs \
                 that the kill cut off; median of {STARTS} starts each, in turn"
            ),
        );
        // A session's row has some 500 bytes: whoever reads them all reads more than that.
        let is_met = ratio <= 5.0 && read < 100 * sessions;
        let figure = figure.goal("<= 5x, nothing read whole", is_met);
        if *sessions == lab.large() { figure.key("boot.large") } else { figure }
    });
    Ok(figures.collect())
}

/// A gateway with an agent that does not end, on a store that may be there already.
fn with_jobs(lab: &Lab, name: &str, file: Option<&Path>) -> anyhow::Result<Gateway> {
    let mut config = format!(
        "{NOTHING}\n[limits]\nruns = {RUNS}\nruns_per_agent = {RUNS}\n\n\
         [agents.long]\nexecutor = \"process\"\ncommand = [\"sleep\", \"600\"]\n\n"
    );
    if let Some(file) = file {
        config += &format!("[store]\nurl = \"sqlite:{}\"\n\n", file.display());
    }
    for job in 0..RUNS {
        // Its only slot is far away: it runs when it is asked to.
        config += &format!("[jobs.job{job}]\nagent = \"long\"\nat = \"2100-01-01T00:00:00Z\"\n\n");
    }
    Gateway::new(&lab.program, name, &config)
}

fn kill_in_the_middle(gateway: &mut Gateway) -> anyhow::Result<()> {
    for job in 0..RUNS {
        let path = format!("/v1/jobs/job{job}/run");
        gateway.client()?.post::<serde::de::IgnoredAny>(&path, &serde_json::json!({}))?;
    }
    let running = || Ok(runs(gateway, "running")? == u64::from(RUNS));
    let all = clock::until(Duration::from_secs(30), running)?;
    ensure!(all.is_some(), "the runs do not start");
    gateway.kill()
}

/// Resident memory at rest.
pub fn memory(lab: &Lab) -> anyhow::Result<Vec<Figure>> {
    let mut gateway = Gateway::new(&lab.program, "bench-memory-empty", NOTHING)?;
    gateway.start()?;
    clock::sleep(SETTLE);
    let empty = process::resident_bytes(gateway.pid()?)? as f64 / 1e6;
    drop(gateway);
    let sessions = lab.large();
    let file = lab.filled(sessions)?;
    let config = format!("{NOTHING}\n[store]\nurl = \"sqlite:{}\"\n", file.display());
    let mut gateway = Gateway::new(&lab.program, "bench-memory-large", &config)?;
    gateway.start()?;
    // What people look at when they look around.
    for path in
        ["/v1/status", "/v1/sessions?kind=all&limit=500", "/v1/runs", "/v1/events?limit=500"]
    {
        gateway.client()?.get::<serde_json::Value>(path)?;
    }
    clock::sleep(SETTLE);
    let large = process::resident_bytes(gateway.pid()?)? as f64 / 1e6;
    let value = |it: f64| format!("{it:.1} MB ({:.2}x of empty)", it / empty);
    let settle = SETTLE.as_secs();
    Ok(vec![
        Figure::new(
            "resident memory at rest, empty store",
            value(empty),
            format!("VmRSS {settle} s after ready"),
        )
        .goal("<= 30 MB", empty <= 30.0)
        .key("memory.empty"),
        Figure::new(
            format!("resident memory at rest, {sessions} sessions"),
            value(large),
            format!("VmRSS {settle} s after a look at status, 500 sessions, runs and 500 events"),
        )
        .goal("<= 120 MB", large <= 120.0)
        .key("memory.large"),
    ])
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

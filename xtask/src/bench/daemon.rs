//! Figures of the whole gateway: a real process, looked at from outside.

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde::Deserialize;

use super::Lab;
use super::book::Figure;
use super::times::{Spread, Times, median};
use crate::gateway::Gateway;
use crate::{clock, process};

/// Starts of each store; what counts is their median.
const STARTS: usize = 5;
/// Runs that are cut off by each kill.
const RUNS: u64 = 8;
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
    let mut gateway = lab.gateway("bench-idle", &config)?;
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
    let config = sleepers(RUNS);
    let mut gateways = vec![lab.gateway("bench-boot-empty", &config)?];
    for sessions in sizes {
        gateways.push(lab.gateway_on(sessions, &format!("bench-boot-{sessions}"), &config)?);
    }
    let mut times: Vec<Vec<f64>> = gateways.iter().map(|_| Vec::new()).collect();
    let mut read = vec![0; gateways.len()];
    for gateway in &mut gateways {
        gateway.start()?;
    }
    for _ in 0..STARTS {
        for (index, gateway) in gateways.iter_mut().enumerate() {
            start_all(gateway, RUNS)?;
            gateway.kill()?;
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
                "{ratio:.2}x ({ms:.0} ms at {sessions} sessions against {:.0} ms); {:.1} MiB read",
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

/// A config with an agent that does not end, and so many jobs of it: `job0` and so on. Their only slot is
/// far away; they run when they are asked to, all at once.
pub fn sleepers(runs: u64) -> String {
    let mut config = format!(
        "{NOTHING}\n[limits]\nruns = {runs}\nruns_per_agent = {runs}\n\n\
         [agents.long]\nexecutor = \"process\"\ncommand = [\"sleep\", \"600\"]\n\n"
    );
    for job in 0..runs {
        config += &format!("[jobs.job{job}]\nagent = \"long\"\nat = \"2100-01-01T00:00:00Z\"\n\n");
    }
    config
}

/// Asks each job of [`sleepers`] to run, and waits until all of them do.
pub fn start_all(gateway: &Gateway, jobs: u64) -> anyhow::Result<()> {
    for job in 0..jobs {
        let path = format!("/v1/jobs/job{job}/run");
        gateway.client()?.post::<serde::de::IgnoredAny>(&path, &serde_json::json!({}))?;
    }
    let all = clock::until(Duration::from_secs(60), || Ok(runs(gateway, "running")? == jobs))?;
    ensure!(all.is_some(), "the runs do not start");
    Ok(())
}

/// Resident memory at rest; and what the large store costs those who ask for a list and a status.
pub fn memory(lab: &Lab) -> anyhow::Result<Vec<Figure>> {
    let mut gateway = lab.gateway("bench-memory-empty", NOTHING)?;
    gateway.start()?;
    clock::sleep(SETTLE);
    let empty = process::resident_bytes(gateway.pid()?)? as f64 / 1e6;
    drop(gateway);
    let sessions = lab.large();
    let mut gateway = lab.gateway_on(sessions, "bench-memory-large", NOTHING)?;
    gateway.start()?;
    // What people look at when they look around.
    for path in
        ["/v1/status", "/v1/sessions?kind=all&limit=500", "/v1/runs", "/v1/events?limit=500"]
    {
        gateway.client()?.get::<serde_json::Value>(path)?;
    }
    clock::sleep(SETTLE);
    let large = process::resident_bytes(gateway.pid()?)? as f64 / 1e6;
    let settle = SETTLE.as_secs();
    let of_empty = large / empty;
    let mut figures = vec![
        Figure::new(
            "resident memory at rest, empty store",
            format!("{empty:.1} MB"),
            format!("VmRSS {settle} s after ready"),
        )
        .goal("<= 30 MB", empty <= 30.0)
        .key("memory.empty"),
        Figure::new(
            format!("resident memory at rest, {sessions} sessions"),
            format!("{large:.1} MB at {sessions} sessions ({of_empty:.2}x of empty)"),
            format!("VmRSS {settle} s after a look at status, 500 sessions, runs and 500 events"),
        )
        .goal("<= 120 MB", large <= 120.0)
        .key("memory.large"),
    ];
    for (what, path) in [("list", "/v1/sessions?kind=all&limit=50"), ("status", "/v1/status")] {
        let asked = ask(&gateway, path, lab.size(500, 20))?;
        figures.push(
            Figure::new(
                format!("one {what} over HTTP with {sessions} sessions"),
                format!("{} at {sessions} sessions", asked.shown()),
                format!(
                    "`GET {path}`, {} times, one after the other, a connection each",
                    asked.count
                ),
            )
            .key(&format!("http.{what}")),
        );
    }
    Ok(figures)
}

/// Asks for the same so often.
fn ask(gateway: &Gateway, path: &str, times: u64) -> anyhow::Result<Spread> {
    let (client, mut took) = (gateway.client()?, Times::default());
    for _ in 0..times {
        let start = clock::monotonic();
        client.get::<serde::de::IgnoredAny>(path)?;
        took.push(start.elapsed());
    }
    Ok(took.spread())
}

/// Bytes that a process read, from the cache or not.
fn bytes_read(pid: u32) -> anyhow::Result<u64> {
    let io = fs::read_to_string(format!("/proc/{pid}/io")).context("read what a process read")?;
    let line = io.lines().find_map(|line| line.strip_prefix("rchar: "));
    line.context("find rchar")?.trim().parse().context("read a number")
}

//! The demo: a real gateway with real processes, killed and stopped, and a count that must agree.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::ensure;
use clap::Args;

use crate::books::{Books, Event};
use crate::gateway::{self, Gateway, Profile};
use crate::paint::{Ink, WIDTH, paint, wrap};
use crate::process::{self, Worker};
use crate::{Verdict, clock};

mod config;
mod summary;
mod timeline;

use config::{CUES, GRACE, REPORT_EVERY};
use summary::LeftOver;
use timeline::Timeline;

/// What a machine that is busy with other things may add to any step.
const PATIENCE: Duration = Duration::from_secs(20);

/// `demo`
#[derive(Debug, Args)]
pub struct Demo {
    /// Exit after the summary instead of staying up for a look around
    #[arg(long)]
    pub once: bool,
}

/// Plays the demo; the answer is no if any count differs.
pub fn run(demo: &Demo) -> anyhow::Result<Verdict> {
    println!("{}", paint(Ink::Dim, "building sexton (the first time takes a minute or two) …"));
    let program = gateway::build(Profile::Dev)?;
    gateway::clean_up_on_signals()?;
    let mark = format!("DEMO={}", std::process::id());
    let config = config::config(&mark, clock::now());
    let gateway = Gateway::new(&program, "demo", &config)?;
    let mut play = Play { gateway, mark, timeline: Timeline::default() };
    println!("A throw-away gateway in {}, with five jobs of real processes.", play.folder());
    play.ring()?;
    play.fail()?;
    play.hang()?;
    let mut differences = play.crash()?;
    play.recover()?;
    differences.extend(play.stop()?);
    differences.extend(play.count()?);
    if !differences.is_empty() {
        println!("{}", paint(Ink::Bad, "What differs:"));
        for difference in &differences {
            println!("  {difference}");
        }
        println!("\n{}", play.gateway.log_tail());
        return Ok(Verdict::No);
    }
    println!(
        "{}",
        paint(Ink::Good, "Every session that started has ended, and nothing is left over.")
    );
    if !demo.once {
        play.stay()?;
    }
    Ok(Verdict::Yes)
}

struct Play {
    gateway: Gateway,
    mark: String,
    timeline: Timeline,
}

impl Play {
    fn folder(&self) -> String {
        self.gateway.folder().display().to_string()
    }

    fn ring(&mut self) -> anyhow::Result<()> {
        scene(
            "Jobs ring on time",
            "Each slot becomes one run with a session of its own; the session ends with the run, in \
             the same commit.",
        );
        self.gateway.start()?;
        let limit = REPORT_EVERY + PATIENCE;
        self.timeline.follow(&self.gateway, ("a first report", limit), |events| {
            ended(events, "report", "ok")
        })
    }

    fn fail(&mut self) -> anyhow::Result<()> {
        scene(
            "A failure is tried again",
            "`flaky` exits with code 75, which says: try again. Every attempt is a run and a session \
             of its own.",
        );
        let limit = CUES.flaky + PATIENCE;
        self.timeline.follow(&self.gateway, ("a retry that succeeds", limit), |events| {
            ended(events, "flaky", "failed") && ended(events, "flaky", "ok")
        })
    }

    fn hang(&mut self) -> anyhow::Result<()> {
        scene(
            "Nothing runs for ever",
            "`stuck` hangs, ignores TERM, and has a child in a process session of its own. Its \
             deadline is 2 s; the run ends once all of its processes are proven dead.",
        );
        let limit = CUES.stuck + PATIENCE;
        self.timeline.follow(&self.gateway, ("a deadline that ends a run", limit), |events| {
            ended(events, "stuck", "timed_out")
        })?;
        let left = self.workers_by_job()?.remove("stuck").unwrap_or_default();
        ensure!(left.is_empty(), "`stuck` has ended and {left:?} are alive");
        note(&format!("none of its processes is alive, {GRACE:?} after TERM at the latest"));
        Ok(())
    }

    /// The real thing: SIGKILL in the middle of runs.
    fn crash(&mut self) -> anyhow::Result<Vec<String>> {
        scene(
            "kill -9 leaves nothing behind",
            "Two runs are in flight when the gateway is killed. No agent outlives its gateway.",
        );
        self.gateway.sexton(&["job", "run", "digest"])?;
        let limit = CUES.backup + PATIENCE;
        self.timeline.follow(&self.gateway, ("two runs in flight", limit), |events| {
            started(events, "backup") && started(events, "digest")
        })?;
        clock::sleep(Duration::from_millis(700));
        let workers = self.workers_by_job()?;
        for (job, workers) in &workers {
            let names: Vec<String> = workers.iter().map(|it| self.describe(it, workers)).collect();
            note(&format!("alive: {job}: {}", names.join(", ")));
        }
        let pid = self.gateway.pid()?;
        self.gateway.kill()?;
        println!("  {}", paint(Ink::Bad, &format!("kill -9 {pid}: the gateway is gone")));
        let differences = self.watch_die(&workers)?;
        let pause = REPORT_EVERY.mul_f32(2.2);
        note(&format!("nobody is there for {pause:.1?}; slots of `report` pass"));
        clock::sleep(pause);
        Ok(differences)
    }

    fn watch_die(&self, workers: &BTreeMap<String, Vec<Worker>>) -> anyhow::Result<Vec<String>> {
        let mut alive: BTreeMap<&String, &Vec<Worker>> = workers.iter().collect();
        let start = clock::monotonic();
        let watch = || {
            alive.retain(|job, workers| {
                let lives = workers.iter().any(|worker| process::lives(worker.life));
                if !lives {
                    let (count, after) = (workers.len(), start.elapsed().as_secs_f64());
                    note(&format!("{job}: all {count} processes are dead {after:.1} s later"));
                }
                lives
            });
            Ok(alive.is_empty())
        };
        clock::until(GRACE + PATIENCE / 4, watch)?;
        let outlived = |job| format!("processes of {job} outlived the killed gateway");
        Ok(alive.keys().map(outlived).collect())
    }

    fn recover(&mut self) -> anyhow::Result<()> {
        scene(
            "What a dead gateway left is ended before anything else",
            "`digest` ends as interrupted. `backup` asked for a new attempt (on_interrupt = \
             \"retry\"). Slots of `report` that passed are accounted for, none in silence.",
        );
        let took = self.gateway.start()?;
        self.timeline.follow(&self.gateway, ("a recovery", PATIENCE), |events| {
            ended(events, "digest", "interrupted")
                && ended(events, "backup", "interrupted")
                && ended(events, "backup", "ok")
                && merged(events, "report")
        })?;
        note(&format!("ready {:.1} s after its start", took.as_secs_f64()));
        Ok(())
    }

    fn stop(&mut self) -> anyhow::Result<Vec<String>> {
        scene(
            "A stop is bounded and honest",
            "`digest` runs again and would for ten minutes; then the gateway is asked to stop (TERM).",
        );
        let known = self.timeline.len();
        self.gateway.sexton(&["job", "run", "digest"])?;
        self.timeline.follow(&self.gateway, ("a run in flight", PATIENCE), |events| {
            started(&events[known..], "digest")
        })?;
        clock::sleep(Duration::from_millis(300));
        let pid = self.gateway.pid()?;
        println!("  {}", paint(Ink::Odd, &format!("kill -TERM {pid}")));
        let (took, status) = self.gateway.stop()?;
        note(&format!("stopped after {:.1} s ({status}); started again:", took.as_secs_f64()));
        let mut differences = Vec::new();
        if !status.success() {
            differences.push(format!("the gateway was asked to stop and ended with {status}"));
        }
        self.gateway.start()?;
        self.timeline.follow(&self.gateway, ("a report after the stop", PATIENCE), |events| {
            let stop = events.iter().rposition(|event| event.kind == "node.stopped");
            stop.is_some_and(|stop| ended(&events[stop..], "report", "ok"))
        })?;
        Ok(differences)
    }

    /// Lets everything come to an end and counts.
    fn count(&mut self) -> anyhow::Result<Vec<String>> {
        scene(
            "The count",
            "The jobs are switched off. What was started must have ended: by the event log and by the \
             list of sessions, which must agree; every slot has one fate; no process is left.",
        );
        self.gateway.sexton(&["job", "disable", "report"])?;
        self.gateway.sexton(&["job", "disable", "digest"])?;
        let client = self.gateway.client()?;
        let idle = || Ok(crate::books::status(client)?.running.is_empty());
        ensure!(clock::until(PATIENCE, idle)?.is_some(), "runs are still running");
        self.timeline.follow(&self.gateway, ("silence", PATIENCE), |_| true)?;
        println!();
        let left = || process::workers(&self.mark).map(|workers| workers.is_empty());
        clock::until(GRACE, left)?;
        let left = LeftOver { processes: process::workers(&self.mark)?.len() };
        summary::summary(&Books::read(self.gateway.client()?)?, left)
    }

    fn stay(&self) -> anyhow::Result<()> {
        self.gateway.sexton(&["job", "enable", "report"])?;
        let client = self.gateway.client()?;
        let program = format!("{} --data-dir {}", self.program(), self.folder());
        println!(
            "\n`report` runs again. Look around in another terminal (Ctrl-C here ends it all):\n"
        );
        println!("  {program} status");
        println!("  {program} run list");
        println!("  {program} session list --kind all");
        println!("  {program} job next report --explain");
        println!("\nHTTP at http://{}, with the token in {}/token.", client.address, self.folder());
        loop {
            clock::sleep(Duration::from_secs(3600));
        }
    }

    fn program(&self) -> String {
        let command = self.gateway.command();
        command.get_program().to_string_lossy().into_owned()
    }

    fn workers_by_job(&self) -> anyhow::Result<BTreeMap<String, Vec<Worker>>> {
        let mut by_job: BTreeMap<String, Vec<Worker>> = BTreeMap::new();
        for worker in process::workers(&self.mark)? {
            let job = self.timeline.job_of(&worker.run).to_owned();
            by_job.entry(job).or_default().push(worker);
        }
        Ok(by_job)
    }

    fn describe(&self, worker: &Worker, others: &[Worker]) -> String {
        let shim = others.iter().find(|other| other.is_shim());
        let left = shim.is_some_and(|shim| shim.session != worker.session);
        let left = if left { " (left the session)" } else { "" };
        format!("{} {}{left}", worker.name, worker.life.pid)
    }
}

fn scene(promise: &str, how: &str) {
    println!("\n{}", paint(Ink::Bold, promise));
    for line in wrap(how, WIDTH - 2) {
        println!("{}", paint(Ink::Dim, &line));
    }
}

fn note(text: &str) {
    for line in wrap(text, WIDTH - 4) {
        println!("    {line}");
    }
}

fn ended(events: &[Event], job: &str, outcome: &str) -> bool {
    ending(events, job, outcome).next().is_some()
}

fn ending<'a>(
    events: &'a [Event],
    job: &'a str,
    outcome: &'a str,
) -> impl Iterator<Item = &'a Event> {
    events.iter().filter(move |event| {
        event.kind == "run.ended"
            && event.data.job_key.as_deref() == Some(job)
            && event.data.outcome.as_deref() == Some(outcome)
    })
}

/// Whether slots were merged into a later one, and a run ended well after that.
fn merged(events: &[Event], job: &str) -> bool {
    let merged = events.iter().position(|event| event.kind == "run.coalesced");
    merged.is_some_and(|merged| ended(&events[merged..], job, "ok"))
}

fn started(events: &[Event], job: &str) -> bool {
    let of_job = |event: &&Event| event.data.job_key.as_deref() == Some(job);
    events.iter().filter(of_job).any(|event| event.kind == "run.started")
}

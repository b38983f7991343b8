//! `bench fire`: how late slots are when many are due at once, how many runs a minute there are, what
//! one costs, and whether a queue that never gets empty is fair. The engine runs in this process, with
//! the real executor: a shim and an agent for each run.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::json;
use sexton_domain::event::EventType;
use sexton_domain::id::JobId;
use sexton_domain::plan::jobs::Declared;
use sexton_domain::retention::Policies;
use sexton_domain::run::Run;
use sexton_server::api::{self, JobSpec, Past};
use sexton_store::Store;
use sexton_store::page::{JobFilter, PageRequest, RunFilter, RunState};
use sexton_store_sqlite::Mode;

use super::fairness::{self, Fairness};
use super::node::{AGENT, Node, Orders};
use super::times::{Spread, Times};
use super::{Row, Site, raw, sample};
use crate::args::bench::Fire as Asked;
use crate::clock;

/// What an agent is: the least there is.
const NOTHING: &str = "/bin/true";
/// Spawns of it that are measured.
const SPAWNS: u32 = 300;
/// Runs below which a burst says nothing of a minute.
const MANY: usize = 100;
/// How long all runs of a burst may take.
const LIMIT: Duration = Duration::from_secs(900);
/// The pause between two looks.
const LOOK: Duration = Duration::from_millis(200);
/// Jobs that want more than there is.
const EAGER: usize = 30;
/// Places for them.
const PLACES: usize = 2;
/// What they do: with [`PLACES`], at most 20 of them a second, and each wants to run every second.
const DOZE: [&str; 2] = ["sleep", "0.1"];

/// What was measured.
#[derive(Debug, Serialize)]
pub struct Figures {
    /// How many runs at once.
    limit: usize,
    /// CPU time of spawning `/bin/true` and waiting for it.
    raw_spawn_cpu_ms: f64,
    /// By how many jobs are due at once.
    bursts: Vec<Burst>,
    /// Thirty jobs that want more than there is; none where that was not asked for.
    fairness: Option<Contest>,
}

/// Jobs that are due in the same second.
#[derive(Debug, Serialize)]
struct Burst {
    jobs: usize,
    /// From the slot to the run's record.
    recorded: Spread,
    /// From the slot to its claim, with which its session opens: the wait for a place is in it.
    started: Spread,
    /// From the first claim to the last end; none with few jobs.
    runs_per_minute: Option<f64>,
    /// CPU time of the engine, the shims and the agents.
    cpu_per_run_ms: f64,
}

#[derive(Debug, Serialize)]
struct Contest {
    places: usize,
    seconds: f64,
    #[serde(flatten)]
    fairness: Fairness,
}

/// Measures.
pub async fn measure(asked: &Asked, site: Site<'_>) -> anyhow::Result<Figures> {
    let raw_spawn_cpu_ms = raw::spawn_ms(NOTHING, SPAWNS)?;
    let mut bursts = Vec::new();
    for jobs in &asked.jobs {
        site.output.note(format_args!("{jobs} jobs due in one second"));
        bursts.push(burst(asked, site, *jobs).await?);
    }
    let fairness = if asked.contest.is_zero() {
        None
    } else {
        site.output.note(format_args!("{EAGER} jobs that want more than there is"));
        Some(contest(asked.contest.to_std(), site).await?)
    };
    Ok(Figures { limit: asked.runs, raw_spawn_cpu_ms, bursts, fairness })
}

/// A store in a folder of its own.
fn fresh(site: Site<'_>, name: &str) -> anyhow::Result<(PathBuf, Store)> {
    let folder = site.folder.join(name);
    std::fs::create_dir(&folder).with_context(|| format!("make {}", folder.display()))?;
    let store = sample::open(&folder.join("sexton.db"), Mode::Pool)?;
    Ok((folder, store))
}

/// A job, judged as one that is added by command.
fn declared(number: usize, spec: serde_json::Value) -> anyhow::Result<Declared> {
    let spec: JobSpec = serde_json::from_value(spec)?;
    let context = api::Context { now: clock::now(), existing: None, past: Past::Allow };
    let spec = spec.into_spec(context).map_err(|error| anyhow::anyhow!("{error:?}"))?;
    Ok(Declared { key: format!("job-{number}").parse()?, spec, renamed_from: None })
}

async fn burst(asked: &Asked, site: Site<'_>, count: usize) -> anyhow::Result<Burst> {
    let (folder, store) = fresh(site, &format!("burst-{count}"))?;
    // Time to declare them, and then to come to rest.
    let lead = Duration::from_secs(3) + Duration::from_millis(4) * count as u32;
    let due = Timestamp::from_second((clock::now() + lead).as_second() + 1)?;
    let spec = json!({ "agent": AGENT, "at": due, "prompt": "go" });
    let jobs = (0..count).map(|number| declared(number, spec.clone()));
    let node = Node::start(Orders {
        store: store.clone(),
        folder: &folder,
        argv: &[NOTHING],
        runs: asked.runs,
        kinds: Policies::default(),
        jobs: jobs.collect::<anyhow::Result<_>>()?,
    });
    let node = node.await?;
    let rest = due.duration_since(clock::now());
    ensure!(rest.is_positive(), "declare {count} jobs before they are due: the disk is too slow");
    clock::sleep(rest.unsigned_abs()).await;
    let (before, started) = (raw::cpu_ms()?, clock::now());
    while ended(&store).await? < count {
        ensure!(clock::now() - LIMIT < started, "end {count} runs within {LIMIT:?}");
        clock::sleep(LOOK).await;
    }
    let cpu = raw::cpu_ms()? - before;
    let runs = runs(&store).await?;
    node.stop().await;
    std::fs::remove_dir_all(&folder).context("remove what was measured")?;
    told(&runs, cpu)
}

/// How many runs are over.
async fn ended(store: &Store) -> anyhow::Result<usize> {
    let tally = store.read().tally().await?.runs.into_iter();
    let ended = tally.filter(|((state, _), _)| *state == RunState::Ended);
    Ok(ended.map(|(_, count)| count as usize).sum())
}

async fn runs(store: &Store) -> anyhow::Result<Vec<Run>> {
    let (mut runs, mut request) = (Vec::new(), PageRequest::first(500));
    loop {
        let page = store.read().runs(RunFilter::default(), request).await?;
        runs.extend(page.items);
        match page.next {
            Some(next) => request.after = Some(next),
            None => return Ok(runs),
        }
    }
}

/// What the runs of a burst say.
fn told(runs: &[Run], cpu_ms: f64) -> anyhow::Result<Burst> {
    let (mut recorded, mut started) = (Times::default(), Times::default());
    let (mut first, mut last) = (Timestamp::MAX, Timestamp::MIN);
    for run in runs {
        let whole = run.slot.zip(run.started_at).zip(run.ended_at());
        let ((slot, start), end) =
            whole.with_context(|| format!("find the slot, the start and the end of {run:?}"))?;
        recorded.push(late(slot, run.queued_at));
        started.push(late(slot, start));
        (first, last) = (first.min(start), last.max(end));
    }
    let minutes = late(first, last).as_secs_f64() / 60.0;
    Ok(Burst {
        jobs: runs.len(),
        recorded: recorded.spread(),
        started: started.spread(),
        runs_per_minute: (runs.len() >= MANY).then(|| runs.len() as f64 / minutes),
        cpu_per_run_ms: cpu_ms / runs.len() as f64,
    })
}

fn late(slot: Timestamp, at: Timestamp) -> Duration {
    sexton_domain::duration::Duration::between(slot, at).to_std()
}

async fn contest(length: Duration, site: Site<'_>) -> anyhow::Result<Contest> {
    let (folder, store) = fresh(site, "contest")?;
    let spec = json!({ "agent": AGENT, "every": "1s", "prompt": "go" });
    let jobs = (0..EAGER).map(|number| declared(number, spec.clone()));
    let node = Node::start(Orders {
        store: store.clone(),
        folder: &folder,
        argv: &DOZE,
        runs: PLACES,
        kinds: Policies::default(),
        jobs: jobs.collect::<anyhow::Result<_>>()?,
    });
    let node = node.await?;
    clock::sleep(length).await;
    let starts = starts(&store).await?;
    let jobs = store.read().jobs(JobFilter::default(), PageRequest::first(500)).await?;
    node.stop().await;
    let jobs: Vec<JobId> = jobs.items.iter().map(|job| job.id).collect();
    ensure!(!starts.is_empty(), "start any run");
    let fairness = fairness::judge(&jobs, &starts);
    Ok(Contest { places: PLACES, seconds: length.as_secs_f64(), fairness })
}

/// The jobs whose runs were started, in the order of the event log.
async fn starts(store: &Store) -> anyhow::Result<Vec<JobId>> {
    let (mut starts, mut after) = (Vec::new(), 0);
    loop {
        let events = store.read().events(after, 500).await?;
        let Some(last) = events.last() else { return Ok(starts) };
        after = last.seq;
        let started = events.iter().filter(|event| event.fact.kind == EventType::RunStarted);
        starts.extend(started.filter_map(|event| event.fact.subject.job));
    }
}

impl super::Figures for Figures {
    fn rows(&self) -> Vec<Row> {
        let engine = format!(
            "the engine in this process, a shim and {NOTHING} for each run, {} at once",
            self.limit
        );
        let mut rows = Vec::new();
        for it in &self.bursts {
            let due = format!("{} due in one second", crate::output::count(it.jobs as u64, "job"));
            rows.push(Row::new(
                format!("{due}, lateness of records"),
                it.recorded.shown(),
                format!("from the slot to the record of its run; {engine}"),
            ));
            rows.push(Row::new(
                format!("{due}, lateness of starts"),
                it.started.shown(),
                format!("from the slot to the claim, the wait for a place included; {engine}"),
            ));
            if let Some(rate) = it.runs_per_minute {
                rows.push(Row::new(
                    format!("{due}, runs per minute"),
                    format!("{rate:.0}"),
                    format!("from the first claim to the last end; {engine}"),
                ));
                rows.push(Row::new(
                    format!("{due}, CPU per run"),
                    format!("{:.2} ms", it.cpu_per_run_ms),
                    format!(
                        "engine, shim and agent, user and system; a raw spawn of {NOTHING}: {:.2} ms",
                        self.raw_spawn_cpu_ms
                    ),
                ));
            }
        }
        rows.extend(self.fairness.as_ref().map(Contest::row));
        rows
    }
}

impl Contest {
    fn row(&self) -> Row {
        let Fairness { jobs, starts, fewest, most, unfair } = self.fairness;
        Row::new(
            "runs of a job that had run oftener than another one already",
            format!("{unfair} of {starts}"),
            format!(
                "{jobs} jobs every second, {} at once, `{}`; counted over the event log of {:.0} s; each \
                 ran {fewest} to {most} times",
                self.places,
                DOZE.join(" "),
                self.seconds
            ),
        )
    }
}

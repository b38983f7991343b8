//! `bench fire`: how late slots are when many are due at once, how many runs a minute there are, what
//! one costs, and whether a queue that never gets empty is fair. The engine runs in this process, with
//! the real executor: a shim and an agent for each run.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::json;
use sexton_domain::event::EventType;
use sexton_domain::id::{JobId, RunId};
use sexton_domain::plan::jobs::Declared;
use sexton_domain::retention::Policies;
use sexton_domain::run::Run;
use sexton_server::api::{self, JobSpec, Past};
use sexton_store::Store;
use sexton_store::nudge::Topic;
use sexton_store::page::{JobFilter, PageRequest, RunFilter};
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
/// Slots of a size: fewer jobs are due again and again. A burst that has as many says what goes on for
/// a while.
const MANY: usize = 200;
/// How long all runs of a burst may take.
const LIMIT: Duration = Duration::from_secs(900);
/// How long a look at the event log may be put off while it does not grow.
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
    bursts: Vec<Bursts>,
    /// Thirty jobs that want more than there is; none where that was not asked for.
    fairness: Option<Contest>,
}

/// Jobs that are due in the same second, and others in later ones.
#[derive(Debug, Serialize)]
struct Bursts {
    /// How many at once.
    jobs: usize,
    /// How often.
    bursts: usize,
    /// From the slot until the run's record was seen in the store.
    recorded: Spread,
    /// From the slot until its claim was seen there, with which its session opens: the wait for a place
    /// is in it.
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

async fn burst(asked: &Asked, site: Site<'_>, count: usize) -> anyhow::Result<Bursts> {
    let (folder, store) = fresh(site, &format!("burst-{count}"))?;
    let bursts = MANY.div_ceil(count).min(asked.rounds as usize);
    let total = count * bursts;
    // Time to declare them, and then to come to rest; and to come to rest after each burst.
    let lead = Duration::from_secs(3) + Duration::from_millis(4) * total as u32;
    let pause = Duration::from_secs(2 + count as u64 / 20);
    let first = Timestamp::from_second((clock::now() + lead).as_second() + 1)?;
    let jobs = (0..total).map(|number| {
        let due = first + pause * (number / count) as u32;
        declared(number, json!({ "agent": AGENT, "at": due, "prompt": "go" }))
    });
    let node = Node::start(Orders {
        store: store.clone(),
        folder: &folder,
        argv: &[NOTHING],
        runs: asked.runs,
        kinds: Policies::default(),
        jobs: jobs.collect::<anyhow::Result<_>>()?,
    });
    let node = node.await?;
    let rest = first.duration_since(clock::now());
    ensure!(rest.is_positive(), "declare {total} jobs before they are due: the disk is too slow");
    clock::sleep(rest.unsigned_abs()).await;
    let before = raw::cpu_ms()?;
    let seen = Seen::until_the_end_of(total, &store).await?;
    let cpu = raw::cpu_ms()? - before;
    let runs = runs(&store).await?;
    node.stop().await;
    std::fs::remove_dir_all(&folder).context("remove what was measured")?;
    told(bursts, &runs, &seen, cpu)
}

/// When events of runs were seen in the log. What is seen there is on disk.
#[derive(Debug, Default)]
struct Seen {
    queued: HashMap<RunId, Timestamp>,
    started: HashMap<RunId, Timestamp>,
    ended: HashMap<RunId, Timestamp>,
}

impl Seen {
    /// Reads the log as it grows, until so many runs have ended.
    async fn until_the_end_of(runs: usize, store: &Store) -> anyhow::Result<Self> {
        let (mut seen, mut after, began) = (Self::default(), 0, clock::now());
        let mut grown = store.subscribe(Topic::Events);
        loop {
            let events = store.read().events(after, 500).await?;
            let at = clock::now();
            for event in &events {
                let map = match event.fact.kind {
                    EventType::RunQueued => &mut seen.queued,
                    EventType::RunStarted => &mut seen.started,
                    EventType::RunEnded => &mut seen.ended,
                    _ => continue,
                };
                map.extend(event.fact.subject.run.map(|run| (run, at)));
            }
            if seen.ended.len() >= runs {
                return Ok(seen);
            }
            ensure!(at - LIMIT < began, "end {runs} runs within {LIMIT:?}");
            match events.last() {
                Some(last) => after = last.seq,
                None => drop(tokio::time::timeout(LOOK, grown.changed()).await),
            }
        }
    }

    /// From its slot until a run was seen queued, and until it was seen started.
    fn late(&self, run: &Run) -> Option<(Duration, Duration)> {
        let (slot, queued, started) =
            (run.slot?, self.queued.get(&run.id)?, self.started.get(&run.id)?);
        Some((late(slot, *queued), late(slot, *started)))
    }
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

/// What the runs of all bursts of a size say.
fn told(bursts: usize, runs: &[Run], seen: &Seen, cpu_ms: f64) -> anyhow::Result<Bursts> {
    let (mut recorded, mut started) = (Times::default(), Times::default());
    for run in runs {
        let late = seen.late(run).with_context(|| format!("see {} queued and started", run.id))?;
        recorded.push(late.0);
        started.push(late.1);
    }
    let (first, last) = (seen.started.values().min(), seen.ended.values().max());
    let (first, last) = first.zip(last).context("see any run")?;
    let minutes = late(*first, *last).as_secs_f64() / 60.0;
    let (jobs, in_one) = (runs.len() / bursts, bursts == 1 && runs.len() >= MANY);
    Ok(Bursts {
        jobs,
        bursts,
        recorded: recorded.spread(),
        started: started.spread(),
        runs_per_minute: in_one.then(|| runs.len() as f64 / minutes),
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
            let slots = crate::output::count(it.recorded.count as u64, "slot");
            rows.push(Row::new(
                format!("{due}, lateness of records"),
                it.recorded.shown(),
                format!("{slots}, from each until the record of its run is on disk; {engine}"),
            ));
            rows.push(Row::new(
                format!("{due}, lateness of starts"),
                it.started.shown(),
                format!(
                    "{slots}, from each until the claim is on disk, the wait for a place included; {engine}"
                ),
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
                        "engine, shim and agent and looking on, user and system; a raw spawn of {NOTHING}: {:.2} ms",
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

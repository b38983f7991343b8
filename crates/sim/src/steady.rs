//! Steady: a gateway that is left alone for weeks, with the same jobs all the time and a real file for its
//! store, to see that nothing grows once every period of the retention table has passed.
//!
//! Only time is simulated here: nothing goes wrong, and what is seen is counted by somebody else.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration as Span;

use async_trait::async_trait;
use jiff::Timestamp;
use sexton_domain::agent::{Agent, Command, Executor as Way};
use sexton_domain::duration::{Duration, Keep};
use sexton_domain::event::EventType;
use sexton_domain::hook::Subscription;
use sexton_domain::id::RunId;
use sexton_domain::job::{Misfire, OnInterrupt, Overlap, Retention, Spec, Target};
use sexton_domain::node::{EndReason, ProcessId};
use sexton_domain::plan::admission::Limits;
use sexton_domain::plan::reconcile::Fence;
use sexton_domain::plan::sweep::Fate;
use sexton_domain::retention::{Periods, Policies};
use sexton_domain::retry::Backoff;
use sexton_domain::schedule::Schedule;
use sexton_engine::RunFiles;
use sexton_engine::archive::files::Folder;
use sexton_engine::courier::{Answer, Courier, Post, Reply, Webhook};
use sexton_engine::engine::{Engine, Start};
use sexton_engine::entropy::Entropy;
use sexton_engine::env::{Env, Host};
use sexton_engine::executor::{
    BuryError, Execution, Executor, Exit, Progress, StartError, Survivor, Work,
};
use sexton_engine::handle::{Error, Handle};
use sexton_engine::settings::{AgentSettings, HookSettings, Settings, Way as HookWay};
use sexton_engine::tasks::Tasks;
use sexton_store::page::{MAX_PAGE, PageRequest};
use sexton_store::{Driver, Store};
use sexton_store_sqlite::{Durability, Mode, Options, SqliteDriver};
use uuid::Uuid;

use crate::time::{self, Time};

/// How long a run takes, in which it writes so many lines.
const TAKES: Span = Span::from_secs(20);
const LINES: u32 = 4;

/// How long after its time the reaper may come to a session: two of its looks.
const PATIENCE: Duration = Duration::from_secs(900);

/// How a gateway is left alone.
#[derive(Debug, Clone)]
pub struct Plan {
    /// How many jobs it has.
    pub jobs: u32,
    /// How often each is due.
    pub every: Duration,
    /// What counts as a day for the retention: that of [`periods`].
    pub day: Duration,
    /// How often it is looked at.
    pub looks: u32,
    /// And how long it is left alone before each look.
    pub pause: Duration,
    /// An empty folder for its store, its archives and nothing else.
    pub folder: PathBuf,
}

/// The defaults, at a tenth of what they are in days: sessions of runs are kept for one day as ever, all
/// else for 3 instead of 30, or 9 instead of 90. What the design fixes is not scaled: acknowledged
/// deliveries stay for a day, and nodes, tombstones, stubs of archives and of segments, and cleared alerts
/// for 30.
pub fn periods(day: Duration) -> Periods {
    let days = |n: u64| Keep::For(day.saturating_mul(n));
    Periods {
        sessions: Policies { run: days(1), job: days(3), ..Policies::default() },
        archive: days(3),
        events: days(3),
        runs: days(9),
        dead: days(3),
        job_done: days(1),
    }
}

/// After so many days, by [`periods`] with days of 24 hours, the first of every kind of record has gone: a
/// run's session after one, its archive after three more, the stub of that and of its segment, which is cut
/// by day, after thirty.
pub const WARM_UP_DAYS: u32 = 37;

/// Leaves a gateway alone, and looks at it again and again.
///
/// # Errors
///
/// When it does not start, or refuses the jobs, or its store fails.
pub fn live(plan: &Plan, mut look: impl FnMut(Sample)) -> Result<(), Error> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime without I/O needs nothing of the system");
    runtime.block_on(async {
        let began = "2026-11-20T18:00:00Z".parse().unwrap_or(Timestamp::UNIX_EPOCH);
        let time = Time::new(began);
        let (driver, agents) = (Arc::new(open(plan, began)), Agents::default());
        let start = start(plan, &time, &driver, &agents);
        let engine = Engine::start(start).await?;
        let handle = engine.handle();
        for n in 0..plan.jobs {
            let (key, spec) = job(plan, n, began);
            let key = key.parse().expect("a letter, a dash and digits are a job key");
            handle.put_job::<Error>(key, |_| Ok(spec.clone())).await?;
        }
        for nth in 1..=plan.looks {
            time::sleep(plan.pause.to_std()).await;
            let runs = agents.0.started.load(Ordering::Relaxed);
            let unexplained = unexplained(&handle, &*driver, time.wall()).await?;
            let archives = folder(&plan.folder.join("archives"));
            let (rows, store) = (driver.rows()?, driver.stats());
            look(Sample {
                nth,
                runs,
                rows,
                store_bytes: store.store_bytes,
                archive_files: archives.0,
                archive_bytes: archives.1,
                unexplained,
            });
        }
        handle.stop(EndReason::Shutdown);
        engine.wait().await;
        Ok(())
    })
}

/// What is seen of a gateway that is left alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// Which look this is.
    pub nth: u32,
    /// How many runs have been started so far.
    pub runs: u64,
    /// How many rows of each table are stored.
    pub rows: BTreeMap<String, u64>,
    /// How large the store is.
    pub store_bytes: u64,
    /// How many files of archives there are, and how large they are together.
    pub archive_files: u64,
    /// See [`Sample::archive_files`].
    pub archive_bytes: u64,
    /// Sessions older than their policy of which `sweep --explain` does not say why they are there.
    pub unexplained: u64,
}

impl Sample {
    /// How many rows there are.
    pub fn all_rows(&self) -> u64 {
        self.rows.values().sum()
    }
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { runs, store_bytes, archive_files, archive_bytes, unexplained, rows, .. } = self;
        write!(f, "{runs} runs, store {store_bytes} bytes, archives {archive_bytes} bytes in ")?;
        write!(f, "{archive_files} files, unexplained {unexplained}")?;
        rows.iter().try_for_each(|(table, count)| write!(f, ", {table} {count}"))
    }
}

/// What has grown from one sample to another by more than the ebb and flow of a day: a tenth and a few.
/// The daily sums of usage are kept for ever, a row for each day, job and model, and do not count.
pub fn grown(before: &Sample, after: &Sample) -> Vec<String> {
    let mut grown = Vec::new();
    let mut compare = |what: &str, before: u64, after: u64| {
        if after > before + before / 10 + 50 {
            grown.push(format!("{what} from {before} to {after}"));
        }
    };
    for (table, after) in after.rows.iter().filter(|(table, _)| *table != "usage_day") {
        compare(table, before.rows.get(table).copied().unwrap_or(0), *after);
    }
    compare("bytes of the store", before.store_bytes, after.store_bytes);
    compare("files of archives", before.archive_files, after.archive_files);
    compare("bytes of archives", before.archive_bytes, after.archive_bytes);
    if after.unexplained > 0 {
        grown.push(format!("{} sessions without a reason", after.unexplained));
    }
    grown
}

/// Ended sessions that are older than their policy by more than the reaper may need, and neither held nor
/// kept for a reason that the handle names.
async fn unexplained(handle: &Handle, store: &dyn Driver, now: Timestamp) -> Result<u64, Error> {
    let overdue = store.overdue_sessions(PATIENCE.before(now), MAX_PAGE).await?;
    let (mut unexplained, mut page) = (overdue, PageRequest::first(MAX_PAGE));
    loop {
        let found = handle.judgements(page).await?;
        for (session, judgement) in found.items {
            let late = session.look_at().is_some_and(|at| PATIENCE.after(at) < now);
            unexplained += u64::from(matches!(judgement.fate, Fate::Reap(_)) && late);
        }
        let Some(next) = found.next else { return Ok(unexplained) };
        page.after = Some(next);
    }
}

/// How many files a folder has, and how large they are together.
fn folder(path: &Path) -> (u64, u64) {
    let files = fs::read_dir(path).into_iter().flatten().flatten();
    let sizes = files.filter_map(|file| file.metadata().ok()).map(|meta| meta.len());
    sizes.fold((0, 0), |(count, sum), size| (count + 1, sum + size))
}

fn open(plan: &Plan, now: Timestamp) -> SqliteDriver {
    let options = Options::new(plan.folder.join("sexton.db"), Uuid::nil(), now);
    // The disk's own time does not pass here.
    let options = Options { durability: Durability::Relaxed, mode: Mode::Inline, ..options };
    SqliteDriver::open(options).expect("a store in an empty folder opens")
}

fn start(plan: &Plan, time: &Arc<Time>, driver: &Arc<SqliteDriver>, agents: &Agents) -> Start {
    let clock = time.begin_life();
    let measured = Arc::clone(time);
    let host = Host {
        name: "steady".to_owned(),
        process: ProcessId { pid: 1, started: 1 },
        software: "steady".to_owned(),
        environment: Default::default(),
    };
    Start {
        store: Store::new(Arc::clone(driver) as _, Arc::new(move || measured.now())),
        env: Env {
            clock,
            entropy: Arc::new(Entropy::from_seed(1)),
            tasks: Tasks::default(),
            executor: Arc::new(agents.clone()),
            run_files: agents.0.run_files.clone(),
            courier: Arc::new(Hooks(AtomicU64::new(0))),
            archives: Arc::new(Folder::new(&plan.folder)),
            host: Arc::new(host),
        },
        settings: settings(plan),
        jobs: None,
        fence: Fence::Exclusive,
    }
}

fn settings(plan: &Plan) -> Settings {
    let name = "main".parse().expect("a plain word is a name");
    let agent = Agent {
        executor: Way::Process(Command {
            argv: vec!["agent".to_owned()],
            cwd: ".".to_owned(),
            env_pass: Vec::new(),
        }),
        timeout: Duration::from_secs(600),
        idle_timeout: None,
        grace: Duration::from_secs(5),
        output_limit_bytes: 1024 * 1024,
    };
    let agent = AgentSettings { agent, env: Default::default() };
    let limits = Limits { runs: 100, runs_per_agent: 100 };
    let lease = Duration::from_secs(900);
    Settings {
        agents: [(name, agent)].into(),
        retention: periods(plan.day),
        sweep_every: Duration::from_secs(300).min(plan.day),
        hooks: ["memory", "flaky"].map(hook).into(),
        ..Settings::new(limits, lease, plan.folder.clone())
    }
}

fn hook(name: &str) -> (sexton_domain::name::HookName, HookSettings) {
    let name: sexton_domain::name::HookName = name.parse().expect("a plain word is a name");
    let subscription = Subscription {
        hook: name.clone(),
        on: [EventType::SessionStarted, EventType::SessionEnded, EventType::RunEnded].into(),
        agents: Default::default(),
        jobs: Default::default(),
        kinds: Default::default(),
        max_attempts: 3,
        max_age: Duration::from_secs(3600),
        backoff: Backoff::new(vec![Duration::from_secs(5)]).unwrap_or_default(),
    };
    let way = HookWay::Webhook(Webhook { url: name.to_string(), secret: None });
    let timeout = Duration::from_secs(5);
    (name, HookSettings { subscription, way, timeout, concurrency: 8 })
}

/// Every third job has a session of its own that goes on from run to run until its day is over.
fn job(plan: &Plan, n: u32, began: Timestamp) -> (String, Spec) {
    let apart = Duration::from_millis(plan.every.as_millis() / u64::from(plan.jobs.max(1)));
    let spec = Spec {
        name: None,
        agent: "main".parse().expect("a plain word is a name"),
        schedule: Schedule::Every {
            every: plan.every,
            anchor: apart.saturating_mul(u64::from(n)).after(began),
        },
        jitter: Duration::ZERO,
        offset: Duration::ZERO,
        prompt: "see to it".to_owned(),
        target: Target::Isolated,
        timeout: None,
        idle_timeout: None,
        overlap: Overlap::Skip,
        misfire: Misfire::Latest,
        retries: Some(1),
        backoff: Backoff::new(vec![Duration::from_secs(10)]).unwrap_or_default(),
        on_interrupt: OnInterrupt::Fail,
        retention: Retention::default(),
        enabled: true,
    };
    (format!("job-{n}"), spec)
}

/// Hooks that acknowledge nearly everything; one of them fails one time in ten.
struct Hooks(AtomicU64);

#[async_trait]
impl Courier for Hooks {
    async fn post(&self, post: Post<'_>) -> Reply {
        let nth = self.0.fetch_add(1, Ordering::Relaxed);
        match post.webhook.url.as_str() {
            "flaky" if nth.is_multiple_of(10) => Reply::failed("500 Internal Server Error"),
            _ => Reply { answer: Answer::Acknowledged, said: "200 OK".to_owned() },
        }
    }
}

/// Agents that work for a while, write a few lines, report what they took, and fail one time in ten.
#[derive(Debug, Clone)]
struct Agents(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    started: AtomicU64,
    run_files: RunFiles,
}

impl Default for Agents {
    fn default() -> Self {
        Self(Arc::new(Inner { started: AtomicU64::new(0), run_files: RunFiles::in_memory() }))
    }
}

#[async_trait]
impl Executor for Agents {
    async fn start(&self, work: Work) -> Result<Box<dyn Execution>, StartError> {
        let nth = self.0.started.fetch_add(1, Ordering::Relaxed);
        let report = r#"{"usage": {"model": "m", "input_tokens": 1000, "output_tokens": 100}}"#;
        self.0.run_files.append(RunId::from(work.run), format!("{report}\n").as_bytes());
        let code = i32::from(nth.is_multiple_of(10));
        Ok(Box::new(Running { code, written: 0, next: time::instant() + TAKES / (LINES + 1) }))
    }

    async fn bury(
        &self,
        _: &(dyn Fn(Uuid) -> bool + Send + Sync),
    ) -> Result<Vec<Survivor>, BuryError> {
        Ok(Vec::new())
    }
}

struct Running {
    code: i32,
    written: u32,
    next: tokio::time::Instant,
}

#[async_trait]
impl Execution for Running {
    async fn progress(&mut self) -> Progress {
        tokio::time::sleep_until(self.next).await;
        if self.written == LINES {
            return Progress::Exited(Exit::Code(self.code));
        }
        self.written += 1;
        self.next += TAKES / (LINES + 1);
        Progress::Stdout(format!("line {} of an agent that has something to say", self.written))
    }

    fn stop(&mut self) {
        (self.written, self.next) = (LINES, time::instant());
    }

    fn process(&self) -> Option<ProcessId> {
        None
    }
}

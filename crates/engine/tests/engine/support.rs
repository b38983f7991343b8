//! What the tests of a whole engine share: a node on a real SQLite file with real processes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use sexton_domain::agent::{Agent, Command, Executor};
use sexton_domain::duration;
use sexton_domain::event::{Event, EventType};
use sexton_domain::id::RunId;
use sexton_domain::job::Spec;
use sexton_domain::key::SessionKey;
use sexton_domain::name::HookName;
use sexton_domain::node::{EndReason, ProcessId};
use sexton_domain::plan::admission::Limits;
use sexton_domain::plan::drain::Patience;
use sexton_domain::plan::messages::{Message, Place};
use sexton_domain::plan::reconcile::Fence;
use sexton_domain::reset::Rules;
use sexton_domain::retry::Backoff;
use sexton_domain::run::Run;
use sexton_domain::schedule::Schedule;
use sexton_domain::session::Session;
use sexton_engine::RunFiles;
use sexton_engine::archive::files::Folder;
use sexton_engine::clock::{Clock, SystemClock};
use sexton_engine::engine::{Engine, Start};
use sexton_engine::entropy::Entropy;
use sexton_engine::env::{Env, Host};
use sexton_engine::handle::{Error, Handle, JobRef};
use sexton_engine::page::{PageRequest, RunFilter};
use sexton_engine::process::{ProcessExecutor, ShimCommand};
use sexton_engine::settings::{AgentSettings, HookSettings, Settings};
use sexton_engine::tasks::Tasks;
use sexton_store::Store;
use sexton_store_sqlite::{Faults, Options, SqliteDriver};
use tempfile::TempDir;
use tokio::sync::watch;

use crate::mailbox::Mailbox;

/// No test waits longer than this for anything.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A place for a store, and the agents that work there.
pub struct World {
    pub dir: TempDir,
    pub agents: BTreeMap<String, Agent>,
    pub hooks: BTreeMap<HookName, HookSettings>,
    pub mailbox: Mailbox,
    pub limits: Limits,
    pub reset: Rules,
    pub faults: Faults,
    /// How much room the store keeps for ends; more than the disk has, and the disk counts as full.
    pub reserve_bytes: u64,
    pub clock: Arc<Hands>,
}

/// The machine's clock, which can be put forward, and whose wall clock can be wrong.
pub struct Hands {
    machine: Arc<SystemClock>,
    ahead: watch::Sender<Duration>,
    wrong_by: Mutex<Duration>,
}

/// A node at work in a world.
pub struct Node {
    pub engine: Engine,
    pub handle: Handle,
    pub store: Store,
}

impl World {
    pub fn new() -> Self {
        let limits = Limits { runs: 8, runs_per_agent: 8 };
        let (dir, agents) = (tempfile::tempdir().unwrap(), BTreeMap::new());
        let (hooks, mailbox) = (BTreeMap::new(), Mailbox::default());
        let (machine, ahead) = (SystemClock::new(), watch::Sender::default());
        let clock = Hands { machine, ahead, wrong_by: Mutex::default() };
        let (reset, faults, clock) = (Rules::default(), Faults::none(), Arc::new(clock));
        Self { dir, agents, hooks, mailbox, limits, reset, faults, reserve_bytes: 0, clock }
    }

    /// An agent that runs a script with `sh`.
    pub fn agent(mut self, name: &str, script: &str) -> Self {
        self.agents.insert(name.to_owned(), agent(&["sh", "-c", script]));
        self
    }

    /// Changes the agent that was added last under this name.
    pub fn tuned(mut self, name: &str, tune: impl FnOnce(&mut Agent)) -> Self {
        tune(self.agents.get_mut(name).unwrap());
        self
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub async fn start(&self) -> Node {
        let clock = Arc::clone(&self.clock);
        let monotonic = Arc::clone(&clock);
        let monotonic: sexton_store::Monotonic = Arc::new(move || monotonic.monotonic());
        let path = self.file("sexton.db");
        let options = Options::new(path, uuid::Uuid::from_u128(1), clock.now());
        let faults = self.faults.clone();
        let reserve_bytes = self.reserve_bytes;
        let options =
            Options { monotonic: Arc::clone(&monotonic), faults, reserve_bytes, ..options };
        let driver = SqliteDriver::open(options).unwrap();
        let executor =
            ProcessExecutor::new(ShimCommand { program: fixture(), args: vec!["__shim".into()] });
        let environment = [("PATH".to_owned(), std::env::var("PATH").unwrap())].into();
        let process = ProcessId { pid: std::process::id(), started: 1 };
        let host =
            Host { name: "here".to_owned(), process, software: "test".to_owned(), environment };
        let env = Env {
            clock,
            entropy: Arc::new(Entropy::from_os().unwrap()),
            tasks: Tasks::default(),
            executor: Arc::new(executor),
            courier: Arc::new(self.mailbox.clone()),
            run_files: RunFiles::within(self.dir.path()),
            archives: Arc::new(Folder::new(self.dir.path())),
            host: Arc::new(host),
        };
        let agents = self.agents.iter().map(|(name, agent)| {
            let settings = AgentSettings { agent: agent.clone(), env: BTreeMap::new() };
            (name.parse().unwrap(), settings)
        });
        let agents = agents.collect();
        let lease = duration::Duration::from_secs(20);
        let settings = Settings::new(self.limits, lease, self.dir.path().to_owned());
        let (hooks, reset) = (self.hooks.clone(), self.reset.clone());
        let settings = Settings { agents, hooks, reset, ..settings };
        let store = Store::new(Arc::new(driver), monotonic);
        let fence = Fence::Exclusive;
        let start = Start { store: store.clone(), env, settings, jobs: None, fence };
        let engine = Engine::start(start).await.unwrap();
        let handle = engine.handle();
        Node { engine, handle, store }
    }
}

impl Hands {
    /// Lets so much time pass at once.
    pub fn forward(&self, by: Duration) {
        self.ahead.send_modify(|ahead| *ahead += by);
    }

    /// From now on the wall clock is so much ahead of the monotonic one.
    pub fn set_wrong(&self, by: Duration) {
        *self.wrong_by.lock().unwrap() = by;
    }
}

#[async_trait]
impl Clock for Hands {
    fn now(&self) -> Timestamp {
        self.machine.now() + *self.ahead.borrow() + *self.wrong_by.lock().unwrap()
    }

    fn monotonic(&self) -> Duration {
        self.machine.monotonic() + *self.ahead.borrow()
    }

    async fn sleep(&self, duration: Duration) {
        let until = self.monotonic() + duration;
        let mut ahead = self.ahead.subscribe();
        while let Some(left) = until.checked_sub(self.monotonic()).filter(|left| !left.is_zero()) {
            let _ = tokio::time::timeout(left, ahead.changed()).await;
        }
    }
}

impl Node {
    /// Sends a message to a key of agent `a`.
    pub async fn send(&self, key: &str, text: &str) -> Run {
        self.handle.send(&message(key, text)).await.unwrap().run
    }

    /// Says something and waits for the answer.
    pub async fn ask(&self, key: &str, text: &str) -> Run {
        let run = self.send(key, text).await;
        self.ended(run.id).await
    }

    pub async fn session_of(&self, run: &Run) -> Session {
        self.handle.session(run.session.unwrap()).await.unwrap()
    }

    /// Waits until a session has ended.
    pub async fn over(&self, session: &Session) -> Session {
        let mut events = self.handle.watch_events();
        let wait = async {
            loop {
                events.borrow_and_update();
                let session = self.handle.session(session.id).await.unwrap();
                if !session.is_open() {
                    return session;
                }
                events.changed().await.unwrap();
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.expect("the session ends in time")
    }

    /// Adds a job that never comes due by itself.
    pub async fn job(&self, key: &str, agent: &str, tune: impl FnOnce(&mut Spec)) -> JobRef {
        let mut spec = spec(agent);
        tune(&mut spec);
        let put =
            self.handle.put_job::<Error>(key.parse().unwrap(), |_| Ok(spec.clone())).await.unwrap();
        JobRef::Id(put.0.id)
    }

    /// Runs a job now and waits for the end of its first run.
    pub async fn run(&self, job: &JobRef) -> Run {
        let run = self.handle.run_job(job).await.unwrap();
        self.ended(run.id).await
    }

    pub async fn ended(&self, id: RunId) -> Run {
        self.wait_for(id, |run| run.ended_at().is_some()).await
    }

    pub async fn running(&self, id: RunId) -> Run {
        self.wait_for(id, |run| run.owner().is_some()).await
    }

    async fn wait_for(&self, id: RunId, done: impl Fn(&Run) -> bool) -> Run {
        let mut events = self.handle.watch_events();
        let wait = async {
            loop {
                events.borrow_and_update();
                let run = self.handle.run(id).await.unwrap();
                if done(&run) {
                    return run;
                }
                events.changed().await.unwrap();
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.expect("the run gets there in time")
    }

    /// The texts of a run's transcript.
    pub async fn transcript(&self, run: &Run) -> Vec<String> {
        let entries = self.handle.entries(run.session.unwrap(), 0, 500).await.unwrap();
        assert!(entries.iter().zip(1..).all(|(entry, seq)| entry.seq == seq));
        entries.into_iter().map(|entry| entry.content).collect()
    }

    /// Waits until a run's transcript is this.
    pub async fn transcript_becomes(&self, run: &Run, texts: &[&str]) {
        let wait = async {
            while self.transcript(run).await != texts {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.expect("the transcript gets there in time");
    }

    pub async fn events(&self) -> Vec<Event> {
        let mut all: Vec<Event> = Vec::new();
        loop {
            let after = all.last().map_or(0, |event| event.seq);
            let page = self.handle.events(after, 500).await.unwrap();
            if page.is_empty() {
                return all;
            }
            all.extend(page);
        }
    }

    /// The types of a run's events, in order.
    pub async fn story(&self, run: &Run) -> Vec<&'static str> {
        let events = self.events().await;
        let of_run = events.iter().filter(|event| event.fact.subject.run == Some(run.id));
        of_run.map(|event| event.fact.kind.name()).collect()
    }

    pub async fn runs(&self, job: &JobRef) -> Vec<Run> {
        let job = self.handle.job(job).await.unwrap().id;
        let filter = RunFilter { job: Some(job), ..RunFilter::default() };
        self.handle.runs(filter, PageRequest::first(100)).await.unwrap().items
    }

    /// Stops without patience.
    pub async fn stop(self, reason: EndReason) {
        self.handle.drain(reason, Patience::Cancel);
        tokio::time::timeout(PATIENCE, self.engine.wait()).await.expect("a stop is bounded");
    }
}

/// A message to a key of agent `a`.
pub fn message(key: &str, text: &str) -> Message {
    Message {
        key: SessionKey::parse(&format!("agent:a:{key}")).unwrap(),
        agent: None,
        text: text.to_owned(),
        place: Place::Conversation,
    }
}

/// Starts and ends of sessions, as the log tells them.
pub fn starts_and_ends(events: &[Event]) -> (usize, usize) {
    let count = |kind| events.iter().filter(|event| event.fact.kind == kind).count();
    (count(EventType::SessionStarted), count(EventType::SessionEnded))
}

pub fn agent(argv: &[&str]) -> Agent {
    Agent {
        executor: Executor::Process(Command {
            argv: argv.iter().map(ToString::to_string).collect(),
            cwd: ".".to_owned(),
            env_pass: Vec::new(),
        }),
        timeout: duration::Duration::from_secs(50),
        idle_timeout: None,
        grace: duration::Duration::from_secs(5),
        output_limit_bytes: 1 << 20,
    }
}

fn spec(agent: &str) -> Spec {
    Spec {
        name: None,
        agent: agent.parse().unwrap(),
        schedule: Schedule::At { at: "2100-01-01T00:00:00Z".parse().unwrap() },
        jitter: duration::Duration::default(),
        offset: duration::Duration::default(),
        prompt: "do it".to_owned(),
        target: Default::default(),
        timeout: None,
        idle_timeout: None,
        overlap: Default::default(),
        misfire: Default::default(),
        retries: None,
        backoff: Backoff::new(vec![duration::Duration::from_millis(1)]).unwrap(),
        on_interrupt: Default::default(),
        retention: Default::default(),
        enabled: true,
    }
}

/// Waits until a file has appeared: the agents of these tests say so where they stand.
pub async fn appears(path: &Path) {
    let wait = async {
        while !path.exists() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.expect("the agent gets there in time");
}

fn fixture() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let profile = test.parent().and_then(Path::parent).unwrap();
    profile.join("examples/process_fixture")
}

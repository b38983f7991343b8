//! A node at work on a store in memory, served on the loopback. Its agents are pretended: `echo`
//! answers with its prompt, `hang` works until it is stopped.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};
use sexton_domain::agent::{Agent, Command};
use sexton_domain::change::Change;
use sexton_domain::duration;
use sexton_domain::event::{EventType, NewEvent, Subject};
use sexton_domain::hook::Subscription;
use sexton_domain::id::Ids;
use sexton_domain::name::HookName;
use sexton_domain::node::{EndReason, ProcessId};
use sexton_domain::plan::admission::Limits;
use sexton_domain::plan::drain::Patience;
use sexton_domain::plan::reconcile::Fence;
use sexton_engine::RunFiles;
use sexton_engine::archive::files::Folder;
use sexton_engine::clock::{Clock, SystemClock};
use sexton_engine::courier::{self, Courier, Post, Webhook};
use sexton_engine::engine::{Declaration, Engine, Start};
use sexton_engine::entropy::Entropy;
use sexton_engine::env::{Env, Host};
use sexton_engine::executor;
use sexton_engine::executor::{
    BuryError, Execution, Executor, Exit, Progress, StartError, Survivor, Work,
};
use sexton_engine::handle::Handle;
use sexton_engine::settings::{AgentSettings, HookSettings, Settings, Way};
use sexton_engine::tasks::Tasks;
use sexton_server::api::{Job, Run, RunDetail, RunState};
use sexton_server::{Access, router, serve, token_sha256};
use sexton_store::Store;
use sexton_store_sqlite::{Disk, Options, SqliteDriver};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;

use crate::client::{Answer, Request};

/// The admin token of every test.
pub const TOKEN: &str = "a-token-that-only-tests-know";
/// No test waits longer than this for anything.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub struct World {
    pub store: Store,
    pub handle: Handle,
    pub address: SocketAddr,
    pub engine: Engine,
    shutdown: oneshot::Sender<()>,
    server: JoinHandle<std::io::Result<()>>,
    /// Where archives lie.
    _dir: TempDir,
}

pub fn store() -> Store {
    let clock = SystemClock::new();
    let options = Options::new("", uuid::Uuid::from_u128(1), clock.now());
    let driver = SqliteDriver::in_memory(&Disk::new().unwrap(), options).unwrap();
    Store::new(Arc::new(driver), Arc::new(move || clock.monotonic()))
}

/// A store in a file of a folder.
fn stored_in(dir: &Path) -> Store {
    let clock = SystemClock::new();
    let options = Options::new(dir.join("sexton.db"), uuid::Uuid::from_u128(1), clock.now());
    let driver = SqliteDriver::open(options).unwrap();
    Store::new(Arc::new(driver), Arc::new(move || clock.monotonic()))
}

impl World {
    pub async fn new() -> Self {
        Self::with(None).await
    }

    /// With jobs of a config source.
    pub async fn with(jobs: Option<Declaration>) -> Self {
        Self::on(store(), tempfile::tempdir().unwrap(), jobs, settings()).await
    }

    /// On a store in a file that had a life before, with a hook that takes the ends of sessions and one
    /// that refuses them and gives up at once.
    pub async fn lived_in() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let hooks = ["takes", "refuses"].map(hook).into();
        let settings = Settings { hooks, ..settings() };
        let store = stored_in(dir.path());
        let env = env(dir.path());
        let (jobs, fence) = (None, Fence::Exclusive);
        let start = Start { store, env, settings: settings.clone(), jobs, fence };
        let earlier = Engine::start(start).await.unwrap();
        earlier.handle().drain(EndReason::Restart, Patience::Cancel);
        tokio::time::timeout(PATIENCE, earlier.wait()).await.unwrap();
        Self::on(stored_in(dir.path()), dir, None, settings).await
    }

    async fn on(store: Store, dir: TempDir, jobs: Option<Declaration>, settings: Settings) -> Self {
        let env = env(dir.path());
        let fence = Fence::Exclusive;
        let start = Start { store: store.clone(), env, settings, jobs, fence };
        let engine = Engine::start(start).await.unwrap();
        let handle = engine.handle();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let hosts = vec!["sexton.example".to_owned()];
        let access = Access::token(token_sha256(TOKEN), address, hosts);
        let (shutdown, stopped) = oneshot::channel();
        let router = router(handle.clone(), access);
        let served = serve(listener, router, sexton_server::Limits::default(), async {
            let _ = stopped.await;
        });
        let server = tokio::spawn(served);
        Self { store, handle, address, engine, shutdown, server, _dir: dir }
    }

    /// A request with the token.
    pub fn call(&self, method: &str, target: &str) -> Request {
        let bearer = format!("Bearer {TOKEN}");
        Request::new(self.address, method, target).header("authorization", &bearer)
    }

    pub async fn get(&self, target: &str) -> Answer {
        self.call("GET", target).send().await
    }

    pub async fn post(&self, target: &str, body: &Value) -> Answer {
        self.call("POST", target).json(body).send().await
    }

    /// Adds a job that never comes due by itself.
    pub async fn job(&self, key: &str, agent: &str) -> Job {
        let body =
            json!({ "key": key, "agent": agent, "at": "2100-01-01T00:00:00Z", "prompt": "hi" });
        self.post("/v1/jobs", &body).await.is(201)
    }

    /// Runs a job and waits until its run is in this state.
    pub async fn run(&self, key: &str, state: RunState) -> RunDetail {
        let run: Run = self.post(&format!("/v1/jobs/{key}/run"), &json!({})).await.is(201);
        self.run_becomes(&run, state).await
    }

    pub async fn run_becomes(&self, run: &Run, state: RunState) -> RunDetail {
        let mut news = self.handle.watch_events();
        let wait = async {
            loop {
                news.borrow_and_update();
                let run: RunDetail = self.get(&format!("/v1/runs/{}", run.id)).await.is(200);
                if run.run.state == state {
                    return run;
                }
                news.changed().await.unwrap();
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.expect("the run gets there in time")
    }

    /// Puts so many events of some kilobytes into the log, in one commit.
    pub async fn emit(&self, count: usize) {
        let now = self.handle.now();
        let mut ids =
            Ids::new(now, 7 + self.handle.event_range().await.unwrap().unwrap().1 as u128);
        let event = |_| {
            let (subject, data) =
                (Subject::default(), json!({ "text": "made by a test. ".repeat(256) }));
            let kind = EventType::AlertRaised;
            Change::Emit(NewEvent { id: ids.mint(), kind, at: now, subject, data })
        };
        let events = (0..count).map(event).collect();
        self.store.commit(events).await.unwrap();
    }

    /// Stops the node, then the server.
    pub async fn stop(self) {
        self.handle.drain(EndReason::Shutdown, Patience::Cancel);
        tokio::time::timeout(PATIENCE, self.engine.wait()).await.unwrap();
        let _ = self.shutdown.send(());
        tokio::time::timeout(PATIENCE, self.server).await.unwrap().unwrap().unwrap();
    }

    /// Stops the server alone.
    pub async fn close(self) {
        let _ = self.shutdown.send(());
        tokio::time::timeout(PATIENCE, self.server).await.unwrap().unwrap().unwrap();
    }
}

fn env(data_dir: &Path) -> Env {
    let host = Host {
        name: "here".to_owned(),
        process: ProcessId { pid: 4711, started: 1 },
        software: "test".to_owned(),
        environment: BTreeMap::new(),
    };
    Env {
        clock: SystemClock::new(),
        entropy: Arc::new(Entropy::from_os().unwrap()),
        tasks: Tasks::default(),
        executor: Arc::new(Pretended),
        run_files: RunFiles::in_memory(),
        courier: Arc::new(Acknowledging),
        archives: Arc::new(Folder::new(data_dir)),
        host: Arc::new(host),
    }
}

fn settings() -> Settings {
    let agent = |name: &str| {
        let agent = Agent {
            executor: sexton_domain::agent::Executor::Process(Command {
                argv: vec![name.to_owned()],
                cwd: ".".to_owned(),
                env_pass: Vec::new(),
            }),
            timeout: duration::Duration::from_secs(600),
            idle_timeout: None,
            grace: duration::Duration::from_secs(1),
            output_limit_bytes: 1 << 20,
        };
        (name.parse().unwrap(), AgentSettings { agent, env: BTreeMap::new() })
    };
    let limits = Limits { runs: 8, runs_per_agent: 8 };
    let lease = duration::Duration::from_secs(20);
    let agents = ["echo", "hang"].map(agent).into();
    Settings { agents, ..Settings::new(limits, lease, std::env::temp_dir()) }
}

/// A hook that is told of ends of sessions, once.
fn hook(name: &str) -> (HookName, HookSettings) {
    let hook: HookName = name.parse().unwrap();
    let subscription = Subscription {
        hook: hook.clone(),
        on: [EventType::SessionEnded].into(),
        agents: Default::default(),
        jobs: Default::default(),
        kinds: Default::default(),
        max_attempts: 1,
        max_age: duration::Duration::from_secs(3600),
        backoff: Subscription::default_backoff(),
    };
    let way = Way::Webhook(Webhook { url: format!("test://{name}"), secret: None });
    let timeout = duration::Duration::from_secs(10);
    (hook, HookSettings { subscription, way, timeout, concurrency: 4 })
}

struct Pretended;

struct Pretence {
    lines: Vec<String>,
    hangs: bool,
    stopped: Arc<Notify>,
}

#[async_trait]
impl Executor for Pretended {
    async fn start(&self, work: Work) -> Result<Box<dyn Execution>, StartError> {
        let hangs = work.command == ["hang"];
        let lines = work.prompt.lines().rev().map(str::to_owned).collect();
        Ok(Box::new(Pretence { lines, hangs, stopped: Arc::default() }))
    }

    async fn bury(
        &self,
        _: &(dyn Fn(uuid::Uuid) -> bool + Send + Sync),
    ) -> Result<Vec<Survivor>, BuryError> {
        Ok(Vec::new())
    }
}

#[async_trait]
impl Execution for Pretence {
    async fn progress(&mut self) -> Progress {
        if let Some(line) = self.lines.pop() {
            return Progress::Stdout(line);
        }
        if self.hangs {
            self.stopped.notified().await;
            return Progress::Exited(Exit::Signal(15));
        }
        Progress::Exited(Exit::Code(0))
    }

    fn stop(&mut self) {
        self.stopped.notify_one();
    }

    fn process(&self) -> Option<executor::ProcessId> {
        None
    }
}

/// Hooks that acknowledge whatever they are told, but for the one that refuses.
struct Acknowledging;

#[async_trait]
impl Courier for Acknowledging {
    async fn post(&self, post: Post<'_>) -> courier::Reply {
        if post.webhook.url.ends_with("refuses") {
            return courier::Reply::failed("status 500 Internal Server Error");
        }
        let (answer, said) = (courier::Answer::Acknowledged, "status 200 OK".to_owned());
        courier::Reply { answer, said }
    }
}

//! A node at work in this process: the engine with its own executor and shim, without HTTP and without
//! hooks.

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use sexton_domain::agent::{Agent, Command, DEFAULT_GRACE, DEFAULT_OUTPUT_LIMIT_BYTES, Executor};
use sexton_domain::duration::Duration;
use sexton_domain::node::EndReason;
use sexton_domain::plan::admission::Limits;
use sexton_domain::plan::jobs::{Declared, Empty};
use sexton_domain::plan::reconcile::Fence;
use sexton_domain::retention::{Periods, Policies};
use sexton_engine::RunFiles;
use sexton_engine::archive::files::Folder;
use sexton_engine::clock::SystemClock;
use sexton_engine::courier::{Courier, Post, Reply};
use sexton_engine::engine::{Declaration, Engine, Start};
use sexton_engine::entropy::Entropy;
use sexton_engine::env::Env;
use sexton_engine::handle::Handle;
use sexton_engine::process::{ProcessExecutor, ShimCommand};
use sexton_engine::settings::{AgentSettings, Settings};
use sexton_engine::tasks::Tasks;
use sexton_store::Store;

use crate::serve::host;

/// The agent of every job that is measured.
pub const AGENT: &str = "measured";

/// What a node is to do.
pub struct Orders<'a> {
    /// The open store.
    pub store: Store,
    /// Where run files and archives lie.
    pub folder: &'a Path,
    /// What its agent runs.
    pub argv: &'a [&'a str],
    /// How many runs at once.
    pub runs: usize,
    /// How long sessions are kept.
    pub kinds: Policies,
    /// Its jobs.
    pub jobs: Vec<Declared>,
}

/// A node that sweeps when it is told to.
pub struct Node(Engine);

impl Node {
    /// Starts it.
    pub async fn start(orders: Orders<'_>) -> anyhow::Result<Self> {
        let Orders { store, folder, argv, runs, kinds, jobs } = orders;
        let shim = ShimCommand::this_program(vec![crate::SHIM.to_owned()])?;
        let env = Env {
            clock: SystemClock::new(),
            entropy: Arc::new(Entropy::from_os()?),
            tasks: Tasks::default(),
            executor: Arc::new(ProcessExecutor::new(shim)),
            courier: Arc::new(Nobody),
            run_files: RunFiles::within(folder),
            archives: Arc::new(Folder::new(folder)),
            host: Arc::new(host::here()),
        };
        let limits = Limits { runs, runs_per_agent: runs };
        let settings = Settings {
            agents: [(AGENT.parse()?, agent(argv))].into(),
            retention: Periods { sessions: kinds, ..Periods::default() },
            sweep_every: Duration::from_secs(24 * 3600),
            ..Settings::new(limits, Duration::from_secs(60), folder.to_owned())
        };
        let jobs = Declaration { source: "bench".to_owned(), jobs, empty: Empty::Allow };
        let fence = Fence::Exclusive;
        let start = Start { store, env, settings, jobs: Some(jobs), fence };
        Ok(Self(Engine::start(start).await?))
    }

    /// What the outside may ask for.
    pub fn handle(&self) -> Handle {
        self.0.handle()
    }

    /// Stops it. What still runs gets the usual time.
    pub async fn stop(self) {
        self.0.handle().stop(EndReason::Shutdown);
        self.0.wait().await;
    }
}

fn agent(argv: &[&str]) -> AgentSettings {
    let command = Command {
        argv: argv.iter().map(|word| (*word).to_owned()).collect(),
        cwd: ".".to_owned(),
        env_pass: Vec::new(),
    };
    let agent = Agent {
        executor: Executor::Process(command),
        timeout: Duration::from_secs(60),
        idle_timeout: None,
        grace: DEFAULT_GRACE,
        output_limit_bytes: DEFAULT_OUTPUT_LIMIT_BYTES,
    };
    AgentSettings { agent, env: [].into() }
}

/// No webhook is known here.
struct Nobody;

#[async_trait]
impl Courier for Nobody {
    async fn post(&self, _: Post<'_>) -> Reply {
        Reply::failed("there is nobody")
    }
}

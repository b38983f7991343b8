//! What a sweep costs whoever writes meanwhile: the real reaper at work in a store that was filled, and
//! one writer beside it.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use async_trait::async_trait;
use serde::Serialize;
use sexton_domain::change::Version;
use sexton_domain::duration::{self, Keep};
use sexton_domain::key::SessionKind;
use sexton_domain::node::ProcessId;
use sexton_domain::plan::admission::Limits;
use sexton_domain::plan::reconcile::Fence;
use sexton_domain::retention::{Periods, Policies};
use sexton_domain::session::{Session, State};
use sexton_domain::sweep::Reaper;
use sexton_engine::RunFiles;
use sexton_engine::archive::files::Folder;
use sexton_engine::clock::SystemClock;
use sexton_engine::courier::{Courier, Post, Reply};
use sexton_engine::engine::{Engine, Start};
use sexton_engine::entropy::Entropy;
use sexton_engine::env::{Env, Host};
use sexton_engine::process::{ProcessExecutor, ShimCommand};
use sexton_engine::settings::Settings;
use sexton_engine::tasks::Tasks;
use sexton_store::Store;
use sexton_store_sqlite::Mode;
use xtask::clock;

use crate::sample;

/// For how long is written without a sweep.
const QUIET: Duration = Duration::from_secs(10);
/// Samples that are in the way of nobody else's.
const FIRST: u64 = 2_000_000;
/// Entries of a transcript.
const ENTRIES: u64 = 10;

/// What was measured.
#[derive(Debug, Serialize)]
pub struct Figures {
    sessions: u64,
    sweep_ms: f64,
    quiet: Latency,
    during: Latency,
    ratio_p99: f64,
}

/// How long commits took.
#[derive(Debug, Serialize)]
struct Latency {
    commits: usize,
    p50_ms: f64,
    p99_ms: f64,
}

/// Lets so many sessions expire in a store that was filled.
pub async fn measure(file: &Path, sessions: u64) -> anyhow::Result<Figures> {
    let start = clock::monotonic();
    let monotonic: sexton_store::Monotonic = Arc::new(move || start.elapsed());
    let store = Store::new(Arc::new(sample::open(file, Mode::Pool)?), monotonic);
    let kinds = Policies {
        run: Keep::Forever,
        temporary: Keep::For(duration::Duration::from_secs(3600)),
        ..Policies::default()
    };
    // As the sweep before left it: nothing is to be indexed anew.
    store.commit(vec![Reaper { indexed: Some(kinds), ..Reaper::default() }.into()]).await?;
    let engine = begin(store.clone(), kinds, file).await?;
    let handle = engine.handle();
    handle.sweep().await?.context("wait for the first sweep")?;
    let quiet = write(&store, FIRST, || start.elapsed(), QUIET, None).await?;
    expire(&store, sessions).await?;
    let done = Arc::new(AtomicBool::new(false));
    let writer = {
        let (store, done) = (store.clone(), Arc::clone(&done));
        tokio::spawn(async move {
            write(&store, FIRST + 1, move || start.elapsed(), Duration::MAX, Some(done)).await
        })
    };
    let began = clock::monotonic();
    let mut reaped = 0;
    while reaped < sessions {
        let report = handle.sweep().await?.context("wait for the sweep")?;
        reaped += report.summary.reaped;
        anyhow::ensure!(report.summary.reaped > 0, "the sweep stands still: {report:?}");
    }
    let sweep_ms = began.elapsed().as_secs_f64() * 1e3;
    done.store(true, Ordering::Release);
    let during = writer.await??;
    handle.stop(sexton_domain::node::EndReason::Shutdown);
    engine.wait().await;
    let ratio_p99 = during.p99_ms / quiet.p99_ms;
    Ok(Figures { sessions, sweep_ms, quiet, during, ratio_p99 })
}

/// A node that sweeps when it is told to.
async fn begin(store: Store, kinds: Policies, file: &Path) -> anyhow::Result<Engine> {
    let folder = file.parent().context("the store has a folder")?;
    let host = Host {
        name: "here".to_owned(),
        process: ProcessId { pid: std::process::id(), started: 1 },
        software: env!("CARGO_PKG_VERSION").to_owned(),
        environment: [].into(),
    };
    let shim = ShimCommand { program: "false".into(), args: Vec::new() };
    let env = Env {
        clock: SystemClock::new(),
        entropy: Arc::new(Entropy::from_os()?),
        tasks: Tasks::default(),
        executor: Arc::new(ProcessExecutor::new(shim)),
        courier: Arc::new(Nobody),
        run_files: RunFiles::within(folder),
        archives: Arc::new(Folder::new(folder)),
        host: Arc::new(host),
    };
    let limits = Limits { runs: 1, runs_per_agent: 1 };
    let lease = duration::Duration::from_secs(60);
    let settings = Settings::new(limits, lease, folder.to_owned());
    let retention = Periods { sessions: kinds, ..Periods::default() };
    let sweep_every = duration::Duration::from_secs(24 * 3600);
    let settings = Settings { retention, sweep_every, ..settings };
    let fence = Fence::Exclusive;
    Ok(Engine::start(Start { store, env, settings, jobs: None, fence }).await?)
}

/// No webhook is known here.
struct Nobody;

#[async_trait]
impl Courier for Nobody {
    async fn post(&self, _: Post<'_>) -> Reply {
        Reply::failed("there is nobody")
    }
}

/// Sessions that ended long ago and are due now.
async fn expire(store: &Store, sessions: u64) -> anyhow::Result<()> {
    for first in (0..sessions).step_by(250) {
        let mut changes = Vec::new();
        for number in first..(first + 250).min(sessions) {
            let session = Session {
                kind: SessionKind::Temporary,
                run: None,
                job: None,
                ..sample::session(FIRST + 10 + number)?
            };
            let state = State::Ended {
                at: session.opened_at,
                reason: sexton_domain::session::EndReason::Completed,
            };
            let expires_at = Some(session.opened_at);
            let ended =
                Session { state, expires_at, version: Version::NEW.next(), ..session.clone() };
            changes.push(session.clone().into());
            changes.extend((1..=ENTRIES).map(|seq| sample::append(&session, seq)));
            changes.push(ended.into());
        }
        store.commit(changes).await?;
    }
    Ok(())
}

/// Writes to one open session, one commit after the other, and says how long they took.
async fn write(
    store: &Store,
    number: u64,
    clock: impl Fn() -> Duration,
    for_so_long: Duration,
    done: Option<Arc<AtomicBool>>,
) -> anyhow::Result<Latency> {
    let mut session = sample::session(number)?;
    store.commit(vec![session.clone().into()]).await?;
    let (start, mut times, mut seq) = (clock(), Vec::new(), 0);
    while clock() - start < for_so_long
        && !done.as_ref().is_some_and(|done| done.load(Ordering::Acquire))
    {
        session.version = session.version.next();
        session.pinned = !session.pinned;
        seq += 1;
        let before = clock();
        store.commit(vec![session.clone().into(), sample::append(&session, seq)]).await?;
        times.push((clock() - before).as_secs_f64() * 1e3);
    }
    times.sort_by(f64::total_cmp);
    let at = |share: usize| times.get(times.len() * share / 100).copied().unwrap_or(f64::NAN);
    Ok(Latency { commits: times.len(), p50_ms: at(50), p99_ms: at(99) })
}

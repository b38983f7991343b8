//! `serve`: the daemon, from its config to its end.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use sexton_domain::plan::drain::STORE;
use sexton_domain::plan::jobs::Empty;
use sexton_domain::plan::reconcile::Fence;
use sexton_engine::RunFiles;
use sexton_engine::archive::files::Folder;
use sexton_engine::clock::Clock as _;
use sexton_engine::drain::Progress;
use sexton_engine::engine::{Declaration, Engine, Start};
use sexton_engine::env::Env;
use sexton_engine::handle::{Handle, Phase};
use sexton_engine::process::{ProcessExecutor, ShimCommand};
use sexton_engine::tasks::Tasks;
use sexton_server::{Access as Who, Limits};
use sexton_store::Store;
use sexton_store_sqlite::Access;
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time;

use crate::args::{Globals, Serve};
use crate::atomic::{self, Care, Durability, Existing};
use crate::clock;
use crate::config::{Config, JOBS_SOURCE, Surroundings};
use crate::failure::{Exit, Failure};
use crate::place::{self, DataDir};
use crate::store::{self, Machine, Opening};

pub mod host;
mod jobs;
mod reload;
mod signals;
mod supervisor;
mod token;
mod webhooks;

use reload::Reloader;
use signals::{Signal, Signals};
use webhooks::Webhooks;

/// How many connections wait to be accepted, as far as the system lets them: who comes after them is not
/// heard, and tries again a second later.
const MAX_PENDING: u32 = 4_096;
/// How often the supervisor is told again that a stop takes its time.
const EXTEND_EVERY: Duration = Duration::from_secs(60);

/// Runs the daemon until it is asked to stop.
pub async fn main(args: Serve, globals: &Globals) -> Result<Exit, Failure> {
    // First: from now on no signal ends this process by itself.
    let mut signals = Signals::new()?;
    let Some(gateway) = boot(args, globals, &mut signals).await? else {
        tracing::warn!("stopped before the store answered; the next start ends what is left");
        return Ok(Exit::Ok);
    };
    let Gateway { engine, served, reloader, published } = gateway;
    if engine.handle().phase() == Phase::Ready {
        announce(published.address);
    }
    work(engine, reloader, &mut signals).await;
    drop(published);
    served.finish().await;
    tracing::info!("stopped");
    Ok(Exit::Ok)
}

/// A daemon that serves.
struct Gateway {
    engine: Engine,
    served: Served,
    reloader: Reloader,
    published: Published,
}

/// Starts. A signal on the way is obeyed at once: what the start has not finished, the next one does.
/// None when the store did not even take the epoch within its bound.
async fn boot(
    args: Serve,
    globals: &Globals,
    signals: &mut Signals,
) -> Result<Option<Gateway>, Failure> {
    let (early, mut handle) = watch::channel(None);
    let mut start = pin!(start(args, globals, early));
    let stop = tokio::select! {
        gateway = &mut start => return gateway.map(Some),
        stop = signals.next_stop() => stop,
    };
    supervisor::stopping_early(STORE);
    let obey = async {
        let handle = time::timeout(STORE.to_std(), handle.wait_for(Option::is_some)).await.ok()?;
        // Without a handle the start has failed, and says so itself.
        let handle = handle.ok().and_then(|handle| handle.clone());
        Some(handle.and_then(|handle| {
            handle.drain(stop.reason, stop.patience);
            handle.watch_progress()
        }))
    };
    let (mut obey, mut obeyed, mut progress) = (pin!(obey), false, None);
    loop {
        tokio::select! {
            gateway = &mut start => return gateway.map(Some),
            done = &mut obey, if !obeyed => match done {
                Some(watched) => (obeyed, progress) = (true, watched),
                None => return Ok(None),
            },
            () = changed(&mut progress) => {}
        }
        let reached = progress.as_ref().and_then(|progress| *progress.borrow());
        if let Some(progress) = reached {
            supervisor::stopping(&progress);
        }
    }
}

/// Returns when a drain has come a step further; never without one.
async fn changed(progress: &mut Option<watch::Receiver<Option<Progress>>>) {
    if let Some(progress) = progress
        && progress.changed().await.is_ok()
    {
        return;
    }
    std::future::pending().await
}

async fn start(
    args: Serve,
    globals: &Globals,
    early: watch::Sender<Option<Handle>>,
) -> Result<Gateway, Failure> {
    let around = globals.clone();
    // Opening the store may take its time: a disk that is slow, rows that are brought up to date.
    let prepared = tokio::task::spawn_blocking(move || Prepared::new(&around)).await;
    let prepared = prepared
        .map_err(|error| Failure::new(Exit::Bug, format!("failed to prepare: {error}")))??;
    let empty = if args.allow_empty { Empty::Allow } else { Empty::Refuse };
    let server = &prepared.config.file.server;
    let (listener, address) = bind(server.listen)?;
    let hosts = server.hosts.clone();
    let http = Http { listener, address, hosts, token: prepared.token.clone() };
    // Before it is ready: a status then says what it is doing.
    let published = Published::new(&prepared.dir, address)?;
    let (engine, served, reloader) = prepared.start(http, empty, globals, early).await?;
    Ok(Gateway { engine, served, reloader, published })
}

/// Serves, reloads and waits until the node has stopped.
async fn work(engine: Engine, mut reloader: Reloader, signals: &mut Signals) {
    let handle = engine.handle();
    let Some(mut progress) = handle.watch_progress() else { return };
    progress.mark_changed();
    let stopped = engine.wait();
    tokio::pin!(stopped);
    loop {
        tokio::select! {
            () = &mut stopped => return,
            signal = signals.next() => match signal {
                Signal::Reload if handle.phase() == Phase::Ready => reloader.reload(&handle).await,
                Signal::Reload => tracing::warn!("config not reloaded: the node is stopping"),
                Signal::Stop(stop) => handle.drain(stop.reason, stop.patience),
            },
            Ok(()) = progress.changed() => {}
            () = clock::sleep(EXTEND_EVERY) => {}
        }
        if let Some(progress) = handle.progress() {
            supervisor::stopping(&progress);
        }
    }
}

fn announce(address: SocketAddr) {
    supervisor::ready();
    tracing::info!(%address, "ready");
    // Whoever closed stdout does not want to know.
    let _ = std::io::Write::write_fmt(
        &mut std::io::stdout().lock(),
        format_args!("sexton is ready on http://{address}\n"),
    );
}

/// What a start needs, all of it checked.
struct Prepared {
    dir: DataDir,
    path: Option<PathBuf>,
    config: Config,
    machine: Machine,
    store: Store,
    token: String,
}

impl Prepared {
    fn new(globals: &Globals) -> Result<Self, Failure> {
        let dir = DataDir::find(globals)?;
        let path = place::config_file(globals)?;
        let machine = Machine::new()?;
        let around = Surroundings { data_dir: dir.path(), now: machine.clock.now() };
        let config = Config::load(path.as_deref(), around)?;
        atomic::make_private_dir(dir.path())?;
        let opening = Opening {
            path: &config.database,
            durability: config.file.store.durability,
            access: Access::ReadWrite,
        };
        let store = store::open(opening, &machine)?;
        // The store is held, so no other daemon is writing here.
        [dir.token(), dir.address()].iter().for_each(|path| atomic::remove_stale(path));
        let token = token::ensure(&dir, &machine.entropy)?;
        Ok(Self { dir, path, config, machine, store, token })
    }

    fn env(&self) -> Result<Env, Failure> {
        let shim = ShimCommand::this_program(vec![crate::SHIM.to_owned()]).map_err(|error| {
            Failure::new(Exit::Unavailable, format!("failed to find this program: {error}"))
        })?;
        Ok(Env {
            clock: self.machine.clock.clone(),
            entropy: Arc::clone(&self.machine.entropy),
            tasks: Tasks::default(),
            executor: Arc::new(ProcessExecutor::new(shim)),
            run_files: RunFiles::within(self.dir.path()),
            courier: Arc::new(Webhooks::default()),
            archives: Arc::new(Folder::new(self.dir.path())),
            host: Arc::new(host::here()),
        })
    }

    /// Serves, and brings the node to work.
    async fn start(
        self,
        http: Http,
        empty: Empty,
        globals: &Globals,
        early: watch::Sender<Option<Handle>>,
    ) -> Result<(Engine, Served, Reloader), Failure> {
        let around = Surroundings { data_dir: self.dir.path(), now: self.machine.clock.now() };
        let declared = jobs::declared(&self.config, &self.store, around).await?;
        let source = JOBS_SOURCE.to_owned();
        let start = Start {
            store: self.store.clone(),
            env: self.env()?,
            settings: self.config.settings(),
            jobs: Some(Declaration { source, jobs: declared, empty }),
            fence: Fence::Exclusive,
        };
        let mut served = None;
        let engine = Engine::start_with(start, |handle| {
            early.send_replace(Some(handle.clone()));
            served = Some(http.serve(handle));
        });
        let engine = engine.await;
        let engine = engine.map_err(|error| jobs::failure(&error))?;
        let served = served.ok_or_else(|| Failure::new(Exit::Bug, "HTTP is not served"))?;
        let (dir, path, config, store) = (self.dir, self.path, self.config, self.store);
        let globals = globals.clone();
        Ok((engine, served, Reloader { dir, path, config, store, empty, globals }))
    }
}

/// A socket that listens, and what to do with who connects.
struct Http {
    listener: TcpListener,
    address: SocketAddr,
    hosts: Vec<String>,
    token: String,
}

impl Http {
    fn serve(self, handle: Handle) -> Served {
        let token = sexton_server::token_sha256(&self.token);
        let who = Who::token(token, self.address, self.hosts);
        let router = sexton_server::router(handle, who);
        let (stop, stopped) = oneshot::channel();
        let shutdown = async { stopped.await.unwrap_or_default() };
        let task = tokio::spawn(async move {
            let limits = Limits::within_files(host::open_files());
            if let Err(error) = sexton_server::serve(self.listener, router, limits, shutdown).await
            {
                tracing::error!(%error, "HTTP is no longer served");
            }
        });
        Served { stop, task }
    }
}

/// HTTP while it is served.
struct Served {
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Served {
    /// Lets answers finish; this takes no longer than the server allows.
    async fn finish(self) {
        let _ = self.stop.send(());
        if let Err(error) = self.task.await {
            tracing::error!(%error, "serving HTTP failed");
        }
    }
}

fn bind(listen: SocketAddr) -> Result<(TcpListener, SocketAddr), Failure> {
    let failed = |error: std::io::Error| {
        let message = format!("failed to listen on {listen}: {error}");
        let failure = Failure::new(Exit::Refused, message);
        match error.kind() {
            std::io::ErrorKind::AddrInUse => failure
                .hint("is Sexton running already? see `sexton status`, or set `[server] listen`"),
            _ => failure.hint("set `listen` under `[server]`"),
        }
    };
    let socket = match listen {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    };
    let socket = socket.map_err(failed)?;
    // So that a restart does not wait for the connections of before to be forgotten.
    socket.set_reuseaddr(true).map_err(failed)?;
    socket.bind(listen).map_err(failed)?;
    let listener = socket.listen(MAX_PENDING).map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok((listener, address))
}

/// The file that tells commands where the daemon is; gone with this value.
struct Published {
    path: PathBuf,
    address: SocketAddr,
}

impl Published {
    fn new(dir: &DataDir, address: SocketAddr) -> Result<Self, Failure> {
        let care = Care { existing: Existing::Replace, durability: Durability::Relaxed };
        atomic::write(&dir.address(), format!("http://{address}\n").as_bytes(), care)?;
        Ok(Self { path: dir.address(), address })
    }
}

impl Drop for Published {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

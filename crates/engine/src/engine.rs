//! The engine: from an open store to a node at work, and from there to a node at rest.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt;
use sexton_domain::change::{Decision, RecordId};
use sexton_domain::event::EventType;
use sexton_domain::node::{EndReason, Epoch, Node, Owner};
use sexton_domain::plan::admission::CatchUp;
use sexton_domain::plan::jobs::{Declared, Empty};
use sexton_domain::plan::reconcile::{self, BOOT_LOOP, Fence, STABLE_AFTER};
use sexton_domain::plan::sweep;
use sexton_store::nudge::Topic;
use sexton_store::page::{MAX_PAGE, Suspects};
use sexton_store::{Error as StoreError, Store};
use tokio::sync::watch;

use crate::alerts::Alerts;
use crate::dispatcher::Dispatcher;
use crate::drain::Drain;
use crate::env::Env;
use crate::handle::{Error, Handle, Online, Phase};
use crate::heartbeat::Heartbeat;
use crate::hooks::{self, Hooks};
use crate::reaper::{self, Bell, Overdue, Reaper};
use crate::reconciler::{FAILURE_PAUSE, Reconciler};
use crate::runners::{Runners, Watch};
use crate::scheduler::Scheduler;
use crate::settings::Settings;
use crate::suspicion::Suspicion;
use crate::tasks::TaskKind;
use crate::ticker::{self, Loop};

/// How often a start tries to end the runs of dead epochs.
const CLEAR_UPS: u32 = 5;

/// What an engine starts from.
#[derive(Debug)]
pub struct Start {
    /// The open store.
    pub store: Store,
    /// What it stands on.
    pub env: Env,
    /// From the config.
    pub settings: Settings,
    /// The jobs of the config: brought in line before anything is scheduled.
    pub jobs: Option<Declaration>,
    /// What keeps a dead epoch from writing to this store.
    pub fence: Fence,
}

/// The jobs that a config source declares.
#[derive(Debug, Clone)]
pub struct Declaration {
    /// The source's name.
    pub source: String,
    /// Its jobs.
    pub jobs: Vec<Declared>,
    /// Whether it may remove its last job.
    pub empty: Empty,
}

/// A node at work.
#[derive(Debug)]
pub struct Engine {
    handle: Handle,
    phase: watch::Receiver<Phase>,
}

impl Engine {
    /// Takes a new epoch, ends what earlier ones left behind, and goes to work. The node is at work
    /// when this returns; its handle exists earlier, see [`Engine::start_with`].
    ///
    /// # Errors
    ///
    /// When the store fails, or the config's jobs are refused.
    pub async fn start(start: Start) -> Result<Self, Error> {
        Self::start_with(start, |_| {}).await
    }

    /// As [`Engine::start`]; `early` gets the handle before the reconciling begins, so that a server
    /// can say what the node is doing.
    ///
    /// # Errors
    ///
    /// As [`Engine::start`].
    pub async fn start_with(start: Start, early: impl FnOnce(Handle)) -> Result<Self, Error> {
        let Start { store, env, settings, jobs, fence } = start;
        let lease = settings.lease;
        let suspicion = Suspicion::new(&*env.clock);
        ids_go_on(&store, &env).await?;
        let earlier = store.read().nodes(BOOT_LOOP as u32).await?;
        // Before the first event: it is told like any other.
        hooks::bring_in_line(&store, &env, &settings).await?;
        let record = join(&store, &env, &settings, &earlier).await?;
        let owner = record.owner();
        let store = store.fenced(owner.epoch);
        let phase = watch::Sender::new(Phase::Reconciling);
        let settings = watch::Sender::new(Arc::new(settings));
        let runners = Runners::new(env.clone(), store.clone(), owner, settings.subscribe());
        let told = settings.subscribe();
        let on_phase = phase.subscribe();
        let hooks =
            Hooks::new(env.clone(), store.clone(), owner.epoch, told, on_phase, suspicion.clone());
        let (wish, progress) = (watch::Sender::new(None), watch::Sender::new(None));
        let overdue = Arc::new(Overdue::new(&env));
        let drain = Drain {
            env: env.clone(),
            store: store.clone(),
            node: record.clone(),
            settings: settings.subscribe(),
            runners: runners.clone(),
            hooks: hooks.clone(),
            phase: phase.subscribe(),
            wish: wish.subscribe(),
            progress: progress.clone(),
        };
        let handle = Handle::online(
            store.clone(),
            Online {
                env: env.clone(),
                owner,
                phase: phase.clone(),
                settings: settings.clone(),
                runners: runners.clone(),
                hooks: hooks.clone(),
                bell: Arc::default(),
                overdue: Arc::clone(&overdue),
                fence,
                wish,
                progress,
            },
        );
        early(handle.clone());
        let bell = handle.bell();
        let node = Parts { env, store, owner, fence, phase, runners, hooks, suspicion, overdue };
        node.spawn(node.heartbeat(lease), None);
        node.spawn_drain(drain);
        let engine = Self { handle, phase: node.phase.subscribe() };
        let mut reconciler = node.reconciler(lease, settings.subscribe());
        let mut asked = node.phase.subscribe();
        let prepared = tokio::select! {
            biased;
            // Asked to stop: what is left is left to the next start.
            _ = asked.wait_for(|phase| *phase != Phase::Reconciling) => return Ok(engine),
            prepared = prepare(&engine.handle, &node, &mut reconciler, jobs) => prepared,
        };
        match prepared {
            Ok(()) => {
                let catch_up = reconcile::catch_up(&earlier);
                node.go_to_work(Work { reconciler, bell, catch_up, record }, &settings);
                Ok(engine)
            }
            Err(error) => {
                engine.handle.stop(EndReason::Shutdown);
                engine.wait().await;
                Err(error)
            }
        }
    }

    /// What the outside may ask for.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Returns when the node has stopped, after [`Handle::stop`].
    pub async fn wait(mut self) {
        // The sender outlives the node's tasks; if it is gone, so is the node.
        let _ = self.phase.wait_for(|phase| *phase == Phase::Stopped).await;
    }
}

/// The ids of this life sort behind those of the ones before it, also where the wall clock was set back.
async fn ids_go_on(store: &Store, env: &Env) -> Result<(), StoreError> {
    let Some((_, last)) = store.read().event_range().await? else { return Ok(()) };
    // What was decided together need not have been stored in that order.
    let latest = last.saturating_sub(MAX_PAGE.into());
    for event in store.read().events(latest, MAX_PAGE).await? {
        env.entropy.go_on_from(event.fact.id.uuid());
    }
    Ok(())
}

/// What has to be done before anything is scheduled.
async fn prepare(
    handle: &Handle,
    Parts { env, store, .. }: &Parts,
    reconciler: &mut Reconciler,
    jobs: Option<Declaration>,
) -> Result<(), Error> {
    clear_up(env, reconciler).await?;
    env.run_files.clear(store).await;
    hooks::bury(store, env).await;
    if let Some(Declaration { source, jobs, empty }) = jobs {
        handle.bring_in_line(&source, &jobs, empty).await?;
    }
    Ok(())
}

/// Ends what earlier epochs left behind before anything is scheduled. A store that fails for a moment
/// is waited for; a run that cannot be ended for longer does not keep the others from their work.
async fn clear_up(env: &Env, reconciler: &mut Reconciler) -> Result<(), StoreError> {
    let mut tries = 0;
    loop {
        tries += 1;
        let look = AssertUnwindSafe(reconciler.run_once(env.clock.now())).catch_unwind().await;
        match look {
            Ok(Ok(_)) if reconciler.left == 0 => return Ok(()),
            Ok(Err(error)) if tries == CLEAR_UPS => return Err(error),
            _ if tries == CLEAR_UPS => return Ok(()),
            _ => env.clock.sleep(FAILURE_PAUSE).await,
        }
    }
}

/// Records the new epoch, with what is wrong with the clock.
async fn join(
    store: &Store,
    env: &Env,
    settings: &Settings,
    earlier: &[Node],
) -> Result<Node, StoreError> {
    let mut attempts = store.attempts("take an epoch");
    loop {
        let meta = store.read().meta().await?;
        let last = newest_epoch(store).await?.unwrap_or(Epoch::new(meta.generation, 0));
        let mut moment = env.moment();
        let node = Node {
            id: moment.ids.mint(),
            epoch: last.next(meta.generation),
            host: env.host.name.clone(),
            process: env.host.process,
            software: env.host.software.clone(),
            started_at: moment.now,
            heartbeat_at: moment.now,
            lease_until: settings.lease.after(moment.now),
            stable_at: None,
            end: None,
            drained: None,
            left_behind: None,
            version: Default::default(),
        };
        let mut decision = Decision::default();
        decision.change(moment.tell().node(EventType::NodeStarted, &node));
        let last_heartbeat = earlier.iter().map(|node| node.heartbeat_at).max();
        if let Some(jump) = reconcile::clock_at_boot(last_heartbeat, moment.now) {
            tracing::warn!(?jump, "the wall clock does not follow on from the last heartbeat");
            decision.change(sweep::distrusted(&reaper::memory(store).await?, jump, moment.now));
        }
        decision.change(node.clone());
        if attempts.commit(decision.changes).await?.is_some() {
            return Ok(node);
        }
    }
}

/// The newest epoch there was, also where its row cannot be read: epochs only rise.
async fn newest_epoch(store: &Store) -> Result<Option<Epoch>, StoreError> {
    let read = store.read().nodes(1).await?.into_iter().map(|node| node.epoch);
    let unread = store.read().unreadable(Suspects::Nodes, MAX_PAGE).await?;
    let unread = unread.into_iter().filter_map(|row| match row.id {
        RecordId::Node(epoch) => Some(epoch),
        _ => None,
    });
    Ok(read.chain(unread).max())
}

/// What the loops begin with, besides a node's parts.
struct Work {
    reconciler: Reconciler,
    bell: Arc<Bell>,
    catch_up: CatchUp,
    /// This epoch, as it began.
    record: Node,
}

/// A node's parts while it starts, works and stops.
struct Parts {
    env: Env,
    store: Store,
    owner: Owner,
    fence: Fence,
    phase: watch::Sender<Phase>,
    runners: Runners,
    hooks: Hooks,
    suspicion: Suspicion,
    overdue: Arc<Overdue>,
}

impl Parts {
    fn spawn(
        &self,
        work: impl Loop + 'static,
        nudges: impl IntoIterator<Item = watch::Receiver<u64>>,
    ) {
        let kind = work.kind();
        let phase = self.phase.subscribe();
        let nudges = nudges.into_iter().collect();
        self.env.tasks.spawn(kind, ticker::drive(work, self.env.clone(), nudges, phase));
    }

    fn heartbeat(&self, lease: sexton_domain::duration::Duration) -> Heartbeat {
        Heartbeat {
            env: self.env.clone(),
            store: self.store.clone(),
            owner: self.owner,
            lease,
            runners: self.runners.clone(),
            phase: self.phase.clone(),
            suspicion: self.suspicion.clone(),
            stored: None,
        }
    }

    fn reconciler(
        &self,
        lease: sexton_domain::duration::Duration,
        settings: watch::Receiver<Arc<Settings>>,
    ) -> Reconciler {
        Reconciler {
            env: self.env.clone(),
            store: self.store.clone(),
            owner: self.owner,
            fence: self.fence,
            settings,
            // Where this process alone has the store, nobody else can die meanwhile.
            every: match self.fence {
                Fence::Exclusive => ticker::MAX_PAUSE,
                Fence::Lease => lease.to_std(),
            },
            left: 0,
        }
    }

    /// Starts the task that takes the node to rest.
    fn spawn_drain(&self, mut drain: Drain) {
        let phase = self.phase.clone();
        self.env.tasks.spawn(TaskKind::Drain, async move {
            if AssertUnwindSafe(drain.run()).catch_unwind().await.is_err() {
                tracing::error!("the way to rest panicked; the next start ends what is left");
            }
            phase.send_replace(Phase::Stopped);
        });
    }

    /// Starts the loops, unless the node was asked to stop meanwhile.
    fn go_to_work(
        &self,
        Work { reconciler, bell, catch_up, record }: Work,
        settings: &watch::Sender<Arc<Settings>>,
    ) {
        let scheduler = Scheduler {
            env: self.env.clone(),
            store: self.store.clone(),
            settings: settings.subscribe(),
            runners: self.runners.clone(),
        };
        let dispatcher = Dispatcher {
            env: self.env.clone(),
            store: self.store.clone(),
            settings: settings.subscribe(),
            runners: self.runners.clone(),
            owner: self.owner,
            fence: self.fence,
            catch_up_from: (catch_up == CatchUp::Paused)
                .then(|| self.env.clock.monotonic() + STABLE_AFTER.to_std()),
            missed: BTreeMap::new(),
        };
        let at_work = self.phase.send_if_modified(|phase| {
            let reconciled = *phase == Phase::Reconciling;
            if reconciled {
                *phase = Phase::Ready;
            }
            reconciled
        });
        if !at_work {
            return;
        }
        self.spawn(scheduler, Some(self.store.subscribe(Topic::Jobs)));
        self.spawn(dispatcher, Some(self.store.subscribe(Topic::Queue)));
        self.spawn(Watch(self.runners.clone()), Some(self.store.subscribe(Topic::Cancels)));
        self.spawn(reconciler, None);
        self.hooks.go_to_work();
        let began = self.env.clock.monotonic();
        let alerts = Alerts {
            env: self.env.clone(),
            store: self.store.clone(),
            node: record,
            settings: settings.subscribe(),
            catch_up,
            began,
            next: began,
            suspicion: self.suspicion.clone(),
            overdue: Arc::clone(&self.overdue),
        };
        // The reaper begins now.
        self.overdue.excuse(&self.env);
        self.spawn(alerts, Some(self.store.subscribe(Topic::Troubles)));
        let nudges = [bell.nudges(), self.store.subscribe(Topic::Deletions)];
        let (env, store) = (self.env.clone(), self.store.clone());
        let suspicion = self.suspicion.clone();
        let (settings, phase) = (settings.subscribe(), self.phase.subscribe());
        let reaper = Reaper::new(env, store, settings, phase, reaper::Senses { bell, suspicion });
        self.spawn(reaper, nudges);
    }
}

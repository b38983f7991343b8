//! One life of the gateway's process: it starts, works, is asked things, and stops or dies.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use sexton_domain::node::{EndReason, Epoch, ProcessId};
use sexton_domain::plan::drain::Budget;
use sexton_domain::plan::jobs::Empty;
use sexton_domain::plan::reconcile::Fence;
use sexton_engine::engine::{Declaration, Engine, Start};
use sexton_engine::entropy::Entropy;
use sexton_engine::env::{Env, Host};
use sexton_engine::handle::{Error, Handle, Switch};
use sexton_engine::page::{JobFilter, PageRequest};
use sexton_store::Store;
use sexton_store_sqlite::SqliteDriver;

use crate::courier::Postman;
use crate::crew::{Crew, Lived};
use crate::diary::{Broken, Promise};
use crate::draw::LONGEST_GRACE;
use crate::ops::{self, Client};
use crate::promises::stopping;
use crate::slow::{Slow, Surroundings};
use crate::subscribers;
use crate::time;
use crate::witness::Law;
use crate::world::World;

/// How long a gateway has to have been at work until everything that was due is accounted for.
pub(crate) const SETTLED: Duration = Duration::from_secs(180);

/// How a life is meant to go.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fate {
    /// At which poll it dies.
    pub(crate) dies_at: Option<u64>,
    /// How long it works until it is asked to stop.
    pub(crate) stops_after: Duration,
    pub(crate) stops_for: EndReason,
    /// Nothing goes wrong and nobody asks for anything: what is under way comes to its end.
    pub(crate) last: bool,
}

/// How it went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Died,
    NotStarted,
    Stopped,
    /// A promise is broken; there is no point in going on.
    Broken,
}

/// Lives once.
pub(crate) fn live(world: &mut World, fate: Fate) -> End {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime without I/O needs nothing of the system");
    runtime.block_on(async {
        let clock = world.time.begin_life();
        world.calm.store(fate.last, Ordering::Relaxed);
        let crew = Crew::new();
        let order = world.die.fork();
        let time = Arc::clone(&world.time);
        let (machine, diary) = (world.machine.clone(), world.diary.clone());
        let shelf = world.shelf.clone();
        diary.count("boot");
        diary.note("the gateway starts");
        let main = Life::main(world, clock, &crew, fate);
        let lived = crew.live(main, fate.dies_at, &order, &time).await;
        let end = match lived {
            Lived::Ended(end) => end,
            Lived::Died => {
                diary.note("the gateway dies");
                diary.count("death");
                End::Died
            }
            Lived::NeverRested => {
                let how = "the tasks of the engine keep each other awake without end";
                diary.broken(Broken::new(Promise::Sound, how));
                End::Broken
            }
        };
        machine.gateway_died();
        shelf.gateway_died();
        crew.dismiss();
        time.end_life();
        end
    })
}

struct Life<'a> {
    world: &'a mut World,
    crew: &'a Crew,
    handle: Handle,
    epoch: Epoch,
    ready_at: Duration,
}

impl Life<'_> {
    async fn main(
        world: &mut World,
        clock: Arc<crate::time::LifeClock>,
        crew: &Crew,
        fate: Fate,
    ) -> End {
        let start = start(world, clock, crew);
        let engine = match Engine::start(start).await {
            Ok(engine) => engine,
            Err(error) => {
                world.diary.note(format_args!("the gateway does not start: {error}"));
                world.diary.count("boot failed");
                return End::NotStarted;
            }
        };
        let epoch = world.newest_epoch();
        let (handle, ready_at) = (engine.handle(), world.time.now());
        let mut life = Life { world, crew, handle, epoch, ready_at };
        life.world.audit_all();
        life.check(false);
        let broken = match fate.last {
            false => life.work(fate.stops_after).await,
            true => life.settle().await,
        };
        if broken {
            return End::Broken;
        }
        life.stop(engine, fate.stops_for).await
    }

    /// Works and is asked things for a while. Returns whether a promise was broken.
    async fn work(&mut self, long: Duration) -> bool {
        let ends = self.world.time.now() + long;
        while let Some(n) = self.world.next_first_job() {
            self.crew.hire(Box::pin(self.client().add(n)));
        }
        let (mut next_ask, mut next_check) = (self.world.next_ask(), self.world.next_check());
        loop {
            let now = self.world.time.now();
            if now >= ends {
                return false;
            }
            time::sleep(next_ask.min(next_check).min(ends).saturating_sub(now)).await;
            let now = self.world.time.now();
            if now >= next_ask {
                self.crew.hire(Box::pin(self.client().ask()));
                next_ask = self.world.next_ask();
            }
            if now >= next_check {
                if self.look() {
                    return true;
                }
                next_check = self.world.next_check();
            }
        }
    }

    /// Lets everything that is under way come to its end. Returns whether a promise was broken.
    async fn settle(&mut self) -> bool {
        self.switch_all_hooks_on().await;
        let longest = self.world.nature.longest_run();
        let quiet_until = self.world.time.now() + longest + SETTLED;
        while self.world.time.now() < quiet_until {
            time::sleep(longest / 8).await;
            if self.look() || self.conserves_work() {
                return true;
            }
        }
        if let Err(error) = self.disable_all().await {
            let how = format!("jobs cannot be disabled although nothing goes wrong: {error}");
            self.world.diary.broken(Broken::new(Promise::Progress, how));
            return true;
        }
        self.cancel_turns().await;
        let patience = self.world.time.now() + longest + SETTLED;
        while self.world.ledger().runs.values().any(sexton_domain::run::Run::is_active) {
            time::sleep(Duration::from_secs(30)).await;
            if self.look() {
                return true;
            }
            if self.world.time.now() > patience {
                let how = "runs do not end although all jobs are disabled and nothing goes wrong";
                self.world.diary.broken(Broken::new(Promise::Progress, how));
                return true;
            }
        }
        time::sleep(SETTLED * 2).await;
        self.world.goes_out();
        self.verify_archives().await;
        self.look()
    }

    /// Every archive that is there can be read, says what the transcript said, and lies in a segment
    /// that is sound from its first byte to its last.
    async fn verify_archives(&self) {
        let broken = |how: String| self.world.diary.broken(Broken::new(Promise::P6, how));
        let gone: Vec<_> = self.world.ledger().reaped.keys().copied().collect();
        for session in gone {
            match self.handle.archived_entries(session, 0, u32::MAX).await {
                Ok(entries) if entries == self.world.ledger().transcript(session) => {
                    self.world.diary.count("archive verified");
                }
                Ok(entries) => {
                    broken(format!("the archive of {session} has {} other entries", entries.len()));
                }
                Err(Error::ArchiveGone { .. }) => self.world.diary.count("archive deleted"),
                Err(Error::NotFound { .. }) => self.world.diary.count("archive purged"),
                Err(error) => broken(format!("the archive of {session}: {error}")),
            }
        }
        let segments = self.handle.segments().await.map(|found| found.segments);
        for segment in segments.unwrap_or_default() {
            if segment.deleted_at.is_none()
                && let Ok(checkup) = self.handle.check_segment(&segment.name, None).await
                && !checkup.findings.is_empty()
            {
                broken(format!("segment {}: {:?}", segment.name, checkup.findings));
            }
        }
    }

    async fn switch_all_hooks_on(&self) {
        for hook in self.world.witness.law().hooks {
            if let Err(error) = self.handle.switch_hook(&hook.name, Switch::On).await {
                let how = format!("{} cannot be switched on: {error}", hook.name);
                self.world.diary.broken(Broken::new(Promise::Progress, how));
            }
        }
    }

    /// Turns wait for each other: what is left of them would take its time one by one.
    async fn cancel_turns(&self) {
        let runs = self.world.ledger().runs.clone();
        for run in runs.values().filter(|run| run.is_active() && run.job.is_none()) {
            // One that has ended meanwhile is refused.
            let _ = self.handle.cancel_run(run.id).await;
        }
    }

    async fn disable_all(&self) -> Result<(), sexton_engine::handle::Error> {
        let mut page = PageRequest::first(100);
        loop {
            let found = self.handle.jobs(JobFilter::default(), page).await?;
            for job in found.items {
                self.handle.disable_job(&sexton_engine::handle::JobRef::Id(job.id)).await?;
            }
            let Some(next) = found.next else { return Ok(()) };
            page.after = Some(next);
        }
    }

    /// Stops as asked, in bounded time, and leaves nothing behind.
    async fn stop(self, engine: Engine, reason: EndReason) -> End {
        let Life { world, handle, .. } = self;
        let asked = world.time.now();
        let budget = handle.settings().expect("a gateway at work has settings").budget();
        world.diary.note(format_args!("the gateway is asked to stop ({reason:?})"));
        handle.stop(reason);
        engine.wait().await;
        world.diary.count(format!("stop: {reason:?}"));
        let took = world.time.now().saturating_sub(asked);
        let sum = Budget { grace: LONGEST_GRACE, ..budget }.total().to_std();
        world.judge(stopping::p9_within_its_sum(took, sum));
        world.audit_all();
        world.at_rest(reason);
        if world.diary.verdict().is_some() { End::Broken } else { End::Stopped }
    }

    fn client(&self) -> Client {
        Client {
            nature: Arc::clone(&self.world.nature),
            die: Arc::clone(&self.world.die),
            diary: self.world.diary.clone(),
            witness: self.world.witness.clone(),
            handle: self.handle.clone(),
        }
    }

    /// Looks at what has changed. Returns whether a promise was broken.
    fn look(&mut self) -> bool {
        self.world.audit_changes();
        let settled = self.world.time.now().saturating_sub(self.ready_at) > SETTLED;
        self.check(settled);
        self.world.diary.verdict().is_some()
    }

    fn check(&mut self, settled: bool) {
        self.world.at_work(self.epoch);
        if settled {
            self.world.every_slot(SETTLED);
        }
        let at_work = self.world.time.now().saturating_sub(self.ready_at);
        if at_work > self.world.nature.sweep_slack().to_std() {
            self.world.nothing_overdue();
        }
    }

    fn conserves_work(&mut self) -> bool {
        if self.world.time.now().saturating_sub(self.ready_at) > SETTLED {
            self.world.conserves_work();
        }
        self.world.diary.verdict().is_some()
    }
}

/// What the engine starts from.
fn start(world: &World, clock: Arc<crate::time::LifeClock>, crew: &Crew) -> Start {
    let driver = SqliteDriver::in_memory(&world.disk, world.store_options())
        .expect("a database in memory opens");
    let around = Surroundings {
        die: world.die.fork(),
        manners: world.manners,
        calm: Arc::clone(&world.calm),
        diary: world.diary.clone(),
        witness: world.witness.clone(),
    };
    let driver = Slow::new(driver, around, crew);
    let time = Arc::clone(&world.time);
    let store = Store::new(Arc::new(driver), Arc::new(move || time.now()));
    let host = Host {
        name: "sim".to_owned(),
        process: ProcessId { pid: 1, started: 1 },
        software: "sim".to_owned(),
        environment: Default::default(),
    };
    let hooks = subscribers::in_config(&world.die, &world.nature.hooks);
    let settings = world.nature.settings(&world.die, &hooks);
    world.witness.begin(Law { hooks, periods: settings.retention });
    let jobs = ops::declared(&world.nature, &world.die, world.time.wall());
    let jobs = Declaration { source: "main".to_owned(), jobs, empty: Empty::Allow };
    Start {
        store,
        env: Env {
            clock,
            entropy: Arc::new(Entropy::from_seed(world.die.seed())),
            tasks: crew.tasks(),
            executor: world.executor(),
            run_files: world.executor().run_files.clone(),
            courier: Arc::new(Postman(world.mailbox.clone())),
            archives: Arc::new(world.shelf.clone()),
            host: Arc::new(host),
        },
        settings,
        jobs: Some(jobs),
        fence: Fence::Exclusive,
    }
}

//! One life of the gateway's process: it starts, works, is asked things, and stops or dies.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use sexton_domain::node::{EndReason, Epoch};
use sexton_domain::plan::drain::Budget;
use sexton_engine::engine::Engine;
use sexton_engine::handle::{Error, Handle, Switch};
use sexton_engine::page::{JobFilter, PageRequest};

use crate::crew::{Crew, Lived};
use crate::diary::{Broken, Promise};
use crate::draw::LONGEST_GRACE;
use crate::faults::Fault;
use crate::ops::Client;
use crate::patience::Patience;
use crate::promises::stopping;
use crate::time;
use crate::world::World;

mod start;

use start::{begin, is_distrusted, law, start};

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
    /// After how long a second gateway is started on the same store.
    pub(crate) doubled: Option<Duration>,
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
    let end = live_once(world, fate);
    world.forget_clock();
    end
}

fn live_once(world: &mut World, fate: Fate) -> End {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime without I/O needs nothing of the system");
    runtime.block_on(async {
        let clock = world.time.begin_life();
        world.calm.store(fate.last, Ordering::Relaxed);
        let crew = Crew::new();
        if fate.last {
            world.room.clear();
        } else {
            crew.hire(Box::pin(world.clockwork.clone().run()));
            crew.hire(Box::pin(world.room.clone().run(world.nature.fills, world.nature.lasts)));
        }
        let order = world.die.fork();
        let time = Arc::clone(&world.time);
        let (machine, diary) = (world.machine.clone(), world.diary.clone());
        let shelf = world.shelf.clone();
        diary.count("boot");
        diary.note("the gateway starts");
        let overlap = Arc::clone(&world.overlap);
        let main = Life::main(world, clock, &crew, fate);
        let lived = crew.live(main, fate.dies_at, &order, (&time, &diary)).await;
        overlap.store(false, Ordering::Relaxed);
        let end = match lived {
            Lived::Ended(end) => end,
            Lived::Died => {
                diary.note("the gateway dies");
                diary.strikes(Fault::Death);
                End::Died
            }
            Lived::Broken => End::Broken,
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
    clock: Arc<crate::time::LifeClock>,
    handle: Handle,
    epoch: Epoch,
    ready_at: Duration,
    /// The gateway that this one was started beside.
    former: Option<Handle>,
}

impl Life<'_> {
    async fn main(
        world: &mut World,
        clock: Arc<crate::time::LifeClock>,
        crew: &Crew,
        fate: Fate,
    ) -> End {
        let last_heartbeat = world.last_heartbeat();
        let (began, teller) = (world.time.wall(), world.teller());
        let law = law(world);
        let start = start(world, &law, &clock, crew, &teller);
        let engine = match begin(world, start, &teller).await {
            Ok(engine) => engine,
            Err(error) => {
                world.diary.note(format_args!("the gateway does not start: {error}"));
                world.diary.count("boot failed");
                return End::NotStarted;
            }
        };
        if last_heartbeat.is_some_and(|last| is_distrusted(last, began)) {
            world.time.distrust();
        }
        let epoch = teller.epoch().unwrap_or_else(|| world.newest_epoch());
        let (handle, ready_at) = (engine.handle(), world.time.now());
        let mut life = Life { world, crew, clock, handle, epoch, ready_at, former: None };
        life.world.patience = Patience::default();
        life.world.audit_all();
        life.check(false);
        let mut engine = engine;
        let broken = match fate.last {
            false => match life.work(engine, fate).await {
                Worked::Done(at_work) => {
                    engine = at_work;
                    life.world.diary.verdict().is_some()
                }
                Worked::Over(end) => return end,
            },
            true => life.settle().await,
        };
        if broken {
            return End::Broken;
        }
        life.stop(engine, fate.stops_for).await
    }

    /// Works and is asked things for a while; a second gateway may be started meanwhile.
    async fn work(&mut self, engine: Engine, fate: Fate) -> Worked {
        let began = self.world.time.now();
        while let Some(n) = self.world.next_first_job() {
            self.crew.hire(Box::pin(self.client().add(n)));
        }
        let long = fate.doubled.unwrap_or(fate.stops_after).min(fate.stops_after);
        if self.work_for(long).await || fate.doubled.is_none() {
            return Worked::Done(engine);
        }
        match self.double(engine).await {
            Ok(engine) => {
                let rest = (began + fate.stops_after).saturating_sub(self.world.time.now());
                self.work_for(rest).await;
                Worked::Done(engine)
            }
            Err(end) => Worked::Over(end),
        }
    }

    /// Somebody starts a second gateway on the store, which nothing keeps it from here. It ends the epoch of the
    /// first one, which has to notice.
    async fn double(&mut self, first: Engine) -> Result<Engine, End> {
        let diary = self.world.diary.clone();
        diary.strikes(Fault::SecondEngine);
        diary.note("a second gateway is started on the store");
        let (teller, law) = (self.world.teller(), self.world.witness.law());
        let overlap = Arc::clone(&self.world.overlap);
        overlap.store(true, Ordering::Relaxed);
        let start = start(self.world, &law, &self.clock, self.crew, &teller);
        let second = match begin(self.world, start, &teller).await {
            Ok(second) => second,
            Err(error) => {
                diary.note(format_args!("the second gateway does not start: {error}"));
                return Err(End::Died);
            }
        };
        self.world.witness.takes_over(law);
        self.former = Some(std::mem::replace(&mut self.handle, second.handle()));
        self.epoch = teller.epoch().unwrap_or(self.epoch);
        self.ready_at = self.world.time.now();
        self.world.patience = Patience::default();
        self.crew.hire(Box::pin(async move {
            first.wait().await;
            diary.note("the first gateway has stopped");
            overlap.store(false, Ordering::Relaxed);
        }));
        self.world.audit_all();
        Ok(second)
    }

    /// Works and is asked things for so long. Returns whether a promise was broken.
    async fn work_for(&mut self, long: Duration) -> bool {
        let ends = self.world.time.now() + long;
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
        let Life { world, handle, former, .. } = self;
        let asked = world.time.now();
        let overlaps = world.overlap.load(Ordering::Relaxed);
        if let Some(former) = former {
            former.stop(reason);
        }
        let budget = handle.settings().expect("a gateway at work has settings").budget();
        world.diary.note(format_args!("the gateway is asked to stop ({reason:?})"));
        handle.stop(reason);
        let sum = Budget { grace: LONGEST_GRACE, ..budget }.total().to_std();
        let rests = tokio::select! {
            biased;
            () = engine.wait() => true,
            () = time::sleep(sum + Duration::from_secs(1)) => false,
        };
        let took = world.time.now().saturating_sub(asked);
        world.judge(stopping::p9_within_its_sum(took, sum));
        if !rests {
            return End::Broken;
        }
        world.diary.count(format!("stop: {reason:?}"));
        world.audit_all();
        if !overlaps {
            world.at_rest(reason);
        }
        if world.diary.verdict().is_some() { End::Broken } else { End::Stopped }
    }

    fn client(&self) -> Client {
        Client {
            nature: Arc::clone(&self.world.nature),
            die: Arc::clone(&self.world.die),
            diary: self.world.diary.clone(),
            witness: self.world.witness.clone(),
            handle: self.handle.clone(),
            gateway: self.world.witness.gateway(),
        }
    }

    /// Looks at what has changed. Returns whether a promise was broken.
    fn look(&mut self) -> bool {
        self.world.audit_changes();
        if let Some(settings) = self.handle.settings() {
            self.world.witness.goes_by_the_law(&settings.retention);
        }
        let able = self.for_how_long();
        self.check(able > SETTLED);
        if able > self.world.nature.watched() + SETTLED
            && self.world.overlap.load(Ordering::Relaxed)
        {
            let how = "a gateway has not noticed that another one has ended its epoch";
            self.world.diary.broken(Broken::new(Promise::Progress, how));
        }
        self.world.diary.verdict().is_some()
    }

    /// How long it has been at work with room on the disk.
    fn for_how_long(&self) -> Duration {
        self.world.time.now().saturating_sub(self.ready_at.max(self.world.room.since()))
    }

    fn check(&mut self, settled: bool) {
        self.world.at_work(self.epoch, self.ready_at);
        if settled {
            self.world.every_slot(SETTLED);
        }
        if self.for_how_long() > self.world.nature.sweep_slack().to_std() {
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

/// How a gateway's time at work went.
enum Worked {
    /// It is to stop now.
    Done(Engine),
    Over(End),
}

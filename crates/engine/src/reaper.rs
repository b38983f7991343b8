//! The reaper deletes a session if and only if it has ended, is not pinned, no delivery of its start or
//! end is pending, no open session continues it, and by the policies of now its time is over; its
//! archive is on disk before. It deletes every other record when the time of its line of the
//! retention table is over. It works in slices, and what it cannot delete now it finds again later.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use sexton_domain::change::{Record, RecordId};
use sexton_domain::plan::admission::Headroom;
use sexton_domain::plan::reconcile::ClockJump;
use sexton_domain::plan::sweep;
use sexton_domain::retention::{Periods, Rule};
use sexton_domain::session::HoldReason;
use sexton_domain::sweep::{Fault, Reaper as Memory, Summary};
use sexton_store::nudge::Topic;
use sexton_store::page::Suspects;
use sexton_store::{Error, Store};
use tokio::sync::watch;

use crate::env::Env;
use crate::handle::Phase;
use crate::settings::Settings;
use crate::suspicion::Suspicion;
use crate::tasks::TaskKind;
use crate::ticker::{Loop, Pass};
use crate::unreadable::known;

mod bell;
mod docket;
mod overdue;
mod records;
mod segments;
mod sessions;
mod slice;

pub(crate) use bell::Bell;
pub(crate) use docket::{Bench, Docket};
pub(crate) use overdue::Overdue;

/// How many rows a slice takes at most.
const SLICE: u32 = 500;
/// How long a slice may take.
const SLICE_TIME: Duration = Duration::from_millis(20);
/// A slice deletes so many sessions however long that takes: a disk may be slow for a single one.
const SMALLEST_BATCH: usize = 32;

/// The reaper.
pub(crate) struct Reaper {
    env: Env,
    store: Store,
    settings: watch::Receiver<Arc<Settings>>,
    phase: watch::Receiver<Phase>,
    bell: Arc<Bell>,
    suspicion: Suspicion,
    /// Somebody deletes a session by hand.
    deletions: watch::Receiver<u64>,
    /// When the next sweep is due, on the monotonic clock.
    next: Duration,
    /// The policies of the last sweep.
    periods: Option<Periods>,
}

/// By what a reaper notices something.
pub(crate) struct Senses {
    pub(crate) bell: Arc<Bell>,
    pub(crate) suspicion: Suspicion,
}

/// What a sweep came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// In numbers.
    pub summary: Summary,
    /// Sessions that went, by the rule.
    pub gone: BTreeMap<Rule, u64>,
    /// Sessions that were held, by the reason.
    pub held: BTreeMap<HoldReason, u64>,
    /// Nothing was deleted: the wall clock is not to be trusted until then.
    pub held_until: Option<Timestamp>,
    /// What is wrong with the archives.
    pub faults: Vec<Fault>,
    /// There is more to do: another sweep follows at once.
    pub unfinished: bool,
    /// A session that was deleted by hand is held until then.
    pub again: Option<Timestamp>,
}

/// One sweep.
struct Sweep<'a> {
    env: &'a Env,
    store: &'a Store,
    settings: Arc<Settings>,
    phase: &'a watch::Receiver<Phase>,
    suspicion: &'a mut Suspicion,
    report: Report,
    /// The archives cannot be written for now.
    shut: bool,
    /// How many sessions one commit deletes at most: whoever commits meanwhile waits for it.
    batch: usize,
}

impl Reaper {
    pub(crate) fn new(
        env: Env,
        store: Store,
        settings: watch::Receiver<Arc<Settings>>,
        phase: watch::Receiver<Phase>,
        Senses { bell, suspicion }: Senses,
    ) -> Self {
        let next = env.clock.monotonic();
        let deletions = store.subscribe(Topic::Deletions);
        Self { env, store, settings, phase, bell, suspicion, deletions, next, periods: None }
    }
}

#[async_trait]
impl Loop for Reaper {
    fn kind(&self) -> TaskKind {
        TaskKind::Reaper
    }

    async fn run_once(&mut self, _: Timestamp) -> Result<Pass, Error> {
        let settings = Arc::clone(&self.settings.borrow_and_update());
        let now = self.env.clock.monotonic();
        let edited = self.periods.is_some_and(|periods| periods != settings.retention);
        let deleted = self.deletions.has_changed().unwrap_or(false);
        self.deletions.borrow_and_update();
        if now < self.next && self.bell.unheard().is_none() && !edited && !deleted {
            return Ok(Pass::after(0, self.next - now));
        }
        let heard = self.bell.rung();
        self.periods = Some(settings.retention);
        let every = settings.sweep_every.to_std();
        let swept = self.sweep(settings).await;
        self.bell.answer(heard, swept.clone());
        let report = swept?;
        let until =
            |at| sexton_domain::duration::Duration::between(self.env.clock.now(), at).to_std();
        let pause = match report.again {
            _ if report.unfinished => Duration::ZERO,
            again => again.map_or(every, until).min(every),
        };
        self.next = self.env.clock.monotonic() + pause;
        Ok(Pass::after(report.summary.reaped as usize, pause))
    }
}

impl Reaper {
    async fn sweep(&mut self, settings: Arc<Settings>) -> Result<Report, Error> {
        let now = self.env.clock.now();
        let mut sweep = Sweep {
            env: &self.env,
            store: &self.store,
            settings,
            phase: &self.phase,
            suspicion: &mut self.suspicion,
            report: Report::begun(now),
            shut: self.store.headroom() == Headroom::Released,
            batch: SMALLEST_BATCH,
        };
        sweep.run().await?;
        Ok(sweep.report)
    }
}

impl Report {
    fn begun(started_at: Timestamp) -> Self {
        let summary =
            Summary { started_at, took_ms: 0, archived: 0, reaped: 0, held: 0, records: 0 };
        Self {
            summary,
            gone: BTreeMap::new(),
            held: BTreeMap::new(),
            held_until: None,
            faults: Vec::new(),
            unfinished: false,
            again: None,
        }
    }
}

impl Sweep<'_> {
    async fn run(&mut self) -> Result<(), Error> {
        let began = self.env.clock.monotonic();
        let kinds = self.settings.retention.sessions;
        // Also while deletion is held: a jump that others have seen must not be found once more in the end.
        self.suspicion.look(self.store, self.env).await?;
        let memory = self.remember(|memory, _| sweep::policies_changed(memory, &kinds)).await?;
        self.report.held_until = memory.held_until(self.env.clock.now());
        // A step that fails does not keep those behind it from their work.
        let mut done = self.check_segments().await;
        if self.report.held_until.is_none() {
            done = done.and(self.due_sessions().await);
            done = done.and(self.capped_sessions().await);
            done = done.and(self.collect_segments().await);
            done = done.and(self.expire_records().await);
            done = done.and(self.reindex(memory).await);
        }
        done?;
        let took = self.env.clock.monotonic().saturating_sub(began);
        self.report.summary.took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        let Report { summary, faults, .. } = &self.report;
        self.remember(|memory, _| {
            Some(Memory { last: Some(*summary), faults: faults.clone(), ..memory.clone() })
        })
        .await?;
        self.log();
        Ok(())
    }

    fn log(&self) {
        let Report { summary, held_until, faults, unfinished, .. } = &self.report;
        let Summary { took_ms, archived, reaped, held, records, .. } = *summary;
        if let Some(until) = held_until {
            tracing::warn!(%until, "nothing is deleted: the wall clock jumped");
        }
        for fault in faults {
            tracing::warn!(segment = fault.segment, "archives: {}", fault.message);
        }
        if reaped + held + records > 0 {
            tracing::info!(took_ms, archived, reaped, held, records, unfinished, "swept");
        }
    }

    /// Changes what the reaper remembers, unless there is nothing to change; returns what it remembers.
    async fn remember(
        &self,
        change: impl Fn(&Memory, Timestamp) -> Option<Memory>,
    ) -> Result<Memory, Error> {
        remember(self.store, self.env, change).await
    }

    /// Whether to go on: not when the node drains, and not by a clock that has just jumped.
    async fn goes_on(&mut self) -> Result<bool, Error> {
        if !TaskKind::Reaper.works_in(*self.phase.borrow()) {
            self.report.unfinished = true;
            return Ok(false);
        }
        if self.report.held_until.is_none() && self.suspicion.look(self.store, self.env).await? {
            self.report.held_until = memory(self.store).await?.deletion_held_until;
        }
        Ok(self.report.held_until.is_none())
    }

    /// Takes more at once while that is quick, and less when it is not.
    fn adapt(&mut self, since: Duration) {
        let took = self.env.clock.monotonic().saturating_sub(since);
        let batch = if took < SLICE_TIME { self.batch * 2 } else { self.batch / 2 };
        self.batch = batch.clamp(SMALLEST_BATCH, SLICE as usize);
    }

    /// Lets others go first.
    async fn pause(&self, since: Duration) {
        let took = self.env.clock.monotonic().saturating_sub(since);
        self.env.clock.sleep(took.clamp(Duration::from_millis(1), SLICE_TIME)).await;
    }

    fn bench(&self) -> Bench {
        Bench {
            kinds: self.settings.retention.sessions,
            held_until: self.report.held_until,
            now: self.env.clock.now(),
        }
    }
}

/// What the reaper remembers.
pub(crate) async fn memory(store: &Store) -> Result<Memory, Error> {
    match known(store.read().get(RecordId::Reaper).await)? {
        Ok(Some(Record::Reaper(memory))) => Ok(memory),
        Ok(_) => Ok(Memory::default()),
        Err(error) => {
            tracing::error!(%error, "what the reaper remembers cannot be read; it begins anew");
            let unread = store.read().unreadable(Suspects::Reaper, 1).await?;
            let version = unread.first().map(|row| row.version).unwrap_or_default();
            Ok(Memory { version, ..Memory::default() })
        }
    }
}

async fn remember(
    store: &Store,
    env: &Env,
    change: impl Fn(&Memory, Timestamp) -> Option<Memory>,
) -> Result<Memory, Error> {
    let mut attempts = store.attempts("remember what the reaper does");
    loop {
        let now = memory(store).await?;
        let Some(next) = change(&now, env.clock.now()) else { return Ok(now) };
        if attempts.commit(vec![next.clone().into()]).await?.is_some() {
            return Ok(Memory { version: next.version.next(), ..next });
        }
    }
}

/// Holds all deletion for a while: the wall clock jumped.
pub(crate) async fn distrust(store: &Store, env: &Env, jump: ClockJump) -> Result<(), Error> {
    remember(store, env, |memory, now| Some(sweep::distrusted(memory, jump, now))).await.map(drop)
}

//! The alerts' loop raises an alert if and only if its condition holds and no active alert says so, and
//! clears an active one if and only if its condition holds no more.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use sexton_domain::alert::Alert;
use sexton_domain::change::{Change, Decision, Record, RecordId};
use sexton_domain::event::EventType;
use sexton_domain::name::HookName;
use sexton_domain::node::Node;
use sexton_domain::plan::admission::CatchUp;
use sexton_domain::plan::alerts::{self, Conditions, Snapshot, Space};
use sexton_domain::plan::reconcile::STABLE_AFTER;
use sexton_store::page::{Standing, Suspects, Tally, Unreadable};
use sexton_store::{Error, Store};
use tokio::sync::watch;

use crate::env::Env;
use crate::reaper::{self, Overdue};
use crate::settings::Settings;
use crate::suspicion::Suspicion;
use crate::tasks::TaskKind;
use crate::ticker::{Loop, MAX_PAUSE, Pass};
use crate::unreadable::known;

/// Jobs that are looked at; more that are troubled are no news.
const JOBS: u32 = 500;
/// Active alerts that are looked at: more than conditions can be.
const ACTIVE: u32 = 10_000;
/// The shortest time between two looks, however often something changes.
const PACE: Duration = Duration::from_secs(1);

/// The loop.
pub(crate) struct Alerts {
    pub(crate) env: Env,
    pub(crate) store: Store,
    /// This epoch, as it began.
    pub(crate) node: Node,
    pub(crate) settings: watch::Receiver<Arc<Settings>>,
    /// Whether this start was one of many.
    pub(crate) catch_up: CatchUp,
    /// When it began, on the monotonic clock.
    pub(crate) began: Duration,
    /// When it may look again, on the monotonic clock.
    pub(crate) next: Duration,
    pub(crate) suspicion: Suspicion,
    pub(crate) overdue: Arc<Overdue>,
}

#[async_trait]
impl Loop for Alerts {
    fn kind(&self) -> TaskKind {
        TaskKind::Alerts
    }

    async fn run_once(&mut self, _: Timestamp) -> Result<Pass, Error> {
        let pass = self.look().await;
        if pass.is_err() {
            self.overdue.excuse(&self.env);
        }
        pass
    }
}

impl Alerts {
    async fn look(&mut self) -> Result<Pass, Error> {
        let now = self.env.clock.monotonic();
        self.env.clock.sleep(self.next.saturating_sub(now)).await;
        self.next = self.env.clock.monotonic() + PACE;
        let store = self.store.clone();
        let mut attempts = store.attempts("raise and clear alerts");
        loop {
            let tally = store.read().tally().await?;
            let conditions = self.conditions(&tally).await?;
            let stored = match known(self.stored(&conditions, &tally).await)? {
                Ok(stored) => stored,
                Err(error) if self.forget_unreadable().await? == 0 => return Err(error),
                Err(_) => continue,
            };
            let decision = alerts::follow(&conditions, &stored, &mut self.env.moment());
            if decision.is_empty() {
                return Ok(Pass::after(0, MAX_PAUSE));
            }
            if attempts.commit(decision.changes.clone()).await?.is_some() {
                log(&decision);
                return Ok(Pass::after(decision.changes.len(), MAX_PAUSE));
            }
        }
    }

    /// What holds now.
    async fn conditions(&mut self, tally: &Tally) -> Result<Conditions, Error> {
        // By a clock that has just jumped everything is overdue.
        self.suspicion.look_on(&self.store, &self.env).await?;
        let settings = Arc::clone(&self.settings.borrow());
        let now = self.env.clock.now();
        let jobs = match tally.troubled {
            0 => Vec::new(),
            _ => self.store.read().troubled_jobs(JOBS).await?,
        };
        let memory = reaper::memory(&self.store).await?;
        let overdue = self.overdue.count(&self.store, &self.env, &settings, &memory).await?;
        let stable = self.env.clock.monotonic() >= self.began + STABLE_AFTER.to_std();
        let stats = self.store.read().stats();
        let snapshot = Snapshot {
            epoch: self.node.epoch,
            jobs: &jobs,
            dead: &dead(tally, &settings),
            overdue,
            deletion_held_until: memory.held_until(now),
            catch_up: if stable { CatchUp::Paced } else { self.catch_up },
            space: Space {
                store_bytes: stats.store_bytes.saturating_add(stats.wal_bytes),
                log_bytes: stats.wal_bytes,
                free_bytes: stats.free_bytes,
                alarm_bytes: settings.store_alarm_bytes,
            },
            faults: &memory.faults,
        };
        Ok(alerts::conditions(snapshot))
    }

    /// The alerts that are active, and what is known of those that are not and would be raised.
    async fn stored(&self, conditions: &Conditions, tally: &Tally) -> Result<Vec<Alert>, Error> {
        let mut stored = match tally.alerts {
            0 => Vec::new(),
            _ => self.store.read().alerts(ACTIVE).await?,
        };
        stored.retain(Alert::is_active);
        if (stored.len() as u64) < tally.alerts {
            self.forget_unreadable().await?;
        }
        let known: BTreeSet<_> = stored.iter().map(|alert| alert.key.clone()).collect();
        for key in conditions.keys().filter(|key| !known.contains(key)) {
            if let Some(Record::Alert(alert)) =
                self.store.read().get(RecordId::Alert(key.clone())).await?
            {
                stored.push(alert);
            }
        }
        Ok(stored)
    }

    /// Deletes alerts whose rows cannot be read, so that what they were about can be told again. Returns
    /// how many.
    async fn forget_unreadable(&self) -> Result<usize, Error> {
        let unread = self.store.read().unreadable(Suspects::Alerts, ACTIVE).await?;
        let mut changes = Vec::new();
        for Unreadable { id, version, .. } in unread {
            tracing::error!(row = ?id, "an alert cannot be read; it is forgotten");
            changes.push(Change::Delete(id, version));
        }
        let forgotten = changes.len();
        if forgotten > 0 {
            self.store.attempts("forget alerts").commit(changes).await?;
        }
        Ok(forgotten)
    }
}

/// Dead letters of the hooks that there are.
fn dead(tally: &Tally, settings: &Settings) -> BTreeMap<HookName, u64> {
    let dead = tally.deliveries.iter().filter(|((hook, standing), _)| {
        *standing == Standing::Dead && settings.hooks.contains_key(hook)
    });
    dead.map(|((hook, _), count)| (hook.clone(), *count)).collect()
}

/// One line each.
fn log(decision: &Decision) {
    for change in &decision.changes {
        let Change::Emit(event) = change else { continue };
        let text = |name: &str| event.data[name].as_str().unwrap_or_default().to_owned();
        let (code, about, message) = (text("code"), text("about"), text("message"));
        match event.kind {
            EventType::AlertRaised => tracing::warn!(code, about, "alert: {message}"),
            _ => tracing::info!(code, about, "alert cleared: {message}"),
        }
    }
}

//! Hooks and deliveries by the handle.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use sexton_domain::change::Decision;
use sexton_domain::hook::{Delivery, Hook};
use sexton_domain::id::DeliveryId;
use sexton_domain::name::HookName;
use sexton_domain::plan::deliveries;
use sexton_store::page::{DeliveryFilter, Page, PageRequest, Standing};

use super::{Error, Handle};
use crate::courier::Reply;
use crate::hooks::{Letter, Parcel, send};
use crate::settings::HookSettings;

/// A test waits no longer than this for its answer: somebody waits for it.
const LONGEST_TEST: sexton_domain::duration::Duration =
    sexton_domain::duration::Duration::from_secs(25);

/// A hook with what is known of it.
#[derive(Debug, Clone)]
pub struct HookState {
    /// Its name.
    pub name: HookName,
    /// What the config says of it; none when offline.
    pub settings: Option<HookSettings>,
    /// What the store says of it; none for one that was just added.
    pub record: Option<Hook>,
    /// Deliveries that are still to go out.
    pub pending: u64,
    /// Deliveries of the last day.
    pub delivered: u64,
    /// Deliveries that were given up.
    pub dead: u64,
}

/// What came of a test of a hook.
#[derive(Debug, Clone)]
pub struct HookTest {
    /// What the hook answered.
    pub reply: Reply,
    /// How long it took.
    pub took: Duration,
}

/// Whether a hook is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Switch {
    /// It is, and gets what it missed.
    On,
    /// It is not; what it misses waits.
    Off,
}

impl Handle {
    /// Every hook, by name.
    ///
    /// # Errors
    ///
    /// When the store fails.
    pub async fn hooks(&self) -> Result<Vec<HookState>, Error> {
        let settings = self.settings().map(|settings| settings.hooks.clone()).unwrap_or_default();
        let records = self.0.store.read().hooks().await?;
        let counts = self.0.store.read().tally().await?.deliveries;
        let names: BTreeSet<&HookName> =
            settings.keys().chain(records.iter().map(|hook| &hook.name)).collect();
        let state = |name: &HookName| {
            let count =
                |standing| counts.get(&(name.clone(), standing)).copied().unwrap_or_default();
            HookState {
                name: name.clone(),
                settings: settings.get(name).cloned(),
                record: records.iter().find(|hook| hook.name == *name).cloned(),
                pending: count(Standing::Pending),
                delivered: count(Standing::Delivered),
                dead: count(Standing::Dead),
            }
        };
        Ok(names.into_iter().map(state).collect())
    }

    /// Switches a hook on or off. What is like that already stays as it is.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`], or when the store fails.
    pub async fn switch_hook(&self, name: &HookName, switch: Switch) -> Result<HookState, Error> {
        let online = self.writable()?;
        let mut attempts = self.0.store.attempts("switch a hook");
        loop {
            let hook = self.0.store.hook(name.clone()).await?.ok_or_else(|| unknown(name))?;
            let mut moment = online.env.moment();
            let decision = match switch {
                Switch::On => deliveries::enable(&hook, &mut moment),
                Switch::Off => deliveries::disable(&hook, deliveries::OPERATOR, &mut moment),
            };
            if decision.is_empty() {
                break;
            }
            attempts.commit(decision.changes).await?;
        }
        online.hooks.recheck(name);
        let mut hooks = self.hooks().await?;
        hooks.retain(|hook| hook.name == *name);
        hooks.pop().ok_or_else(|| unknown(name))
    }

    /// Deliveries, newest first.
    ///
    /// # Errors
    ///
    /// When the store fails.
    pub async fn deliveries(
        &self,
        filter: DeliveryFilter,
        page: PageRequest<DeliveryId>,
    ) -> Result<Page<Delivery, DeliveryId>, Error> {
        Ok(self.0.store.read().deliveries(filter, page).await?)
    }

    /// Sends a delivery again that was acknowledged or given up, outside the order of its session.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`] when the delivery or its hook or its event is gone, [`Error::Pending`], or when
    /// the store fails.
    pub async fn redeliver(&self, id: DeliveryId) -> Result<Delivery, Error> {
        let online = self.writable()?;
        let mut attempts = self.0.store.attempts("redeliver");
        loop {
            let delivery = self.delivery(id).await?;
            let hook = &delivery.hook;
            if self.0.store.hook(hook.clone()).await?.is_none() {
                return Err(unknown(hook));
            }
            if self.0.store.read().event(delivery.event).await?.is_none() {
                return Err(Error::NotFound { what: "event", id: delivery.event.to_string() });
            }
            let Ok(Decision { changes, .. }) =
                deliveries::redeliver(&delivery, &online.env.moment())
            else {
                return Err(Error::Pending { id });
            };
            if attempts.commit(changes).await?.is_some() {
                return self.delivery(id).await;
            }
        }
    }

    /// Sends a hook a made-up event now, on or off, and returns what it answered. Nothing is stored.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`], or [`Error::Unavailable`] when the node stops meanwhile.
    pub async fn test_hook(&self, name: &HookName) -> Result<HookTest, Error> {
        let online = self.writable()?;
        let settings = Arc::clone(&online.settings.borrow());
        let hook = settings.hooks.get(name).ok_or_else(|| unknown(name))?;
        let timeout = hook.timeout.min(LONGEST_TEST);
        let hook = &HookSettings { timeout, ..hook.clone() };
        let (delivery, event) = deliveries::sample(&hook.subscription, &mut online.env.moment());
        let letter = Letter { delivery, event, gap: false };
        let parcel = Parcel { letter: &letter, late: false, settings: &settings, hook };
        let since = online.env.clock.monotonic();
        let reply = send(&online.env, parcel, online.hooks.closing()).await;
        let took = online.env.clock.monotonic().saturating_sub(since);
        let reply = reply.ok_or_else(|| Error::Unavailable(self.phase()))?;
        Ok(HookTest { reply, took })
    }

    async fn delivery(&self, id: DeliveryId) -> Result<Delivery, Error> {
        let delivery = self.0.store.delivery(id).await?;
        delivery.ok_or(Error::NotFound { what: "delivery", id: id.to_string() })
    }
}

fn unknown(name: &HookName) -> Error {
    Error::NotFound { what: "hook", id: name.to_string() }
}

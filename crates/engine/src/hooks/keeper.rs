//! The hooks' keeper acts on a hook if and only if the config has it and the store does not, or the
//! other way round, and on a delivery if and only if it is pending and, by a clock that is to be trusted,
//! older than its hook allows.

use std::collections::BTreeSet;

use async_trait::async_trait;
use jiff::Timestamp;
use sexton_domain::change::{Change, RecordId};
use sexton_domain::hook::{Delivery, Subscription};
use sexton_domain::name::HookName;
use sexton_domain::plan::deliveries;
use sexton_store::page::{DeliveryFilter, MAX_PAGE, PageRequest, Standing, Suspects, Unreadable};
use sexton_store::{CommitError, Error, Store};

use super::line::BUSY_PAUSE;
use super::{Hooks, Inner, PAGE};
use crate::env::Env;
use crate::reaper;
use crate::settings::Settings;
use crate::tasks::TaskKind;
use crate::ticker::{Loop, MAX_PAUSE, Pass};
use crate::unreadable::{known, readable};

/// Brings the store's hooks in line with the config's, before an event is committed that they are to be
/// told: what is new is told from now on, what is gone is given up with what it was still to be told.
pub(crate) async fn bring_in_line(
    store: &Store,
    env: &Env,
    settings: &Settings,
) -> Result<(), Error> {
    let mut attempts = store.attempts("bring the hooks in line with the config");
    loop {
        let known = store.read().hooks().await?;
        let is_known = |name: &&HookName| known.iter().any(|hook| hook.name == **name);
        let moment = env.moment();
        let new = settings.hooks.keys().filter(|name| !is_known(name));
        let unread = store.read().unreadable(Suspects::Hooks, MAX_PAGE).await?;
        let anew = |name: &HookName| {
            let id = RecordId::Hook(name.clone());
            let unread = unread.iter().find(|row| row.id == id);
            if unread.is_some() {
                tracing::error!(hook = %name, "this hook's record cannot be read; it begins anew, and is on");
            }
            deliveries::add(name, unread.map(|row| row.version).unwrap_or_default(), &moment)
                .changes
        };
        let changes: Vec<_> = new.flat_map(anew).collect();
        if changes.is_empty() || attempts.commit(changes).await?.is_some() {
            break;
        }
    }
    let told = settings.hooks.values().map(|hook| hook.subscription.clone());
    store.tell(told.collect());
    for name in abandoned(store, settings).await? {
        tracing::warn!(hook = %name, "this hook is no longer in the config; what it was to be told is given up");
        remove(store, env, &name).await?;
    }
    Ok(())
}

/// Hooks that the store knows, or has something for, and the config does not.
async fn abandoned(store: &Store, settings: &Settings) -> Result<BTreeSet<HookName>, Error> {
    let known = store.read().hooks().await?.into_iter().map(|hook| hook.name);
    let unread = store.read().unreadable(Suspects::Hooks, MAX_PAGE).await?;
    let unread = unread.into_iter().filter_map(|row| match row.id {
        RecordId::Hook(name) => Some(name),
        _ => None,
    });
    let owed = store.read().tally().await?.deliveries;
    let owed = owed
        .into_iter()
        .filter(|((_, standing), count)| *standing == Standing::Pending && *count > 0);
    let names = known.chain(unread).chain(owed.map(|((name, _), _)| name));
    Ok(names.filter(|name| !settings.hooks.contains_key(name)).collect())
}

/// A page at a time, and again until nothing is left: what was committed just before it left the config may
/// come in between.
async fn remove(store: &Store, env: &Env, name: &HookName) -> Result<(), Error> {
    let mut attempts = store.attempts("remove a hook");
    let filter =
        DeliveryFilter { hook: Some(name.clone()), state: Some(Standing::Pending), session: None };
    loop {
        let pending = store.read().deliveries(filter.clone(), PageRequest::first(MAX_PAGE)).await?;
        let is_last = pending.next.is_none();
        let hook = match is_last {
            true => readable(store.hook(name.clone()).await, "a hook's record is deleted unread")?,
            false => None,
        };
        let mut decision =
            deliveries::remove(name, hook.as_ref(), &pending.items, &mut env.moment());
        if is_last {
            let hooks = store.read().unreadable(Suspects::Hooks, MAX_PAGE).await?;
            let unread = hooks.into_iter().filter(|row| row.id == RecordId::Hook(name.clone()));
            let letters = Suspects::Deliveries(name.clone());
            let letters = store.read().unreadable(letters, MAX_PAGE).await?;
            let unread = unread.chain(letters).map(|row| Change::Delete(row.id, row.version));
            decision.changes.extend(unread);
        }
        if decision.is_empty() {
            return Ok(());
        }
        attempts.commit(decision.changes).await?;
    }
}

/// The keeper of the hooks.
#[derive(Debug)]
pub(super) struct Keeper {
    hooks: Hooks,
    /// The wall clock may have been ahead when waits were decided on: before this start, or before a jump.
    was_ahead: bool,
}

#[async_trait]
impl Loop for Keeper {
    fn kind(&self) -> TaskKind {
        TaskKind::Hooks
    }

    async fn run_once(&mut self, now: Timestamp) -> Result<Pass, Error> {
        if *self.hooks.0.closing.borrow() {
            // The report of the stop counts what is pending.
            return Ok(Pass::after(0, MAX_PAUSE));
        }
        let settings = self.hooks.settings();
        self.hooks.man_the_lines(&settings);
        bring_in_line(&self.hooks.0.store, &self.hooks.0.env, &settings).await?;
        let mut next = self.held_until().await?;
        let was_ahead = std::mem::take(&mut self.was_ahead);
        let mut expired = 0;
        for hook in settings.hooks.values() {
            // One hook's rows that cannot be read keep no other from being looked at.
            match self.see_to(&hook.subscription, was_ahead).await {
                Ok((count, oldest)) => {
                    expired += count;
                    next = next.into_iter().chain(oldest).min();
                }
                Err(error) => {
                    self.was_ahead |= was_ahead;
                    let hook = &hook.subscription.hook;
                    tracing::error!(%hook, %error, "old deliveries could not be looked at");
                }
            }
        }
        Ok(Pass::until(expired, next, now))
    }
}

impl Keeper {
    pub(super) fn new(hooks: Hooks) -> Self {
        Self { hooks, was_ahead: true }
    }

    /// Looks at the clocks. Until the instant that is returned nothing is too old, because the wall clock
    /// is not to be trusted.
    async fn held_until(&mut self) -> Result<Option<Timestamp>, Error> {
        let Inner { env, store, held_until, suspicion, .. } = &*self.hooks.0;
        suspicion.lock().await.look(store, env).await?;
        let until = reaper::memory(store).await?.held_until(env.clock.now());
        // Others may have seen a jump that was over before this look, and what was decided by such a clock may
        // be stored after it.
        self.was_ahead |= until.is_some();
        held_until.send_replace(until);
        Ok(until)
    }

    /// Everything about one hook's deliveries. Says how many were given up, and when the next one is.
    async fn see_to(
        &mut self,
        hook: &Subscription,
        was_ahead: bool,
    ) -> Result<(usize, Option<Timestamp>), Error> {
        self.mend(hook).await?;
        if was_ahead {
            self.bring_forward(hook).await?;
        }
        self.expire(hook).await
    }

    async fn bring_forward(&self, hook: &Subscription) -> Result<(), Error> {
        let Inner { env, store, .. } = &*self.hooks.0;
        let mut attempts = store.attempts("bring deliveries forward that wait by a wrong clock");
        let pending = Some(Standing::Pending);
        let filter =
            DeliveryFilter { hook: Some(hook.hook.clone()), state: pending, session: None };
        let mut page = PageRequest::first(MAX_PAGE);
        loop {
            let found = store.read().deliveries(filter.clone(), page).await?;
            let decision = deliveries::bring_forward(&found.items, hook, &env.moment());
            if !decision.is_empty() && attempts.commit(decision.changes).await?.is_none() {
                continue;
            }
            let Some(last) = found.next else { return Ok(()) };
            page.after = Some(last);
        }
    }

    /// Writes deliveries anew whose rows cannot be read: they would keep their lanes for ever. One whose
    /// event is gone as well is given up.
    async fn mend(&self, Subscription { hook, .. }: &Subscription) -> Result<(), Error> {
        let Inner { env, store, .. } = &*self.hooks.0;
        let unread = store.read().unreadable(Suspects::Deliveries(hook.clone()), MAX_PAGE).await?;
        for Unreadable { id, version, event } in unread {
            let RecordId::Delivery(id) = id else { continue };
            let event = match event {
                Some(event) => known(store.read().event(event).await)?.unwrap_or(None),
                None => None,
            };
            tracing::error!(%hook, delivery.id = %id, event = event.is_some(),
                "a pending delivery cannot be read; it is written anew from its event, or given up without");
            let lost = deliveries::Unread { id, version, hook, event: event.as_ref() };
            match store.commit(deliveries::mend(lost, &mut env.moment()).changes).await {
                Err(CommitError::Failed(error)) => return Err(error),
                // Found again by the next look, if it is still so.
                Ok(_) => store.nudge_hook(hook),
                Err(CommitError::Conflict(_) | CommitError::AnswerLost) => {}
            }
        }
        Ok(())
    }

    /// Gives up what is too old; says how much that was and when the next one is.
    async fn expire(&mut self, hook: &Subscription) -> Result<(usize, Option<Timestamp>), Error> {
        let hooks = self.hooks.clone();
        let Inner { env, store, .. } = &*hooks.0;
        let mut attempts = store.attempts("give up old deliveries");
        let mut expired = 0;
        loop {
            let mut oldest = store.read().oldest_deliveries(hook.hook.clone(), PAGE).await?;
            // What is on its way, because it was not too old then, has its answer first.
            let busy = hooks.desk(&hook.hook).map(|desk| desk.busy()).unwrap_or_default();
            let soon = BUSY_PAUSE.after(env.clock.now());
            let look_at = |delivery: &Delivery| {
                let end = hook.max_age.after(delivery.since());
                if busy.contains(&delivery.id) { end.max(soon) } else { end }
            };
            let next = oldest.iter().map(look_at).min();
            oldest.retain(|delivery| !busy.contains(&delivery.id));
            let changes = deliveries::expire(&oldest, hook, &mut env.moment()).changes;
            if changes.is_empty() {
                return Ok((expired, next));
            }
            if self.held_until().await?.is_some() {
                return Ok((expired, None));
            }
            // Each with its event.
            let count = changes.len() / 2;
            if attempts.commit(changes).await?.is_some() {
                tracing::warn!(hook = %hook.hook, count, "deliveries were given up: they are too old");
                expired += count;
            }
        }
    }
}

//! Reads of hooks and of what is on its way to them.

use jiff::Timestamp;
use rusqlite::types::Value;
use rusqlite::{OptionalExtension, params};
use sexton_domain::event::Event;
use sexton_domain::hook::{Delivery, Hook};
use sexton_domain::id::{DeliveryId, SessionId};
use sexton_domain::name::HookName;
use sexton_store::page::{DeliveryFilter, Page, PageRequest, Standing};

use crate::codec;
use crate::fail::Fail;
use crate::read::log::read_event;
use crate::read::page::{Condition, Ids, Scan};
use crate::read::{View, at_most};
use crate::table;

pub(crate) const HOOKS: &str = "SELECT name, body FROM hook ORDER BY name";
pub(crate) const DUE: &str = "SELECT delivery.id, delivery.body, event.seq, event.body \
     FROM delivery INDEXED BY delivery_due CROSS JOIN event ON event.seq = delivery.seq \
     WHERE hook = ? AND state = 'pending' AND head = 1 AND delivery.at <= ? \
     ORDER BY delivery.at, delivery.seq";
pub(crate) const NEXT: &str = "SELECT id, body, at FROM delivery INDEXED BY delivery_due \
     WHERE hook = ? AND state = 'pending' AND head = 1 AND seq > 0 ORDER BY at";
pub(crate) const OLDEST: &str = "SELECT id, body FROM delivery INDEXED BY delivery_oldest \
     WHERE hook = ? AND state = 'pending' ORDER BY seq";
pub(crate) const LANE: &str = "SELECT id, body FROM delivery INDEXED BY delivery_lane \
     WHERE session = ? AND hook = ? AND session IS NOT NULL ORDER BY seq";
pub(crate) const UNDELIVERED: &str = "SELECT 1 FROM delivery INDEXED BY delivery_waiting \
     WHERE session = ? AND state = 'pending' AND session IS NOT NULL \
     AND ifnull(json_extract(body, '$.event_type'), 'session.ended') \
         IN ('session.started', 'session.ended') LIMIT 1";
pub(crate) const TOLD_HOOKS: &str =
    "SELECT a FROM counter WHERE what = 'delivery' AND b = ? AND n > 0";

/// See [`sexton_store::Driver::hooks`].
pub(crate) fn hooks(view: &View<'_>) -> Result<Vec<Hook>, Fail> {
    view.list(HOOKS, Vec::new(), usize::MAX)
}

/// See [`sexton_store::Driver::due_deliveries`].
pub(crate) fn due(
    view: &View<'_>,
    hook: &HookName,
    now: Timestamp,
    limit: u32,
) -> Result<Vec<(Delivery, Event)>, Fail> {
    let values = vec![codec::text(hook.as_str()), codec::time(now)];
    view.collect(DUE, values, at_most(limit), |row| Ok((table::read(row)?, read_event(row, 2)?)))
}

/// See [`sexton_store::Driver::next_delivery`].
pub(crate) fn next(view: &View<'_>, hook: &HookName) -> Result<Option<Timestamp>, Fail> {
    view.first_time::<Delivery>(NEXT, vec![codec::text(hook.as_str())])
}

/// See [`sexton_store::Driver::oldest_deliveries`].
pub(crate) fn oldest(view: &View<'_>, hook: &HookName, limit: u32) -> Result<Vec<Delivery>, Fail> {
    view.list(OLDEST, vec![codec::text(hook.as_str())], at_most(limit))
}

/// See [`sexton_store::Driver::lanes`].
pub(crate) fn lanes(
    view: &View<'_>,
    hook: &HookName,
    sessions: Vec<SessionId>,
    limit: u32,
) -> Result<Vec<Delivery>, Fail> {
    let mut lanes = Vec::new();
    for session in sessions {
        let values = vec![codec::id(session.uuid()), codec::text(hook.as_str())];
        lanes.extend(view.list(LANE, values, at_most(limit))?);
    }
    Ok(lanes)
}

/// See [`sexton_store::Driver::undelivered`].
pub(crate) fn undelivered(
    view: &View<'_>,
    sessions: Vec<SessionId>,
) -> Result<Vec<SessionId>, Fail> {
    view.those(UNDELIVERED, sessions)
}

/// See [`sexton_store::Driver::deliveries`].
pub(crate) fn page(
    view: &View<'_>,
    filter: &DeliveryFilter,
    page: PageRequest<DeliveryId>,
) -> Result<Page<Delivery, DeliveryId>, Fail> {
    let scan = match (filter, filter.state) {
        (DeliveryFilter { hook: None, session: None, .. }, Some(state)) => {
            let hooks = told_hooks(view, state)?;
            if hooks.is_empty() {
                return Ok(Page { items: Vec::new(), next: None });
            }
            by_state(&hooks, state)
        }
        _ => scan(filter),
    };
    scan.page(view, &Ids::all().after(page.after.map(DeliveryId::uuid)), page.limit)
}

/// How a list is read: along the index of the filter that leaves the fewest rows. One by state alone
/// goes hook by hook, see [`by_state`].
pub(crate) fn scan(filter: &DeliveryFilter) -> Scan {
    let equals = |sql, value| Condition::new(sql, vec![value]);
    let state_is = |state: Standing| equals("state = ?", codec::text(state.name()));
    let hook = filter.hook.as_ref().map(|hook| equals("hook = ?", codec::text(hook.as_str())));
    let state = filter.state.map(state_is).unwrap_or_default();
    match (filter.session, hook) {
        (Some(session), hook) => {
            let arm = equals("session = ?", codec::id(session.uuid()));
            Scan::along("delivery_session", arm, hook.unwrap_or_default().and(state))
        }
        (None, Some(hook)) => {
            let states = filter.state.map_or(Standing::ALL.to_vec(), |state| vec![state]);
            let arms = states.into_iter().map(|state| hook.clone().and(state_is(state))).collect();
            Scan { index: Some("delivery_hook"), arms, rest: Condition::none() }
        }
        (None, None) => Scan::by_id(state),
    }
}

/// Along the deliveries of each hook that has some in this state.
pub(crate) fn by_state(hooks: &[String], state: Standing) -> Scan {
    let arm = |hook: &String| {
        let values = vec![codec::text(hook), codec::text(state.name())];
        Condition::new("hook = ? AND state = ?", values)
    };
    let arms = hooks.iter().map(arm).collect();
    Scan { index: Some("delivery_hook"), arms, rest: Condition::none() }
}

fn told_hooks(view: &View<'_>, state: Standing) -> rusqlite::Result<Vec<String>> {
    let mut statement = view.db.prepare_cached(TOLD_HOOKS)?;
    statement.query_map(params![state.name()], |row| row.get(0))?.collect()
}

impl View<'_> {
    /// Those of some sessions for which a query by session has an answer.
    pub(super) fn those(
        &self,
        sql: &str,
        mut sessions: Vec<SessionId>,
    ) -> Result<Vec<SessionId>, Fail> {
        let mut statement = self.db.prepare_cached(sql)?;
        let mut failed = None;
        sessions.retain(|session| {
            let key: Value = codec::id(session.uuid());
            let found = statement.query_row([key], |_| Ok(())).optional();
            found.map_err(|error| failed = Some(error)).is_ok_and(|found| found.is_some())
        });
        match failed {
            Some(error) => Err(error.into()),
            None => Ok(sessions),
        }
    }
}

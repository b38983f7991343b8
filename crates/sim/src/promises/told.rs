//! P3: every end is told.

use jiff::Timestamp;
use serde_json::Value;
use sexton_domain::change::{Record, RecordId};
use sexton_domain::duration::Duration;
use sexton_domain::event::{Event, EventType, NewEvent};
use sexton_domain::hook::{DeadReason, Delivery, DeliveryState};
use sexton_domain::name::HookName;
use sexton_domain::node::Epoch;
use sexton_domain::plan::deliveries::GONE;
use sexton_store::Driver;

use super::Kept;
use crate::diary::{Broken, Promise};
use crate::ledger::{Ledger, inline};
use crate::mailbox::{Letter, Received};
use crate::subscribers::Subscriber;
use crate::teller::Teller;

/// How long a delivery that could go out may not have, where nothing goes wrong.
const PATIENCE: Duration = Duration::from_secs(90);

pub(crate) fn broken(how: impl Into<String>) -> Broken {
    Broken::new(Promise::P3, how)
}

/// P3: no event without its deliveries, in the same commit: one for each hook that is told it. Where the
/// config changes at that moment, each of `laws` counts; the last one holds now.
pub(crate) fn p3_outbox(
    event: &NewEvent,
    deliveries: &[&Delivery],
    laws: &[&[Subscriber]],
) -> Kept {
    let wants = |hooks: &&[Subscriber], name: &HookName| {
        hooks.iter().any(|hook| hook.name == *name && hook.is_told(event))
    };
    let mut told: Vec<&HookName> = deliveries.iter().map(|delivery| &delivery.hook).collect();
    let now = laws.last().into_iter().copied().flatten();
    for hook in now.filter(|hook| laws.iter().all(|law| wants(law, &hook.name))) {
        if !told.contains(&&hook.name) {
            let (id, kind, name) = (event.id, event.kind, &hook.name);
            return Err(broken(format!("{id} ({kind}) has no delivery to {name}")));
        }
    }
    if let Some(name) = told.iter().find(|name| !laws.iter().any(|law| wants(law, name))) {
        let (id, kind) = (event.id, event.kind);
        return Err(broken(format!(
            "{id} ({kind}) has a delivery to {name}, which does not want it"
        )));
    }
    told.sort();
    match told.windows(2).find(|pair| pair[0] == pair[1]) {
        None => Ok(()),
        Some(pair) => Err(broken(format!("{} has two deliveries to {}", event.id, pair[0]))),
    }
}

/// How a delivery was stored anew.
pub(crate) struct Move<'a> {
    pub(crate) before: Option<&'a Delivery>,
    pub(crate) after: &'a Delivery,
    /// Its hook, as the config has it now.
    pub(crate) hook: Option<&'a Subscriber>,
    /// The hook has taken it at least once.
    pub(crate) taken: bool,
    /// What the wall clock shows.
    pub(crate) wall: Timestamp,
    /// The latest time that it may have been decided at.
    pub(crate) now: Timestamp,
    /// The wall clock has jumped, and everybody knows it.
    pub(crate) distrusted: bool,
}

/// P3: a delivery keeps its identity, is delivered when its hook has it, is given up for the reason that
/// it names, and comes back only by hand.
pub(crate) fn p3_moves(moved: &Move<'_>) -> Kept {
    use DeliveryState::{Dead, Delivered, Pending};
    let Move { before, after, hook, taken, wall, now, distrusted } = *moved;
    let id = after.id;
    let no = |how: String| Err(broken(format!("delivery {id} to {}: {how}", after.hook)));
    let Some(before) = before else {
        return match after.state {
            Pending { .. } => Ok(()),
            state => no(format!("it begins as {state:?}")),
        };
    };
    if (before.event, &before.hook, before.session) != (after.event, &after.hook, after.session) {
        return no(format!("it was {before:?}"));
    }
    match (before.state, after.state) {
        (Pending { next_at: was }, Pending { next_at: is }) => {
            let failed =
                after.attempts > before.attempts && after.last_error.as_deref() != Some(GONE);
            // By a clock that was set back meanwhile nothing can be said.
            let failing = hook.filter(|_| failed && was <= wall);
            let wait = failing.map(|hook| hook.shortest_wait(after.attempts));
            match wait.is_some_and(|wait| is < wait.after(was)) {
                true => no(format!("due at {was}, it failed and is tried again as soon as {is}")),
                false => Ok(()),
            }
        }
        (Pending { .. }, Delivered { .. }) if taken => Ok(()),
        (Pending { .. }, Delivered { .. }) => no("it is delivered and never arrived".to_owned()),
        (Pending { .. }, Dead { why: DeadReason::MaxAge, .. }) if distrusted => {
            no("it is given up for its age although the wall clock jumped a while ago".to_owned())
        }
        (Pending { .. }, Dead { why, .. }) => {
            let allowed = match (why, hook) {
                (DeadReason::HookRemoved, hook) => hook.is_none(),
                (DeadReason::MaxAttempts, Some(hook)) => after.attempts >= hook.max_attempts,
                (DeadReason::MaxAge, Some(hook)) => {
                    Duration::between(after.since(), now) >= hook.max_age
                }
                (_, None) => true,
            };
            let tries = after.attempts;
            if allowed { Ok(()) } else { no(format!("it is dead ({why:?}) after {tries} tries")) }
        }
        (Delivered { .. } | Dead { .. }, Pending { .. }) if after.by_hand => Ok(()),
        (was, is) if was == is => Ok(()),
        (was, is) => no(format!("it was {was:?} and is {is:?}")),
    }
}

/// P3: what is given up by its tries or its age is dead-lettered: that is told in the same commit.
pub(crate) fn p3_dead_is_told(
    before: Option<&Delivery>,
    after: &Delivery,
    events: &[NewEvent],
) -> Kept {
    let DeliveryState::Dead { why: DeadReason::MaxAttempts | DeadReason::MaxAge, .. } = after.state
    else {
        return Ok(());
    };
    if before.is_some_and(|before| before.state == after.state) {
        return Ok(());
    }
    let id = after.id.to_string();
    let is_told = |event: &NewEvent| {
        event.kind == EventType::HookDeadLettered && event.data["delivery_id"] == *id
    };
    match events.iter().any(is_told) {
        true => Ok(()),
        false => Err(broken(format!("delivery {id} to {} is given up untold", after.hook))),
    }
}

/// A letter, and where to look what is stored.
#[derive(Clone, Copy)]
pub(crate) struct Arrival<'a> {
    pub(crate) hook: &'a Subscriber,
    pub(crate) letter: Letter<'a>,
    pub(crate) store: &'a dyn Driver,
    /// Who sends it.
    pub(crate) teller: &'a Teller,
}

/// P3: a letter is a delivery of its hook. All that can be said while two gateways tell.
pub(crate) fn p3_known(ledger: &Ledger, arrival: Arrival<'_>) -> Kept {
    let Arrival { hook, letter, .. } = arrival;
    match ledger.deliveries.get(&letter.delivery).filter(|row| row.hook == hook.name) {
        Some(_) => Ok(()),
        None => {
            let (id, name) = (letter.delivery, &hook.name);
            Err(broken(format!("a letter ({id}) arrives at {name}: no such delivery is stored")))
        }
    }
}

/// P3: a letter is a pending delivery of its hook, under a stable id, with its event as it is in the log,
/// in the order of its (hook, session), and `late`, `gap` and `attempt` are true.
pub(crate) fn p3_letter(ledger: &Ledger, received: &mut Received, arrival: Arrival<'_>) -> Kept {
    let Arrival { hook, letter, store, teller } = arrival;
    let no = |how: String| {
        Err(broken(format!("a letter ({}) arrives at {}: {how}", letter.delivery, hook.name)))
    };
    let Some(row) = ledger.deliveries.get(&letter.delivery) else {
        return no("no such delivery is stored".to_owned());
    };
    let pending = matches!(row.state, DeliveryState::Pending { .. });
    if row.hook != hook.name || !pending {
        return no(format!("its delivery is {:?} to {}", row.state, row.hook));
    }
    let Some(event) = ledger.event(row.event) else {
        return no(format!("its event {} is not in the log", row.event));
    };
    let said: Value = serde_json::from_str(letter.body).unwrap_or_default();
    let whole = said["id"] == event.fact.id.to_string()
        && said["type"] == event.fact.kind.name()
        && said["seq"] == event.seq
        && said["data"] == event.fact.data;
    if !whole {
        return no(format!("it says {said} of {event:?}"));
    }
    if said["attempt"] != row.attempts + 1 {
        return no(format!("it says attempt {}, {} were made", said["attempt"], row.attempts));
    }
    let teller = teller.epoch().unwrap_or(Epoch::new(0, 0));
    let late = is_late(store, ledger, event, teller);
    if said["late"] != late {
        return no(format!("it says late {}; told by {teller}, it is {event:?}", said["late"]));
    }
    let gap = is_gap(ledger, event, arrival);
    if gap.is_some_and(|gap| said["gap"] != gap) {
        let lane = row.session.into_iter().flat_map(|it| ledger.deliveries_about(it));
        let lane: Vec<_> = lane.filter(|it| it.hook == row.hook).collect();
        return no(format!("it says gap {}, of the start is known {gap:?}: {lane:?}", said["gap"]));
    }
    if row.by_hand { Ok(()) } else { in_order(ledger, received, event, row) }
}

/// Whether an event about a session is told by another epoch than the one that kept it.
fn is_late(store: &dyn Driver, ledger: &Ledger, event: &Event, teller: Epoch) -> bool {
    let Some(id) = event.fact.subject.session else { return false };
    let stored = match ledger.sessions.get(&id) {
        None => inline(store.get(RecordId::Session(id))),
        Some(session) => Some(Record::Session(Box::new(session.clone()))),
    };
    matches!(stored, Some(Record::Session(session)) if session.owner.epoch != teller)
}

/// Whether the start of a session that ended was never delivered to this hook; none where that is not
/// known, because the hook came and went meanwhile.
fn is_gap(ledger: &Ledger, event: &Event, arrival: Arrival<'_>) -> Option<bool> {
    let Arrival { hook, store, .. } = arrival;
    if event.fact.kind != EventType::SessionEnded || !hook.hears_of_starts() {
        return Some(false);
    }
    let start = ledger
        .deliveries_about(event.fact.subject.session?)
        .find(|it| it.hook == hook.name && it.event_type == Some(EventType::SessionStarted))?;
    let known = inline(store.hooks()).into_iter().find(|it| it.name == hook.name);
    let is_another = known.and_then(|it| it.since).is_some_and(|since| since > start.created_at);
    match start.state {
        // Sent again by hand: its record has forgotten whether it ever arrived.
        _ if start.by_hand => None,
        // It was removed and added again meanwhile.
        _ if is_another => None,
        _ if ledger.delivered.contains_key(&start.id) => Some(false),
        // Its record went before the session ended: nobody can know.
        _ if ledger.is_gone(&RecordId::Delivery(start.id)) => None,
        DeliveryState::Dead { .. } => Some(true),
        DeliveryState::Pending { .. } | DeliveryState::Delivered { .. } => None,
    }
}

/// Nothing earlier of the same hook and session is pending, and nothing later has arrived.
fn in_order(ledger: &Ledger, received: &mut Received, event: &Event, row: &Delivery) -> Kept {
    let Some(session) = row.session else { return Ok(()) };
    let no = |how: String| {
        Err(broken(format!("event {} of session {session} is told {}: {how}", event.seq, row.hook)))
    };
    let lane = ledger.deliveries_about(session).filter(|it| it.hook == row.hook && !it.by_hand);
    for other in lane {
        let seq = ledger.event(other.event).map_or(0, |event| event.seq);
        if seq < event.seq && matches!(other.state, DeliveryState::Pending { .. }) {
            return no(format!("event {seq} is still to be told"));
        }
    }
    let reached = received.reached.entry((row.hook.clone(), session)).or_default();
    if *reached > event.seq {
        return no(format!("event {reached} was told before it"));
    }
    *reached = event.seq;
    Ok(())
}

/// P3: nothing is pending for a hook that there is no more. For after a start.
pub(crate) fn p3_no_hook_no_outbox(ledger: &Ledger, hooks: &[Subscriber]) -> Kept {
    let known = |delivery: &&Delivery| hooks.iter().any(|hook| hook.name == delivery.hook);
    let pending = |it: &&Delivery| matches!(it.state, DeliveryState::Pending { .. });
    match ledger.deliveries.values().filter(pending).find(|delivery| !known(delivery)) {
        None => Ok(()),
        Some(lost) => {
            let (id, hook) = (lost.id, &lost.hook);
            Err(broken(format!(
                "delivery {id} is pending for {hook}, which the config does not have"
            )))
        }
    }
}

/// P3: nothing waits longer for its next try than its hook has anything wait: it would wait by a clock that was
/// wrong. For a while after the wall clock was last set.
pub(crate) fn p3_waits_no_longer(ledger: &Ledger, hooks: &[Subscriber], now: Timestamp) -> Kept {
    for delivery in
        ledger.deliveries.values().filter(|it| !ledger.is_gone(&RecordId::Delivery(it.id)))
    {
        let Some(hook) = hooks.iter().find(|hook| hook.name == delivery.hook) else { continue };
        let DeliveryState::Pending { next_at } = delivery.state else { continue };
        if hook.longest_wait().after(now) < next_at {
            let (id, name) = (delivery.id, &hook.name);
            return Err(broken(format!(
                "it is {now} and delivery {id} to {name} waits until {next_at}"
            )));
        }
    }
    Ok(())
}

/// P3, where nothing goes wrong any more: what can be told is told.
pub(crate) fn p3_goes_out(ledger: &Ledger, switched_off: &[HookName], now: Timestamp) -> Kept {
    let due = |delivery: &Delivery, patience: Duration| match delivery.state {
        DeliveryState::Pending { next_at } => patience.after(next_at) < now,
        _ => false,
    };
    let waits = |delivery: &Delivery| {
        let seq = |it: &Delivery| ledger.event(it.event).map_or(0, |event| event.seq);
        let lane = delivery.session.into_iter().flat_map(|it| ledger.deliveries_about(it));
        let mut lane = lane.filter(|it| it.hook == delivery.hook && !delivery.by_hand);
        lane.any(|it| {
            let pending = matches!(it.state, DeliveryState::Pending { .. });
            pending && !it.by_hand && seq(it) < seq(delivery)
        })
    };
    let stuck = ledger
        .deliveries
        .values()
        .find(|it| due(it, PATIENCE) && !switched_off.contains(&it.hook) && !waits(it));
    match stuck {
        None => Ok(()),
        Some(stuck) => {
            let how = format!("it is {now} and still to be told is {stuck:?}");
            Err(Broken::new(Promise::Progress, how))
        }
    }
}

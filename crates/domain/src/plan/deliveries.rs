//! What an answer makes of a delivery, when one is given up, and what becomes of the hooks themselves.

use jiff::Timestamp;
use serde_json::json;

use crate::change::{Change, Decision, Guard, RecordId, Version};
use crate::event::{Event, EventType, NewEvent, Subject};
use crate::hook::{
    self, DeadReason, Delivery, DeliveryState, Disabled, Hook, Rejected, Subscription,
};
use crate::id::{DeliveryId, SessionId};
use crate::key::SessionKind;
use crate::name::HookName;
use crate::node::Epoch;
use crate::plan::Moment;
use crate::session;

/// The most of an error that a delivery keeps, in bytes.
pub const MAX_ERROR_BYTES: usize = 500;
/// Why a hook is off that said itself that it is gone.
pub const GONE: &str = "410 gone";
/// Why a hook is off that somebody switched off.
pub const OPERATOR: &str = "operator";

/// What came of a try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The hook has it.
    Acknowledged,
    /// The hook wants no more of anything.
    Gone,
    /// Anything else, in words.
    Failed(String),
}

/// What the decision about an answer looks at.
#[derive(Debug, Clone, Copy)]
pub struct Snapshot<'a> {
    /// What was tried.
    pub delivery: &'a Delivery,
    /// What its hook allows.
    pub subscription: &'a Subscription,
    /// The hook's switch, unless the hook is gone.
    pub hook: Option<&'a Hook>,
}

/// What an answer makes of a delivery.
///
/// # Errors
///
/// [`Rejected`] when the delivery is no longer pending: it was answered before, or given up meanwhile.
pub fn answered(
    snapshot: Snapshot<'_>,
    answer: Answer,
    moment: &mut Moment,
) -> Result<Decision, Rejected> {
    let Snapshot { delivery, subscription, hook } = snapshot;
    let attempts = delivery.attempts + 1;
    let mut decision = Decision::default();
    let tried = Delivery { attempts, ..delivery.clone() };
    match answer {
        Answer::Acknowledged => {
            let state = delivery.state.next(hook::Event::Acknowledged { at: moment.now })?;
            decision.change(Delivery { state, last_error: None, ..tried });
        }
        Answer::Gone => {
            let state = delivery.state.next(hook::Event::Postponed { next_at: moment.now })?;
            decision.change(Delivery { state, last_error: Some(GONE.to_owned()), ..tried });
            if let Some(hook) = hook {
                decision.merge(disable(hook, GONE, moment));
            }
        }
        Answer::Failed(error) => {
            let failed = Delivery { last_error: Some(clipped(error)), ..tried };
            if attempts >= subscription.max_attempts {
                return give_up(&failed, DeadReason::MaxAttempts, moment);
            }
            let next_at = subscription.wait(delivery.id, attempts).after(moment.now);
            let state = delivery.state.next(hook::Event::Postponed { next_at })?;
            decision.change(Delivery { state, ..failed });
        }
    }
    Ok(decision)
}

/// Whether a delivery is older than its hook allows.
pub fn is_too_old(delivery: &Delivery, subscription: &Subscription, now: Timestamp) -> bool {
    subscription.max_age.after(delivery.since()) <= now
}

/// Gives up those of these deliveries that are older than their hook allows, switched off or not.
pub fn expire(pending: &[Delivery], subscription: &Subscription, moment: &mut Moment) -> Decision {
    let mut decision = Decision::default();
    let now = moment.now;
    for delivery in pending.iter().filter(|it| is_too_old(it, subscription, now)) {
        if let Ok(dead) = give_up(delivery, DeadReason::MaxAge, moment) {
            decision.merge(dead);
        }
    }
    decision
}

/// Brings forward what waits longer than its hook has anything wait: it waits by a clock that was ahead.
pub fn bring_forward(
    pending: &[Delivery],
    subscription: &Subscription,
    moment: &Moment,
) -> Decision {
    let mut decision = Decision::default();
    for delivery in pending {
        let DeliveryState::Pending { next_at } = delivery.state else { continue };
        let latest = subscription.longest_wait(delivery.attempts).after(moment.now);
        if latest < next_at
            && let Ok(state) = delivery.state.next(hook::Event::Postponed { next_at: latest })
        {
            decision.change(Delivery { state, ..delivery.clone() });
        }
    }
    decision
}

fn give_up(
    delivery: &Delivery,
    why: DeadReason,
    moment: &mut Moment,
) -> Result<Decision, Rejected> {
    let mut decision = Decision::default();
    let state = delivery.state.next(hook::Event::GivenUp { at: moment.now, why })?;
    decision.change(moment.tell().dead_letter(delivery, why));
    decision.change(Delivery { state, ..delivery.clone() });
    Ok(decision)
}

/// A pending delivery whose row cannot be read.
#[derive(Debug, Clone, Copy)]
pub struct Unread<'a> {
    /// Which it is.
    pub id: DeliveryId,
    /// The version that it is at.
    pub version: Version,
    /// Whom it is for.
    pub hook: &'a HookName,
    /// What it is of, unless that is gone, or cannot be read either.
    pub event: Option<&'a Event>,
}

/// Writes a delivery anew from its event: it has all its tries before it. Without the event it is given
/// up and goes; else it would keep its lane for ever.
pub fn mend(Unread { id, version, hook, event }: Unread<'_>, moment: &mut Moment) -> Decision {
    let mut decision = Decision::default();
    match event {
        Some(event) => {
            decision.change(Delivery { version, ..hook::delivery(&event.fact, hook) });
        }
        None => {
            decision.change(moment.tell().lost_letter(hook, id));
            decision.changes.push(Change::Delete(RecordId::Delivery(id), version));
        }
    }
    decision
}

/// A hook that the config has and the store does not know yet, or knows by a row of this version that
/// cannot be read.
pub fn add(name: &HookName, version: Version, moment: &Moment) -> Decision {
    let mut decision = Decision::default();
    let since = Some(moment.now);
    decision.change(Hook { name: name.clone(), since, disabled: None, version });
    decision
}

/// Gives up what a hook was still to be told that the config no longer has, and forgets the hook where it
/// is given: with the last of that.
pub fn remove(
    name: &HookName,
    hook: Option<&Hook>,
    pending: &[Delivery],
    moment: &mut Moment,
) -> Decision {
    let mut decision = Decision::default();
    let given_up = hook::Event::GivenUp { at: moment.now, why: DeadReason::HookRemoved };
    let mut count = 0;
    for delivery in pending {
        if let Ok(state) = delivery.state.next(given_up) {
            decision.change(Delivery { state, ..delivery.clone() });
            count += 1;
        }
    }
    if count > 0 {
        decision.change(moment.tell().dead_letters(name, count));
    }
    if let Some(hook) = hook {
        decision.changes.push(Change::Delete(RecordId::Hook(hook.name.clone()), hook.version));
    }
    decision
}

/// Switches a hook on; what it missed goes out in its order. Nothing if it is on.
pub fn enable(hook: &Hook, moment: &mut Moment) -> Decision {
    let mut decision = Decision::default();
    if hook.disabled.is_some() {
        let on = Hook { disabled: None, ..hook.clone() };
        decision.change(moment.tell().hook(EventType::HookEnabled, &on));
        decision.change(on);
    }
    decision
}

/// Switches a hook off; what it is to be told waits, at most for its `max_age`. Nothing if it is off.
pub fn disable(hook: &Hook, why: &str, moment: &mut Moment) -> Decision {
    let mut decision = Decision::default();
    if hook.disabled.is_none() {
        let disabled = Some(Disabled { why: why.to_owned(), since: moment.now });
        let off = Hook { disabled, ..hook.clone() };
        decision.change(moment.tell().hook(EventType::HookDisabled, &off));
        decision.change(off);
    }
    decision
}

/// Sends a delivery again that was acknowledged or given up: outside the order of its lane, and with all
/// its tries and its time before it.
///
/// # Errors
///
/// [`Rejected`] when it is pending already.
pub fn redeliver(delivery: &Delivery, moment: &Moment) -> Result<Decision, Rejected> {
    let state = delivery.state.next(hook::Event::Redelivered { at: moment.now })?;
    let mut decision = Decision::default();
    // The event is told once more if it is still there.
    let event = RecordId::Event(delivery.event);
    decision.change(Change::Require(Guard::Unchanged(event, Version::NEW.next())));
    decision.change(Delivery {
        state,
        by_hand: true,
        redelivered_at: Some(moment.now),
        attempts: 0,
        last_error: None,
        ..delivery.clone()
    });
    Ok(decision)
}

/// A delivery for a try-out, of an event that never happened: its data says `test`.
pub fn sample(subscription: &Subscription, moment: &mut Moment) -> (Delivery, Event) {
    let ended = Some(EventType::SessionEnded).filter(|kind| subscription.on.contains(kind));
    let kind = ended.or(subscription.on.first().copied()).unwrap_or(EventType::SessionEnded);
    let (now, session): (_, SessionId) = (moment.now, moment.ids.mint());
    let data = match kind {
        EventType::SessionStarted | EventType::SessionEnded => json!({
            "test": true,
            "session_id": session,
            "session_key": "agent:test:main",
            "kind": SessionKind::Main,
            "agent": "test",
            "job_id": null,
            "job_key": null,
            "run_id": null,
            "reason": ended.map(|_| session::EndReason::Completed),
            "opened_at": now,
            "ended_at": ended.map(|_| now),
            "duration_ms": ended.map(|_| 0),
            "entry_count": 0,
            "previous_session_id": null,
            "transcript": format!("/v1/sessions/{session}/transcript"),
        }),
        _ => json!({ "test": true }),
    };
    let subject = Subject::default();
    let fact = NewEvent { id: moment.ids.mint(), kind, at: now, subject, data };
    let delivery = hook::delivery(&fact, &subscription.hook);
    (delivery, Event { seq: 0, fact })
}

/// Whether an event is told by another epoch than the one that owned its session.
pub fn is_late(event: &Event, teller: Epoch) -> bool {
    let subject = event.fact.subject;
    subject.session.is_some() && subject.epoch.is_some_and(|owner| owner != teller)
}

/// Whether a hook that is told of starts has not been told of this end's: `start` is the delivery of it,
/// as far as there is one. It is missing where it was acknowledged long ago, or where the session is
/// older than the hook.
pub fn is_gap(
    event: &Event,
    subscription: &Subscription,
    hook: Option<&Hook>,
    start: Option<&Delivery>,
) -> bool {
    let is_end = event.fact.kind == EventType::SessionEnded
        && subscription.on.contains(&EventType::SessionStarted);
    let opened_at = || event.fact.data.get("opened_at")?.as_str()?.parse::<Timestamp>().ok();
    is_end
        && match (start.map(|start| start.state), hook.and_then(|hook| hook.since)) {
            (Some(state), _) => !matches!(state, DeliveryState::Delivered { .. }),
            (None, Some(since)) => opened_at().is_some_and(|opened_at| opened_at < since),
            (None, None) => false,
        }
}

/// An error as a delivery keeps it.
fn clipped(mut error: String) -> String {
    if error.len() > MAX_ERROR_BYTES {
        let end = error.floor_char_boundary(MAX_ERROR_BYTES - 3);
        error.truncate(end);
        error.push('…');
    }
    error
}

#[cfg(test)]
mod tests;

//! What answers, age, the config and hands make of deliveries.

use super::*;
use crate::change::Record;
use crate::event::NewEvent;
use crate::id::Ids;
use crate::node::Epoch;
use crate::plan::fixtures::{moment, span, time};
use crate::retry::Backoff;
use serde_json::json;
use std::collections::BTreeSet;

fn subscription() -> Subscription {
    Subscription {
        hook: "h".parse().unwrap(),
        on: BTreeSet::from([EventType::SessionStarted, EventType::SessionEnded]),
        agents: BTreeSet::new(),
        jobs: BTreeSet::new(),
        kinds: BTreeSet::new(),
        max_attempts: 3,
        max_age: span("1h"),
        backoff: Backoff::new(vec![span("10s"), span("1m")]).unwrap(),
    }
}

fn on() -> Hook {
    Hook {
        name: "h".parse().unwrap(),
        since: Some(time("09:00")),
        disabled: None,
        version: Version(1),
    }
}

fn event(kind: EventType) -> Event {
    let mut ids = Ids::new(time("10:00"), 5);
    let mut fact = NewEvent {
        id: ids.mint(),
        kind,
        at: time("10:00"),
        subject: Default::default(),
        data: json!({ "opened_at": time("09:30") }),
    };
    fact.subject.session = Some(ids.mint());
    fact.subject.epoch = Some(Epoch::new(1, 1));
    Event { seq: 9, fact }
}

fn pending() -> Delivery {
    let deliveries = [subscription()];
    let mut all =
        hook::outbox(&event(EventType::SessionEnded).fact, &deliveries).collect::<Vec<_>>();
    Delivery { version: Version(1), ..all.remove(0) }
}

fn answer(delivery: &Delivery, answer: Answer) -> Result<Decision, Rejected> {
    let (subscription, hook) = (subscription(), on());
    let snapshot = Snapshot { delivery, subscription: &subscription, hook: Some(&hook) };
    answered(snapshot, answer, &mut moment("10:30"))
}

fn parts(decision: Decision) -> (Vec<Delivery>, Vec<Hook>, Vec<NewEvent>, Vec<RecordId>) {
    let (mut deliveries, mut hooks, mut events, mut deleted) = Default::default();
    let _: (&mut Vec<Delivery>, &mut Vec<Hook>) = (&mut deliveries, &mut hooks);
    for change in decision.changes {
        match change {
            Change::Put(Record::Delivery(delivery)) => deliveries.push(delivery),
            Change::Put(Record::Hook(hook)) => hooks.push(hook),
            Change::Emit(event) => Vec::push(&mut events, event),
            Change::Delete(id, _) => Vec::push(&mut deleted, id),
            other => panic!("{other:?}"),
        }
    }
    (deliveries, hooks, events, deleted)
}

/// P3: what is acknowledged is delivered, with the number of tries it took.
#[test]
fn an_acknowledgement_ends_a_delivery() {
    let tried = Delivery { attempts: 1, last_error: Some("500".to_owned()), ..pending() };
    let (deliveries, _, events, _) = parts(answer(&tried, Answer::Acknowledged).unwrap());
    assert_eq!(deliveries[0].state, DeliveryState::Delivered { at: time("10:30") });
    assert_eq!((deliveries[0].attempts, &deliveries[0].last_error), (2, &None));
    assert!(events.is_empty());
    let twice = answer(&deliveries[0], Answer::Acknowledged);
    assert!(twice.is_err(), "a second acknowledgement changes nothing");
    assert!(answer(&deliveries[0], Answer::Failed("late".to_owned())).is_err());
}

/// P3: tried again with growing waits, and dead only after as many tries as the hook allows.
#[test]
fn failures_postpone_a_delivery_until_its_tries_are_spent() {
    let mut delivery = pending();
    for (attempt, wait) in [(1, "10s"), (2, "1m")] {
        let failed = answer(&delivery, Answer::Failed("refused".to_owned())).unwrap();
        let (mut deliveries, _, events, _) = parts(failed);
        delivery = deliveries.remove(0);
        assert!(events.is_empty());
        assert_eq!(delivery.attempts, attempt);
        assert_eq!(delivery.last_error.as_deref(), Some("refused"));
        let DeliveryState::Pending { next_at } = delivery.state else { panic!("{delivery:?}") };
        let waited = crate::duration::Duration::between(time("10:30"), next_at).as_millis();
        let wait = span(wait).as_millis();
        assert!((wait * 4 / 5..=wait * 6 / 5).contains(&waited), "{waited}");
    }
    let (deliveries, _, events, _) = parts(answer(&delivery, Answer::Failed("no".into())).unwrap());
    let why = DeadReason::MaxAttempts;
    assert_eq!(deliveries[0].state, DeliveryState::Dead { at: time("10:30"), why });
    assert_eq!(events[0].kind, EventType::HookDeadLettered);
    assert_eq!(events[0].data["why"], "max_attempts");
    assert_eq!(events[0].data["attempts"], 3);
    assert_eq!(events[0].data["delivery_id"], json!(delivery.id));
    assert_eq!(events[0].data["event_type"], "session.ended");
}

#[test]
fn a_long_error_is_clipped_and_stays_text() {
    let failed = answer(&pending(), Answer::Failed("ä".repeat(1000))).unwrap();
    let error = parts(failed).0.remove(0).last_error.unwrap();
    assert!(error.len() <= MAX_ERROR_BYTES && error.ends_with('…'), "{error}");
}

#[test]
fn a_hook_that_says_gone_is_off_and_its_delivery_waits() {
    let (deliveries, hooks, events, _) = parts(answer(&pending(), Answer::Gone).unwrap());
    assert_eq!(deliveries[0].state, DeliveryState::Pending { next_at: time("10:30") });
    let disabled = hooks[0].disabled.clone().unwrap();
    assert_eq!((disabled.why.as_str(), disabled.since), (GONE, time("10:30")));
    assert_eq!(events[0].kind, EventType::HookDisabled);
    assert_eq!(events[0].data["hook"], "h");
    let (_, hooks, events, _) = parts(enable(&hooks[0], &mut moment("11:00")));
    assert_eq!((&hooks[0].disabled, events[0].kind), (&None, EventType::HookEnabled));
    assert!(enable(&hooks[0], &mut moment("11:00")).is_empty(), "on is on");
    let off = Hook { disabled: Some(disabled), ..on() };
    assert!(disable(&off, OPERATOR, &mut moment("11:00")).is_empty(), "off is off");
}

#[test]
fn what_is_too_old_is_dead_and_what_was_sent_again_by_hand_counts_from_there() {
    let (old, subscription) = (pending(), subscription());
    let again = Delivery { redelivered_at: Some(time("10:50")), by_hand: true, ..old.clone() };
    let both = [old, again];
    assert!(expire(&both, &subscription, &mut moment("10:59")).is_empty());
    let (deliveries, _, events, _) = parts(expire(&both, &subscription, &mut moment("11:00")));
    assert_eq!((deliveries.len(), events.len()), (1, 1));
    let why = DeadReason::MaxAge;
    assert_eq!(deliveries[0].state, DeliveryState::Dead { at: time("11:00"), why });
    assert!(!deliveries[0].by_hand);
}

/// P3: nobody waits until a clock that was ahead shows the same time again.
#[test]
fn what_waits_longer_than_its_hook_has_anything_wait_is_brought_forward() {
    let waits = |attempts, at: &str| Delivery {
        state: DeliveryState::Pending { next_at: time(at) },
        attempts,
        ..pending()
    };
    let over = Delivery { state: DeliveryState::Delivered { at: time("13:00") }, ..pending() };
    // 10 s and 1 min after one and two failures, give or take a fifth.
    let all = [waits(0, "10:01"), waits(2, "10:01"), waits(2, "11:45"), waits(1, "10:01"), over];
    let forward = |deliveries: &[Delivery]| {
        parts(bring_forward(deliveries, &subscription(), &moment("10:00"))).0
    };
    let moved = forward(&all);
    let next: Vec<_> = moved.iter().map(|delivery| delivery.state).collect();
    let after = |wait| DeliveryState::Pending { next_at: span(wait).after(time("10:00")) };
    assert_eq!(next, [after("0s"), after("72s"), after("12s")]);
    assert_eq!(forward(&moved), [], "once is enough");
}

/// P3: nothing is dropped in silence when a hook leaves the config.
#[test]
fn removing_a_hook_gives_up_what_it_was_to_be_told_and_says_so_once() {
    let (on, delivery) = (on(), pending());
    let delivered =
        Delivery { state: DeliveryState::Delivered { at: time("10:00") }, ..delivery.clone() };
    let all = [delivery, delivered];
    let (deliveries, _, events, deleted) =
        parts(remove(&on.name, Some(&on), &all, &mut moment("10:30")));
    let why = DeadReason::HookRemoved;
    assert_eq!(deliveries.len(), 1);
    assert_eq!(deliveries[0].state, DeliveryState::Dead { at: time("10:30"), why });
    assert_eq!((events.len(), &events[0].data["count"]), (1, &json!(1)));
    assert_eq!(deleted, [RecordId::Hook(on.name.clone())]);
    assert_eq!(parts(remove(&on.name, Some(&on), &[], &mut moment("10:30"))).2.len(), 0);
}

#[test]
fn a_redelivery_by_hand_has_all_its_tries_before_it() {
    let why = DeadReason::MaxAttempts;
    let dead = DeliveryState::Dead { at: time("10:00"), why };
    let dead = Delivery { state: dead, attempts: 3, ..pending() };
    let mut decision = redeliver(&dead, &moment("10:30")).unwrap();
    let is_there = Guard::Unchanged(RecordId::Event(dead.event), Version(1));
    assert_eq!(decision.changes.remove(0), Change::Require(is_there));
    let (deliveries, ..) = parts(decision);
    let again = &deliveries[0];
    assert_eq!(again.state, DeliveryState::Pending { next_at: time("10:30") });
    assert_eq!((again.by_hand, again.attempts, again.id), (true, 0, dead.id));
    assert!(redeliver(again, &moment("10:31")).is_err(), "it is pending");
}

#[test]
fn an_event_is_late_if_another_epoch_than_the_owner_tells_it() {
    let (first, second) = (Epoch::new(1, 1), Epoch::new(1, 2));
    let told = event(EventType::SessionEnded);
    assert!(!is_late(&told, first));
    assert!(is_late(&told, second));
    let mut node = told;
    node.fact.subject.session = None;
    assert!(!is_late(&node, second), "only sessions have owners");
}

#[test]
fn an_end_has_a_gap_before_it_if_its_start_was_never_delivered() {
    let (told, on) = (event(EventType::SessionEnded), on());
    let why = DeadReason::MaxAge;
    let dead = Delivery { state: DeliveryState::Dead { at: time("10:00"), why }, ..pending() };
    let delivered = DeliveryState::Delivered { at: time("10:00") };
    let delivered = Delivery { state: delivered, ..pending() };
    let gap = |event: &Event, subscription: &Subscription, since: Timestamp, start| {
        let hook = Hook { since: Some(since), ..on.clone() };
        is_gap(event, subscription, Some(&hook), start)
    };
    let all = subscription();
    assert!(gap(&told, &all, time("09:00"), Some(&dead)));
    assert!(!gap(&told, &all, time("09:00"), Some(&delivered)));
    assert!(
        !gap(&told, &all, time("09:00"), None),
        "acknowledged so long ago that it is forgotten"
    );
    assert!(gap(&told, &all, time("09:45"), None), "the session is older than the hook");
    let ends = Subscription { on: BTreeSet::from([EventType::SessionEnded]), ..all.clone() };
    assert!(!gap(&told, &ends, time("09:45"), None), "it does not hear of starts");
    assert!(!gap(&event(EventType::SessionStarted), &all, time("09:45"), None));
}

/// P3: what cannot be read is told all the same, as the delivery of its event that it was.
#[test]
fn an_unreadable_delivery_is_written_anew_from_its_event_or_given_up_without() {
    let (event, hook) = (event(EventType::SessionEnded), "h".parse().unwrap());
    let lost = Unread { id: pending().id, version: Version(7), hook: &hook, event: Some(&event) };
    let anew = mend(lost, &mut moment("11:00")).changes;
    assert_eq!(anew, [Change::from(Delivery { version: Version(7), ..pending() })]);
    let given_up = mend(Unread { event: None, ..lost }, &mut moment("11:00")).changes;
    let [Change::Emit(told), Change::Delete(id, Version(7))] = &given_up[..] else {
        panic!("{given_up:?}")
    };
    assert_eq!((told.kind, &told.data["why"]), (EventType::HookDeadLettered, &json!("unreadable")));
    assert_eq!(*id, RecordId::Delivery(pending().id));
}

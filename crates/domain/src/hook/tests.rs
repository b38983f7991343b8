//! Subscriptions, the outbox, the states of a delivery, the envelope.

use super::*;
use crate::id::Ids;
use crate::plan::fixtures::time;
use serde_json::json;

fn told(hook: &str, on: &[EventType]) -> Subscription {
    Subscription {
        hook: hook.parse().unwrap(),
        on: on.iter().copied().collect(),
        agents: BTreeSet::new(),
        jobs: BTreeSet::new(),
        kinds: BTreeSet::new(),
        max_attempts: 3,
        max_age: Duration::from_secs(3600),
        backoff: Subscription::default_backoff(),
    }
}

fn event(kind: EventType, data: Value) -> NewEvent {
    let id = Ids::new(time("10:00"), 7).mint();
    NewEvent { id, kind, at: time("10:00"), subject: Default::default(), data }
}

/// P3: every (state, event) pair. What is not in the list of legal ones is rejected.
#[test]
fn a_delivery_moves_only_along_the_listed_transitions() {
    let (at, later) = (time("10:00"), time("10:05"));
    let pending = |next_at| DeliveryState::Pending { next_at };
    let delivered = DeliveryState::Delivered { at };
    let dead = |why| DeliveryState::Dead { at, why };
    let given_up = |why| Event::GivenUp { at, why };
    let again = Event::Redelivered { at: later };
    let mut legal = vec![
        (pending(at), Event::Acknowledged { at }, delivered),
        (pending(at), Event::Postponed { next_at: later }, pending(later)),
        (delivered, again, pending(later)),
    ];
    for why in DeadReason::ALL {
        legal.push((pending(at), given_up(why), dead(why)));
        legal.push((dead(why), again, pending(later)));
    }
    let states = [pending(at), delivered].into_iter().chain(DeadReason::ALL.map(dead));
    let events = [Event::Acknowledged { at }, Event::Postponed { next_at: later }, again];
    let events: Vec<Event> = events.into_iter().chain(DeadReason::ALL.map(given_up)).collect();
    let mut accepted = 0;
    for state in states {
        for &event in &events {
            let expected = legal.iter().find(|(s, e, _)| *s == state && *e == event);
            match (state.next(event), expected) {
                (Ok(next), Some((.., legal))) => {
                    assert_eq!(next, *legal);
                    accepted += 1;
                }
                (Err(rejected), None) => assert_eq!(rejected, Rejected { state, event }),
                (got, _) => panic!("{state:?} + {event:?} gave {got:?}"),
            }
        }
    }
    assert_eq!(accepted, legal.len());
}

/// P3: a filter asks for what an event says; one that says nothing about it does not match.
#[test]
fn filters_look_at_agent_job_and_kind_and_need_them_all() {
    let said = json!({ "agent": "a", "job_key": "j", "kind": "run" });
    let ended = event(EventType::SessionEnded, said);
    let bare = event(EventType::SessionEnded, json!({ "agent": null }));
    let hook = || told("h", &[EventType::SessionEnded]);
    let agents = |agent: &str| BTreeSet::from([agent.parse().unwrap()]);
    let jobs = |job: &str| BTreeSet::from([job.parse().unwrap()]);
    assert!(hook().matches(&ended) && hook().matches(&bare));
    let cases = [
        (Subscription { agents: agents("a"), ..hook() }, true),
        (Subscription { agents: agents("b"), ..hook() }, false),
        (Subscription { jobs: jobs("j"), agents: agents("a"), ..hook() }, true),
        (Subscription { jobs: jobs("k"), agents: agents("a"), ..hook() }, false),
        (Subscription { kinds: BTreeSet::from([SessionKind::Run]), ..hook() }, true),
        (Subscription { kinds: BTreeSet::from([SessionKind::Chat]), ..hook() }, false),
    ];
    for (filtered, matches) in cases {
        assert_eq!(filtered.matches(&ended), matches, "{filtered:?}");
        assert!(!filtered.matches(&bare), "{filtered:?}");
    }
    assert!(!told("h", &[EventType::SessionStarted]).matches(&ended));
}

/// P10: hooks that are told of dead letters and die of it do not keep each other busy.
#[test]
fn a_hook_is_not_told_about_itself_and_nobody_of_the_death_of_a_death() {
    let all = told("h", EventType::ALL);
    let about = |hook: &str, kind: EventType| {
        event(EventType::HookDeadLettered, json!({ "hook": hook, "event_type": kind }))
    };
    assert!(all.matches(&about("other", EventType::SessionEnded)));
    assert!(!all.matches(&about("h", EventType::SessionEnded)));
    assert!(!all.matches(&about("other", EventType::HookDeadLettered)));
    assert!(!all.matches(&event(EventType::HookDisabled, json!({ "hook": "h" }))));
}

/// P3: who is told of an event is told once, under an id that follows from event and hook.
#[test]
fn an_event_has_one_delivery_for_each_hook_that_is_told_it() {
    let hooks = [
        told("a", &[EventType::SessionEnded]),
        told("b", &[EventType::RunEnded]),
        told("c", &[EventType::SessionEnded]),
    ];
    let mut ended = event(EventType::SessionEnded, json!({}));
    ended.subject.session = Some(Ids::new(time("09:00"), 1).mint());
    let deliveries: Vec<Delivery> = outbox(&ended, &hooks).collect();
    let names: Vec<&str> = deliveries.iter().map(|delivery| delivery.hook.as_str()).collect();
    assert_eq!(names, ["a", "c"]);
    assert_ne!(deliveries[0].id, deliveries[1].id);
    for delivery in &deliveries {
        assert_eq!(delivery.id, DeliveryId::of(ended.id, &delivery.hook));
        assert_eq!(delivery.id.uuid().get_version_num(), 7);
        assert_eq!(delivery.id.uuid().get_timestamp(), ended.id.uuid().get_timestamp());
        assert_eq!((delivery.event, delivery.session), (ended.id, ended.subject.session));
        assert_eq!(delivery.state, DeliveryState::Pending { next_at: ended.at });
    }
}

#[test]
fn deliveries_of_one_hook_sort_like_their_events() {
    let hook: HookName = "h".parse().unwrap();
    let mut ids = Ids::new(time("10:00"), 3);
    let deliveries: Vec<_> = (0..5000).map(|_| DeliveryId::of(ids.mint(), &hook)).collect();
    assert!(deliveries.is_sorted());
    assert!(deliveries.windows(2).all(|pair| pair[0] != pair[1]));
}

#[test]
fn a_wait_is_the_backoff_give_or_take_a_fifth_and_always_the_same() {
    let hook = told("h", &[]);
    let mut ids = Ids::new(time("10:00"), 3);
    let waits: BTreeSet<u64> = (0..200)
        .map(|_| {
            let delivery = DeliveryId::of(ids.mint(), &hook.hook);
            let wait = hook.wait(delivery, 3);
            assert_eq!(wait, hook.wait(delivery, 3));
            wait.as_millis()
        })
        .collect();
    assert!(waits.iter().all(|wait| (24_000..=36_000).contains(wait)), "{waits:?}");
    assert!(waits.len() > 100, "they do not come back all at once");
}

/// P3: a hook that fails for a day is told when it works again.
#[test]
fn the_default_tries_outlast_a_day_of_failures_and_end_before_a_week() {
    let hook = Subscription { max_attempts: 20, ..told("h", &[]) };
    let mut ids = Ids::new(time("10:00"), 3);
    for _ in 0..50 {
        let delivery = DeliveryId::of(ids.mint(), &hook.hook);
        let waits =
            (1..hook.max_attempts).map(|failures| hook.wait(delivery, failures).as_millis());
        let hours = waits.sum::<u64>() / 3_600_000;
        assert!((24..7 * 24).contains(&hours), "{hours}");
    }
}

/// Interface §6, to the letter.
#[test]
fn the_envelope_has_the_fields_of_the_interface_in_their_order() {
    let data = json!({ "reason": "completed" });
    let event = event(EventType::SessionEnded, data);
    let envelope = Envelope {
        id: event.id.to_string(),
        kind: event.kind,
        at: event.at,
        seq: 4711,
        data: &event.data,
        late: false,
        gap: true,
        attempt: 1,
    };
    assert_eq!(
        serde_json::to_string(&envelope).unwrap(),
        format!(
            r#"{{"id":"{}","type":"session.ended","at":"2026-03-02T10:00:00Z","seq":4711,"data":{{"reason":"completed"}},"late":false,"gap":true,"attempt":1}}"#,
            event.id
        )
    );
    assert!(event.id.to_string().starts_with("evt_"));
}

//! Deliveries: who may go out is known without looking at those who may not.

use std::collections::BTreeSet;

use jiff::Timestamp;
use sexton_domain::change::{Change, RecordId, Version};
use sexton_domain::event::NewEvent;
use sexton_domain::hook::{DeadReason, Delivery, DeliveryState};
use sexton_domain::id::{EventId, SessionId};
use sexton_domain::name::HookName;

use super::World;
use super::chance::Chance;
use super::make::at;
use crate::page::{DeliveryFilter, PageRequest, Standing};

const PENDING: DeliveryState = DeliveryState::Pending { next_at: Timestamp::UNIX_EPOCH };
const DEAD: DeliveryState =
    DeliveryState::Dead { at: Timestamp::UNIX_EPOCH, why: DeadReason::MaxAge };
fn hook(name: &str) -> HookName {
    name.parse().expect("it is a hook name")
}

async fn facts(world: &World, count: usize) -> Vec<NewEvent> {
    let facts: Vec<NewEvent> = (0..count).map(|_| world.make.event()).collect();
    world.store(facts.iter().cloned().map(Change::from).collect()).await;
    facts
}

async fn due(world: &World, name: &str) -> Vec<EventId> {
    let due = world.driver().due_deliveries(hook(name), at(0), u32::MAX).await.unwrap();
    assert!(due.iter().all(|(delivery, event)| delivery.event == event.fact.id));
    due.into_iter().map(|(delivery, _)| delivery.event).collect()
}

fn moved(delivery: &Delivery, version: u64, state: DeliveryState) -> Change {
    Delivery { state, version: Version(version), ..delivery.clone() }.into()
}

/// Who is told.
pub async fn hooks_are_listed_by_name(world: World) {
    let hooks = ["b", "c", "a"].map(|name| world.make.hook(name));
    world.store(hooks.iter().cloned().map(Change::from).collect()).await;
    let listed = world.driver().hooks().await.unwrap();
    assert!(listed.iter().map(|hook| hook.name.as_str()).eq(["a", "b", "c"]));
    assert_eq!((&listed[0].since, &listed[0].disabled), (&hooks[2].since, &hooks[2].disabled));
}

/// P3: in order, one after the other, whatever order they were stored in, and dead ones stop nobody.
pub async fn the_first_of_a_lane_goes_out_and_its_end_releases_the_next(world: World) {
    let facts = facts(&world, 4).await;
    let session = Some(world.make.id());
    let make =
        |n: usize| Delivery { session, state: PENDING, ..world.make.delivery(facts[n].id, "hook") };
    let deliveries: Vec<Delivery> = (0..4).map(make).collect();
    for (stored, first) in [(2, 2), (3, 2), (0, 0), (1, 0)] {
        world.put(deliveries[stored].clone()).await;
        assert_eq!(due(&world, "hook").await, [facts[first].id], "after {stored} was stored");
    }
    assert_eq!(due(&world, "other").await, []);
    world.store(vec![moved(&deliveries[0], 1, PENDING)]).await;
    assert_eq!(due(&world, "hook").await, [facts[0].id], "a failed attempt releases nobody");
    world.store(vec![moved(&deliveries[0], 2, DeliveryState::Delivered { at: at(1) })]).await;
    assert_eq!(due(&world, "hook").await, [facts[1].id]);
    world.store(vec![moved(&deliveries[2], 1, DEAD)]).await;
    assert_eq!(due(&world, "hook").await, [facts[1].id], "one behind the first gave up");
    world.store(vec![moved(&deliveries[1], 1, DEAD)]).await;
    assert_eq!(due(&world, "hook").await, [facts[3].id]);
    world.store(vec![moved(&deliveries[2], 2, PENDING)]).await;
    assert_eq!(due(&world, "hook").await, [facts[2].id], "back in its lane");
    world.store(vec![Change::Delete(RecordId::Delivery(deliveries[2].id), Version(3))]).await;
    assert_eq!(due(&world, "hook").await, [facts[3].id]);
    world.store(vec![moved(&deliveries[3], 1, DeliveryState::Delivered { at: at(1) })]).await;
    assert_eq!(due(&world, "hook").await, []);
}

/// P3: what has no order waits for nobody, and what is sent by hand stops nobody.
pub async fn deliveries_by_hand_and_without_a_session_are_outside_of_any_order(world: World) {
    let facts = facts(&world, 5).await;
    let session: Option<SessionId> = Some(world.make.id());
    let make = |n: usize, session, by_hand| Delivery {
        session,
        by_hand,
        state: PENDING,
        ..world.make.delivery(facts[n].id, "hook")
    };
    let alone = [make(0, None, false), make(1, None, false)];
    world.store(alone.iter().cloned().map(Change::from).collect()).await;
    assert_eq!(due(&world, "hook").await, [facts[0].id, facts[1].id]);
    let by_hand = make(2, session, true);
    let in_order = [make(3, session, false), make(4, session, false)];
    world.store([&in_order[1], &in_order[0], &by_hand].map(|one| one.clone().into()).into()).await;
    let ids = |of: &[usize]| of.iter().map(|n| facts[*n].id).collect::<Vec<_>>();
    assert_eq!(due(&world, "hook").await, ids(&[0, 1, 2, 3]));
    // The last of the lane gave up and is sent again by hand: it need not wait for the first.
    world.store(vec![moved(&in_order[1], 1, DEAD)]).await;
    assert_eq!(due(&world, "hook").await, ids(&[0, 1, 2, 3]));
    let again = Delivery { by_hand: true, ..in_order[1].clone() };
    world.store(vec![moved(&again, 2, PENDING)]).await;
    assert_eq!(due(&world, "hook").await, ids(&[0, 1, 2, 3, 4]));
    world.store(vec![moved(&again, 3, DEAD)]).await;
    assert_eq!(due(&world, "hook").await, ids(&[0, 1, 2, 3]));
}

/// P10: a delivery of nothing cannot go out; it is left to its age.
pub async fn a_delivery_whose_event_is_gone_stops_nobody(world: World) {
    let facts = facts(&world, 1).await;
    let session = Some(world.make.id());
    let lost = Delivery { session, ..world.make.delivery(world.make.id(), "hook") };
    world.put(lost.clone()).await;
    assert_eq!(world.driver().next_delivery(hook("hook")).await.unwrap(), None);
    let sound = Delivery { session, state: PENDING, ..world.make.delivery(facts[0].id, "hook") };
    world.put(sound.clone()).await;
    assert_eq!(due(&world, "hook").await, [facts[0].id]);
    let oldest = world.driver().oldest_deliveries(hook("hook"), 9).await.unwrap();
    assert!(oldest.iter().map(|delivery| delivery.id).eq([lost.id, sound.id]));
}

/// What a store of deliveries holds: each with the number of its event.
type Model = Vec<(u64, Delivery)>;

fn is_pending(delivery: &Delivery) -> bool {
    matches!(delivery.state, DeliveryState::Pending { .. })
}

fn is_first(model: &Model, (seq, delivery): &(u64, Delivery)) -> bool {
    delivery.by_hand
        || delivery.session.is_none()
        || !model.iter().any(|(before, other)| {
            before < seq
                && is_pending(other)
                && !other.by_hand
                && (&other.hook, other.session) == (&delivery.hook, delivery.session)
        })
}

fn next_at(delivery: &Delivery) -> Timestamp {
    match delivery.state {
        DeliveryState::Pending { next_at } => next_at,
        _ => Timestamp::MAX,
    }
}

/// Every read that goes out from a hook or a session.
async fn agree(world: &World, model: &Model, hooks: &[HookName], sessions: &[SessionId]) {
    let driver = world.driver();
    for name in hooks {
        let mine = || model.iter().filter(|(_, delivery)| delivery.hook == *name);
        let mut first: Vec<_> =
            mine().filter(|one| is_pending(&one.1) && is_first(model, one)).collect();
        first.sort_by_key(|(seq, delivery)| (next_at(delivery), *seq));
        let next = first.first().map(|(_, delivery)| next_at(delivery));
        assert_eq!(driver.next_delivery(name.clone()).await.unwrap(), next);
        first.retain(|(_, delivery)| next_at(delivery) <= at(10));
        let due = driver.due_deliveries(name.clone(), at(10), u32::MAX).await.unwrap();
        let seqs = |due: &[(Delivery, sexton_domain::event::Event)]| -> Vec<u64> {
            due.iter().map(|(_, event)| event.seq).collect()
        };
        assert_eq!(seqs(&due), first.iter().map(|(seq, _)| *seq).collect::<Vec<_>>());
        assert!(due.iter().map(|(delivery, _)| delivery).eq(first.iter().map(|(_, one)| one)));
        let some = driver.due_deliveries(name.clone(), at(10), 2).await.unwrap();
        assert_eq!(some, due[..due.len().min(2)]);
        let mut pending: Vec<_> = mine().filter(|(_, one)| is_pending(one)).collect();
        pending.sort_by_key(|(seq, _)| *seq);
        let oldest = driver.oldest_deliveries(name.clone(), 5).await.unwrap();
        assert!(oldest.iter().eq(pending.iter().take(5).map(|(_, delivery)| delivery)));
        let lane = |session: &SessionId| {
            let mut lane: Vec<_> =
                mine().filter(|(_, delivery)| delivery.session == Some(*session)).collect();
            lane.sort_by_key(|(seq, _)| *seq);
            lane.into_iter().take(7).map(|(_, delivery)| delivery)
        };
        let read = driver.lanes(name.clone(), sessions.to_vec(), 7).await.unwrap();
        assert!(read.iter().eq(sessions.iter().flat_map(lane)));
    }
    let waiting: BTreeSet<_> = model
        .iter()
        .filter(|(_, one)| is_pending(one))
        .filter_map(|(_, one)| one.session)
        .collect();
    let undelivered = driver.undelivered(sessions.to_vec()).await.unwrap();
    let expected = sessions.iter().filter(|session| waiting.contains(session));
    assert!(undelivered.iter().eq(expected));
}

fn random_state(chance: &mut Chance) -> DeliveryState {
    match chance.below(5) {
        0 | 1 => DeliveryState::Pending { next_at: at(chance.below(20) as i64) },
        2 | 3 => DeliveryState::Delivered { at: at(chance.below(20) as i64) },
        _ => DeliveryState::Dead { at: at(3), why: DeadReason::MaxAttempts },
    }
}

/// P3, P8: whatever happens to deliveries, each read says what a look at all of them would say.
pub async fn due_deliveries_agree_with_the_model_after_random_changes(mut world: World) {
    let chance = &mut Chance::new(41);
    let facts = facts(&world, 60).await;
    let hooks = ["a", "b"].map(hook);
    let sessions: Vec<SessionId> = (0..4).map(|_| world.make.id()).collect();
    let mut unsent: Vec<(usize, HookName)> =
        (0..60).flat_map(|n| hooks.clone().map(|hook| (n, hook))).collect();
    let mut model: Model = Vec::new();
    for round in 0..120 {
        let mut batch = Vec::new();
        for _ in 0..1 + chance.below(4) {
            if !unsent.is_empty() && chance.one_in(2) {
                let (n, name) = unsent.swap_remove(chance.below(unsent.len()));
                let mut delivery = world.make.delivery(facts[n].id, name.as_str());
                delivery.session = chance.maybe(&sessions);
                delivery.by_hand = chance.one_in(5);
                delivery.state = random_state(chance);
                batch.push(delivery.clone().into());
                model.push((n as u64 + 1, Delivery { version: Version(1), ..delivery }));
            } else if !model.is_empty() && chance.one_in(8) {
                let (_, gone) = model.swap_remove(chance.below(model.len()));
                batch.push(Change::Delete(RecordId::Delivery(gone.id), gone.version));
            } else if !model.is_empty() {
                let index = chance.below(model.len());
                let delivery = &mut model[index].1;
                delivery.state = random_state(chance);
                delivery.by_hand = chance.one_in(5);
                batch.push(delivery.clone().into());
                delivery.version = delivery.version.next();
            }
        }
        world.store(batch).await;
        if round % 6 == 0 {
            agree(&world, &model, &hooks, &sessions).await;
        }
    }
    world.reopen().await;
    agree(&world, &model, &hooks, &sessions).await;
}

/// P8, P10: what is asked for, all of it and nothing else, newest first.
pub async fn every_filter_of_deliveries_agrees_with_the_model(world: World) {
    let chance = &mut Chance::new(42);
    let hooks = ["a", "b", "c"].map(hook);
    let sessions: Vec<SessionId> = (0..5).map(|_| world.make.id()).collect();
    let mut stored = Vec::new();
    for _ in 0..150 {
        let mut delivery = world.make.delivery(world.make.id(), chance.pick(&hooks).as_str());
        delivery.session = chance.maybe(&sessions);
        delivery.state = random_state(chance);
        stored.push(delivery);
    }
    let mut shuffled: Vec<Change> = stored.iter().cloned().map(Change::from).collect();
    shuffled.sort_by_cached_key(|_| chance.number());
    world.store(shuffled).await;
    let unknown = [hook("unknown")];
    let some_hooks: Vec<_> =
        hooks.iter().chain(&unknown).cloned().map(Some).chain([None]).collect();
    let some_sessions: Vec<_> = sessions.iter().copied().map(Some).chain([None]).collect();
    for hook in &some_hooks {
        for session in &some_sessions {
            for state in Standing::ALL.map(Some).into_iter().chain([None]) {
                let filter = DeliveryFilter { hook: hook.clone(), state, session: *session };
                let (mut found, mut page) = (Vec::new(), PageRequest::first(7));
                loop {
                    let answer = world.driver().deliveries(filter.clone(), page).await.unwrap();
                    found.extend(answer.items.into_iter().map(|delivery| delivery.id));
                    match answer.next {
                        Some(next) => page.after = Some(next),
                        None => break,
                    }
                }
                let expected = stored.iter().rev().filter(|delivery| {
                    hook.as_ref().is_none_or(|hook| delivery.hook == *hook)
                        && session.is_none_or(|session| delivery.session == Some(session))
                        && state.is_none_or(|state| Standing::of(&delivery.state) == state)
                });
                let expected: Vec<_> = expected.map(|delivery| delivery.id).collect();
                assert_eq!(found, expected, "{filter:?}");
            }
        }
    }
}

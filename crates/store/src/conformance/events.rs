//! Events: one total order, numbered by the store.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use sexton_domain::change::{Change, RecordId, Version};
use sexton_domain::event::Event;
use sexton_domain::hook::{Delivery, DeliveryState};

use super::World;
use super::make::epoch;
use crate::driver::Conflict;

/// P3: the order of the log is the order in which things were committed.
pub async fn events_are_numbered_in_the_order_of_their_batches(mut world: World) {
    assert_eq!(world.driver().event_range().await.unwrap(), None);
    let facts: Vec<_> = (0..10).map(|_| world.make.event()).collect();
    let mut numbers = Vec::new();
    for pair in facts.chunks(2) {
        let batch = pair.iter().cloned().map(Change::from).collect();
        numbers.push(world.store(batch).await.last_seq.expect("the batch has events"));
    }
    assert_eq!(world.put(world.make.job("job")).await.last_seq, None);

    let events = world.driver().events(0, 100).await.unwrap();
    assert!(events.iter().map(|event| &event.fact).eq(&facts));
    assert!(events.windows(2).all(|pair| pair[0].seq < pair[1].seq));
    assert!(events.iter().skip(1).step_by(2).map(|event| event.seq).eq(numbers));
    let (first, last) = (events[0].seq, events[9].seq);
    assert_eq!(world.driver().event_range().await.unwrap(), Some((first, last)));

    let after = world.driver().events(events[3].seq, 3).await.unwrap();
    assert_eq!(after, events[4..7]);
    assert_eq!(world.driver().events(last, 10).await.unwrap(), []);
    world.reopen().await;
    assert_eq!(world.driver().events(0, 100).await.unwrap(), events);
}

/// P3: a reader that remembers how far it came misses nothing, whoever writes meanwhile: no number
/// below one that was seen appears later.
pub async fn events_of_concurrent_writers_have_one_order_that_readers_never_see_change(
    world: World,
) {
    const WRITERS: usize = 8;
    const BATCHES: usize = 30;
    let done = Arc::new(AtomicBool::new(false));
    let reader = tokio::spawn({
        let (driver, done) = (Arc::clone(world.driver()), Arc::clone(&done));
        async move {
            let mut seen: Vec<Event> = Vec::new();
            loop {
                let finished = done.load(Ordering::Acquire);
                let after = seen.last().map_or(0, |event| event.seq);
                let more = driver.events(after, 7).await.unwrap();
                if more.is_empty() && finished {
                    return seen;
                }
                seen.extend(more);
            }
        }
    });
    let mut writers = Vec::new();
    for _ in 0..WRITERS {
        let batches: Vec<Vec<Change>> = (0..BATCHES)
            .map(|_| vec![world.make.event().into(), world.make.event().into()])
            .collect();
        let driver = Arc::clone(world.driver());
        writers.push(tokio::spawn(async move {
            for batch in batches.clone() {
                driver.commit(batch).await.unwrap();
            }
            batches
        }));
    }
    let mut written = Vec::new();
    for writer in writers {
        written.push(writer.await.unwrap());
    }
    done.store(true, Ordering::Release);
    let seen = reader.await.unwrap();
    assert_eq!(seen, world.driver().events(0, u32::MAX).await.unwrap());
    assert_eq!(seen.len(), WRITERS * BATCHES * 2);
    for batches in written {
        let own: Vec<Change> = batches.into_iter().flatten().collect();
        let facts = seen.iter().map(|event| Change::from(event.fact.clone()));
        assert!(facts.filter(|fact| own.contains(fact)).eq(own.clone()), "its own order is kept");
    }
}

/// P3: a cursor that points at a deleted event never points at another one later.
pub async fn the_number_of_a_deleted_event_is_never_used_again(mut world: World) {
    let mut last = 0;
    for _ in 0..3 {
        let facts: Vec<_> = (0..3).map(|_| world.make.event()).collect();
        let batch = facts.iter().cloned().map(Change::from).collect();
        let seq = world.store(batch).await.last_seq.expect("the batch has events");
        assert!(seq > last);
        last = seq;
        for fact in facts {
            world.store(vec![Change::Delete(RecordId::Event(fact.id), Version(1))]).await;
        }
        assert_eq!(world.driver().event_range().await.unwrap(), None);
        world.reopen().await;
    }
    let next = world.store(vec![world.make.event().into()]).await.last_seq;
    assert!(next > Some(last));
    assert_eq!(world.driver().event_range().await.unwrap(), next.map(|seq| (seq, seq)));
}

/// P3: one fact, one number.
pub async fn an_event_is_stored_once(world: World) {
    let fact = world.make.event();
    world.put(fact.clone()).await;
    let conflict = world.conflict(vec![fact.clone().into()]).await;
    assert!(matches!(conflict, Conflict::Unique(_)), "{conflict:?}");
    let gone = RecordId::Event(fact.id);
    world.store(vec![Change::Delete(gone.clone(), Version(1))]).await;
    let conflict = world.conflict(vec![Change::Delete(gone.clone(), Version(1))]).await;
    assert_eq!(conflict, Conflict::Version(gone));
}

/// A sweep had found an event that nobody was to be told any more; before it deleted it, somebody asked for a
/// delivery of it to be sent again, which then had nothing to tell. P3.
pub async fn an_event_that_somebody_is_still_to_be_told_stays(world: World) {
    let fact = world.make.event();
    let at = fact.at;
    let pending = Delivery {
        state: DeliveryState::Pending { next_at: at },
        ..world.make.delivery(fact.id, "hook")
    };
    world.store(vec![fact.clone().into(), pending.clone().into()]).await;
    let id = RecordId::Event(fact.id);
    let delete = || vec![Change::Delete(id.clone(), Version(1))];
    assert_eq!(world.conflict(delete()).await, Conflict::Version(id.clone()));
    let state = DeliveryState::Delivered { at };
    world.store(vec![Delivery { state, version: Version(1), ..pending }.into()]).await;
    world.store(delete()).await;
    assert!(world.driver().event(fact.id).await.unwrap().is_none());
}

/// P1: an event of a batch that was not stored is not in the log.
pub async fn a_conflict_leaves_no_number_visible(world: World) {
    let guard = Change::Require(sexton_domain::change::Guard::Alive(epoch(5)));
    let first = world.store(vec![world.make.event().into()]).await.last_seq;
    world.conflict(vec![world.make.event().into(), guard]).await;
    let second = world.store(vec![world.make.event().into()]).await.last_seq;
    let events = world.driver().events(0, 10).await.unwrap();
    let numbers: Vec<_> = events.iter().map(|event| Some(event.seq)).collect();
    assert_eq!(numbers, [first, second]);
}

/// What a delivery refers to.
pub async fn an_event_is_found_by_its_id(world: World) {
    let facts = [world.make.event(), world.make.event()];
    world.store(facts.iter().cloned().map(Change::from).collect()).await;
    let found = world.driver().event(facts[1].id).await.unwrap();
    assert_eq!(found.map(|event| (event.seq, event.fact)), Some((2, facts[1].clone())));
    assert_eq!(world.driver().event(world.make.id()).await.unwrap(), None);
}

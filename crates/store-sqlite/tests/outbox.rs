//! The outbox of the handle: no event reaches the disk without its deliveries, whichever way it is
//! committed, and no delivery without its event.
#![expect(clippy::unwrap_used, reason = "helpers of tests are tests, too")]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use sexton_domain::change::{Change, Guard, Version};
use sexton_domain::duration;
use sexton_domain::event::{EventType, NewEvent, Subject};
use sexton_domain::hook::{Delivery, Subscription};
use sexton_domain::id::{DeliveryId, Ids};
use sexton_domain::node::{EndReason, Epoch, Node, NodeEnd, ProcessId};
use sexton_store::page::{DeliveryFilter, PageRequest};
use sexton_store::{Error, Store};
use sexton_store_sqlite::{Faults, Gate, Options, SqliteDriver};

fn told(hook: &str, on: EventType) -> Subscription {
    Subscription {
        hook: hook.parse().unwrap(),
        on: BTreeSet::from([on]),
        agents: BTreeSet::new(),
        jobs: BTreeSet::new(),
        kinds: BTreeSet::new(),
        max_attempts: 3,
        max_age: duration::Duration::from_secs(60),
        backoff: Subscription::default_backoff(),
    }
}

fn end(ids: &mut Ids, at: Timestamp) -> NewEvent {
    let (subject, data) = (Subject::default(), serde_json::json!({}));
    NewEvent { id: ids.mint(), kind: EventType::SessionEnded, at, subject, data }
}

/// A store in a folder that goes with the first of the two.
fn fresh(now: Timestamp) -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let options = Options::new(dir.path().join("a.db"), uuid::Uuid::from_u128(1), now);
    let driver = Arc::new(SqliteDriver::open(options).unwrap());
    (dir, Store::new(driver, Arc::new(|| Duration::ZERO)))
}

fn node(ids: &mut Ids, count: u32) -> Node {
    Node {
        id: ids.mint(),
        epoch: Epoch::new(1, count),
        host: "host".to_owned(),
        process: ProcessId { pid: 7, started: 12_345 },
        software: "1".to_owned(),
        started_at: Timestamp::UNIX_EPOCH,
        heartbeat_at: Timestamp::UNIX_EPOCH,
        lease_until: Timestamp::UNIX_EPOCH,
        stable_at: None,
        end: None,
        drained: None,
        left_behind: None,
        version: Version::NEW,
    }
}

async fn deliveries(store: &Store) -> Vec<Delivery> {
    let page = PageRequest::first(100);
    store.read().deliveries(DeliveryFilter::default(), page).await.unwrap().items
}

/// P4: a gateway that had been thought dead accounted for slots, swept and wrote down answers of hooks after its
/// epoch had been ended: only what it wrote for a run was fenced.
#[tokio::test]
async fn nothing_is_written_for_an_epoch_that_is_over() {
    let now = Timestamp::UNIX_EPOCH;
    let (_dir, store) = fresh(now);
    let ids = &mut Ids::new(now, 1);
    let (node, other) = (node(ids, 1), node(ids, 2));
    let mine = store.fenced(node.epoch);
    let emit = |ids: &mut Ids| vec![Change::Emit(end(ids, now))];
    let closed = Err(Error::Closed.into());
    assert_eq!(mine.commit(emit(ids)).await, closed, "it has not begun");
    store.commit(vec![node.clone().into(), other.clone().into()]).await.unwrap();
    mine.commit(emit(ids)).await.unwrap();
    mine.claim(vec![emit(ids)]).await.remove(0).unwrap();
    let lost = NodeEnd { at: now, reason: EndReason::Lost };
    let lost = Node { end: Some(lost), version: Version(1), ..node };
    store.fenced(other.epoch).commit(vec![lost.into()]).await.unwrap();
    assert_eq!(mine.commit(emit(ids)).await, closed);
    assert_eq!(mine.claim(vec![emit(ids)]).await, [closed]);
    assert_eq!(
        store.read().event_range().await.unwrap().unwrap().1,
        2,
        "what was refused is not there"
    );
    store.commit(emit(ids)).await.unwrap();
}

/// P1, P3: commit and claim carry the deliveries in their own batch.
#[tokio::test]
async fn an_end_without_its_delivery_is_impossible_through_the_handle() {
    let now = Timestamp::UNIX_EPOCH;
    let (_dir, store) = fresh(now);
    store.tell(vec![told("a", EventType::SessionEnded), told("b", EventType::SessionStarted)]);
    let mut nudged = store.subscribe_hook(&"a".parse().unwrap());
    let ids = &mut Ids::new(now, 1);
    let ends = [end(ids, now), end(ids, now), end(ids, now), end(ids, now)];
    let emit = |n: usize| Change::Emit(ends[n].clone());
    store.commit(vec![emit(0)]).await.unwrap();
    assert!(nudged.has_changed().unwrap(), "the hook's line is told to look");
    nudged.borrow_and_update();
    store.claim(vec![vec![emit(1)]]).await.remove(0).unwrap();
    assert!(nudged.has_changed().unwrap());
    // All or nothing: what conflicts leaves neither.
    let refused = vec![emit(2), Change::Require(Guard::Alive(Epoch::new(1, 9)))];
    store.commit(refused).await.unwrap_err();
    let mut stored: Vec<_> = deliveries(&store).await;
    stored.sort_by_key(|delivery| delivery.id);
    let mut expected: Vec<DeliveryId> =
        ends[..2].iter().map(|end| DeliveryId::of(end.id, &"a".parse().unwrap())).collect();
    expected.sort();
    assert!(stored.iter().map(|delivery| delivery.id).eq(expected), "{stored:#?}");
    // Who is told is decided when it is committed.
    store.tell(Vec::new());
    store.commit(vec![emit(3)]).await.unwrap();
    assert_eq!(deliveries(&store).await.len(), 2);
}

/// P3: who is to look is told when there is something to see, also when nobody waits for the answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_line_is_told_to_look_when_there_is_something_to_see_and_not_before() {
    let gate = Gate::default();
    let faults = Faults::slow(&gate);
    let dir = tempfile::tempdir().unwrap();
    let now = Timestamp::UNIX_EPOCH;
    let options = Options::new(dir.path().join("a.db"), uuid::Uuid::from_u128(1), now);
    let driver = Arc::new(SqliteDriver::open(Options { faults, ..options }).unwrap());
    let store = Store::new(driver, Arc::new(|| Duration::ZERO));
    store.tell(vec![told("a", EventType::SessionEnded)]);
    gate.shut();
    let mut nudged = store.subscribe_hook(&"a".parse().unwrap());
    drop(store.commit(vec![Change::Emit(end(&mut Ids::new(now, 1), now))]));
    assert!(!nudged.has_changed().unwrap(), "there is nothing to see yet");
    assert_eq!(deliveries(&store).await.len(), 0);
    drop(gate);
    let patience = Duration::from_secs(20);
    tokio::time::timeout(patience, nudged.changed()).await.expect("a nudge").unwrap();
    assert_eq!(deliveries(&store).await.len(), 1);
    assert_eq!(store.metrics().counts().events[&EventType::SessionEnded], 1);
}

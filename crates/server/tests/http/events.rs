//! The event log over HTTP: streams that lose nothing, and pages.

use serde_json::json;
use sexton_domain::change::{Change, RecordId, Version};
use sexton_domain::event::EventType;
use sexton_domain::node::EndReason;
use sexton_engine::handle::Handle;
use sexton_server::api::{Code, Event, EventPage, Gap, Lagged, RunState};

use crate::client::Stream;
use crate::world::World;

/// Reads so many events and checks that none is left out.
async fn take(stream: &mut Stream, count: usize, mut after: u64) -> String {
    let mut id = String::new();
    for _ in 0..count {
        let message = stream.next().await.expect("the stream goes on");
        let event: Event = message.data();
        assert_eq!((event.seq, message.event.as_str()), (after + 1, event.kind.name()));
        assert_eq!(message.id.rsplit('-').next().unwrap(), event.seq.to_string());
        (after, id) = (event.seq, message.id);
    }
    id
}

async fn newest(handle: &Handle) -> u64 {
    handle.event_range().await.unwrap().unwrap().1
}

/// Deletes the oldest events, as retention does.
async fn forget(world: &World, count: u32) {
    let events = world.handle.events(0, count).await.unwrap();
    let gone = |event: &sexton_domain::event::Event| {
        Change::Delete(RecordId::Event(event.fact.id), Version::NEW)
    };
    world.store.commit(events.iter().map(gone).collect()).await.unwrap();
}

#[tokio::test]
async fn a_stream_that_was_cut_goes_on_where_it_was_without_loss() {
    let world = World::new().await;
    world.emit(150).await;
    let mut stream = world.call("GET", "/v1/events?after=0").follow().await;
    let id = take(&mut stream, 100, 0).await;
    drop(stream);
    world.emit(30).await;
    let mut stream = world.call("GET", "/v1/events").header("last-event-id", &id).follow().await;
    let rest = newest(&world.handle).await - 100;
    take(&mut stream, rest as usize, 100).await;
    // And what happens from now on arrives as it happens.
    let last = newest(&world.handle).await;
    world.emit(1).await;
    take(&mut stream, 1, last).await;
}

#[tokio::test]
async fn a_stream_without_a_place_begins_with_what_is_new_and_tells_a_whole_run() {
    let world = World::new().await;
    world.job("talk", "echo").await;
    let mut stream = world.call("GET", "/v1/events?types=run.ended,session.started").follow().await;
    world.run("talk", RunState::Ended).await;
    let started = stream.next().await.unwrap();
    let ended = stream.next().await.unwrap();
    assert_eq!(started.event, "session.started");
    let ended: Event = ended.data();
    assert_eq!(ended.kind, EventType::RunEnded);
    assert_eq!((&ended.data["outcome"], &ended.data["output"]), (&json!("ok"), &json!("hi")));
}

/// What it could not tell any more comes first when the reader resumes with the next start.
#[tokio::test]
async fn a_stream_ends_quietly_when_the_node_has_stopped() {
    let world = World::new().await;
    let mut last = newest(&world.handle).await;
    let mut stream = world.call("GET", "/v1/events").follow().await;
    world.handle.stop(EndReason::Shutdown);
    while let Some(message) = stream.next().await {
        assert_eq!(message.data::<Event>().seq, last + 1, "{message:?}");
        last += 1;
    }
    world.stop().await;
}

#[tokio::test]
async fn a_place_that_is_no_longer_kept_begins_with_an_explicit_gap() {
    let world = World::new().await;
    world.emit(20).await;
    forget(&world, 10).await;
    let mut stream = world.call("GET", "/v1/events").header("last-event-id", "1-4").follow().await;
    let gap = stream.next().await.unwrap();
    assert_eq!((gap.event.as_str(), gap.id.as_str()), ("gap", ""));
    assert_eq!(gap.data::<Gap>(), Gap { after: 4, oldest: 11, restored: false });
    take(&mut stream, 5, 10).await;
    let page = world.call("GET", "/v1/events?after=4").header("accept", "application/json");
    let page: EventPage = page.send().await.is(200);
    assert_eq!(page.gap, Some(Gap { after: 4, oldest: 11, restored: false }));
    assert_eq!(page.items[0].seq, 11);
    // The event before the oldest is where a reader that has seen everything stands.
    for whole in ["10", "1-10", "0"] {
        let target = format!("/v1/events?after={whole}");
        let page = world.call("GET", &target).header("accept", "application/json");
        let page: EventPage = page.send().await.is(200);
        assert_eq!((page.gap, page.items[0].seq), (None, 11));
    }
}

#[tokio::test]
async fn a_place_of_before_a_restore_begins_anew_and_one_of_the_future_is_refused() {
    let world = World::new().await;
    let follow = |id: &str| world.call("GET", "/v1/events").header("last-event-id", id);
    let mut stream = follow("0-1").follow().await;
    let gap: Gap = stream.next().await.unwrap().data();
    assert!(gap.restored);
    take(&mut stream, 1, 0).await;
    for ahead in ["1-1000", "1000", "2-1"] {
        follow(ahead).send().await.problem(Code::InvalidCursor);
    }
    for garbage in ["x", "1-", "-1", "1-2-3", "99999999999999999999", " "] {
        let answer = follow(garbage).send().await;
        if garbage != " " {
            answer_is_header_problem(&answer);
        }
    }
}

fn answer_is_header_problem(answer: &crate::client::Answer) {
    assert_eq!(answer.problem(Code::InvalidHeader).field.as_deref(), Some("last-event-id"));
}

/// The reader stops reading while more happens than buffers between hold: it gets everything all the
/// same, and is told that it had fallen behind.
#[tokio::test]
async fn a_slow_reader_is_told_that_it_lagged_and_loses_nothing() {
    let world = World::new().await;
    let before = newest(&world.handle).await;
    let mut stream = world.call("GET", "/v1/events").follow().await;
    world.emit(1).await;
    take(&mut stream, 1, before).await;
    // Not read: the server fills the connection's buffers and then waits.
    world.emit(4_000).await;
    world.emit(1_000).await;
    let (mut seen, mut lagged) = (0, 0);
    while seen < 5_000 {
        let message = stream.next().await.unwrap();
        if message.event == "lagged" {
            assert!(message.data::<Lagged>().behind >= 1_000);
            lagged += 1;
            continue;
        }
        seen += 1;
        assert_eq!(message.data::<Event>().seq, before + 1 + seen);
    }
    assert_eq!(lagged, 1);
}

#[tokio::test]
async fn a_reader_that_is_overtaken_by_retention_is_told_in_the_middle_of_its_stream() {
    let world = World::new().await;
    let mut stream = world.call("GET", "/v1/events").follow().await;
    world.emit(1).await;
    let first: Event = stream.next().await.unwrap().data();
    world.emit(5_000).await;
    // Buffers between hold some hundreds; the rest is gone before it is read.
    for _ in 0..10 {
        forget(&world, 490).await;
    }
    let (mut last, mut gaps) = (first.seq, 0);
    let newest = newest(&world.handle).await;
    while last < newest {
        let message = stream.next().await.unwrap();
        if message.event == "gap" {
            let gap: Gap = message.data();
            assert!(gap.after >= last && gap.oldest > gap.after + 1, "{gap:?}");
            (last, gaps) = (gap.oldest - 1, gaps + 1);
        } else if message.event != "lagged" {
            let event: Event = message.data();
            assert_eq!(event.seq, last + 1);
            last = event.seq;
        }
    }
    assert!(gaps >= 1);
}

#[tokio::test]
async fn pages_go_through_the_log_in_order_with_a_filter_and_a_limit() {
    let world = World::new().await;
    world.emit(250).await;
    let (mut after, mut seqs) = ("0".to_owned(), Vec::new());
    loop {
        let target = format!("/v1/events?after={after}&limit=100&types=alert.raised");
        let page = world.call("GET", &target).header("accept", "application/json");
        let page: EventPage = page.send().await.is(200);
        assert!(page.items.len() <= 100);
        seqs.extend(page.items.iter().map(|event| event.seq));
        let Some(next) = page.next else { break };
        after = next;
    }
    assert_eq!(seqs.len(), 250);
    assert!(seqs.is_sorted());
    let none = world.call("GET", "/v1/events?after=0&types=job.done");
    let none: EventPage = none.header("accept", "application/json").send().await.is(200);
    assert_eq!((none.items.len(), none.next), (0, None));
}

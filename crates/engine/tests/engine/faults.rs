//! A store that fails for a while, and answers that get lost: nothing is acknowledged that is not
//! stored, nothing runs twice, and what failed is made up for.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use crate::support::{World, appears, starts_and_ends};
use sexton_domain::access::IdempotencyKey;
use sexton_domain::node::EndReason;
use sexton_domain::plan::admission::Limits;
use sexton_domain::run::{Outcome, Run, State};
use sexton_domain::schedule::Schedule;
use sexton_engine::handle::Error;
use sexton_engine::once::{Once, Standing};
use sexton_store_sqlite::{Faults, Point};

/// P7: on a full disk the caller is told, the process stays up, and when there is room again the
/// transcript and the end of what ran meanwhile are complete.
#[tokio::test]
async fn a_run_survives_a_store_that_fails_for_a_while() {
    let full = Arc::new(AtomicBool::new(false));
    let is_full = Arc::clone(&full);
    let mut world = World::new().agent(
        "a",
        "touch up; while [ ! -e go ]; do sleep 0.01; done; echo one; echo two; sleep 0.2; echo three",
    );
    world.faults =
        Faults::when(move |point| point == Point::Apply && is_full.load(Ordering::SeqCst));
    let node = world.start().await;
    let job = node.job("j", "a", |spec| spec.prompt = "p".to_owned()).await;
    let run = node.handle.run_job(&job).await.unwrap();
    appears(&world.file("up")).await;
    let running = node.running(run.id).await;
    node.transcript_becomes(&running, &["p"]).await;

    full.store(true, Ordering::SeqCst);
    std::fs::write(world.file("go"), "").unwrap();
    let refused = node.handle.cancel_run(run.id).await;
    assert!(matches!(refused, Err(Error::Store(_))), "{refused:?}");
    tokio::time::sleep(std::time::Duration::from_millis(600)).await;
    let seen = node.handle.run(run.id).await.unwrap();
    assert_eq!((seen.outcome(), seen.cancel), (None, None));
    full.store(false, Ordering::SeqCst);

    let run = node.ended(run.id).await;
    assert_eq!(run.outcome(), Some(Outcome::Ok));
    assert_eq!(node.transcript(&run).await, ["p", "one", "two", "three"]);
    let events = node.events().await;
    assert_eq!(starts_and_ends(&events), (1, 1));
    node.stop(EndReason::Shutdown).await;
}

/// P7: what is left of a full disk is for ends: nothing new begins, who asks for it is told why, and
/// what waited goes on when there is room.
#[tokio::test]
async fn nothing_begins_on_a_full_disk_and_what_waited_begins_when_there_is_room() {
    let mut world = World::new().agent("a", "echo out");
    world.limits = Limits { runs: 0, runs_per_agent: 0 };
    let node = world.start().await;
    let job = node.job("j", "a", |_| {}).await;
    let run = node.handle.run_job(&job).await.unwrap();
    node.stop(EndReason::Shutdown).await;

    world.limits = Limits { runs: 8, runs_per_agent: 8 };
    world.reserve_bytes = u64::MAX / 2;
    let node = world.start().await;
    let soon = node.handle.now() + Duration::from_millis(100);
    let due = node.job("due", "a", |spec| spec.schedule = Schedule::At { at: soon }).await;
    match node.handle.run_job(&job).await {
        Err(Error::Store(error)) => assert!(error.to_string().contains("the disk is full")),
        other => panic!("{other:?}"),
    }
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert_eq!(node.handle.run(run.id).await.unwrap().state, State::Queued);
    assert!(node.runs(&due).await.is_empty());
    node.stop(EndReason::Shutdown).await;

    world.reserve_bytes = 0;
    let node = world.start().await;
    assert_eq!(node.ended(run.id).await.outcome(), Some(Outcome::Ok));
    assert_eq!(node.handle.job(&due).await.unwrap().counters.missed, 0);
    node.stop(EndReason::Shutdown).await;
}

/// P2, P5: whichever answer is lost, a run is executed once and ends once.
#[tokio::test]
async fn a_lost_answer_never_runs_or_ends_anything_twice() {
    for nth in 1..12 {
        let left = Arc::new(AtomicI64::new(i64::MAX));
        let countdown = Arc::clone(&left);
        let mut world = World::new().agent("a", "echo ran >> log; echo out");
        world.faults = Faults::when(move |point| {
            point == Point::AfterCommit && countdown.fetch_sub(1, Ordering::SeqCst) == 1
        });
        let node = world.start().await;
        let job = node.job("j", "a", |spec| spec.prompt = "p".to_owned()).await;
        left.store(nth, Ordering::SeqCst);
        // The first answer is the trigger's: the handle finds its run instead of queuing another.
        let id = node.handle.run_job(&job).await.unwrap().id;
        let run = node.ended(id).await;
        assert_eq!(run.outcome(), Some(Outcome::Ok), "answer {nth}");
        assert_eq!(std::fs::read_to_string(world.file("log")).unwrap(), "ran\n", "answer {nth}");
        assert_eq!(node.transcript(&run).await, ["p", "out"], "answer {nth}");
        assert_eq!(node.runs(&job).await.len(), 1, "answer {nth}");
        let events = node.events().await;
        assert_eq!(starts_and_ends(&events), (1, 1), "answer {nth}");
        node.stop(EndReason::Shutdown).await;
    }
}

/// P5: a write that is asked for under a key is made once, whichever answer of the store is lost, whoever
/// repeats it; under the key of another caller it is another write.
#[tokio::test]
async fn a_write_under_a_key_is_made_once_whatever_is_lost() {
    let lose = Arc::new(AtomicBool::new(false));
    let loses = Arc::clone(&lose);
    let mut world = World::new().agent("a", "true");
    world.faults = Faults::when(move |point| {
        point == Point::AfterCommit && loses.swap(false, Ordering::SeqCst)
    });
    let node = world.start().await;
    let job = node.job("j", "a", |_| {}).await;
    let ask = async |token: Option<u128>| {
        let token = token.map(|token| uuid::Uuid::from_u128(token).into());
        let id = IdempotencyKey { token, route: "POST x".to_owned(), key: "k".to_owned() };
        let once = Once::new(id, "hash".to_owned(), node.handle.now());
        (once.scope(node.handle.run_job(&job)).await, once.standing())
    };
    lose.store(true, Ordering::SeqCst);
    // The handle finds what it made.
    let made = ask(None).await.0.unwrap();
    node.ended(made.id).await;
    let repeated = |answer: &Result<Run, Error>| {
        matches!(answer, Err(Error::Store(sexton_store::Error::Repeated)))
    };
    let (answer, standing) = ask(None).await;
    assert!(repeated(&answer) && standing == Standing::Repeated, "{answer:?}");
    assert_eq!(node.runs(&job).await.len(), 1);
    for made in 2..4 {
        let (answer, standing) = ask(Some(made)).await;
        assert_eq!(standing, Standing::Made);
        node.ended(answer.unwrap().id).await;
        assert!(repeated(&ask(Some(made)).await.0));
        assert_eq!(node.runs(&job).await.len() as u128, made);
    }
    node.stop(EndReason::Shutdown).await;
}

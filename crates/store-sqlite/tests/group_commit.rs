//! Group commit: many batches, one wait for the disk; and a log that stays small.

#![expect(clippy::unwrap_used, reason = "test code: a panic is the verdict")]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use sexton_domain::change::{Change, Record};
use sexton_domain::id::Ids;
use sexton_domain::session::Session;
use sexton_store::conformance::specimens;
use sexton_store::page::{PageRequest, SessionFilter};
use sexton_store::{CommitError, Driver, Error, Stats, answers};
use sexton_store_sqlite::{Durability, Faults, Options, Point, SqliteDriver};
use uuid::Uuid;

fn options(path: &Path) -> Options {
    Options::new(path, Uuid::from_u128(1), "2027-01-15T08:00:00Z".parse().unwrap())
}

/// The n-th of many sessions, ended.
fn session(n: u32) -> Session {
    let (records, _) = specimens();
    let found = records.into_iter().find_map(|record| match record {
        Record::Session(session) if !session.is_open() => Some(*session),
        _ => None,
    });
    let mut session = found.unwrap();
    session.id = Ids::new(session.opened_at, n.into()).mint();
    session
}

fn waits(stats: Stats) -> (u64, u64, u64) {
    (stats.commits, stats.transactions, stats.syncs)
}

/// P7: one fsync acknowledges them all.
#[tokio::test]
async fn batches_that_wait_together_share_one_transaction_and_one_wait_for_the_disk() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteDriver::open(options(&folder.path().join("sexton.db"))).unwrap();
    let batches = (0..200).map(|n| vec![Change::from(session(n))]).collect();
    let answers = answers(store.claim(batches)).await;
    assert!(answers.iter().all(Result::is_ok));
    assert_eq!(waits(store.stats()), (200, 1, 1));
    // A lone writer waits for each of its own.
    for n in 200..205 {
        store.commit(vec![session(n).into()]).await.unwrap();
    }
    assert_eq!(waits(store.stats()), (205, 6, 6));
    // What writes nothing waits for nothing.
    store.commit(Vec::new()).await.unwrap();
    assert_eq!(waits(store.stats()), (206, 7, 6));
}

/// P7: what comes while the disk is waited for gathers into the next group, without a timer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn batches_that_come_while_the_disk_is_waited_for_form_the_next_group() {
    let folder = tempfile::tempdir().unwrap();
    let (begun, released) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let faults = Faults::when({
        let (begun, released) = (Arc::clone(&begun), Arc::clone(&released));
        move |point| {
            // The first transaction is held where it would wait for the disk.
            if point == Point::BeforeCommit && !begun.swap(true, Ordering::AcqRel) {
                while !released.load(Ordering::Acquire) {
                    std::thread::yield_now();
                }
            }
            false
        }
    });
    let options = Options { faults, ..options(&folder.path().join("sexton.db")) };
    let store = SqliteDriver::open(options).unwrap();
    let mut tickets = vec![store.commit(vec![session(0).into()])];
    while !begun.load(Ordering::Acquire) {
        tokio::task::yield_now().await;
    }
    tickets.extend((1..100).map(|n| store.commit(vec![session(n).into()])));
    released.store(true, Ordering::Release);
    for ticket in tickets {
        ticket.await.unwrap();
    }
    assert_eq!(waits(store.stats()), (100, 2, 2));
}

/// A group has an end, so that nobody waits for everybody.
#[tokio::test]
async fn a_group_is_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteDriver::open(options(&folder.path().join("sexton.db"))).unwrap();
    let batches: Vec<_> = (0..1025).map(|n| vec![Change::from(session(n))]).collect();
    assert!(answers(store.claim(batches)).await.iter().all(Result::is_ok));
    assert_eq!(store.stats().transactions, 2);
}

/// The opt-in: no wait per commit, and still one transaction after the other.
#[tokio::test]
async fn a_relaxed_store_does_not_wait_for_the_disk() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sexton.db");
    let store =
        SqliteDriver::open(Options { durability: Durability::Relaxed, ..options(&path) }).unwrap();
    for n in 0..20 {
        store.commit(vec![session(n).into()]).await.unwrap();
    }
    assert_eq!(waits(store.stats()), (20, 20, 0));
}

/// P6: the log does not grow with what is written, even while somebody reads all the time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_stays_small_under_load_and_is_gone_after_closing() {
    const BOUND: u64 = 32 * 1024 * 1024;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sexton.db");
    let options = Options { durability: Durability::Relaxed, ..options(&path) };
    let store = Arc::new(SqliteDriver::open(options).unwrap());
    let done = Arc::new(AtomicBool::new(false));
    let mut readers = Vec::new();
    for _ in 0..3 {
        let (store, done) = (Arc::clone(&store), Arc::clone(&done));
        readers.push(tokio::spawn(async move {
            while !done.load(Ordering::Acquire) {
                let page = PageRequest::first(500);
                store.sessions(SessionFilter::default(), page).await.unwrap();
            }
        }));
    }
    for round in 0..60 {
        let batches: Vec<_> =
            (0..100).map(|n| vec![Change::from(session(round * 100 + n))]).collect();
        let answers = answers(store.claim(batches)).await;
        assert!(answers.iter().all(Result::is_ok));
        for n in 0..10 {
            let mut changed = session(round * 100 + n);
            changed.version = changed.version.next();
            store.commit(vec![changed.into()]).await.unwrap();
        }
        assert!(store.stats().wal_bytes < BOUND, "{:?}", store.stats());
    }
    done.store(true, Ordering::Release);
    for reader in readers {
        reader.await.unwrap();
    }
    let stats = store.stats();
    assert!(stats.store_bytes > 4 * 1024 * 1024 && stats.free_bytes > Some(0), "{stats:?}");
    store.close().await;
    assert_eq!(store.stats().wal_bytes, 0);
    assert!(!path.with_file_name("sexton.db-wal").exists());
}

/// P9: whoever commits after the end of the runtime is told so and does not wait for ever.
#[test]
fn a_store_whose_runtime_has_ended_refuses_and_answers() {
    let folder = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let path = folder.path().join("sexton.db");
    let store = runtime.block_on(async { SqliteDriver::open(options(&path)).unwrap() });
    runtime.block_on(async { store.commit(vec![session(0).into()]).await.unwrap() });
    drop(runtime);
    let other = tokio::runtime::Runtime::new().unwrap();
    for n in 1..3 {
        let answer = other.block_on(async { store.commit(vec![session(n).into()]).await });
        assert!(
            matches!(answer, Err(CommitError::Failed(Error::Unavailable { .. }))),
            "{answer:?}"
        );
    }
    assert_eq!(store.stats().commits, 1);
}

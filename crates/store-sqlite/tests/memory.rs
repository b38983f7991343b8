//! The disk in memory: it outlives the driver, as a disk outlives a process, and needs no thread.

#![expect(clippy::unwrap_used, reason = "test code: a panic is the verdict")]

use sexton_domain::change::Change;
use sexton_store::conformance::specimens;
use sexton_store::{CommitError, Driver, Error};
use sexton_store_sqlite::{Disk, Faults, Options, Point, SqliteDriver};
use uuid::Uuid;

fn options() -> Options {
    Options::new("", Uuid::from_u128(1), "2027-01-15T08:00:00Z".parse().unwrap())
}

/// Simulation runs on a paused clock: an answer that needs another thread would let it run ahead.
#[test]
fn every_answer_is_there_when_the_call_returns() {
    let disk = Disk::new().unwrap();
    let store = SqliteDriver::in_memory(&disk, options()).unwrap();
    let (records, fact) = specimens();
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let mut ready =
        |future: std::pin::Pin<&mut dyn Future<Output = bool>>| match future.poll(&mut context) {
            std::task::Poll::Ready(answer) => answer,
            std::task::Poll::Pending => panic!("it waits"),
        };
    let batch = vec![Change::Put(records[0].clone()), fact.into()];
    assert!(ready(std::pin::pin!(async { store.commit(batch).await.is_ok() })));
    assert!(ready(std::pin::pin!(async { store.events(0, 9).await.unwrap().len() == 1 })));
    assert!(ready(std::pin::pin!(async { store.get(records[0].id()).await.unwrap().is_some() })));
    assert!(ready(std::pin::pin!(async {
        store.close().await;
        true
    })));
}

/// P7: SQLite itself says that the disk is full; the reserve has room for what must still be written, and
/// what is refused changes nothing of what was acknowledged.
#[tokio::test]
async fn a_disk_in_memory_can_be_full_and_its_reserve_is_used_first() {
    let disk = Disk::new().unwrap();
    let open = || {
        let options = Options { reserve_bytes: 512 * 1024, ..options() };
        SqliteDriver::in_memory(&disk, options).unwrap()
    };
    let store = open();
    assert!(store.commit(large(0)).await.is_ok());
    assert!(!store.stats().reserve_released);
    disk.fill().unwrap();
    assert!(store.commit(large(1)).await.is_ok(), "the reserve has room for it");
    assert!(store.stats().reserve_released);
    let mut stored = 2;
    while store.commit(large(stored as u64)).await.is_ok() {
        stored += 1;
        assert!(stored < 20, "the reserve is used up");
    }
    store.close().await;
    let store = open();
    assert!(store.stats().reserve_released && store.commit(large(100)).await.is_err());
    assert_eq!(store.events(0, 99).await.unwrap().len(), stored);
    disk.make_room();
    assert!(store.commit(large(101)).await.is_ok());
    assert!(!store.stats().reserve_released);
    assert_eq!(store.events(0, 99).await.unwrap().len(), stored + 1);
}

/// An event of 128 KiB.
fn large(n: u64) -> Vec<Change> {
    let (_, mut fact) = specimens();
    fact.id = sexton_domain::id::EventId::from(Uuid::from_u64_pair(1, n));
    fact.data = "x".repeat(128 * 1024).into();
    vec![fact.into()]
}

#[tokio::test]
async fn a_disk_in_memory_survives_its_drivers_and_is_nobody_elses() {
    let (disk, other) = (Disk::new().unwrap(), Disk::new().unwrap());
    let (records, _) = specimens();
    for (n, record) in records.iter().enumerate() {
        let store = SqliteDriver::in_memory(&disk, options()).unwrap();
        store.commit(vec![Change::Put(record.clone())]).await.unwrap();
        for stored in &records[..=n] {
            assert!(store.get(stored.id()).await.unwrap().is_some());
        }
    }
    let store = SqliteDriver::in_memory(&other, options()).unwrap();
    assert_eq!(store.get(records[0].id()).await.unwrap(), None);
}

/// The process dies in the middle of a commit: what was not committed is gone.
#[tokio::test]
async fn a_panic_in_the_middle_of_a_commit_stores_nothing_and_leaves_the_disk_usable() {
    let disk = Disk::new().unwrap();
    let (records, _) = specimens();
    for (point, stored) in
        [(Point::Apply, false), (Point::BeforeCommit, false), (Point::AfterCommit, true)]
    {
        let faults = Faults::when(move |reached| {
            assert!(reached != point, "the process dies");
            false
        });
        let store = SqliteDriver::in_memory(&disk, Options { faults, ..options() }).unwrap();
        let batch = vec![Change::Put(records[0].clone())];
        let died = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| store.commit(batch)));
        assert!(died.is_err());
        assert_eq!(store.get(records[0].id()).await.unwrap().is_some(), stored, "{point:?}");
        drop(store);
        let store = SqliteDriver::in_memory(&disk, options()).unwrap();
        assert_eq!(store.get(records[0].id()).await.unwrap().is_some(), stored, "{point:?}");
        store.commit(vec![Change::Put(records[1].clone())]).await.ok();
        assert!(store.get(records[1].id()).await.unwrap().is_some());
    }
}

/// On the blocking pool a panic costs the answers of its group and nothing else.
#[tokio::test]
async fn a_panic_on_the_blocking_pool_loses_answers_and_not_the_store() {
    let folder = tempfile::tempdir().unwrap();
    let faults = Faults::when({
        let died = std::sync::atomic::AtomicBool::new(false);
        move |point| {
            let first = point == Point::BeforeCommit
                && !died.swap(true, std::sync::atomic::Ordering::AcqRel);
            assert!(!first, "the writer dies");
            false
        }
    });
    let mut options = options();
    options.path = folder.path().join("sexton.db");
    let store = SqliteDriver::open(Options { faults, ..options }).unwrap();
    let (records, _) = specimens();
    let put = |index: usize| vec![Change::Put(records[index].clone())];
    assert_eq!(store.commit(put(0)).await, Err(CommitError::AnswerLost));
    assert_eq!(store.get(records[0].id()).await.unwrap(), None);
    store.commit(put(0)).await.unwrap();
    store.commit(put(1)).await.unwrap();
    store.close().await;
    assert_eq!(store.commit(put(2)).await, Err(CommitError::Failed(Error::Closed)));
}

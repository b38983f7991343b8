//! Churn: records come and go for a long time, and the file stays as large as what it holds (P6).

#![expect(clippy::unwrap_used, reason = "test code: a panic is the verdict")]

use std::path::Path;

use sexton_domain::change::{Append, Change, Record, RecordId, Version};
use sexton_domain::entry::{Entry, Role};
use sexton_domain::id::{Ids, SessionId};
use sexton_domain::session::Session;
use sexton_store::Driver;
use sexton_store::conformance::specimens;
use sexton_store_sqlite::{Durability, Mode, Options, SqliteDriver};
use uuid::Uuid;

const DAY: u32 = 40;

fn open(path: &Path, mode: Mode) -> SqliteDriver {
    let now = "2027-01-15T08:00:00Z".parse().unwrap();
    let options = Options::new(path, Uuid::from_u128(1), now);
    SqliteDriver::open(Options { mode, durability: Durability::Relaxed, ..options }).unwrap()
}

/// The n-th session, with a transcript of 40 KB.
fn session(n: u32) -> (SessionId, Vec<Change>) {
    let (records, _) = specimens();
    let found = records.into_iter().find_map(|record| match record {
        Record::Session(session) if session.is_open() => Some(*session),
        _ => None,
    });
    let mut session: Session = found.unwrap();
    session.id = Ids::new(session.opened_at, n.into()).mint();
    session.key = format!("agent:main:chat-{n}").parse().unwrap();
    let (at, content) = (session.opened_at, "talk ".repeat(8_000));
    let entries = vec![Entry { seq: 1, at, role: Role::Assistant, content }];
    let append = Append { session: session.id, epoch: session.owner.epoch, entries };
    (session.id, vec![session.into(), Change::Append(append)])
}

fn delete(session: SessionId) -> Vec<Change> {
    vec![Change::Delete(RecordId::Session(session), Version(1))]
}

#[tokio::test]
async fn thirty_days_of_churn_leave_the_file_as_large_as_three() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder.path().join("sexton.db"), Mode::Inline);
    let mut before = Vec::new();
    let mut sizes = Vec::new();
    for day in 0..30 {
        let mut today = Vec::new();
        for n in 0..DAY {
            let (session, batch) = session(day * DAY + n);
            store.commit(batch).await.unwrap();
            today.push(session);
        }
        for session in before {
            store.commit(delete(session)).await.unwrap();
        }
        before = today;
        sizes.push(store.stats().store_bytes);
    }
    assert!(sizes[29] <= sizes[2] + sizes[2] / 10, "{sizes:?}");
}

#[tokio::test]
async fn what_a_large_deletion_frees_goes_back_to_the_disk_slice_by_slice() {
    for mode in [Mode::Inline, Mode::Pool] {
        let folder = tempfile::tempdir().unwrap();
        let store = open(&folder.path().join("sexton.db"), mode);
        let mut all = Vec::new();
        for n in 0..600 {
            let (session, batch) = session(n);
            store.commit(batch).await.unwrap();
            all.push(session);
        }
        let (first, rest) = all.split_first().unwrap();
        store.commit(rest.iter().flat_map(|session| delete(*session)).collect()).await.unwrap();
        let largest = store.stats().store_bytes;
        assert!(largest > 23 << 20, "{largest}");
        // Whatever is committed next gives a slice back, if nothing waits behind it.
        let (mut smallest, mut commits) = (largest, 0);
        while smallest > 12 << 20 && commits < 300 {
            store
                .commit(vec![Change::Require(sexton_domain::change::Guard::Unchanged(
                    RecordId::Session(*first),
                    Version(1),
                ))])
                .await
                .unwrap();
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
            commits += 1;
            smallest = smallest.min(store.stats().store_bytes);
        }
        assert!(smallest <= 12 << 20, "{smallest} of {largest} after {commits} commits");
        assert_eq!(store.entries(*first, 0, 10).await.unwrap().len(), 1);
        store.close().await;
    }
}

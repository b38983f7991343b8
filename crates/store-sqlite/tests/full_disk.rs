//! A full disk: what cannot be stored is refused, what was acknowledged stays, the process goes on and
//! recovers when there is room again.

#![expect(clippy::unwrap_used, reason = "test code: a panic is the verdict")]

use std::path::Path;

use sexton_domain::change::{Append, Change, Record, RecordId, Version};
use sexton_domain::entry::{Entry, Role};
use sexton_domain::id::Ids;
use sexton_domain::session::{EndReason, Session, State};
use sexton_store::conformance::specimens;
use sexton_store::{CommitError, Driver, Error, answers};
use sexton_store_sqlite::{Mode, Options, SqliteDriver};
use uuid::Uuid;

fn options(path: &Path, mode: Mode) -> Options {
    let now = "2027-01-15T08:00:00Z".parse().unwrap();
    Options { mode, max_pages: Some(400), ..Options::new(path, Uuid::from_u128(1), now) }
}

/// The n-th open session, and the batch that stores it with a transcript of 40 KB.
fn large(n: u32) -> (Session, Vec<Change>) {
    let (records, _) = specimens();
    let found = records.into_iter().find_map(|record| match record {
        Record::Session(session) if session.is_open() => Some(*session),
        _ => None,
    });
    let mut session = found.unwrap();
    session.id = Ids::new(session.opened_at, n.into()).mint();
    session.key = format!("agent:main:chat-{n}").parse().unwrap();
    let at = session.opened_at;
    let content = "full ".repeat(8_000);
    let entries = vec![Entry { seq: 1, at, role: Role::Assistant, content }];
    let append = Append { session: session.id, epoch: session.owner.epoch, entries };
    let batch = vec![session.clone().into(), Change::Append(append)];
    (session, batch)
}

fn is_full(answer: &Result<sexton_store::Committed, CommitError>) -> bool {
    match answer {
        Err(CommitError::Failed(Error::Unavailable { why, .. })) => {
            assert!(why.contains("full"), "{why}");
            true
        }
        Ok(_) => false,
        other => panic!("{other:?}"),
    }
}

/// P7, P10.
#[tokio::test]
async fn a_full_disk_refuses_what_does_not_fit_and_recovers_when_there_is_room() {
    for mode in [Mode::Inline, Mode::Pool] {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteDriver::open(options(&folder.path().join("sexton.db"), mode)).unwrap();
        let mut stored = Vec::new();
        let mut refused = None;
        for n in 0..100 {
            let (session, batch) = large(n);
            let answer = store.commit(batch).await;
            if is_full(&answer) {
                refused = Some(session);
                break;
            }
            stored.push(session);
        }
        let refused = refused.expect("the disk is full at some time");
        assert!(stored.len() > 10);
        assert_eq!(store.get(RecordId::Session(refused.id)).await.unwrap(), None);
        for session in &stored {
            assert_eq!(store.entries(session.id, 0, 10).await.unwrap().len(), 1);
        }
        // Again and again, and nothing gets worse.
        for n in 0..5 {
            assert!(is_full(&store.commit(large(200 + n).1).await));
        }
        for session in stored.drain(..4) {
            let delete = Change::Delete(RecordId::Session(session.id), Version(1));
            store.commit(vec![delete]).await.unwrap();
        }
        store.commit(large(300).1).await.unwrap();
        for session in &stored {
            assert_eq!(store.entries(session.id, 0, 10).await.unwrap().len(), 1);
        }
        store.close().await;
    }
}

/// P10: a batch that does not fit takes no other of its group with it.
#[tokio::test]
async fn a_batch_that_does_not_fit_takes_no_other_of_its_group_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let options = options(&folder.path().join("sexton.db"), Mode::Pool);
    let store = SqliteDriver::open(options).unwrap();
    let mut huge = large(1);
    if let Some(Change::Append(append)) = huge.1.last_mut() {
        let first = append.entries[0].clone();
        append.entries.extend((2..60).map(|seq| Entry { seq, ..first.clone() }));
    }
    let (before, after) = (large(0), large(2));
    let answers = answers(store.claim(vec![before.1, huge.1, after.1])).await;
    let full: Vec<bool> = answers.iter().map(is_full).collect();
    assert_eq!(full, [false, true, false]);
    for (session, stored) in [(before.0, true), (huge.0, false), (after.0, true)] {
        let found = store.get(RecordId::Session(session.id)).await.unwrap();
        assert_eq!(found.is_some(), stored);
        assert_eq!(store.entries(session.id, 0, 100).await.unwrap().len(), usize::from(stored));
    }
}

/// The disk of a child that the bad disk is preloaded into.
#[cfg(target_os = "linux")]
#[path = "../../../xtask/disk/preload.rs"]
mod preload;

/// P2, P7: what has begun ends also when the disk is full, new work learns of it, and once there is room
/// again everything is as before. On a disk of 44 MiB, in a child of this test.
#[cfg(target_os = "linux")]
#[test]
fn ends_are_written_on_a_full_disk_in_the_room_that_is_reserved_for_them() {
    const NAME: &str = "ends_are_written_on_a_full_disk_in_the_room_that_is_reserved_for_them";
    if let Some(folder) = std::env::var_os("SEXTON_TEST_SMALL_DISK") {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build();
        return runtime.unwrap().block_on(on_a_small_disk(Path::new(&folder)));
    }
    let folder = tempfile::tempdir().unwrap();
    let tools = tempfile::tempdir().unwrap();
    let mut child = std::process::Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", NAME, "--nocapture"]);
    child.env("LD_PRELOAD", preload::compile("bad_disk", tools.path()).unwrap());
    child.env("SEXTON_DISK", format!("{}:{}", 44 << 20, folder.path().display()));
    child.env("SEXTON_TEST_SMALL_DISK", folder.path());
    let output = child.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[cfg(target_os = "linux")]
async fn on_a_small_disk(folder: &Path) {
    let ballast = folder.join("ballast");
    std::fs::write(&ballast, vec![7; 20 << 20]).unwrap();
    let options = Options { max_pages: None, ..options(&folder.join("sexton.db"), Mode::Pool) };
    let open = || SqliteDriver::open(Options { reserve_bytes: 8 << 20, ..options.clone() });
    let store = open().unwrap();
    assert!(!store.stats().reserve_released);
    let mut begun = Vec::new();
    for n in 0..20 {
        let (session, batch) = large(n);
        store.commit(batch).await.unwrap();
        begun.push(session);
    }
    let mut filled = 20;
    while !store.stats().reserve_released {
        store.commit(large(filled).1).await.unwrap();
        filled += 1;
        assert!(filled < 900, "the disk is full at some time");
    }
    for session in begun {
        let at = session.opened_at;
        let ended = State::Ended { at, reason: EndReason::Shutdown };
        let mut fact = specimens().1;
        fact.id = Ids::new(at, (1000 + session.id.uuid().as_u128()) & 0xffff_ffff).mint();
        let ended = Session { state: ended, version: Version(1), ..session };
        store.commit(vec![ended.into(), fact.into()]).await.unwrap();
    }
    // Whoever does not look at the reserve fills the disk all the same, and is refused.
    while !is_full(&store.commit(large(filled).1).await) {
        filled += 1;
        assert!(filled < 900, "the disk is full at some time");
    }
    // A process that starts on the full disk knows.
    store.close().await;
    let store = open().unwrap();
    assert!(store.stats().reserve_released);
    std::fs::remove_file(ballast).unwrap();
    store.commit(large(901).1).await.unwrap();
    // The reserve is made after the answer; the next batch waits for that.
    store.commit(large(902).1).await.unwrap();
    assert!(!store.stats().reserve_released, "there is room again");
    store.close().await;
}

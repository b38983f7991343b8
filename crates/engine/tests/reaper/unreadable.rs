//! Rows that cannot be read: each keeps what it is about, and no sweep from anything else (P10).

use rusqlite::Connection;
use rusqlite::types::Value;
use sexton_domain::change::RecordId;
use sexton_domain::job::{Job, Retention};
use sexton_domain::key::SessionKind;
use sexton_domain::session::{HoldReason, Session};
use sexton_engine::page::PageRequest;

use crate::make::{ended, job, of_job};
use crate::yard::{Keeper, Yard};

fn open(yard: &Yard) -> Connection {
    Connection::open(yard.dir.path().join("sexton.db")).unwrap()
}

/// Makes a row of a store that nobody has open unreadable; returns what it said.
fn damage(yard: &Yard, table: &str, key: &str, id: uuid::Uuid) -> Value {
    let (db, id) = (open(yard), id.as_bytes().to_vec());
    let body = format!("SELECT body FROM {table} WHERE {key} = ?");
    let body = db.query_row(&body, [&id], |row| row.get(0)).unwrap();
    let sql = format!("UPDATE {table} SET body = '{{' WHERE {key} = ?");
    assert_eq!(db.execute(&sql, [&id]).unwrap(), 1);
    body
}

async fn hold(keeper: &Keeper, session: &Session) -> Option<HoldReason> {
    let stored = keeper.session(session.id).await.expect("it is not reaped");
    stored.hold.map(|hold| hold.reason)
}

/// P6: nobody knows for how long the job keeps its sessions. Every sweep failed on it, and so did every
/// question why sessions stay.
#[tokio::test]
async fn sessions_of_a_job_that_cannot_be_read_are_held_and_the_others_go() {
    let yard = Yard::new();
    let keeper = yard.start().await;
    let jobs = [
        job("bad", keeper.ago("3d"), Retention::default()),
        job("good", keeper.ago("3d"), Retention::default()),
    ];
    let done_at = Some(keeper.ago("8d"));
    let done = ["bad-done", "good-done"]
        .map(|key| Job { done_at, ..job(key, keeper.ago("9d"), Retention::default()) });
    let [kept, goes] = [of_job(&jobs[0], keeper.ago("2d")), of_job(&jobs[1], keeper.ago("2d"))];
    keeper.put(jobs.iter().chain(&done).cloned().map(Into::into).collect()).await;
    keeper.bury(&kept, &["kept"]).await;
    keeper.bury(&goes, &["goes"]).await;
    keeper.stop().await;
    let body = damage(&yard, "job", "id", jobs[0].id.uuid());
    damage(&yard, "job", "id", done[0].id.uuid());
    let keeper = yard.start().await;
    let report = keeper.sweep().await;
    assert_eq!(hold(&keeper, &kept).await, Some(HoldReason::JobUnreadable), "{report:?}");
    assert!(!keeper.is_stored(goes.id).await);
    let sexton_domain::change::Record::Job(good) = keeper.get(RecordId::Job(done[1].id)).await
    else {
        panic!("a job is a job")
    };
    assert!(good.removed_at.is_some(), "it was done long ago");
    let judged = keeper.handle.judgements(PageRequest::first(10)).await.unwrap().items;
    assert_eq!(judged.len(), 1);
    assert_eq!(judged[0].1.fate.hold(), Some(HoldReason::JobUnreadable));
    assert_eq!(keeper.overdue().await, 0);
    keeper.stop().await;
    // When somebody has mended it, its sessions go by its policy.
    let sql = "UPDATE job SET body = ? WHERE id = ?";
    let id = jobs[0].id.uuid().as_bytes().to_vec();
    open(&yard).execute(sql, rusqlite::params![body, id]).unwrap();
    let keeper = yard.start().await;
    let stored = keeper.session(kept.id).await.unwrap();
    keeper.put(vec![Session { hold: None, ..stored }.into()]).await;
    keeper.sweep().await;
    assert_eq!(keeper.archived(kept.id).await, ["kept"]);
    keeper.stop().await;
}

/// Where its archive lies is not known: it stays, and the others go.
#[tokio::test]
async fn a_session_whose_archives_row_cannot_be_read_is_held_and_the_others_go() {
    let yard = Yard::new();
    let keeper = yard.start().await;
    let [kept, goes] = [(); 2].map(|()| ended(SessionKind::Run, keeper.ago("2d")));
    keeper.bury(&kept, &["kept"]).await;
    assert_eq!(keeper.sweep().await.summary.archived, 1);
    let restored = keeper.handle.restore_session(kept.id).await.unwrap();
    keeper.put(vec![Session { pinned: false, ..restored }.into()]).await;
    keeper.bury(&goes, &["goes"]).await;
    keeper.stop().await;
    damage(&yard, "archive", "session", kept.id.uuid());
    let keeper = yard.start().await;
    assert_eq!(hold(&keeper, &kept).await, Some(HoldReason::ArchiveFailed));
    assert_eq!(keeper.transcript(kept.id).await, ["kept"]);
    assert_eq!(keeper.archived(goes.id).await, ["goes"]);
    keeper.stop().await;
}

/// P6: it was overdue for ever, and nothing said why.
#[tokio::test]
async fn a_session_that_cannot_be_read_is_not_overdue_and_the_others_go() {
    let yard = Yard::new();
    let keeper = yard.start().await;
    let [lost, goes] = [(); 2].map(|()| ended(SessionKind::Run, keeper.ago("2d")));
    keeper.bury(&lost, &["lost"]).await;
    keeper.bury(&goes, &["goes"]).await;
    keeper.stop().await;
    damage(&yard, "session", "id", lost.id.uuid());
    let keeper = yard.start().await;
    assert_eq!(keeper.archived(goes.id).await, ["goes"]);
    assert_eq!(keeper.overdue().await, 0);
    keeper.stop().await;
}

//! Rows that cannot be read: they are named to who asks for them and cannot stop the others (P10).

#![expect(clippy::unwrap_used, reason = "test code: a panic is the verdict")]

use std::path::PathBuf;

use rusqlite::Connection;
use sexton_domain::change::{Change, Record, RecordId};
use sexton_domain::hook::Delivery;
use sexton_store::conformance::specimens;
use sexton_store::page::{JobFilter, PageRequest, Queue, RunFilter, SessionFilter, Suspects};
use sexton_store::{Driver, Error};
use sexton_store_sqlite::{Mode, Options, SqliteDriver};
use tempfile::TempDir;
use uuid::Uuid;

const TABLES: [&str; 13] = [
    "node",
    "job",
    "run",
    "session",
    "hook",
    "delivery",
    "usage",
    "archive",
    "token",
    "segment",
    "alert",
    "reaper",
    "receipt_part",
];

struct Damaged {
    _folder: TempDir,
    path: PathBuf,
    store: SqliteDriver,
    records: Vec<Record>,
}

/// A store of two specimens of each kind, in which the first one of each is damaged.
async fn damaged(damage: &str) -> Damaged {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sexton.db");
    let now = "2027-01-15T08:00:00Z".parse().unwrap();
    let options = Options { mode: Mode::Inline, ..Options::new(&path, Uuid::from_u128(1), now) };
    let store = SqliteDriver::open(options).unwrap();
    let (records, fact) = specimens();
    store.commit(records.iter().cloned().map(Change::Put).collect()).await.unwrap();
    store.commit(vec![fact.into()]).await.unwrap();
    let db = Connection::open(&path).unwrap();
    for table in TABLES {
        let sql = format!(
            "UPDATE {table} SET body = {damage} WHERE rowid = (SELECT min(rowid) FROM {table})"
        );
        assert_eq!(db.execute(&sql, []).unwrap(), 1, "{table}");
    }
    db.execute(&format!("UPDATE event SET body = {damage}"), []).unwrap();
    Damaged { _folder: folder, path, store, records }
}

#[tokio::test]
async fn a_damaged_row_is_named_to_who_asks_for_it() {
    for damage in ["'{'", "'[]'", "CAST(x'ff00' AS TEXT)", "'{\"id\": 7}'"] {
        let Damaged { _folder, store, records, .. } = damaged(damage).await;
        let firsts =
            [0, 2, 3, 5, 7, 8, 11, 12, 13, 14, 16, 18].map(|index: usize| records[index].id());
        for id in firsts {
            match store.get(id.clone()).await {
                Err(Error::Corrupt { what, .. }) => {
                    let shown = format!("{id:?}").to_lowercase();
                    let kind = what.split(' ').next().unwrap();
                    assert!(shown.starts_with(kind), "{what} is {id:?}");
                }
                other => panic!("{id:?}: {other:?}"),
            }
        }
    }
}

#[tokio::test]
async fn a_damaged_row_is_left_out_of_lists_and_the_others_are_there() {
    let Damaged { _folder, store, records, .. } = damaged("'{'").await;
    assert_eq!(store.nodes(10).await.unwrap().len(), 1);
    assert_eq!(store.living_nodes().await.unwrap().len(), 1);
    let jobs = store.jobs(JobFilter::default(), PageRequest::first(10)).await.unwrap();
    assert_eq!((jobs.items.len(), jobs.next), (0, None));
    let runs = store.runs(RunFilter::default(), PageRequest::first(10)).await.unwrap();
    assert_eq!(runs.items.len(), 1);
    let first = store.runs(RunFilter::default(), PageRequest::first(1)).await.unwrap();
    assert_eq!(first.items, runs.items);
    let sessions = store.sessions(SessionFilter::default(), PageRequest::first(10)).await.unwrap();
    assert_eq!(sessions.items.len(), 1);
    assert!(matches!(records[6], Record::Session(_)));
    assert_eq!(RecordId::Session(sessions.items[0].id), records[6].id());
    assert_eq!(store.events(0, 10).await.unwrap(), []);
    assert_eq!(store.queue(Queue { limit: 10, ..Queue::default() }).await.unwrap(), []);
    assert_eq!(store.tally().await.unwrap().runs.values().sum::<u64>(), 2, "it is still there");
}

/// A list with a limit is not used up by rows that cannot be read.
#[tokio::test]
async fn damaged_rows_do_not_use_up_a_limit() {
    let Damaged { _folder, path, store, records } = damaged("'{'").await;
    let Record::Session(open) = &records[6] else { panic!("it is a session") };
    let mut more = (**open).clone();
    more.id = Uuid::from_u128(u128::MAX).into();
    more.key = "agent:main:more".parse().unwrap();
    store.commit(vec![more.clone().into()]).await.unwrap();
    let db = Connection::open(&path).unwrap();
    db.execute("UPDATE session SET body = '{' WHERE id <> ?", [more.id.uuid().as_bytes()]).unwrap();
    let orphans = store.orphan_sessions(Vec::new(), 1).await.unwrap();
    assert_eq!(orphans.into_iter().map(|session| session.id).collect::<Vec<_>>(), [more.id]);
}

/// Damage to the file itself is an error and no panic, and opening says what it is.
#[tokio::test]
async fn damage_to_the_file_is_an_error() {
    let Damaged { _folder, path, store, records } = damaged("'{'").await;
    store.close().await;
    let mut bytes = std::fs::read(&path).unwrap();
    let end = bytes.len();
    bytes[4096..end].fill(0xa5);
    std::fs::write(&path, bytes).unwrap();
    let now = "2027-01-15T08:00:00Z".parse().unwrap();
    let options = Options { mode: Mode::Inline, ..Options::new(&path, Uuid::from_u128(1), now) };
    match SqliteDriver::open(options) {
        Ok(store) => {
            for record in records {
                assert!(matches!(store.get(record.id()).await, Err(Error::Corrupt { .. })));
            }
        }
        Err(error) => assert!(error.to_string().contains("sexton.db"), "{error}"),
    }
}

/// What is counted and waited for is what the lists have: a time that never passes kept a loop from resting.
#[tokio::test]
async fn damaged_rows_are_neither_waited_for_nor_overdue() {
    let Damaged { _folder, path, store, records } = damaged("body").await;
    let Record::Delivery(Delivery { hook, .. }) = &records[8] else { panic!("it is a delivery") };
    let db = Connection::open(&path).unwrap();
    db.execute_batch(
        "UPDATE job SET due_at = 1; UPDATE session SET expires_at = 1, open = 0;
         UPDATE run SET state = 'waiting', rests_until = 1;
         UPDATE delivery SET state = 'pending', seq = 1, at = 1;
         UPDATE delivery SET head = 1;",
    )
    .unwrap();
    let now = "2027-01-15T08:00:00Z".parse().unwrap();
    assert!(store.next_due().await.unwrap().is_some());
    assert!(store.next_rested().await.unwrap().is_some());
    assert!(store.next_due_session().await.unwrap().is_some());
    assert!(store.next_delivery(hook.clone()).await.unwrap().is_some());
    assert_eq!(store.overdue_sessions(now, 10).await.unwrap(), 2);
    for table in TABLES {
        db.execute(&format!("UPDATE {table} SET body = '{{'"), []).unwrap();
    }
    assert_eq!(store.next_due().await.unwrap(), None);
    assert_eq!(store.next_rested().await.unwrap(), None);
    assert_eq!(store.next_due_session().await.unwrap(), None);
    assert_eq!(store.next_delivery(hook.clone()).await.unwrap(), None);
    assert_eq!(store.overdue_sessions(now, 10).await.unwrap(), 0);
}

/// They are found by their key columns, so that they can be replaced or deleted.
#[tokio::test]
async fn damaged_rows_are_found_by_their_keys() {
    let Damaged { _folder, path, store, records } = damaged("'{'").await;
    let db = Connection::open(&path).unwrap();
    let hook: String = db
        .query_row("SELECT hook FROM delivery WHERE body = '{' AND state = 'pending'", [], |row| {
            row.get(0)
        })
        .unwrap();
    let reaper = records.iter().position(|record| matches!(record, Record::Reaper(_))).unwrap();
    let among = [
        (Suspects::Nodes, 0),
        (Suspects::Hooks, 7),
        (Suspects::Alerts, 14),
        (Suspects::Reaper, reaper),
        (Suspects::Deliveries(hook.parse().unwrap()), 8),
    ];
    for (among, index) in among {
        let found = store.unreadable(among.clone(), 10).await.unwrap();
        let ids: Vec<RecordId> = found.iter().map(|row| row.id.clone()).collect();
        assert_eq!(ids, [records[index].id()], "{among:?}");
        let event = match &records[index] {
            Record::Delivery(delivery) => Some(delivery.event),
            _ => None,
        };
        assert_eq!(found[0].event, event);
        let gone = vec![Change::Delete(found[0].id.clone(), found[0].version)];
        store.commit(gone).await.unwrap();
        assert_eq!(store.unreadable(among, 10).await.unwrap(), []);
    }
}

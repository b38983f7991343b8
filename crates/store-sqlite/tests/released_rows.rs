//! Rows of every released schema still load.
//!
//! `fixtures/v<N>.sql` holds the rows of a store of that version, one `INSERT` for each. A fixture is
//! written once, with `SEXTON_WRITE_FIXTURE=1` before the version is released, and never again.

#![expect(clippy::unwrap_used, reason = "test code: a panic is the verdict")]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use rusqlite::Connection;
use rusqlite::types::{Value, ValueRef};
use sexton_domain::access::IdempotencyKey;
use sexton_domain::alert::{AlertCode, AlertKey};
use sexton_domain::change::{Append, Change, Record, RecordId};
use sexton_domain::entry::{Entry, Role};
use sexton_domain::id::{SessionId, TokenId};
use sexton_domain::name::HookName;
use sexton_domain::node::Epoch;
use sexton_store::Driver;
use sexton_store::conformance::specimens;
use sexton_store::page::Expired;
use sexton_store_sqlite::{Mode, Options, SqliteDriver};
use uuid::Uuid;

/// The schemas that were released, and the one that is about to be.
const VERSIONS: [&str; 3] =
    [include_str!("../src/v1.sql"), include_str!("../src/v2.sql"), include_str!("../src/v3.sql")];

fn fixture(version: usize) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    folder.join(format!("v{version}.sql"))
}

fn open(path: &Path) -> SqliteDriver {
    let now = "2027-01-15T08:00:00Z".parse().unwrap();
    let options = Options { mode: Mode::Inline, ..Options::new(path, Uuid::from_u128(1), now) };
    SqliteDriver::open(Options { software: "0.1.0".to_owned(), ..options }).unwrap()
}

fn tables(db: &Connection) -> Vec<String> {
    let sql = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%' \
               ORDER BY name";
    let mut statement = db.prepare(sql).unwrap();
    statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}

fn literal(value: ValueRef<'_>) -> String {
    match Value::try_from(value).unwrap() {
        Value::Null => "NULL".to_owned(),
        Value::Integer(number) => number.to_string(),
        Value::Real(number) => number.to_string(),
        Value::Text(text) => format!("'{}'", text.replace('\'', "''")),
        Value::Blob(bytes) => {
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("x'{hex}'")
        }
    }
}

/// Every row as an `INSERT` that names its columns.
fn dump(db: &Connection) -> String {
    let mut sql = String::new();
    for table in tables(db) {
        let mut statement = db.prepare(&format!("SELECT * FROM {table}")).unwrap();
        let names = statement.column_names().collect::<Vec<_>>().join(", ");
        let mut rows = statement.query([]).unwrap();
        while let Some(row) = rows.next().unwrap() {
            let columns = names.split(", ").count();
            let values: Vec<_> = (0..columns).map(|n| literal(row.get_ref(n).unwrap())).collect();
            sql += &format!("INSERT INTO {table} ({names}) VALUES ({});\n", values.join(", "));
        }
    }
    sql
}

async fn write_fixture() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sexton.db");
    let store = open(&path);
    let (records, fact) = specimens();
    store.commit(vec![fact.into()]).await.unwrap();
    store.commit(records.iter().cloned().map(Change::Put).collect()).await.unwrap();
    for record in records {
        if let Record::Session(session) = record
            && session.is_open()
        {
            let roles = [Role::User, Role::Assistant, Role::Tool, Role::System];
            let at = session.opened_at;
            let entries = (1..).zip(roles).map(|(seq, role)| Entry {
                seq,
                at,
                role,
                content: format!("the {seq}. line, it's \"quoted\" 👋"),
            });
            let (session, epoch) = (session.id, session.owner.epoch);
            let append = Append { session, epoch, entries: entries.collect() };
            store.commit(vec![Change::Append(append)]).await.unwrap();
        }
    }
    store.close().await;
    fs::write(fixture(VERSIONS.len()), dump(&Connection::open(&path).unwrap())).unwrap();
}

/// A store of a version as its fixture has it.
fn released(path: &Path, version: usize) -> Connection {
    let db = Connection::open(path).unwrap();
    VERSIONS[..version].iter().for_each(|sql| db.execute_batch(sql).unwrap());
    // The triggers would count rows whose counts are in the fixture.
    db.execute_batch("DELETE FROM counter").unwrap();
    let triggers = "SELECT group_concat(sql, ';') FROM sqlite_schema WHERE type = 'trigger'";
    let triggers: String = db.query_row(triggers, [], |row| row.get(0)).unwrap();
    let drops = "SELECT group_concat('DROP TRIGGER ' || name, ';') FROM sqlite_schema \
                 WHERE type = 'trigger'";
    let drops: String = db.query_row(drops, [], |row| row.get(0)).unwrap();
    db.execute_batch(&drops).unwrap();
    db.execute_batch(&fs::read_to_string(fixture(version)).unwrap()).unwrap();
    db.execute_batch(&triggers).unwrap();
    db.execute_batch(&format!("PRAGMA user_version = {version}")).unwrap();
    db.execute_batch("PRAGMA application_id = 0x5358544e").unwrap();
    db
}

fn ids(db: &Connection, table: &str, column: &str) -> Vec<Uuid> {
    let mut statement = db.prepare(&format!("SELECT {column} FROM {table}")).unwrap();
    let ids = statement.query_map([], |row| row.get::<_, Vec<u8>>(0)).unwrap();
    ids.map(|id| Uuid::from_slice(&id.unwrap()).unwrap()).collect()
}

fn record_ids(db: &Connection) -> Vec<RecordId> {
    let mut found = Vec::new();
    let mut statement = db.prepare("SELECT epoch FROM node").unwrap();
    let epochs = statement.query_map([], |row| row.get::<_, i64>(0)).unwrap();
    let epochs = epochs.map(|epoch| Epoch::from_number(epoch.unwrap().cast_unsigned()));
    found.extend(epochs.map(RecordId::Node));
    found.extend(ids(db, "job", "id").into_iter().map(|id| RecordId::Job(id.into())));
    found.extend(ids(db, "run", "id").into_iter().map(|id| RecordId::Run(id.into())));
    found.extend(ids(db, "session", "id").into_iter().map(|id| RecordId::Session(id.into())));
    found.extend(ids(db, "delivery", "id").into_iter().map(|id| RecordId::Delivery(id.into())));
    found.extend(ids(db, "usage", "id").into_iter().map(|id| RecordId::Usage(id.into())));
    found.extend(ids(db, "archive", "session").into_iter().map(|id| RecordId::Archive(id.into())));
    found.extend(ids(db, "token", "id").into_iter().map(|id| RecordId::Token(id.into())));
    found.push(RecordId::Hook("hook".parse().unwrap()));
    found.extend(of_version_2(db));
    if tables(db).iter().any(|table| table == "receipt_part") {
        let parts = ids(db, "receipt_part", "id").into_iter();
        found.extend(parts.map(|id| RecordId::ReceiptPart(id.into())));
    }
    let token = ids(db, "idempotency", "token").pop().map(TokenId::from);
    let [route, key] = ["POST /v1/jobs", "key"].map(str::to_owned);
    found.push(RecordId::Idempotency(IdempotencyKey { token, route, key }));
    found
}

/// Kinds that version 1 did not have.
fn of_version_2(db: &Connection) -> Vec<RecordId> {
    if !tables(db).iter().any(|table| table == "reaper") {
        return Vec::new();
    }
    let alert = |code, about: &str| RecordId::Alert(AlertKey { code, about: about.to_owned() });
    let segment = RecordId::Segment("2027-01-15.szst".to_owned());
    let alerts = [alert(AlertCode::DeadLetters, "a:hook"), alert(AlertCode::LowDisk, "")];
    alerts.into_iter().chain([segment, RecordId::Reaper]).collect()
}

#[tokio::test]
async fn rows_of_version_1_still_load() {
    let store = load(1).await;
    // What version 2 looks for is there: the first of a lane, and when things ended.
    let hook: HookName = "hook".parse().unwrap();
    let next = store.next_delivery(hook.clone()).await.unwrap();
    assert_eq!(next, Some("2027-01-15T08:00:05Z".parse().unwrap()));
    let due = store.due_deliveries(hook, Timestamp::MAX, 9).await.unwrap();
    assert_eq!(due.len(), 1);
    let held = due_session(&store).await;
    assert_eq!(held, None, "it is pinned");
    let ended = "2027-01-15T08:00:09Z".parse::<Timestamp>().unwrap();
    let nodes = |before| store.expired(Expired::Nodes(before), 9);
    assert_eq!(nodes(ended).await.unwrap(), []);
    assert_eq!(nodes(ended + Duration::from_millis(1)).await.unwrap().len(), 1);
    let far = Timestamp::MAX;
    for (what, count) in [
        (Expired::Runs(far), 1),
        (Expired::Delivered(far), 1),
        (Expired::Dead(far), 0),
        (Expired::Events(far), 0),
        (Expired::Usage(far), 1),
        (Expired::Stubs(far), 0),
        (Expired::Idempotency(far), 1),
    ] {
        assert_eq!(store.expired(what.clone(), 9).await.unwrap().len(), count, "{what:?}");
    }
    assert_eq!(store.troubled_jobs(9).await.unwrap().len(), 1);
    assert_eq!(store.jobs_over(0, 9).await.unwrap().len(), 1);
    let tally = store.tally().await.unwrap();
    assert_eq!((tally.archives, tally.troubled, tally.alerts), ((1, 1234), 1, 0));
    assert_eq!(tally.deliveries.values().sum::<u64>(), 2);
}

#[tokio::test]
async fn rows_of_version_2_still_load() {
    let store = load(2).await;
    assert_eq!(due_session(&store).await, None, "it is pinned");
    let tally = store.tally().await.unwrap();
    assert_eq!((tally.archives, tally.troubled, tally.alerts), ((1, 1234), 1, 1));
    assert_eq!(tally.deliveries.values().sum::<u64>(), 3);
}

#[tokio::test]
async fn rows_of_version_3_still_load() {
    if std::env::var_os("SEXTON_WRITE_FIXTURE").is_some() {
        write_fixture().await;
    }
    let store = load(3).await;
    assert_eq!(store.receipt_parts(None, 9).await.unwrap().len(), 1);
}

async fn due_session(store: &SqliteDriver) -> Option<Timestamp> {
    store.next_due_session().await.unwrap()
}

/// Opens a store of a version and asks for everything in it.
async fn load(version: usize) -> SqliteDriver {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sexton.db");
    let db = released(&path, version);
    let records = record_ids(&db);
    let sessions: Vec<SessionId> =
        ids(&db, "entry", "DISTINCT session").into_iter().map(SessionId::from).collect();
    drop(db);
    let store = open(&path);
    assert_eq!(store.meta().await.unwrap().store_id, Uuid::from_u128(1));
    assert!(records.len() > 12, "there is at least one of each kind");
    for id in records {
        assert!(store.get(id.clone()).await.unwrap().is_some(), "{id:?}");
    }
    assert_eq!(store.events(0, 10).await.unwrap().len(), 1);
    assert_eq!(sessions.len(), 1);
    assert_eq!(store.entries(sessions[0], 0, 10).await.unwrap().len(), 4);
    assert_eq!(store.daily_usage(jiff::civil::Date::MIN).await.unwrap().len(), 1);
    let tally = store.tally().await.unwrap();
    assert_eq!((tally.jobs, tally.events), (1, 1));
    assert_eq!(tally.sessions.values().sum::<u64>(), 2);
    store
}

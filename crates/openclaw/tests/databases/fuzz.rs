//! Properties over damaged databases, and over damaged texts in them.

use std::collections::HashSet;
use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use proptest::prelude::*;
use proptest::sample::Index;
use rusqlite::params;
use serde_json::Value;
use sexton_fuzz::{budget, bytes, json};
use sexton_openclaw::model::Tally;
use sexton_openclaw::read::agent_db::AgentDb;
use sexton_openclaw::read::snapshot::beside;
use sexton_openclaw::read::state_db::StateDb;

use crate::cold::move_out;
use crate::make::{Db, JOB, PAGE, SESSION};

/// The real ones without their free pages, with enough rows for several levels.
static AGENT: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let db = Db::agent();
    db.add_runs(60);
    move_out(&db.path(), SESSION, 3, false);
    db.sql("VACUUM");
    db.bytes()
});
static STATE: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let db = Db::state();
    db.sql("VACUUM");
    db.bytes()
});
/// A log with two transactions.
static LOG: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let db = Db::of(&AGENT);
    let connection = db.connect();
    connection.execute_batch("PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0").unwrap();
    connection.execute_batch("UPDATE session_nodes SET status = 'failed'").unwrap();
    connection.execute_batch("UPDATE session_windows SET status = 'failed'").unwrap();
    fs::read(beside(&db.path(), "-wal")).unwrap()
});

/// What happens to whole pages.
#[derive(Debug, Clone)]
enum Pages {
    Zeros(Index),
    Same(Index, Index),
    Header(Index, u8, u8),
}

fn pages() -> impl Strategy<Value = Vec<Pages>> {
    let one = prop_oneof![
        any::<Index>().prop_map(Pages::Zeros),
        (any::<Index>(), any::<Index>()).prop_map(|(from, to)| Pages::Same(from, to)),
        (any::<Index>(), 0..64_u8, any::<u8>())
            .prop_map(|(page, at, byte)| Pages::Header(page, at, byte)),
    ];
    prop::collection::vec(one, 1..8)
}

fn damage(mut file: Vec<u8>, all: &[Pages]) -> Vec<u8> {
    let count = file.len() / PAGE;
    for one in all {
        match one {
            Pages::Zeros(page) => {
                let at = page.index(count) * PAGE;
                file[at..at + PAGE].fill(0);
            }
            Pages::Same(from, to) => {
                let (from, to) = (from.index(count) * PAGE, to.index(count) * PAGE);
                file.copy_within(from..from + PAGE, to);
            }
            Pages::Header(page, at, byte) => {
                file[page.index(count) * PAGE + usize::from(*at)] = *byte;
            }
        }
    }
    file
}

fn damaged(file: &'static LazyLock<Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    let by_page = pages().prop_map(|all| damage(file.to_vec(), &all));
    prop_oneof![1 => bytes::damaged(file.to_vec()), 3 => by_page]
}

/// Every reader of an agent's database ends, and hands on nothing twice.
fn read_agent(db: &Db) -> Result<(), TestCaseError> {
    let Ok(mut read) = AgentDb::open(&db.snapshot()) else { return Ok(()) };
    read.integrity(10);
    let mut cold = Vec::new();
    read.cold(Path::new("/nowhere"), Path::new("none"), &mut |one| cold.push(one));
    for one in cold {
        let _ = read.open_cold(&one);
    }
    let mut stamps = 0;
    let nodes = read.nodes(&mut |node| stamps += node.stamp.len() / 64);
    prop_assert_eq!(nodes.read, stamps as u64);
    let mut count = 0;
    prop_assert_eq!(read.windows(&mut |_| count += 1).read, count);
    let mut archives = Vec::new();
    let tally = read.archives(&mut |archive, _| archives.push(archive));
    prop_assert_eq!(tally.read, archives.len() as u64);
    for archive in archives {
        let _ = read.archive_bytes(&archive.session_id, &archive.generation);
    }
    let mut seen = HashSet::new();
    let mut twice = false;
    let tally = read.events(&mut |event| twice |= !seen.insert((event.session_id, event.seq)));
    prop_assert!(!twice);
    prop_assert_eq!(tally.read, seen.len() as u64);
    Ok(())
}

fn read_state(db: &Db) -> Result<(), TestCaseError> {
    let Ok(read) = StateDb::open(&db.snapshot()) else { return Ok(()) };
    read.integrity(10);
    let mut counts = [0; 4];
    let [jobs, receipts, tasks, boots] = &mut counts;
    let tallies = [
        read.jobs(&mut |_| *jobs += 1),
        read.receipts(&mut |_| *receipts += 1),
        read.tasks(&mut |_| *tasks += 1),
        read.boots(&mut |_| *boots += 1),
    ];
    prop_assert_eq!(tallies.map(|tally| tally.read), counts);
    Ok(())
}

/// Texts that are nearly the one that stands there, some of them no UTF-8.
fn near(db: &Db, query: &str) -> impl Strategy<Value = Vec<u8>> + use<> {
    let text: String = db.connect().query_row(query, [], |row| row.get(0)).unwrap();
    let value: Value = serde_json::from_str(&text).unwrap();
    let wrong = json::near(Just(value)).prop_map(String::into_bytes);
    prop_oneof![2 => wrong, 1 => bytes::damaged(text.into_bytes())]
}

fn one(tally: &Tally) -> Result<(), TestCaseError> {
    prop_assert_eq!(tally.read + tally.dropped.len() as u64, 1, "{:?}", tally.dropped);
    Ok(())
}

proptest! {
    #![proptest_config(budget(60))]

    #[test]
    fn a_damaged_agent_database_is_read_as_far_as_it_goes(file in damaged(&AGENT)) {
        read_agent(&Db::of(&file))?;
    }

    #[test]
    fn a_damaged_state_database_is_read_as_far_as_it_goes(file in damaged(&STATE)) {
        read_state(&Db::of(&file))?;
    }

    #[test]
    fn a_damaged_log_beside_a_healthy_database_is_read_as_far_as_it_goes(
        log in bytes::damaged(LOG.to_vec()),
    ) {
        let db = Db::of(&AGENT);
        fs::write(beside(&db.path(), "-wal"), log).unwrap();
        read_agent(&db)?;
        let read = db.read_agent();
        prop_assert_eq!(read.nodes(&mut |_| {}).read, 61);
        prop_assert_eq!(read.integrity(10), [""; 0]);
    }

    #[test]
    fn a_node_with_any_entry_is_read_or_dropped(
        entry in near(&Db::agent(), "SELECT entry_json FROM session_nodes"),
    ) {
        let db = Db::agent();
        db.connect()
            .execute("UPDATE session_nodes SET entry_json = CAST(?1 AS TEXT)", params![entry])
            .unwrap();
        one(&db.read_agent().nodes(&mut |_| {}))?;
    }

    #[test]
    fn an_event_with_any_text_is_handed_on(
        event in near(&Db::agent(), "SELECT event_json FROM transcript_events WHERE seq = 4"),
    ) {
        let db = Db::agent();
        db.sql("DELETE FROM transcript_events WHERE seq > 0");
        db.connect()
            .execute("UPDATE transcript_events SET event_json = CAST(?1 AS TEXT)", params![event])
            .unwrap();
        let mut text = None;
        one(&db.read_agent().events_of(SESSION, &mut |event| text = Some(event.json)))?;
        prop_assert_eq!(text.unwrap().ok(), String::from_utf8(event).ok());
    }

    #[test]
    fn a_job_with_any_text_and_state_is_read_or_dropped(
        job in near(&Db::state(), "SELECT job_json FROM cron_jobs WHERE name = 't1'"),
        state in near(&Db::state(), "SELECT state_json FROM cron_jobs WHERE name = 't1'"),
    ) {
        let db = Db::state();
        db.connect()
            .execute(
                "UPDATE cron_jobs SET job_json = CAST(?1 AS TEXT), state_json = CAST(?2 AS TEXT) WHERE job_id = ?3",
                params![job, state, JOB],
            )
            .unwrap();
        let tally = db.read_state().jobs(&mut |_| {});
        prop_assert_eq!(tally.read + tally.dropped.len() as u64, 4);
    }
}

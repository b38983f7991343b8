//! Plans: that every read goes along an index, so that its cost does not depend on how much is stored
//! (P8).

use rusqlite::Connection;
use sexton_domain::job::{Job, Source};
use sexton_domain::key::SessionKind;
use sexton_domain::run::{Outcome, Run};
use sexton_domain::session::{EndReason, Session};
use sexton_store::page::{JobFilter, RunFilter, RunState, SessionFilter};
use uuid::Uuid;

use super::page::{Ids, Scan};
use super::{jobs, log, meta, nodes, runs, sessions};
use crate::schema::MIGRATIONS;
use crate::table::Row;

/// Scans that are meant: each stops at its limit or is over a handful of rows.
const MEANT: [&str; 6] = [
    // The newest first, in the order of the table.
    "SCAN node",
    // Those that live, and no others.
    "SCAN node USING INDEX node_living",
    // One row for each kind of count.
    "SCAN counter",
    // The first of an index.
    "SCAN job USING COVERING INDEX job_due",
    "SCAN run USING COVERING INDEX run_rest",
    "SCAN CONSTANT ROW",
];

fn store() -> Connection {
    let db = Connection::open_in_memory().unwrap();
    db.execute_batch(MIGRATIONS[0]).unwrap();
    db
}

fn check(db: &Connection, sql: &str) {
    let mut statement = db.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
    let unbound = vec![rusqlite::types::Null; statement.parameter_count()];
    let details: Vec<String> = statement
        .query_map(rusqlite::params_from_iter(unbound), |row| row.get(3))
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    for detail in &details {
        let sorts = detail.contains("TEMP B-TREE");
        let scans = detail.starts_with("SCAN") && !MEANT.contains(&detail.as_str());
        assert!(!sorts && !scans, "{detail}\nin {details:#?}\nof {sql}");
    }
}

fn check_scan<R: Row>(db: &Connection, scan: &Scan) {
    check(db, &scan.sql::<R>(&Ids::all()).0);
}

#[test]
fn every_read_that_is_not_a_list_goes_along_an_index() {
    let db = store();
    let reads = [
        jobs::BY_KEY,
        jobs::DUE,
        jobs::NEXT_DUE,
        nodes::NEWEST,
        nodes::LIVING,
        runs::ACTIVE,
        runs::NEWEST_SLOT,
        runs::RUNNING,
        runs::RESTED,
        runs::NEXT_RESTED,
        runs::QUEUED_AGENT,
        runs::QUEUED,
        runs::LAST_TURN,
        sessions::OPEN,
        sessions::ENTRIES,
        log::EVENTS,
        log::RANGE,
        log::DAYS,
        meta::TALLY,
    ];
    for sql in reads {
        check(&db, sql);
    }
    check(&db, &runs::OWNED.epochs::<Run>());
    check(&db, &runs::OWNED.rows::<Run>());
    check(&db, &sessions::OWNED.epochs::<Session>());
    check(&db, &sessions::OWNED.rows::<Session>());
}

#[test]
fn every_mix_of_filters_of_sessions_goes_along_an_index() {
    let db = store();
    let kinds = [vec![], vec![SessionKind::Run], SessionKind::ALL[1..].to_vec()];
    for mix in 0..16_u8 {
        let has = |bit: u8| mix & (1 << bit) != 0;
        for kinds in &kinds {
            for open in [None, Some(true), Some(false)] {
                let filter = SessionFilter {
                    key: has(0).then(|| "agent:main:main".parse().unwrap()),
                    kinds: kinds.clone(),
                    agent: has(1).then(|| "main".parse().unwrap()),
                    job: has(2).then(|| Uuid::nil().into()),
                    open,
                    reason: has(3).then_some(EndReason::Completed),
                    since: None,
                };
                check_scan::<Session>(&db, &sessions::scan(&filter));
            }
        }
    }
}

#[test]
fn every_mix_of_filters_of_runs_goes_along_an_index() {
    let db = store();
    for mix in 0..8_u8 {
        let has = |bit: u8| mix & (1 << bit) != 0;
        for state in RunState::ALL.into_iter().map(Some).chain([None]) {
            let filter = RunFilter {
                job: has(0).then(|| Uuid::nil().into()),
                agent: has(1).then(|| "main".parse().unwrap()),
                state,
                outcome: has(2).then_some(Outcome::Failed),
                since: None,
                until: None,
            };
            check_scan::<Run>(&db, &runs::scan(&filter));
        }
    }
}

#[test]
fn every_mix_of_filters_of_jobs_goes_along_an_index() {
    let db = store();
    for mix in 0..8_u8 {
        let has = |bit: u8| mix & (1 << bit) != 0;
        let filter = JobFilter {
            source: has(0).then_some(Source::Api),
            agent: has(1).then(|| "main".parse().unwrap()),
            removed: has(2),
        };
        check_scan::<Job>(&db, &jobs::scan(&filter));
    }
}

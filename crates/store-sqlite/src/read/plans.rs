//! Plans: that every read goes along an index, so that its cost does not depend on how much is stored
//! (P8).

use rusqlite::Connection;
use sexton_domain::archive::Archive;
use sexton_domain::hook::Delivery;
use sexton_domain::job::{Job, Source};
use sexton_domain::key::SessionKind;
use sexton_domain::run::{Outcome, Run};
use sexton_domain::session::{EndReason, Session};
use sexton_store::page::{DeliveryFilter, JobFilter, RunFilter, RunState, SessionFilter, Standing};
use uuid::Uuid;

use super::page::{Ids, Scan};
use super::{
    alerts, archives, deliveries, expired, jobs, log, meta, nodes, receipts, runs, sessions,
    unreadable,
};
use crate::schema::MIGRATIONS;
use crate::table::Row;

/// Scans that are meant: each stops at its limit or is over a handful of rows.
const MEANT: [&str; 13] = [
    // The newest first, in the order of the table.
    "SCAN node",
    // Those that live, and no others.
    "SCAN node USING INDEX node_living",
    // One row for each kind of count.
    "SCAN counter",
    // The first of an index.
    "SCAN job USING INDEX job_due",
    "SCAN run USING INDEX run_rest",
    "SCAN session USING INDEX session_expires",
    "SCAN CONSTANT ROW",
    // A handful of rows: the hooks of the config, a segment for each day.
    "SCAN hook USING INDEX sqlite_autoindex_hook_1",
    "SCAN segment USING INDEX sqlite_autoindex_segment_1",
    // Those that need a look, and no others.
    "SCAN alert USING INDEX alert_active",
    // The newest first, in the order of the index.
    "SCAN alert USING INDEX alert_cleared",
    "SCAN job USING INDEX job_reindex",
    "SCAN job USING INDEX job_troubled",
];

fn store() -> Connection {
    let db = Connection::open_in_memory().unwrap();
    MIGRATIONS.iter().for_each(|sql| db.execute_batch(sql).unwrap());
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
        unreadable::NODES,
        unreadable::HOOKS,
        unreadable::ACTIVE,
        unreadable::CLEARED,
        unreadable::DELIVERIES,
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
        alerts::ACTIVE,
        alerts::CLEARED,
        archives::SEGMENTS,
        archives::IN_SEGMENT,
        receipts::PARTS,
        deliveries::HOOKS,
        deliveries::DUE,
        deliveries::NEXT,
        deliveries::OLDEST,
        deliveries::LANE,
        deliveries::UNDELIVERED,
        deliveries::TOLD_HOOKS,
        jobs::CAPPED,
        jobs::TO_REINDEX,
        jobs::TROUBLED,
        jobs::OVER,
        log::EVENT,
        runs::ACTIVE_ON,
        sessions::CONTINUED,
        sessions::IDLE,
        sessions::DUE,
        sessions::NEXT_DUE,
        sessions::OVERDUE,
        sessions::NEWEST_ENDED,
        sessions::NEWEST_FAILED,
        sessions::OLDEST_KEPT,
        sessions::BEYOND,
        expired::NODES,
        expired::TOMBSTONES,
        expired::DONE_JOBS,
        expired::RUNS,
        expired::OLDEST_KEPT_RUN,
        expired::RUNS_BEFORE,
        expired::EVENTS,
        expired::DELIVERIES,
        expired::USAGE,
        expired::STUBS,
        expired::SEGMENTS,
        expired::IDEMPOTENCY,
        expired::ALERTS,
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

#[test]
fn every_mix_of_filters_of_deliveries_goes_along_an_index() {
    let db = store();
    for mix in 0..4_u8 {
        let has = |bit: u8| mix & (1 << bit) != 0;
        for state in Standing::ALL.into_iter().map(Some).chain([None]) {
            let filter = DeliveryFilter {
                hook: has(0).then(|| "hook".parse().unwrap()),
                session: has(1).then(|| Uuid::nil().into()),
                state,
            };
            check_scan::<Delivery>(&db, &deliveries::scan(&filter));
        }
    }
    let hooks = ["a".to_owned(), "b".to_owned()];
    check_scan::<Delivery>(&db, &deliveries::by_state(&hooks, Standing::Dead));
    check_scan::<Archive>(&db, &archives::scan());
}

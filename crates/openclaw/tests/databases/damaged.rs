//! Damaged pages: what is around them is read, and what is lost is named.

use std::collections::BTreeSet;

use crate::make::{Db, PAGE, places};

const RUNS: usize = 200;

fn nodes(db: &Db) -> (BTreeSet<Box<str>>, u64, Vec<String>) {
    let mut keys = BTreeSet::new();
    let tally = db.read_agent().nodes(&mut |node| {
        assert!(keys.insert(node.row.key), "a node comes once");
    });
    (keys, tally.read, tally.dropped.into_iter().map(|dropped| dropped.reason).collect())
}

#[test]
fn behind_a_damaged_page_the_nodes_are_read_from_the_other_end() {
    let db = Db::agent();
    db.add_runs(RUNS);
    let (whole, ..) = nodes(&db);
    assert_eq!(whole.len(), RUNS + 1);
    let mut pages = 0;
    db.zero_leaf("session_nodes", |leaves| {
        pages = leaves.len();
        leaves[pages / 2]
    });
    assert!(pages > 10, "{pages}");
    let (rest, read, reasons) = nodes(&db);
    assert_eq!(read, rest.len() as u64);
    let lost = whole.len() - rest.len();
    assert!((1..40).contains(&lost), "{lost} lost");
    assert!(rest.contains(whole.first().unwrap()) && rest.contains(whole.last().unwrap()));
    assert_eq!(reasons.len(), 2, "one from each end: {reasons:?}");
    assert!(reasons[0].starts_with("behind row "), "{reasons:?}");
    assert!(!db.read_agent().integrity(10).is_empty());
}

#[test]
fn events_of_other_sessions_are_read_around_a_damaged_page() {
    let db = Db::agent();
    db.add_runs(RUNS);
    db.zero_leaf("transcript_events", |leaves| leaves[leaves.len() / 2]);
    let mut sessions = BTreeSet::new();
    let tally = db.read_agent().events(&mut |event| {
        event.json.unwrap();
        sessions.insert(event.session_id);
    });
    assert!(sessions.len() > RUNS - 20, "{} sessions", sessions.len());
    assert!(!tally.dropped.is_empty());
    assert!(places(&tally.dropped).iter().all(|place| place.contains("00000000-0000-4000-8000-")));
}

#[test]
fn sessions_beyond_a_damaged_page_of_the_index_are_found_from_the_other_end() {
    let db = Db::agent();
    db.add_runs(RUNS);
    db.zero_leaf("sqlite_autoindex_transcript_events_1", |leaves| leaves[leaves.len() / 2]);
    let (mut sessions, mut events) = (BTreeSet::new(), BTreeSet::new());
    let mut twice = false;
    let tally = db.read_agent().events(&mut |event| {
        twice |= !events.insert((event.session_id.clone(), event.seq));
        sessions.insert(event.session_id);
    });
    assert!(sessions.len() > RUNS / 2, "{} sessions", sessions.len());
    assert!(sessions.contains(&crate::make::run_id(0)));
    assert!(sessions.contains(crate::make::SESSION));
    let places = places(&tally.dropped);
    assert!(places.contains(&"transcript_events"), "{places:?}");
    // The statistics in this database would have SQLite read the whole table for each session.
    assert!(places[0].starts_with("transcript_events 0"), "read by the index: {places:?}");
    assert!(!twice, "each comes once");
}

/// A page that stands in the place of another makes rows come again and again.
#[test]
fn pages_in_a_circle_have_an_end() {
    let db = Db::agent();
    db.add_runs(RUNS);
    let mut bytes = db.bytes();
    let mut two = [0, 0];
    db.zero_leaf("session_nodes", |leaves| {
        two = [leaves[2], leaves[leaves.len() - 2]];
        leaves[2]
    });
    let [from, to] = two.map(|page| (page - 1) * PAGE);
    bytes.copy_within(from..from + PAGE, to);
    std::fs::write(db.path(), bytes).unwrap();
    let (keys, read, reasons) = nodes(&db);
    assert_eq!(read, keys.len() as u64);
    assert!(reasons.iter().any(|reason| reason.contains("out of order")), "{reasons:?}");
}

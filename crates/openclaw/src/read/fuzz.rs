//! Damaged files of every kind: a reader never panics, and what it did not read it names.

use proptest::prelude::*;
use serde_json::{Value, json};
use sexton_fuzz::{budget, bytes, json};

use super::{config, document, jobs, lock, runs, transcript};
use crate::model::{Encoding, Place};

const JOBS: &[u8] = include_bytes!("../../tests/fixtures/2026.5.6-plain/cron/jobs.json.bak");
const STATES: &[u8] = include_bytes!("../../tests/fixtures/2026.5.6-plain/cron/jobs-state.json");
const RUNS: &[u8] = include_bytes!(
    "../../tests/fixtures/2026.5.6-plain/cron/runs/0f9f3b6a-599f-4e9e-90ad-3a9309cbd4c9.jsonl"
);
const CONFIG: &[u8] = include_bytes!("../../tests/fixtures/2026.5.6-plain/openclaw.json");
const TRANSCRIPT: &[u8] = include_bytes!(
    "../../tests/fixtures/2026.5.6-plain/agents/main/sessions/5dd63c93-9d84-491a-af1d-7ee776aa05b5.jsonl"
);

fn value(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap()
}

/// A file with damaged bytes, or with wrong values at its keys.
fn damaged(file: &'static [u8]) -> impl Strategy<Value = Vec<u8>> {
    let wrong = json::near(Just(value(file))).prop_map(String::into_bytes);
    prop_oneof![bytes::damaged(file.to_vec()), wrong]
}

/// Three copies of a file of lines, damaged in its bytes; or lines with wrong values at their keys.
fn damaged_lines(file: &'static [u8]) -> impl Strategy<Value = Vec<u8>> {
    let lines: Vec<Value> =
        file.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).map(value).collect();
    let wrong = prop::collection::vec(json::near(prop::sample::select(lines)), 1..6)
        .prop_map(|lines| lines.join("\n").into_bytes());
    prop_oneof![bytes::damaged(file.repeat(3)), wrong]
}

fn lines_with_text(bytes: &[u8]) -> u64 {
    bytes.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty()).count() as u64
}

proptest! {
    #![proptest_config(budget(200))]

    #[test]
    fn every_job_of_a_list_is_read_or_dropped(file in damaged(JOBS)) {
        let (read, tally) = jobs::jobs(&file);
        prop_assert_eq!((tally.read, tally.bytes), (read.len() as u64, file.len() as u64));
        let items = match document::document(&file) {
            Ok(read) => read.value.get("jobs").or(Some(&read.value)).and_then(Value::as_array).map(Vec::len),
            Err(_) => None,
        };
        let of_items = tally.dropped.iter().filter(|dropped| matches!(dropped.place, Place::Index(_)));
        match items {
            Some(items) => prop_assert_eq!(read.len() + of_items.count(), items),
            None => prop_assert!(read.is_empty() && !tally.dropped.is_empty()),
        }
        let (entries, tally) = jobs::quarantined(&file);
        prop_assert_eq!(tally.read, entries.len() as u64);
        prop_assert!(!tally.dropped.is_empty() || Some(entries.len()) == items);
        for job in read {
            jobs::delivery(&job.raw);
        }
    }

    #[test]
    fn every_state_is_read_or_dropped(file in damaged(STATES)) {
        let (states, tally) = jobs::states(&file);
        let entries = document::document(&file).ok().and_then(|read| read.value.get("jobs")?.as_object().map(serde_json::Map::len));
        let of_entries = tally.dropped.iter().filter(|dropped| matches!(dropped.place, Place::Key(_)));
        match entries {
            Some(entries) => prop_assert_eq!(states.len() + of_entries.count(), entries),
            None => prop_assert!(states.is_empty() && !tally.dropped.is_empty()),
        }
        let (read, _) = jobs::jobs(JOBS);
        prop_assert_eq!(jobs::join(read.clone(), &states).len(), read.len());
    }

    #[test]
    fn every_line_of_a_run_log_is_read_or_dropped(file in damaged_lines(RUNS)) {
        let mut count = 0;
        let tally = runs::runs(&file[..], &mut |_, _| count += 1).unwrap();
        prop_assert_eq!((tally.read, tally.bytes), (count, file.len() as u64));
        prop_assert_eq!(count + tally.dropped.len() as u64, lines_with_text(&file));
    }

    #[test]
    fn every_line_of_a_transcript_is_read_or_dropped(file in damaged_lines(TRANSCRIPT)) {
        let mut count = 0;
        let tally = transcript::read(&file[..], &mut |_, line| {
            if let Ok(line) = line {
                count += 1;
                line.text();
            }
        }).unwrap();
        prop_assert_eq!((tally.read, tally.bytes), (count, file.len() as u64));
        prop_assert_eq!(count + tally.dropped.len() as u64, lines_with_text(&file));
        let summary = transcript::summary(&file[..], Encoding::Plain).unwrap();
        prop_assert_eq!((summary.lines, summary.bytes), (lines_with_text(&file), file.len() as u64));
        let named = summary.damaged.count + summary.void.count + u64::from(summary.partial_tail.is_some());
        prop_assert_eq!(named, tally.dropped.len() as u64);
    }

    #[test]
    fn a_damaged_archive_is_read_as_far_as_it_goes(
        file in bytes::damaged(zstd::encode_all(TRANSCRIPT, 3).unwrap()),
    ) {
        let summary = transcript::summary(&file[..], Encoding::Zstd).unwrap();
        prop_assert!(summary.cut.is_some() || summary.lines > 0 || file.is_empty());
    }

    #[test]
    fn a_damaged_config_is_read_or_refused(file in damaged(CONFIG)) {
        let Ok(config) = config::config(&file) else { return Ok(()) };
        let read = document::document(&file).unwrap();
        prop_assert!(read.rest.is_none() || !config.remarks.is_empty());
        if config.port == config::PORT && read.value.pointer("/gateway/port").is_some_and(|port| !port.is_null()) {
            prop_assert!(!config.remarks.is_empty());
        }
    }

    #[test]
    fn a_lock_may_hold_anything(file in json::near(Just(
        json!({ "pid": 42, "createdAt": "2026-11-20T18:05:44.888Z", "starttime": 777 })
    ))) {
        lock::lock(file.as_bytes());
    }
}

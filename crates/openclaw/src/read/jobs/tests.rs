//! Jobs of today and of older versions.

use super::*;

const JOBS: &[u8] = include_bytes!("../../../tests/fixtures/2026.5.6-plain/cron/jobs.json");
const STATES: &[u8] = include_bytes!("../../../tests/fixtures/2026.5.6-plain/cron/jobs-state.json");

fn one(raw: Value) -> JobRecord {
    job(raw, None, Place::Index(0)).unwrap()
}

#[test]
fn a_real_job_is_read_with_its_state() {
    let (jobs, tally) = jobs(JOBS);
    assert_eq!((tally.read, tally.dropped), (1, vec![]));
    let (states, tally) = states(STATES);
    assert_eq!((tally.read, tally.dropped), (1, vec![]));
    let job = join(jobs, &states).remove(0);
    assert_eq!(job.id, "1e0faea8-493d-4ba7-96eb-5c51b3d0e63f");
    assert_eq!((job.name.as_deref(), job.enabled), (Some("t1"), true));
    let schedule = Schedule::Every { every_ms: 3_600_000, anchor_ms: Some(1_795_197_764_329) };
    assert_eq!(job.schedule, Ok(schedule));
    assert_eq!(job.session_target.as_deref(), Some("isolated"));
    assert_eq!(job.payload_kind.as_deref(), Some("agentTurn"));
    assert_eq!(job.state.next_run_at.unwrap().as_millisecond(), 1_795_201_364_329);
    assert_eq!(job.state.last_status.as_deref(), Some("ok"));
    assert_eq!(job.state.last_duration_ms, Some(20_907));
    assert_eq!(job.updated_at.unwrap().as_millisecond(), 1_795_197_789_104);
    assert_eq!(job.raw.get("state"), None);
}

#[test]
fn a_changed_schedule_loses_its_next_run_and_nothing_else() {
    let (states, _) = states(STATES);
    let changed = |from: &str, to: &str| {
        let text = String::from_utf8(JOBS.to_vec()).unwrap().replace(from, to);
        join(jobs(text.as_bytes()).0, &states).remove(0).state
    };
    assert!(changed("no such text", "").next_run_at.is_some());
    for (from, to) in [
        ("\"everyMs\": 3600000", "\"everyMs\": 60000"),
        ("\"anchorMs\": 1795197764329", "\"anchorMs\": 1"),
        ("\"enabled\": true", "\"enabled\": false"),
    ] {
        let state = changed(from, to);
        assert_eq!((state.next_run_at, state.last_status.as_deref()), (None, Some("ok")), "{to}");
    }
}

#[test]
fn the_order_of_keys_in_an_identity_does_not_matter() {
    let job =
        one(json!({ "id": "j", "schedule": { "kind": "cron", "expr": "0 9 * * *", "tz": "UTC" } }));
    assert!(is_of(
        r#"{"schedule":{"tz":"UTC","expr":"0 9 * * *","kind":"cron"},"version":1}"#,
        &job
    ));
    assert!(!is_of(
        r#"{"schedule":{"tz":"UTC","expr":"1 9 * * *","kind":"cron"},"version":1}"#,
        &job
    ));
    assert!(!is_of("{", &job));
}

#[test]
fn old_forms_are_understood() {
    let job = one(json!({
        "jobId": " j ", "enabled": "FALSE", "schedule": { "cron": "0 9 * * *" },
        "payload": { "kind": "AGENTTURN", "message": "x" }, "sessionTarget": "ISOLATED",
    }));
    assert_eq!((job.id.as_str(), job.enabled), ("j", false));
    assert_eq!(
        job.schedule,
        Ok(Schedule::Cron { expr: "0 9 * * *".into(), tz: None, stagger_ms: None })
    );
    assert_eq!(job.payload_kind.as_deref(), Some("agentTurn"));
    assert_eq!(job.session_target.as_deref(), Some("isolated"));
    let schedules = [
        (
            json!("0 9 * * *"),
            Schedule::Cron { expr: "0 9 * * *".into(), tz: None, stagger_ms: None },
        ),
        (json!({ "atMs": 5000 }), Schedule::At("5000".into())),
        (json!({ "everyMs": " 60000 " }), Schedule::Every { every_ms: 60_000, anchor_ms: None }),
        (json!({ "kind": "on-exit", "command": "x" }), Schedule::Other("on-exit".into())),
    ];
    for (raw, expected) in schedules {
        assert_eq!(schedule(Some(&raw)), Ok(expected), "{raw}");
    }
    let kinds = [
        (json!({ "text": "x" }), "systemEvent"),
        (json!({ "text": "x", "model": "m" }), "agentTurn"),
        (json!({ "argv": ["x"] }), "command"),
    ];
    for (payload, expected) in kinds {
        let job = one(json!({ "id": "j", "payload": payload }));
        assert_eq!(job.payload_kind.as_deref(), Some(expected));
    }
    let job = one(json!({ "id": "j", "message": "x" }));
    assert_eq!(job.payload_kind.as_deref(), Some("agentTurn"));
}

#[test]
fn a_schedule_without_sense_is_kept_with_the_reason() {
    for raw in [
        json!(null),
        json!({}),
        json!({ "kind": "every", "everyMs": 0 }),
        json!({ "kind": "every", "everyMs": "60000ms" }),
        json!({ "kind": "cron", "expr": " " }),
        json!({ "kind": "at" }),
        json!({ "kind": "lunar" }),
        json!(7),
    ] {
        let job = one(json!({ "id": "j", "schedule": raw }));
        assert!(job.schedule.is_err(), "{raw}");
    }
}

#[test]
fn delivery_is_found_where_older_versions_had_it() {
    let cases = [
        (json!({ "delivery": { "mode": "none" } }), Some(json!({ "mode": "none" }))),
        (
            json!({ "deliver": true, "provider": "telegram", "to": "1" }),
            Some(json!({ "mode": "announce", "channel": "telegram", "to": "1" })),
        ),
        (json!({ "payload": { "deliver": false } }), Some(json!({ "mode": "none" }))),
        (json!({ "payload": { "message": "x" } }), None),
    ];
    for (raw, expected) in cases {
        assert_eq!(delivery(&raw), expected, "{raw}");
    }
}

#[test]
fn what_is_no_job_is_dropped_with_its_index() {
    let (read, tally) =
        jobs(br#"{"version":1,"jobs":[{"id":"a"},{"name":"b"},7,{"id":" "},{"id":"c"}]}"#);
    let ids: Vec<_> = read.iter().map(|job| job.id.as_str()).collect();
    assert_eq!(ids, ["a", "c"]);
    let places: Vec<_> = tally.dropped.iter().map(|dropped| dropped.place.clone()).collect();
    assert_eq!(places, [Place::Index(1), Place::Index(2), Place::Index(3)]);
    assert_eq!(tally.read, 2);
}

#[test]
fn a_file_that_cannot_be_read_is_dropped_whole() {
    for bytes in [&b""[..], b"{\"jobs\":[{", b"7", b"{}", b"{\"jobs\":{}}", b"\0\0"] {
        let (read, tally) = jobs(bytes);
        assert_eq!((read.len(), tally.read, tally.dropped.len()), (0, 0, 1), "{bytes:?}");
        assert_eq!(states(b"[]").1.dropped.len(), 1);
    }
}

#[test]
fn a_quarantined_entry_is_kept_whatever_its_form() {
    let (read, tally) = quarantined(
        br#"{"version":1,"jobs":[{"reason":"bad","job":{"id":"a"},"state":{"lastError":"x"}},{"id":"b"},{"job":{}},7]}"#,
    );
    assert_eq!((read.len(), tally.read, tally.dropped.len()), (3, 3, 1));
    assert_eq!(read[0].reason.as_deref(), Some("bad"));
    assert_eq!(read[0].job.as_ref().unwrap().state.last_error.as_deref(), Some("x"));
    assert_eq!(read[1].job.as_ref().unwrap().id, "b");
    assert!(read[2].job.is_err());
}

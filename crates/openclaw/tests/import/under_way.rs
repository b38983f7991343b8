//! What a living gateway is at work on, and what only looks as if.

use std::collections::BTreeSet;
use std::fs;

use serde_json::{Value, json};
use sexton_domain::key::SessionKind;
use sexton_domain::run::Outcome;
use sexton_domain::session::{EndReason, Session};
use sexton_openclaw::import::gather::{Gathered, Options, UnderWay};

use crate::folder::{AGENT, Copy, SESSIONS, STATE, own_start, source};
use crate::{JOB, RESET, SESSION};

/// The session of a run in the JSON era. The run began at 18:05:38.469 and ended at 18:05:39.369, and the
/// last line of its transcript is from 18:05:39.353.
const RAN: &str = "8de449e6-0f48-420f-9a3c-4791cc7e1608";

/// The session of theirs.
fn session<'a>(found: &'a Gathered, id: &str) -> Option<&'a Session> {
    let mut sessions = found.generations.iter().map(|generation| &generation.session);
    sessions.find(|session| session.origin.as_ref().unwrap().id == id)
}

fn is_empty(left_out: Option<&UnderWay>) -> bool {
    left_out.is_some_and(|left_out| left_out.sessions.is_empty() && left_out.runs.is_empty())
}

/// A run with its session is under way, of a process of this one's id and that start.
fn claim(folder: &Copy, owner_start: u64) {
    let pid = std::process::id();
    folder.sql(
        STATE,
        &format!(
            "UPDATE cron_run_receipts SET status = 'running', finished_at_ms = NULL,
               owner_pid = {pid}, owner_start_time = {owner_start} WHERE job_id = '{JOB}';
             UPDATE task_runs SET status = 'running', ended_at = NULL, detail_json = NULL
               WHERE source_id = '{JOB}'"
        ),
    );
    folder.sql(
        AGENT,
        &format!(
            "UPDATE session_windows SET status = 'running' WHERE session_id = '{SESSION}';
             UPDATE session_nodes SET status = 'running' WHERE current_session_id = '{SESSION}'"
        ),
    );
}

#[test]
fn what_is_under_way_is_left_out_while_the_gateway_lives_and_interrupted_when_it_is_dead() {
    let folder = Copy::of("2026.9.6-plain");
    let ended = folder.gather();
    claim(&folder, own_start());
    let alive = folder.gather();
    let under_way = alive.under_way.as_ref().unwrap();
    assert!(under_way.sessions.iter().eq([SESSION]), "{under_way:?}");
    let [run] = &Vec::from_iter(&under_way.runs)[..] else { panic!("{under_way:?}") };
    assert!(run.starts_with(JOB), "{run}");
    assert_eq!(alive.runs.len(), ended.runs.len() - 1);
    assert_eq!(alive.generations.len(), ended.generations.len() - 1);
    assert!(alive.remarks.iter().any(|remark| remark.starts_with("a gateway runs")));

    claim(&folder, own_start() + 1);
    let dead = folder.gather();
    assert_eq!((&dead.under_way, &dead.remarks), (&None, &ended.remarks));
    assert_eq!(dead.runs.len(), ended.runs.len());
    assert_eq!(dead.generations.len(), ended.generations.len());
    let lost = dead.runs.iter().filter(|ran| ran.run.outcome() == Some(Outcome::Interrupted));
    assert_eq!(lost.count(), 1);
}

/// The gateway of a container shows by its port alone, and its processes have other ids here.
#[test]
fn what_no_record_ends_is_left_out_while_the_port_is_served_whoever_seems_to_be_dead() {
    let folder = Copy::of("2026.9.6-plain");
    let ended = folder.gather();
    claim(&folder, own_start() + 1);
    let served = |options: &mut Options<'_>| options.served = Some("something answers".to_owned());
    let found = folder.gather_with(&served);
    let under_way = found.under_way.as_ref().unwrap();
    assert!(under_way.sessions.iter().eq([SESSION]), "{under_way:?}");
    assert_eq!((under_way.runs.len(), found.runs.len()), (1, ended.runs.len() - 1));
    assert_eq!(found.generations.len(), ended.generations.len() - 1);
    let said = found.remarks.iter().find(|remark| remark.contains("something answers")).unwrap();
    assert!(said.contains("--stopped"), "{said}");
    // A gateway that is seen says more.
    folder.hold("other");
    let seen = folder.gather_with(&served).under_way.unwrap();
    assert!(seen.gateway.contains("other.jsonl.lock"), "{seen:?}");
    assert!(is_empty(Some(&seen)), "{seen:?}");
}

#[test]
fn a_session_whose_lock_a_living_process_holds_is_left_out() {
    let folder = Copy::of("2026.5.6-reset");
    let before = folder.gather().generations.len();
    folder.hold(RESET);
    let found = folder.gather();
    assert!(found.under_way.unwrap().sessions.iter().eq([RESET]));
    assert_eq!(found.generations.len(), before - 1);
}

#[test]
fn what_a_dead_owner_left_running_is_interrupted_while_another_gateway_lives() {
    let (pid, dead) = (std::process::id(), own_start() + 1);
    let receipt = format!(
        "UPDATE cron_run_receipts SET status = 'running', finished_at_ms = NULL, owner_pid = {pid},
           owner_start_time = {dead} WHERE job_id = '{JOB}';"
    );
    let task = |status: &str| {
        format!(
            "UPDATE task_runs SET status = '{status}', ended_at = NULL, detail_json = NULL,
               last_event_at = started_at, execution_owner_pid = {pid}, execution_owner_start_identity = {dead}
               WHERE source_id = '{JOB}';"
        )
    };
    let [no_task, no_receipt] = [
        format!("DELETE FROM task_runs WHERE source_id = '{JOB}';"),
        format!("DELETE FROM cron_run_receipts WHERE job_id = '{JOB}';"),
    ];
    let unowned =
        format!("UPDATE task_runs SET execution_owner_pid = NULL WHERE source_id = '{JOB}';");
    for (history, knows_session) in [
        (format!("{receipt}{}", task("running")), true),
        (format!("{receipt}{}{unowned}", task("running")), true),
        (format!("{receipt}{no_task}"), false),
        (format!("{no_receipt}{}", task("running")), true),
        (format!("{no_receipt}{}{unowned}", task("lost")), true),
        (format!("{no_receipt}{}{unowned}", task("running")), true),
    ] {
        let folder = Copy::of("2026.9.6-plain");
        let ended = folder.gather();
        folder.hold("other");
        folder.sql(STATE, &history);
        if knows_session {
            folder.sql(
                AGENT,
                "UPDATE session_windows SET status = 'running';
                 UPDATE session_nodes SET status = 'running'",
            );
        }
        let found = folder.gather();
        assert!(is_empty(found.under_way.as_ref()), "{history}: {:?}", found.under_way);
        assert_eq!(found.runs.len(), ended.runs.len(), "{history}");
        let is_lost = |run: &sexton_domain::run::Run| run.outcome() == Some(Outcome::Interrupted);
        assert_eq!(found.runs.iter().filter(|ran| is_lost(&ran.run)).count(), 1, "{history}");
        if knows_session {
            let reason = session(&found, SESSION).and_then(Session::end_reason);
            assert_eq!(reason, Some(EndReason::Interrupted), "{history}");
        }
    }
}

#[test]
fn a_window_that_is_not_the_current_one_of_its_key_is_not_under_way() {
    let folder = Copy::of("2026.9.6-plain");
    folder.hold("other");
    folder.sql(
        AGENT,
        &format!(
            "INSERT INTO session_windows (session_id, session_key, created_at, updated_at, status)
               SELECT 'before', session_key, created_at - 9000, updated_at - 9000, 'running'
               FROM session_windows WHERE session_id = '{SESSION}'"
        ),
    );
    let found = folder.gather();
    assert!(is_empty(found.under_way.as_ref()), "{:?}", found.under_way);
    let reason = session(&found, "before").and_then(Session::end_reason);
    assert_eq!(reason, Some(EndReason::Interrupted));
}

/// Sets fields of the row of the run's session.
fn row(folder: &Copy, fields: Value) {
    let path = format!("{SESSIONS}/sessions.json");
    let text = fs::read_to_string(folder.path(&path)).unwrap();
    let mut index: Value = serde_json::from_str(&text).unwrap();
    let mut rows = index.as_object_mut().unwrap().values_mut();
    let row = rows.find(|row| row["sessionId"] == RAN).unwrap().as_object_mut().unwrap();
    row.extend(fields.as_object().unwrap().clone());
    folder.write(&path, &index.to_string());
}

#[test]
fn the_end_of_an_earlier_run_is_not_that_of_a_session_that_is_running_again() {
    let end_of = |folder: &Copy, id: &str| {
        let found = folder.gather();
        let session = session(&found, id).unwrap();
        (session.end_reason().unwrap(), session.ended_at().unwrap().to_string())
    };
    let folder = Copy::of("2026.5.6-plain");
    row(&folder, json!({ "status": "running", "startedAt": 1_795_197_938_500_u64 }));
    let ended = (EndReason::Completed, "2026-11-20T18:05:39.369Z".to_owned());
    assert_eq!(end_of(&folder, RAN), ended);
    row(&folder, json!({ "status": "running", "startedAt": 1_795_197_939_370_u64 }));
    let again = (EndReason::Interrupted, "2026-11-20T18:05:39.353Z".to_owned());
    assert_eq!(end_of(&folder, RAN), again);

    let folder = Copy::of("2026.5.6-plain");
    row(&folder, json!({ "status": "running", "startedAt": 1_795_197_939_370_u64 }));
    fs::remove_file(folder.path(&format!("{SESSIONS}/{RAN}.jsonl"))).unwrap();
    assert_eq!(end_of(&folder, RAN).0, EndReason::Interrupted);

    let folder = Copy::of("2026.9.6-plain");
    folder.sql(
        AGENT,
        "UPDATE session_nodes SET status = 'running';
         UPDATE session_windows SET status = 'running', started_at = 1795197900000, ended_at = NULL",
    );
    assert_eq!(end_of(&folder, SESSION).0, EndReason::Interrupted);
}

#[test]
fn a_session_ends_with_its_last_line_if_that_is_later_than_the_end_of_its_run() {
    let folder = Copy::of("2026.5.6-plain");
    let path = format!("{SESSIONS}/{RAN}.jsonl");
    let lines = fs::read_to_string(folder.path(&path)).unwrap();
    let later = r#"{"type":"leaf","timestamp":"2026-11-20T18:05:50.001Z"}"#;
    folder.write(&path, &format!("{lines}{later}\n"));
    let found = folder.gather();
    let ended_at = session(&found, RAN).and_then(Session::ended_at).unwrap();
    assert_eq!(ended_at.to_string(), "2026-11-20T18:05:50.001Z");

    let folder = Copy::of("2026.9.6-plain");
    folder.sql(
        AGENT,
        &format!(
            "UPDATE session_windows SET ended_at = NULL;
             INSERT INTO transcript_events (session_id, seq, event_json, created_at)
               VALUES ('{SESSION}', 6, '{later}', 1795197950001)"
        ),
    );
    let found = folder.gather();
    let ended_at = session(&found, SESSION).and_then(Session::ended_at).unwrap();
    assert_eq!(ended_at.to_string(), "2026-11-20T18:05:50.001Z");
}

#[test]
fn a_session_is_under_way_for_a_later_run_although_an_earlier_one_has_ended() {
    let folder = Copy::of("2026.9.6-plain");
    folder.hold("other");
    let (pid, start) = (std::process::id(), own_start());
    folder.sql(
        STATE,
        &format!(
            "UPDATE task_runs SET status = 'running', ended_at = NULL, detail_json = NULL
               WHERE source_id = '{JOB}';
             INSERT INTO task_runs (task_id, runtime, source_id, owner_key, scope_kind,
               child_session_key, task, status, delivery_status, notify_policy, created_at,
               started_at, execution_owner_pid, execution_owner_start_identity)
               SELECT 'later', runtime, source_id, owner_key, scope_kind, child_session_key, task,
               'running', delivery_status, notify_policy, created_at, started_at + 60000, {pid},
               {start} FROM task_runs WHERE source_id = '{JOB}'"
        ),
    );
    let under_way = folder.gather().under_way.unwrap();
    assert!(under_way.sessions.iter().eq([SESSION]), "{under_way:?}");
    assert_eq!(under_way.runs.len(), 1, "{under_way:?}");
}

#[test]
fn a_session_that_several_runs_worked_in_ends_as_the_last_of_them_in_whatever_order_they_stand() {
    let folder = Copy::of("2026.5.6-plain");
    let path = "cron/runs/0f9f3b6a-599f-4e9e-90ad-3a9309cbd4c9.jsonl";
    let last = fs::read_to_string(folder.path(path)).unwrap();
    let mut earlier: Value = serde_json::from_str(last.trim()).unwrap();
    for (field, value) in [("status", json!("error")), ("runAtMs", json!(1_795_197_900_000_u64))] {
        earlier[field] = value;
    }
    folder.write(path, &format!("{last}{earlier}\n"));
    let found = folder.gather();
    let reason = session(&found, RAN).and_then(Session::end_reason);
    assert_eq!(reason, Some(EndReason::Completed));
}

/// Long after any process of today was started.
const LATER: u64 = 4_102_444_800_000;

#[test]
fn a_row_that_is_running_is_under_way_only_if_it_is_of_a_process_that_lives() {
    let before = 1_795_197_939_370_u64;
    let of_dead = json!({ "pid": std::process::id(), "starttime": own_start() + 1 });
    for (fields, is_locked, is_under_way) in [
        (json!({ "startedAt": LATER }), false, true),
        (json!({ "startedAt": LATER }), true, false),
        (json!({ "startedAt": before, "updatedAt": LATER }), false, false),
        (json!({ "startedAt": null, "updatedAt": LATER }), false, true),
        (json!({ "startedAt": null, "updatedAt": before }), false, false),
    ] {
        let folder = Copy::of("2026.5.6-plain");
        fs::remove_dir_all(folder.path("cron/runs")).unwrap();
        row(&folder, json!({ "status": "running" }));
        row(&folder, fields.clone());
        folder.hold("other");
        if is_locked {
            folder.write(&format!("{SESSIONS}/{RAN}.jsonl.lock"), &of_dead.to_string());
        }
        let found = folder.gather();
        let left_out = &found.under_way.as_ref().unwrap().sessions;
        assert_eq!(left_out.contains(RAN), is_under_way, "{fields} {is_locked}");
        let reason = session(&found, RAN).and_then(Session::end_reason);
        let expected = (!is_under_way).then_some(EndReason::Interrupted);
        assert_eq!(reason, expected, "{fields} {is_locked}");
    }
}

#[test]
fn a_row_that_is_running_is_not_under_way_if_its_receipt_is_of_a_dead_process() {
    let folder = Copy::of("2026.9.6-plain");
    folder.hold("other");
    folder.sql(
        AGENT,
        &format!(
            "UPDATE session_nodes SET status = 'running';
             UPDATE session_windows SET status = 'running', started_at = {LATER}, ended_at = NULL"
        ),
    );
    folder.sql(
        STATE,
        "DELETE FROM task_runs; UPDATE cron_run_receipts SET status = 'running', finished_at_ms = NULL",
    );
    let found = folder.gather();
    assert!(is_empty(found.under_way.as_ref()), "{:?}", found.under_way);
    let reason = session(&found, SESSION).and_then(Session::end_reason);
    assert_eq!(reason, Some(EndReason::Interrupted));
    folder.sql(STATE, "DELETE FROM cron_run_receipts");
    let under_way = folder.gather().under_way.unwrap();
    assert!(under_way.sessions.iter().eq([SESSION]), "{under_way:?}");
}

#[test]
fn a_transcript_without_a_row_is_under_way_if_it_began_after_the_reading() {
    for (at, is_held, is_left_out) in [
        ("2026-11-20T20:00:00.001Z", true, true),
        ("2026-11-20T19:59:59.999Z", true, false),
        ("2026-11-20T20:00:00.001Z", false, false),
    ] {
        let folder = Copy::of("2026.5.6-plain");
        let header = json!({ "type": "session", "version": 3, "id": "new", "timestamp": at });
        folder.write(&format!("{SESSIONS}/new.jsonl"), &format!("{header}\n"));
        if is_held {
            folder.hold("other");
        }
        let found = folder.gather();
        assert_eq!(session(&found, "new").is_none(), is_left_out, "{at} {is_held}");
        let left_out = found.under_way.as_ref();
        let named = left_out.is_some_and(|left_out| left_out.sessions.contains("new"));
        assert_eq!(named, is_left_out, "{at} {is_held}");
        let transcript = source(&found, &format!("{SESSIONS}/new.jsonl"));
        assert_eq!((transcript.read, transcript.done.under_way), (1, u64::from(is_left_out)));
    }
}

#[test]
fn the_session_of_a_run_ended_as_its_run_did_although_openclaw_archived_its_transcript() {
    let archived = |found: &Gathered, reason: EndReason| {
        let sessions = found.generations.iter().map(|generation| &generation.session);
        let of_run = sessions.filter(|session| session.kind == SessionKind::Run);
        let ended = of_run.filter(|session| session.end_reason() == Some(reason));
        ended.map(|session| session.id).collect::<BTreeSet<_>>().len()
    };
    let found = Copy::of("2026.9.6-plain").gather();
    let counts = [EndReason::Completed, EndReason::Deleted].map(|it| archived(&found, it));
    assert_eq!(counts, [11, 0]);
}

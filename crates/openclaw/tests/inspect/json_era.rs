//! The sick situations of the JSON era, each planted alone.

use std::fs;
use std::io::Write as _;

use serde_json::json;
use sexton_openclaw::finding::{Code, Cure};

use crate::folder::{NOW, SESSIONS, Sick, plain, reset};

const JOB: &str = "1e0faea8-493d-4ba7-96eb-5c51b3d0e63f";

#[test]
fn run_rows_beyond_their_retention_are_found_and_younger_ones_are_not() {
    let sick = plain();
    sick.add_runs(30, 25);
    sick.is(&[(Code::RunOverdue, 30)]);
    let sick = plain();
    sick.add_runs(30, 23);
    sick.is(&[(Code::TranscriptMissing, 30)]);
}

#[test]
fn a_run_row_from_the_future_never_expires_and_is_found_by_its_start() {
    let sick = plain();
    sick.add_runs(1, 30);
    let key = format!("agent:main:cron:{JOB}:run:00000000-0000-4000-8000-000000000000");
    sick.edit_rows(|rows| {
        rows[&key]["sessionStartedAt"] = rows[&key]["updatedAt"].clone();
        rows[&key]["updatedAt"] = json!(4_102_444_800_000_i64);
    });
    sick.is(&[(Code::RunOverdue, 1)]);
    assert!(sick.evidence(Code::RunOverdue).contains("future"));
}

#[test]
fn retention_that_is_switched_off_makes_nothing_overdue() {
    let sick = plain();
    sick.add_runs(3, 48);
    sick.edit("openclaw.json", |config| config["cron"]["sessionRetention"] = json!(false));
    sick.is(&[(Code::TranscriptMissing, 3)]);
}

#[test]
fn an_index_that_is_empty_cut_off_or_doubled_is_one_finding() {
    let index = format!("{SESSIONS}/sessions.json");
    let whole = fs::read(plain().path(&index)).unwrap();
    let doubled = [&whole[..], &whole[..]].concat();
    for (bytes, word) in [
        (&b""[..], "empty"),
        (&whole[..whole.len() / 2], "middle"),
        (&b"[]"[..], "no object"),
        (&doubled[..], "second"),
    ] {
        let sick = plain();
        fs::write(sick.path(&index), bytes).unwrap();
        let found = sick.found();
        assert_eq!(found[0], (Code::IndexUnreadable, 1), "{word}: {found:?}");
        assert!(
            found
                .iter()
                .all(|(code, _)| matches!(code, Code::IndexUnreadable | Code::RecordUnreadable)),
            "{found:?}"
        );
        let evidence = sick.evidence(Code::IndexUnreadable);
        assert!(evidence.contains(word) && evidence.contains("11 transcripts"), "{evidence}");
    }
}

#[test]
fn a_row_that_runs_although_the_run_log_says_that_it_ended_is_a_zombie() {
    let sick = plain();
    sick.set_first("status", json!("running"));
    sick.is(&[(Code::Zombie, 1)]);
    assert!(sick.evidence(Code::Zombie).contains("run log says that it ended done"));
    // It is counted as what it says.
    let report = sick.report_at(NOW);
    let statuses: Vec<&str> =
        report.agents[0].kinds.values().flat_map(|kind| kind.keys().copied()).collect();
    assert_eq!(statuses, ["none", "running"]);
}

#[test]
fn a_row_that_runs_while_its_lock_belongs_to_a_dead_process_is_a_zombie() {
    let sick = reset();
    let key = sick.set_first("status", json!("running"));
    let lock = sick.session_file(&format!("{}.jsonl.lock", sick.session_of(&key)));
    fs::write(&lock, json!({"pid": dead_pid(), "createdAt": NOW}).to_string()).unwrap();
    sick.is(&[(Code::Zombie, 1), (Code::StaleLock, 1)]);
    assert!(sick.evidence(Code::Zombie).contains("which is dead"));
}

/// Time alone is no proof: neither for a young row nor under a living gateway.
#[test]
fn a_row_that_may_still_run_is_left_alone() {
    let sick = reset();
    let key = sick.set_first("status", json!("running"));
    sick.is(&[]);
    let lock = sick.session_file(&format!("{}.jsonl.lock", sick.session_of(&key)));
    fs::write(&lock, json!({"pid": std::process::id()}).to_string()).unwrap();
    assert_eq!(sick.found_at("2026-11-21T12:00:00Z"), []);
}

#[test]
fn a_row_that_was_silent_for_longer_than_any_run_may_take_is_a_zombie_where_nobody_owns_the_folder()
{
    let sick = reset();
    let key = sick.set_first("status", json!("running"));
    let later = sick.newest().as_millisecond() + 2 * 3_600_000;
    sick.edit_rows(|rows| {
        for (other, row) in rows {
            if *other != key {
                row["updatedAt"] = json!(later);
            }
        }
    });
    sick.is_at("2026-11-21T12:00:00Z", &[(Code::Zombie, 1)]);
}

/// The gateway of a container shows by its port alone: its processes have other ids here, and it goes on.
#[test]
fn what_only_a_look_at_processes_tells_is_left_alone_while_the_port_is_served() {
    const LATER: &str = "2026-11-21T12:00:00Z";
    let sick = reset();
    let key = sick.set_first("status", json!("running"));
    let lock = sick.session_file(&format!("{}.jsonl.lock", sick.session_of(&key)));
    for (lock_of, alone) in
        [(None, vec![Code::Zombie]), (Some(dead_pid()), vec![Code::Zombie, Code::StaleLock])]
    {
        if let Some(pid) = lock_of {
            fs::write(&lock, json!({ "pid": pid, "createdAt": NOW }).to_string()).unwrap();
        }
        let codes: Vec<Code> = sick.found_at(LATER).into_iter().map(|(code, _)| code).collect();
        assert_eq!(codes, alone);
        let served = sick.report_served(LATER);
        assert!(served.findings.is_empty(), "{:?}", served.findings);
        assert_eq!((served.gateway_pid, served.served.is_some()), (None, true));
        assert_eq!(served.as_of, sick.report_at(LATER).as_of);
    }
    fs::write(&lock, json!({ "pid": std::process::id() }).to_string()).unwrap();
    let owned = sick.report_served(LATER);
    assert_eq!((owned.gateway_pid, owned.served), (Some(std::process::id()), None));
}

#[test]
fn transcripts_of_a_jobs_earlier_runs_are_history_and_others_are_orphans() {
    let sick = plain();
    let key = sick.first_key();
    let old = sick.session_file(&format!("{}.jsonl", sick.session_of(&key)));
    let id = "11111111-2222-4333-8444-555555555555";
    let text = fs::read_to_string(&old).unwrap().replace(&sick.session_of(&key), id);
    fs::write(sick.session_file(&format!("{id}.jsonl")), &text).unwrap();
    sick.is(&[]);
    assert_eq!(sick.report_at(NOW).transcripts.history, 1);
    fs::write(sick.session_file(&format!("{id}.jsonl")), text.replace("[cron:", "[")).unwrap();
    sick.is(&[(Code::TranscriptOrphaned, 1)]);
}

#[test]
fn base_rows_of_deleted_jobs_are_found_once_they_were_silent_for_a_day() {
    let sick = plain();
    let newest = sick.newest().as_millisecond();
    sick.edit_rows(|rows| {
        let mut n = 0;
        for (key, row) in rows {
            if !key.ends_with(JOB) {
                n += 1;
                row["updatedAt"] = json!(newest - if n <= 4 { 25 } else { 0 } * 3_600_000);
            }
        }
    });
    let found = sick.found();
    assert!(found.contains(&(Code::JobRowOrphaned, 4)), "{found:?}");
}

#[test]
fn a_row_whose_transcripts_are_of_topics_has_them() {
    let sick = plain();
    let key = sick.first_key();
    let id = sick.session_of(&key);
    let of = |name: &str| sick.session_file(&format!("{id}{name}.jsonl"));
    fs::rename(of(""), of("-topic-5")).unwrap();
    sick.edit_rows(|rows| {
        let row = rows[&key].as_object_mut().unwrap();
        row.remove("sessionFile");
        let at = row["updatedAt"].as_i64().unwrap();
        row["updatedAt"] = json!(at - 2 * 3_600_000);
    });
    let found = sick.found();
    assert!(!found.iter().any(|(code, _)| *code == Code::TranscriptMissing), "{found:?}");
    fs::remove_file(of("-topic-5")).unwrap();
    assert_eq!(sick.found(), [(Code::TranscriptMissing, 1)]);
}

#[test]
fn rows_whose_transcript_is_gone_are_found() {
    let sick = plain();
    let key = sick.first_key();
    fs::remove_file(sick.session_file(&format!("{}.jsonl", sick.session_of(&key)))).unwrap();
    sick.edit_rows(|rows| {
        let at = rows[&key]["updatedAt"].as_i64().unwrap();
        rows[&key]["updatedAt"] = json!(at - 2 * 3_600_000);
    });
    sick.is(&[(Code::TranscriptMissing, 1)]);
}

#[test]
fn pointers_to_another_home_and_to_another_rows_session_are_found() {
    let sick = plain();
    let key = sick.first_key();
    let file = format!("/mnt/old/{}.jsonl", sick.session_of(&key));
    sick.set_first("sessionFile", json!(file));
    sick.is(&[(Code::PointerWrong, 1)]);

    let sick = reset();
    sick.edit_rows(|rows| {
        let shared = rows["agent:main:bench1"].clone();
        rows.insert("agent:main:other".to_owned(), shared);
    });
    sick.is(&[(Code::PointerWrong, 2)]);
}

#[test]
fn a_row_with_a_huge_field_names_it() {
    let sick = plain();
    sick.set_first("skillsSnapshot", json!({"prompt": "x".repeat(100_000)}));
    sick.is(&[(Code::RowOversized, 1)]);
    assert!(sick.evidence(Code::RowOversized).contains("skillsSnapshot"));
}

#[test]
fn stale_temporaries_and_locks_are_found_and_fresh_ones_are_not() {
    let sick = plain();
    let temp = sick.session_file("sessions.json.4711.0b0e1a52-7f0f-4e3a-9d7e-0a1b2c3d4e5f.tmp");
    fs::write(&temp, "{").unwrap();
    sick.is(&[]);
    sick.age(&temp);
    sick.is(&[(Code::StaleTemp, 1)]);
    let lock = sick.session_file("5dd63c93-9d84-491a-af1d-7ee776aa05b5.jsonl.lock");
    fs::write(&lock, json!({"pid": dead_pid(), "createdAt": NOW}).to_string()).unwrap();
    sick.is(&[(Code::StaleTemp, 1), (Code::StaleLock, 1)]);
    let temp = sick.path("cron/jobs.json.4711.0b0e1a52-7f0f-4e3a-9d7e-0a1b2c3d4e5f.tmp");
    fs::write(&temp, "{").unwrap();
    sick.is(&[(Code::StaleTemp, 1), (Code::StaleLock, 1)]);
    sick.age(&temp);
    sick.is(&[(Code::StaleTemp, 2), (Code::StaleLock, 1)]);
    for name in [
        "cron/jobs-state.json.4711.0123456789abcdef.tmp",
        "openclaw.json.4711.0b0e1a52-7f0f-4e3a-9d7e-0a1b2c3d4e5f.tmp",
        "agents/main/sessions/sessions.json.tmp",
    ] {
        fs::write(sick.path(name), "{").unwrap();
        sick.age(&sick.path(name));
    }
    // Of something else in the folder: not theirs.
    let other = sick.path("notes.txt.0b0e1a52-7f0f-4e3a-9d7e-0a1b2c3d4e5f.tmp");
    fs::write(&other, "x").unwrap();
    sick.age(&other);
    sick.is(&[(Code::StaleTemp, 5), (Code::StaleLock, 1)]);
}

#[test]
fn lines_that_cannot_be_read_are_found_by_their_number() {
    let sick = plain();
    let path = sick.session_file("5dd63c93-9d84-491a-af1d-7ee776aa05b5.jsonl");
    let text = fs::read_to_string(&path).unwrap().replacen('\n', "\nundefined\n", 2);
    fs::write(&path, format!("{text}{{\"type\":\"mess")).unwrap();
    sick.is(&[(Code::LinesDamaged, 1)]);
    assert!(sick.evidence(Code::LinesDamaged).contains("3 of"));
}

#[test]
fn a_header_of_another_session_is_a_disagreement() {
    let sick = plain();
    let path = sick.session_file("5dd63c93-9d84-491a-af1d-7ee776aa05b5.jsonl");
    let text = fs::read_to_string(&path).unwrap();
    let (header, rest) = text.split_once('\n').unwrap();
    let header = header.replace("5dd63c93", "ffffffff");
    fs::write(&path, format!("{header}\n{rest}")).unwrap();
    sick.is(&[(Code::IndexDisagrees, 1)]);
}

#[test]
fn an_index_that_lost_an_update_disagrees_with_its_transcript() {
    let sick = plain();
    let key = sick.first_key();
    sick.edit_rows(|rows| {
        let at = rows[&key]["updatedAt"].as_i64().unwrap();
        rows[&key]["updatedAt"] = json!(at - 3_600_000);
    });
    sick.is(&[(Code::IndexDisagrees, 1)]);
}

#[test]
fn tools_without_their_other_half_are_found() {
    let sick = plain();
    let path = sick.session_file("5dd63c93-9d84-491a-af1d-7ee776aa05b5.jsonl");
    let call = json!({"type": "message", "id": "aa", "parentId": "da429fcd", "timestamp": "2026-11-20T18:05:45.000Z",
        "message": {"role": "assistant", "content": [{"type": "toolCall", "id": "call_1", "name": "exec", "arguments": {}}]}});
    let result = json!({"type": "message", "id": "bb", "parentId": "aa", "timestamp": "2026-11-20T18:05:45.001Z",
        "message": {"role": "toolResult", "toolCallId": "call_2", "toolName": "exec", "content": [{"type": "text", "text": "x"}]}});
    let mut file = fs::File::options().append(true).open(&path).unwrap();
    writeln!(file, "{result}\n{call}").unwrap();
    sick.is(&[(Code::ToolUnpaired, 2)]);
}

/// A crash in the middle of a write leaves a call and half a line: one healing left the call to the next.
#[test]
fn a_tool_call_before_damaged_lines_goes_with_them() {
    let sick = plain();
    let path = sick.session_file("5dd63c93-9d84-491a-af1d-7ee776aa05b5.jsonl");
    let call = json!({"type": "message", "id": "aa", "parentId": "da429fcd", "timestamp": "2026-11-20T18:05:45.000Z",
        "message": {"role": "assistant", "content": [{"type": "toolCall", "id": "call_1", "name": "exec", "arguments": {}}]}});
    let mut file = fs::File::options().append(true).open(&path).unwrap();
    write!(file, "{call}\nundefined\n\n{{\"type\":\"message\",\"id\":\"t2").unwrap();
    sick.is(&[(Code::ToolUnpaired, 1), (Code::LinesDamaged, 1)]);
    let report = sick.report_at(NOW);
    let mut items = report.findings.iter().flat_map(|finding| &finding.items);
    assert!(items.all(|item| matches!(item.cure, Cure::Steps(_))), "{:?}", report.findings);
}

/// Some versions named the file of a run after the run, whatever its row said.
#[test]
fn a_run_whose_file_has_the_name_of_the_run_is_not_without_a_transcript() {
    let sick = plain();
    let key = sick.first_key();
    let (id, run) = (sick.session_of(&key), "77777777-0000-4000-8000-000000000000");
    let newest = sick.newest().as_millisecond();
    fs::copy(sick.session_file(&format!("{id}.jsonl")), sick.session_file(&format!("{run}.jsonl")))
        .unwrap();
    sick.edit_rows(|rows| {
        let key = format!("agent:main:cron:{JOB}:run:{run}");
        let row = json!({"sessionId": "88888888-0000-4000-8000-000000000000", "status": "done", "updatedAt": newest - 2 * 3_600_000});
        rows.insert(key, row);
    });
    assert_eq!(sick.found(), []);
}

#[test]
fn a_symbolic_link_is_found_and_one_that_leads_out_is_not_read() {
    let sick = plain();
    let path = sick.session_file("5dd63c93-9d84-491a-af1d-7ee776aa05b5.jsonl");
    let out = sick.root().parent().unwrap().join("out.jsonl");
    fs::rename(&path, &out).unwrap();
    std::os::unix::fs::symlink(&out, &path).unwrap();
    sick.is(&[(Code::FileLinked, 1)]);
}

#[test]
fn linked_files_are_found() {
    let sick = plain();
    let path = sick.session_file("5dd63c93-9d84-491a-af1d-7ee776aa05b5.jsonl");
    fs::hard_link(&path, sick.path("copy-of-a-backup")).unwrap();
    sick.is(&[(Code::FileLinked, 1)]);
}

#[test]
fn duplicated_jobs_jobs_that_never_fire_and_overdue_ones_are_found() {
    let sick = plain();
    sick.edit("cron/jobs.json", |file| {
        let jobs = file["jobs"].as_array_mut().unwrap();
        let mut copy = jobs[0].clone();
        copy["id"] = json!("22222222-0000-4000-8000-000000000000");
        let mut never = jobs[0].clone();
        never["id"] = json!("33333333-0000-4000-8000-000000000000");
        never["name"] = json!("never");
        never["schedule"] = json!({"kind": "cron", "expr": "0 0 31 2 *"});
        let mut late = jobs[0].clone();
        late["id"] = json!("44444444-0000-4000-8000-000000000000");
        late["name"] = json!("late");
        late["state"] = json!({"nextRunAtMs": 1_795_190_000_000_i64});
        jobs.extend([copy, never, late]);
    });
    sick.is(&[(Code::JobDuplicated, 1), (Code::JobNeverFires, 1), (Code::JobOverdue, 1)]);
}

/// A folder with a one-shot beside its job.
fn once(at: &str, enabled: bool, state: serde_json::Value) -> Sick {
    let sick = plain();
    sick.edit("cron/jobs.json", |file| {
        let mut job = file["jobs"][0].clone();
        job["id"] = json!("55555555-0000-4000-8000-000000000000");
        job["name"] = json!("once");
        job["enabled"] = json!(enabled);
        job["schedule"] = json!({"kind": "at", "at": at});
        job["state"] = state;
        file["jobs"].as_array_mut().unwrap().push(job);
    });
    sick
}

#[test]
fn a_one_shot_that_a_restart_cut_off_needs_a_person() {
    let state =
        json!({"lastError": "cron: job interrupted by gateway restart", "lastRunStatus": "error"});
    once("2026-11-20T18:00:00Z", false, state).is(&[(Code::OneShotInterrupted, 1)]);
}

/// The documents named it, and it was not found.
#[test]
fn a_one_shot_whose_time_passed_without_a_run_never_fires() {
    let past = "2026-11-20T17:00:00Z";
    let sick = once(past, true, json!({}));
    sick.is(&[(Code::JobNeverFires, 1)]);
    assert!(sick.evidence(Code::JobNeverFires).contains("never ran"));
    let late = json!({"nextRunAtMs": 1_795_190_000_000_i64});
    once(past, true, late).is(&[(Code::JobOverdue, 1)]);
    once(past, true, json!({"runningAtMs": 1_795_190_000_000_i64}))
        .is(&[(Code::OneShotInterrupted, 1)]);
    once(past, true, json!({"lastRunAtMs": 1_795_190_000_000_i64})).is(&[]);
    once(past, false, json!({})).is(&[]);
    once("2026-11-20T18:03:00Z", true, json!({})).is(&[]);
    once("2026-12-20T17:00:00Z", true, json!({})).is(&[]);
}

#[test]
fn records_that_cannot_be_read_are_named_and_the_others_are_read() {
    let sick = plain();
    sick.edit_rows(|rows| {
        rows.insert("agent:main:odd".to_owned(), json!(17));
    });
    sick.edit("cron/jobs.json", |file| {
        file["jobs"].as_array_mut().unwrap().push(json!({"name": "without an id"}));
    });
    sick.is(&[(Code::RecordUnreadable, 2)]);
    assert_eq!(sick.report_at(NOW).jobs.unwrap().total, 1);
}

/// A row of a run that was overdue named the transcript of a conversation, which went into the archive with it.
#[test]
fn a_transcript_that_another_row_means_is_not_archived_with_an_overdue_row() {
    let sick = plain();
    let key = sick.first_key();
    let file = format!("{}.jsonl", sick.session_of(&key));
    sick.add_runs(1, 25);
    sick.edit_rows(|rows| {
        let named = rows[&key]["sessionFile"].clone();
        let run = rows.keys().find(|key| key.contains(":run:")).unwrap().clone();
        rows[&run]["sessionFile"] = named;
    });
    assert_eq!(sick.found()[0], (Code::RunOverdue, 1));
    let steps = format!("{:?}", sick.report_at(NOW).findings[0].items[0].cure);
    assert!(steps.contains("RemoveRow") && !steps.contains(&file), "{steps}");
}

/// In a folder that was moved, the rows that name its new place were pointed back to the old one.
#[test]
fn a_row_that_names_the_folder_as_it_lies_now_is_right_however_many_name_another() {
    let sick = plain();
    let key = sick.first_key();
    let root = fs::canonicalize(sick.root()).unwrap();
    let file = root.join(SESSIONS).join(format!("{}.jsonl", sick.session_of(&key)));
    sick.set_first("sessionFile", json!(file));
    let found = sick.found();
    assert_eq!(found, [(Code::PointerWrong, 10)]);
    let report = sick.report_at(NOW);
    let steps = format!("{:?}", report.findings[0].items[0].cure);
    assert!(steps.contains(&*root.join(SESSIONS).to_string_lossy()), "{steps}");
}

/// Base rows went to the archive although their job was there, in an element that could not be read.
#[test]
fn where_a_job_cannot_be_read_no_row_is_said_to_be_of_a_deleted_one() {
    let sick = plain();
    let newest = sick.newest().as_millisecond();
    sick.edit_rows(|rows| {
        for (_, row) in rows.iter_mut().skip(1).take(4) {
            row["updatedAt"] = json!(newest - 25 * 3_600_000);
        }
    });
    sick.edit("cron/jobs.json", |file| {
        file["jobs"].as_array_mut().unwrap().push(json!(17));
    });
    let found = sick.found();
    assert!(!found.iter().any(|(code, _)| *code == Code::JobRowOrphaned), "{found:?}");
}

/// A store that was moved and linked counted as healthy, because it was not read.
#[test]
fn a_store_that_lies_elsewhere_is_found_and_not_taken_for_an_empty_one() {
    for name in ["agents", SESSIONS, "cron/jobs.json"] {
        let sick = plain();
        let out = sick.root().parent().unwrap().join("elsewhere");
        fs::rename(sick.path(name), &out).unwrap();
        std::os::unix::fs::symlink(&out, sick.path(name)).unwrap();
        let found = sick.found();
        assert!(found.iter().any(|(code, _)| *code == Code::FileLinked), "{name}: {found:?}");
    }
}

#[test]
fn transcripts_that_are_all_gone_are_found_although_nobody_touched_the_rows_for_long() {
    let sick = plain();
    for file in fs::read_dir(sick.path(SESSIONS)).unwrap().flatten() {
        let name = file.file_name().into_string().unwrap();
        if name.ends_with(".jsonl") && !name.contains(".trajectory") {
            fs::remove_file(file.path()).unwrap();
        }
    }
    sick.is(&[(Code::TranscriptMissing, 11)]);
}

/// One healing was not enough: what a zombie was besides was found when it was none any more.
#[test]
fn a_zombie_that_is_overdue_with_an_open_tool_call_is_healed_at_once() {
    let sick = plain();
    sick.add_runs(1, 25);
    let run = "00000000-0000-4000-8000-000000000000";
    let key = format!("agent:main:cron:{JOB}:run:{run}");
    sick.edit_rows(|rows| {
        rows[&key]["status"] = json!("running");
    });
    let header = json!({"type": "session", "version": 3, "id": run, "timestamp": "2026-11-19T17:00:00.000Z"});
    let call = json!({"type": "message", "id": "aa", "timestamp": "2026-11-19T17:00:01.000Z",
        "message": {"role": "assistant", "content": [{"type": "toolCall", "id": "call_1", "name": "exec", "arguments": {}}]}});
    fs::write(sick.session_file(&format!("{run}.jsonl")), format!("{header}\n{call}\n")).unwrap();
    sick.is(&[(Code::Zombie, 1), (Code::RunOverdue, 1), (Code::ToolUnpaired, 1)]);
}

/// Stores in one folder, one for each agent: the second one's rows were not read, and its transcripts orphans.
#[test]
fn agents_whose_stores_lie_in_one_folder_are_both_read() {
    let sick = reset();
    fs::create_dir_all(sick.path("agents/work")).unwrap();
    fs::rename(sick.path(SESSIONS), sick.path("stores")).unwrap();
    let rows: serde_json::Value =
        serde_json::from_slice(&fs::read(sick.path("stores/sessions.json")).unwrap()).unwrap();
    for (agent, key) in [("main", "agent:main:bench1"), ("work", "agent:main:bench2")] {
        let one = json!({ key.replace("main", agent): rows[key] });
        fs::write(sick.path(&format!("stores/{agent}.json")), one.to_string()).unwrap();
    }
    fs::remove_file(sick.path("stores/sessions.json")).unwrap();
    let store = sick.path("stores/{agentId}.json");
    sick.edit("openclaw.json", |config| config["session"] = json!({"store": store}));
    assert_eq!(sick.found(), []);
    let report = sick.report_at(NOW);
    let counts: Vec<(&str, u64)> =
        report.agents.iter().map(|agent| (agent.id.as_str(), agent.sessions)).collect();
    assert_eq!(counts, [("main", 1), ("work", 1)]);
    assert_eq!((report.transcripts.current, report.transcripts.orphans), (2, 0));
}

/// All at once: each is found, and none hides another.
#[test]
fn sicknesses_do_not_hide_each_other() {
    let sick = plain();
    sick.add_runs(5, 30);
    sick.set_first("status", json!("running"));
    let lock = sick.session_file("897926f0-fb7b-4fa3-a541-2b4de939c996.jsonl.lock");
    fs::write(&lock, json!({"pid": dead_pid()}).to_string()).unwrap();
    let path = sick.session_file("5dd63c93-9d84-491a-af1d-7ee776aa05b5.jsonl");
    fs::hard_link(&path, sick.path("copy-of-a-backup")).unwrap();
    sick.is(&[
        (Code::Zombie, 1),
        (Code::RunOverdue, 5),
        (Code::StaleLock, 1),
        (Code::FileLinked, 1),
    ]);
}

/// The id of a process that is over.
fn dead_pid() -> u32 {
    let mut child = std::process::Command::new("true").spawn().unwrap();
    let pid = child.id();
    child.wait().unwrap();
    pid
}

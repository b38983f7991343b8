//! Jobs that are there twice, or again.

use std::fs;

use rusqlite::Connection;
use serde_json::{Value, json};
use sexton_openclaw::finding::Code;

use crate::folder::{STATE, Sick, plain, sqlite};

const ONCE: &str = "5b0f7ad2-4a2c-4f0e-9a53-0a3f5cf2f001";
/// When the one-shot is due: before the folder's last sign of life.
const AT: &str = "2026-11-20T18:00:00Z";
/// When it ran, in milliseconds: ten seconds later.
const RAN: i64 = 1_795_197_610_000;

/// A one-shot as OpenClaw makes it.
fn one_shot() -> Value {
    json!({
        "id": ONCE, "name": "once", "enabled": true, "deleteAfterRun": true,
        "createdAtMs": RAN - 600_000, "schedule": { "kind": "at", "at": AT },
        "sessionTarget": "isolated", "wakeMode": "now", "state": {},
        "payload": { "kind": "agentTurn", "message": "Pay the bill" },
    })
}

/// The same in the file of jobs and in the copy of that, and how its run ended in the run log.
fn with_one_shot(job: Value, status: &str) -> Sick {
    let sick = plain();
    for file in ["cron/jobs.json", "cron/jobs.json.bak"] {
        sick.edit(file, |file| file["jobs"].as_array_mut().unwrap().push(job.clone()));
    }
    let run = json!({
        "ts": RAN + 900, "jobId": ONCE, "action": "finished", "status": status,
        "runAtMs": RAN, "durationMs": 900,
    });
    fs::write(sick.path(&format!("cron/runs/{ONCE}.jsonl")), format!("{run}\n")).unwrap();
    sick
}

/// A store that was kept in memory was written over the one without the job: it would run again.
#[test]
fn a_one_shot_that_ran_well_and_is_enabled_again_came_back() {
    let mut job = one_shot();
    job["state"] = json!({ "nextRunAtMs": RAN - 10_000 });
    let sick = with_one_shot(job, "ok");
    sick.is(&[(Code::JobResurrected, 1)]);
    let evidence = sick.evidence(Code::JobResurrected);
    assert!(evidence.starts_with("once: the run log says"), "{evidence}");
    assert!(sick.help(Code::JobResurrected).contains(&format!("openclaw cron rm {ONCE}")));
}

#[test]
fn a_one_shot_that_failed_was_moved_or_knows_of_its_run_did_not_come_back() {
    let changed = |change: &dyn Fn(&mut Value)| {
        let mut job = one_shot();
        change(&mut job);
        with_one_shot(job, "ok").found()
    };
    let later = changed(&|job| job["schedule"]["at"] = json!("2026-12-24T18:00:00Z"));
    assert_eq!(later, []);
    assert_eq!(changed(&|job| job["enabled"] = json!(false)), []);
    let known = json!({ "lastRunAtMs": RAN, "lastRunStatus": "ok" });
    assert_eq!(changed(&|job| job["state"] = known.clone()), []);
    let failed = with_one_shot(one_shot(), "error").found();
    assert_eq!(failed, [(Code::JobNeverFires, 1)]);
}

/// Migrated again from an old file, or taken from a copy.
#[test]
fn a_one_shot_that_a_receipt_or_a_task_tells_the_end_of_came_back_in_the_table_too() {
    for (history, says) in [
        (format!(
            "INSERT INTO cron_run_receipts (receipt_id, store_key, job_id, config_revision, agent_id, status,
               owner_pid, started_at_ms, finished_at_ms)
             VALUES ('r1', 'k', '{ONCE}', 'c', 'main', 'ok', 4000000, {RAN}, {RAN} + 900)"
        ), "receipt"),
        (format!(
            "INSERT INTO task_runs (task_id, runtime, source_id, owner_key, scope_kind, task, status, delivery_status,
               notify_policy, created_at, started_at, ended_at, detail_json)
             VALUES ('t1', 'cron', '{ONCE}', '', 'system', 't1', 'succeeded', 'not_applicable', 'silent', {RAN}, {RAN},
               {RAN} + 900, json_object('kind', 'cron-run', 'jobId', '{ONCE}', 'status', 'ok', 'runAtMs', {RAN}, 'ts', {RAN}))"
        ), "task"),
    ] {
        let sick = sqlite();
        let database = Connection::open(sick.path(STATE)).unwrap();
        let sql = "INSERT INTO cron_jobs (store_key, job_id, name, enabled, payload_kind, job_json, updated_at)
                   VALUES ('k', ?1, 'once', 1, 'agentTurn', ?2, ?3)";
        database.execute(sql, (ONCE, one_shot().to_string(), RAN)).unwrap();
        database.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
        assert_eq!(sick.found(), [(Code::JobNeverFires, 1)]);
        database.execute_batch(&history).unwrap();
        database.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
        drop(database);
        sick.is(&[(Code::JobResurrected, 1)]);
        let evidence = sick.evidence(Code::JobResurrected);
        assert!(evidence.contains(&format!("the {says} says")), "{evidence}");
    }
}

/// The copy that OpenClaw keeps has a job that was made later, and no such one.
#[test]
fn a_job_that_was_gone_before_the_file_was_last_written_came_back() {
    let sick = plain();
    sick.edit("cron/jobs.json.bak", |file| {
        file["jobs"].as_array_mut().unwrap().retain(|job| job["name"] != "t1");
    });
    sick.is(&[(Code::JobResurrected, 1)]);
    let evidence = sick.evidence(Code::JobResurrected);
    assert!(evidence.contains("cron/jobs.json.bak") && evidence.contains("80984439"), "{evidence}");
    // A copy by hand is of the same time as what it was made of.
    sick.edit("cron/jobs.json", |file| {
        let mut copy = file["jobs"][0].clone();
        (copy["id"], copy["name"]) = (json!(ONCE), json!("by hand"));
        file["jobs"].as_array_mut().unwrap().push(copy);
    });
    assert_eq!(sick.found(), []);
    sick.edit("cron/jobs.json", |file| drop(file["jobs"].as_array_mut().unwrap().pop()));
    assert_eq!(sick.found().len(), 1);
    // A job that was set aside as malformed and mended is there again by right.
    fs::write(sick.path("cron/jobs-quarantine.json"), "{\"jobs\":[]}").unwrap();
    assert_eq!(sick.found(), []);
}

/// OpenClaw loads the others, and nothing there tells of it.
#[test]
fn jobs_that_openclaw_put_aside_are_found_unless_they_are_back() {
    for sick in [plain(), sqlite()] {
        fs::create_dir_all(sick.path("cron")).unwrap();
        let aside = sick.path("cron/jobs-quarantine.json");
        let entry = json!({"reason": "invalid schedule", "job": {"id": "aside", "name": "weekly"}});
        fs::write(&aside, json!({"jobs": [entry, {"reason": "no id", "job": {}}]}).to_string())
            .unwrap();
        sick.is(&[(Code::JobNeverFires, 2)]);
        let report = sick.report_at(crate::folder::NOW);
        let said: Vec<&str> =
            report.findings[0].items.iter().map(|item| item.evidence.as_str()).collect();
        assert!(said.contains(&"weekly: OpenClaw put it aside: invalid schedule"), "{said:?}");
        assert!(said.iter().any(|said| said.ends_with("put it aside: no id")), "{said:?}");
        fs::write(&aside, json!({"jobs": [7, {"reason": "no id", "job": {}}]}).to_string())
            .unwrap();
        sick.is(&[(Code::RecordUnreadable, 1), (Code::JobNeverFires, 1)]);
        let report = sick.report_at(crate::folder::NOW);
        let place = format!("{:?}", report.findings[1].items[0].subject);
        assert!(place.contains("Index(1)"), "{place}");
    }
    let sick = plain();
    let mut job = json!(null);
    sick.edit("cron/jobs.json", |file| job = file["jobs"][0]["id"].clone());
    fs::write(sick.path("cron/jobs-quarantine.json"), json!([{"job": {"id": job}}]).to_string())
        .unwrap();
    sick.is(&[]);
}

#[test]
fn the_copy_of_a_file_of_jobs_says_nothing_of_the_table() {
    let sick = sqlite();
    fs::create_dir_all(sick.path("cron")).unwrap();
    for file in ["cron/jobs.json", "cron/jobs.json.bak"] {
        fs::copy(plain().path(file), sick.path(file)).unwrap();
        sick.edit(file, |file| {
            file["jobs"].as_array_mut().unwrap().last_mut().unwrap()["createdAtMs"] =
                json!(RAN * 2);
        });
    }
    let found = sick.found();
    assert!(found.iter().all(|(code, _)| *code != Code::JobResurrected), "{found:?}");
}

/// An update that declares its jobs anew changes what they do, and forgets that they are there.
#[test]
fn jobs_that_are_declared_by_one_key_are_one_whatever_they_do() {
    let sick = plain();
    sick.edit("cron/jobs.json", |file| {
        let jobs = file["jobs"].as_array_mut().unwrap();
        jobs[0]["declarationKey"] = json!("plugin:daily");
        let mut again = jobs[0].clone();
        again["id"] = json!(ONCE);
        again["createdAtMs"] = json!(1_795_198_000_000_u64);
        again["payload"]["message"] = json!("Check status, shortly");
        let mut other = again.clone();
        other["id"] = json!("5b0f7ad2-4a2c-4f0e-9a53-0a3f5cf2f002");
        other["agentId"] = json!("scout");
        other["name"] = json!("of another agent");
        jobs.extend([again, other]);
    });
    sick.is(&[(Code::JobDuplicated, 1)]);
    let evidence = sick.evidence(Code::JobDuplicated);
    assert!(evidence.contains("declared by the same key as 1e0faea8"), "{evidence}");
}

/// One job for each agent, or for each chat that hears of it.
#[test]
fn jobs_of_two_agents_or_for_two_targets_are_no_duplicates() {
    let beside = |change: &dyn Fn(&mut Value)| {
        let sick = plain();
        sick.edit("cron/jobs.json", |file| {
            let jobs = file["jobs"].as_array_mut().unwrap();
            let mut other = jobs[0].clone();
            other["id"] = json!(ONCE);
            change(&mut other);
            jobs.push(other);
        });
        sick.found()
    };
    let duplicated = [(Code::JobDuplicated, 1)];
    assert_eq!(beside(&|_| {}), duplicated);
    assert_eq!(beside(&|job| job["agentId"] = json!("Main")), duplicated);
    let later = |job: &mut Value| job["createdAtMs"] = json!(RAN + 600_000);
    let of_work = |job: &mut Value| job["agentId"] = json!("work");
    assert_eq!(
        beside(&|job| {
            later(job);
            of_work(job);
        }),
        []
    );
    // An update loses the agent of the copies that it makes.
    assert_eq!(beside(&of_work), duplicated);
    assert_eq!(
        beside(&|job| {
            later(job);
            job["agentId"] = json!("main");
        }),
        duplicated
    );
    let to = |to: &'static str| {
        move |job: &mut Value| {
            job["delivery"] = json!({"mode": "announce", "channel": "telegram", "to": to});
        }
    };
    assert_eq!(beside(&to("42")), []);
    let sick = plain();
    sick.edit("cron/jobs.json", |file| {
        let jobs = file["jobs"].as_array_mut().unwrap();
        let (mut one, mut two) = (jobs[0].clone(), jobs[0].clone());
        to("42")(&mut one);
        to("43")(&mut two);
        two["id"] = json!(ONCE);
        *jobs = vec![one, two];
    });
    assert_eq!(sick.found(), []);
    sick.edit("cron/jobs.json", |file| to("42")(&mut file["jobs"][1]));
    assert_eq!(sick.found(), duplicated);
}

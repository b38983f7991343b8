//! The sick situations of the SQLite era, and of folders that are half migrated.

use std::fs;

use rusqlite::{Connection, params};
use serde_json::{Value, json};
use sexton_openclaw::finding::Code;
use sexton_openclaw::inspect::Report;

use crate::cold::move_out;
use crate::folder::{AGENT, STATE, Sick, sqlite};
use crate::unpack::unpack;

const JOB: &str = "06556bc8-5dc4-4d2c-b101-9ea521072eb9";
const NEVER_PID: u32 = 4_000_000;

/// Changes a database, and leaves no log behind.
pub fn sql(sick: &Sick, database: &str, statements: &str) {
    let connection = Connection::open(sick.path(database)).unwrap();
    connection.execute_batch(statements).unwrap();
    connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
}

/// A node of a run with its window, as 2026.9.6 writes them at the start of a run.
fn add_run(sick: &Sick, n: u32, status: &str, at: i64) -> String {
    let id = format!("00000000-0000-4000-8000-{n:012}");
    let key = format!("agent:main:cron:{JOB}:run:{id}");
    let connection = Connection::open(sick.path(AGENT)).unwrap();
    let entry = json!({"sessionId": id, "updatedAt": at, "status": status, "startedAt": at});
    connection
        .execute(
            "INSERT INTO session_nodes (session_key, current_session_id, entry_json, updated_at, status, created_via)
             VALUES (?1, ?2, ?3, ?4, ?5, 'cron')",
            params![key, id, entry.to_string(), at, status],
        )
        .unwrap();
    connection
        .execute(
            "INSERT INTO session_windows (session_id, session_key, reason, created_at, updated_at, started_at, status)
             VALUES (?1, ?2, 'initial', ?3, ?3, ?3, ?4)",
            params![id, key, at, status],
        )
        .unwrap();
    let header =
        json!({"type": "session", "version": 4, "id": id, "timestamp": "2026-11-20T18:05:57.043Z"});
    connection
        .execute(
            "INSERT INTO transcript_events (session_id, seq, event_json, created_at) VALUES (?1, 0, ?2, ?3)",
            params![id, header.to_string(), at],
        )
        .unwrap();
    connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    id
}

/// The newest time in the healthy folder's databases, or a little before.
const LAST: i64 = 1_795_198_700_000;

/// A SIGKILL in the middle of eight runs of 2026.9.6 leaves eight nodes and windows `running` through
/// every restart, while the tasks say `failed`.
#[test]
fn eight_runs_that_a_kill_left_running_are_eight_zombies() {
    let sick = sqlite();
    for n in 0..8 {
        let id = add_run(&sick, n, "running", 1_795_198_290_000);
        sql(&sick, STATE, &format!(
            "INSERT INTO task_runs (task_id, runtime, source_id, owner_key, scope_kind, child_session_key, task, status,
               delivery_status, notify_policy, created_at, started_at, ended_at)
             VALUES ('task-{n}', 'cron', '{JOB}', '', 'system', 'agent:main:cron:{JOB}:run:{id}', 't1', 'failed',
               'not_applicable', 'silent', 1795198290000, 1795198290000, 1795198304600)"
        ));
    }
    sick.is(&[(Code::Zombie, 8)]);
    assert!(sick.evidence(Code::Zombie).contains("task says that it ended failed"));
}

/// Nodes often do not say when their run began; their windows do.
#[test]
fn an_end_from_before_the_run_of_the_window_is_no_proof() {
    let sick = sqlite();
    let id = add_run(&sick, 1, "running", 1_795_198_720_000);
    sql(
        &sick,
        AGENT,
        "UPDATE session_nodes SET entry_json = json_remove(entry_json, '$.startedAt')",
    );
    sql(&sick, STATE, &format!(
        "INSERT INTO task_runs (task_id, runtime, source_id, owner_key, scope_kind, child_session_key, task, status,
           delivery_status, notify_policy, created_at, started_at, ended_at)
         VALUES ('task-1', 'cron', '{JOB}', '', 'system', 'agent:main:cron:{JOB}:run:{id}', 't1', 'failed',
           'not_applicable', 'silent', 1795198290000, 1795198290000, 1795198304600)"
    ));
    sick.is_at("2026-11-20T18:40:00Z", &[]);
}

#[test]
fn a_run_whose_receipt_belongs_to_a_dead_process_is_a_zombie() {
    let sick = sqlite();
    add_run(&sick, 1, "running", LAST);
    sql(&sick, STATE, &format!(
        "INSERT INTO cron_run_receipts (receipt_id, store_key, job_id, config_revision, agent_id, status, owner_pid, started_at_ms)
         VALUES ('r1', 's', '{JOB}', 'c', 'main', 'running', {NEVER_PID}, {LAST})"
    ));
    sick.is(&[(Code::Zombie, 1)]);
    assert!(sick.evidence(Code::Zombie).contains("receipt r1"));
}

/// Whoever has an agent's database open has a lease of it, and owns the folder while it lives.
#[test]
fn a_lease_of_a_living_process_names_the_gateway_and_one_of_a_dead_or_another_does_not() {
    let own = std::process::id();
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let started: u64 =
        stat.rsplit_once(')').unwrap().1.split(' ').nth(20).unwrap().parse().unwrap();
    for (pid, started, owner) in
        [(own, started, Some(own)), (own, started + 1, None), (NEVER_PID, started, None)]
    {
        let sick = sqlite();
        sql(&sick, STATE, &format!(
            "INSERT INTO agent_database_leases (lease_id, agent_id, path, owner_pid, owner_start_time, opened_at)
             VALUES ('l1', 'main', 'p', {pid}, {started}, {LAST})"
        ));
        let report = sick.report_at(crate::folder::NOW);
        assert_eq!(report.gateway_pid, owner, "{pid} {started}");
        assert_eq!(report.gateway_evidence.is_some_and(|it| it.contains("l1")), owner.is_some());
    }
}

#[test]
fn a_run_before_the_last_boot_of_a_folder_that_nobody_owns_is_a_zombie() {
    let sick = sqlite();
    add_run(&sick, 1, "running", 1_795_198_290_000);
    sick.is(&[(Code::Zombie, 1)]);
    assert!(sick.evidence(Code::Zombie).contains("started anew"));
}

/// What a record says is so whoever lives; what processes and starts of gateways say is of another place.
#[test]
fn records_prove_an_end_also_while_the_port_is_served_and_dead_processes_do_not() {
    let sick = sqlite();
    let ended = add_run(&sick, 1, "running", 1_795_198_290_000);
    add_run(&sick, 2, "running", 1_795_198_290_000);
    let of_dead = add_run(&sick, 3, "running", LAST);
    sql(&sick, STATE, &format!(
        "INSERT INTO cron_run_receipts (receipt_id, store_key, job_id, config_revision, agent_id, status, owner_pid, started_at_ms)
           VALUES ('r1', 's', '{JOB}', 'c', 'main', 'running', {NEVER_PID}, {LAST});
         INSERT INTO task_runs (task_id, runtime, source_id, owner_key, scope_kind, child_session_key, task, status,
           delivery_status, notify_policy, created_at, started_at, ended_at)
           VALUES ('task-1', 'cron', '{JOB}', '', 'system', 'agent:main:cron:{JOB}:run:{ended}', 't1', 'failed',
             'not_applicable', 'silent', 1795198290000, 1795198290000, 1795198304600)"
    ));
    let zombies = |report: &Report| {
        let found = report.findings.iter().filter(|finding| finding.code == Code::Zombie);
        found
            .flat_map(|finding| &finding.items)
            .map(|item| item.evidence.clone())
            .collect::<Vec<_>>()
    };
    let alone = zombies(&sick.report_at(crate::folder::NOW));
    assert_eq!(alone.len(), 3, "{alone:?}");
    assert!(alone.iter().any(|evidence| evidence.contains("receipt r1")), "{of_dead} {alone:?}");
    let served = zombies(&sick.report_served(crate::folder::NOW));
    let [evidence] = &served[..] else { panic!("{served:?}") };
    assert!(evidence.contains("task says that it ended failed"), "{evidence}");
}

#[test]
fn a_young_run_without_other_evidence_is_left_alone() {
    let sick = sqlite();
    add_run(&sick, 1, "running", 1_795_198_720_000);
    sick.is_at("2026-11-20T18:40:00Z", &[]);
}

#[test]
fn nodes_of_runs_beyond_their_retention_are_found() {
    let sick = sqlite();
    for n in 0..5 {
        add_run(&sick, n, "done", LAST - 25 * 3_600_000);
    }
    add_run(&sick, 9, "done", LAST - 3_600_000);
    sick.is(&[(Code::RunOverdue, 5)]);
}

/// OpenClaw alone can delete it with its archive: a healing offered what it could not do.
#[test]
fn an_overdue_run_whose_transcript_is_in_a_cold_archive_is_for_a_person() {
    let sick = sqlite();
    let id = add_run(&sick, 1, "done", LAST - 25 * 3_600_000);
    move_out(&sick.path(AGENT), &id, 1_000, true);
    sick.is(&[(Code::RunOverdue, 1)]);
    assert!(sick.help(Code::RunOverdue).contains("cold archive"));

    // An earlier window of its key.
    let sick = sqlite();
    add_run(&sick, 1, "done", LAST - 25 * 3_600_000);
    let earlier = add_run(&sick, 2, "done", LAST - 26 * 3_600_000);
    move_out(&sick.path(AGENT), &earlier, 1_000, true);
    let window = format!(
        "DELETE FROM session_nodes WHERE current_session_id = '{earlier}';
         UPDATE session_windows SET session_key = (SELECT session_key FROM session_windows
           WHERE session_id <> '{earlier}' AND session_key LIKE '%:run:%') WHERE session_id = '{earlier}'"
    );
    sql(&sick, AGENT, &format!("PRAGMA foreign_keys = OFF; {window}"));
    sick.is(&[(Code::RunOverdue, 1)]);
    assert!(sick.help(Code::RunOverdue).contains("cold archive"));
}

/// The window of a run may be of the job's own key. It was sought by the run's, and stayed as it was: every
/// healing ended the same rows.
#[test]
fn a_run_whose_window_is_of_its_job_is_ended_and_archived() {
    let base = format!("agent:main:cron:{JOB}");
    let of_job = |sick: &Sick, id: &str| {
        let window =
            format!("UPDATE session_windows SET session_key = '{base}' WHERE session_id = '{id}'");
        sql(sick, AGENT, &window);
    };
    let sick = sqlite();
    let id = add_run(&sick, 1, "running", 1_795_198_290_000);
    of_job(&sick, &id);
    sick.is(&[(Code::Zombie, 1)]);
    let sick = sqlite();
    let id = add_run(&sick, 1, "done", LAST - 25 * 3_600_000);
    of_job(&sick, &id);
    sick.is(&[(Code::RunOverdue, 1)]);
}

/// The transcript of the job's last run went with the run's row, and the job's own row was found without one.
#[test]
fn the_transcript_of_an_overdue_run_stays_where_it_is_the_current_one_of_its_job() {
    for window in [format!("agent:main:cron:{JOB}"), "its own".to_owned()] {
        let sick = sqlite();
        let id = add_run(&sick, 1, "done", LAST - 25 * 3_600_000);
        let job = format!(
            "UPDATE session_nodes SET current_session_id = '{id}',
               entry_json = json_set(entry_json, '$.sessionId', '{id}')
               WHERE session_key = 'agent:main:cron:{JOB}';
             UPDATE session_windows SET session_key = '{window}'
               WHERE session_id = '{id}' AND '{window}' LIKE 'agent:%'"
        );
        sql(&sick, AGENT, &job);
        sick.is(&[(Code::RunOverdue, 1)]);
    }
}

#[test]
fn tasks_that_contradict_the_history_are_found() {
    let sick = sqlite();
    sql(
        &sick,
        STATE,
        "UPDATE task_runs SET status = 'lost', ended_at = NULL WHERE rowid IN (SELECT rowid FROM task_runs LIMIT 2)",
    );
    sick.is(&[(Code::TaskContradicted, 2)]);
}

#[test]
fn a_database_of_an_unknown_version_is_named_and_left_alone() {
    let sick = sqlite();
    sql(&sick, AGENT, "PRAGMA user_version = 99");
    let found = sick.found();
    assert!(found.contains(&(Code::DatabaseUnreadable, 1)), "{found:?}");
    assert!(sick.evidence(Code::DatabaseUnreadable).contains("99"));
}

#[test]
fn a_damaged_database_is_named_and_the_other_one_is_read() {
    let sick = sqlite();
    let mut bytes = fs::read(sick.path(AGENT)).unwrap();
    for page in 3..60 {
        bytes[page * 4096..page * 4096 + 512].fill(0);
    }
    fs::write(sick.path(AGENT), bytes).unwrap();
    let found = sick.found();
    assert!(found.contains(&(Code::DatabaseUnreadable, 1)), "{found:?}");
    assert_eq!(sick.report_at(crate::folder::NOW).jobs.unwrap().total, 4);
    fs::write(sick.path(AGENT), "").unwrap();
    assert!(sick.report_at(crate::folder::NOW).jobs.is_some());
    fs::write(sick.path(AGENT), "no database at all, but a text that somebody saved here").unwrap();
    assert!(sick.found().contains(&(Code::DatabaseUnreadable, 1)));
}

/// Nodes whose events could not be read were said to have none, and to be archived.
#[test]
fn where_events_cannot_be_read_no_transcript_is_missing() {
    let sick = sqlite();
    let database = Connection::open(sick.path(AGENT)).unwrap();
    let number = |sql: &str| {
        let number: i64 = database.query_row(sql, [], |row| row.get(0)).unwrap();
        usize::try_from(number).unwrap()
    };
    let root = number("SELECT rootpage FROM sqlite_master WHERE name = 'transcript_events'");
    let size = number("PRAGMA page_size");
    let mut bytes = fs::read(sick.path(AGENT)).unwrap();
    bytes[(root - 1) * size..root * size].fill(0);
    fs::write(sick.path(AGENT), bytes).unwrap();
    let found = sick.found();
    assert!(found.contains(&(Code::DatabaseUnreadable, 1)), "{found:?}");
    assert!(found.iter().all(|(code, _)| *code != Code::TranscriptMissing), "{found:?}");
}

/// What was committed to the log alone is read, and the log stays as it is.
#[test]
fn a_log_beside_the_database_is_read_and_not_touched() {
    let sick = sqlite();
    let connection = Connection::open(sick.path(AGENT)).unwrap();
    connection.execute_batch("PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0").unwrap();
    connection
        .execute_batch("UPDATE session_nodes SET status = 'running'; UPDATE session_windows SET status = 'running'")
        .unwrap();
    let before = fs::read(sick.path(&format!("{AGENT}-wal"))).unwrap();
    assert!(!before.is_empty());
    assert_eq!(sick.found(), [(Code::Zombie, 1)]);
    assert_eq!(fs::read(sick.path(&format!("{AGENT}-wal"))).unwrap(), before);
}

#[test]
fn old_files_with_text_that_the_database_has_not_are_found_and_others_are_not() {
    let sick = sqlite();
    let (node, events) = events(&sick);
    let line = |at: &str| {
        json!({"type": "message", "id": "zz", "parentId": null, "timestamp": at,
            "message": {"role": "user", "content": "[cron:x y] hello"}})
        .to_string()
    };
    let header = |id: &str| {
        json!({"type": "session", "version": 3, "id": id, "timestamp": "2026-11-20T10:00:00Z"})
            .to_string()
    };
    let write = |id: &str, lines: &[String]| {
        fs::write(sick.session_file(&format!("{id}.jsonl")), lines.join("\n") + "\n").unwrap();
    };
    write(&node, &events);
    sick.is(&[]);
    write(&node, &[&events[..], &[line("2026-11-20T18:09:00Z")]].concat());
    sick.is(&[(Code::HalfMigrated, 1)]);
    write("99999999-0000-4000-8000-000000000000", &[header("9"), line("2026-11-20T10:00:01Z")]);
    sick.is(&[(Code::HalfMigrated, 2)]);
}

/// The header, the messages and the rest of the one session of the healthy folder.
fn events(sick: &Sick) -> (String, Vec<String>) {
    let database = Connection::open(sick.path(AGENT)).unwrap();
    let of_node = "SELECT current_session_id FROM session_nodes";
    let node: String = database.query_row(of_node, [], |row| row.get(0)).unwrap();
    let all = "SELECT event_json FROM transcript_events WHERE session_id = ?1 ORDER BY seq";
    let mut statement = database.prepare(all).unwrap();
    let events = statement.query_map([&node], |row| row.get(0)).unwrap();
    let events = events.collect::<Result<Vec<String>, _>>().unwrap();
    (node, events)
}

/// Only when they ended was compared: text of before that counted as there.
#[test]
fn old_files_with_other_text_that_end_before_the_database_are_found() {
    let sick = sqlite();
    let (node, events) = events(&sick);
    let count = events.len();
    let file = sick.session_file(&format!("{node}.jsonl"));
    let message = |n: u32, at: &str| {
        json!({"type": "message", "id": format!("old{n}"), "timestamp": format!("{at}:0{n}.123Z"),
            "message": {"role": "user", "content": "only here"}})
        .to_string()
    };
    let of = |at: &str| (1..=4).map(|n| message(n, at)).collect::<Vec<_>>();
    for (lines, lacks) in [
        // A prefix, and one that branches off.
        (events[..count - 1].to_vec(), 0),
        ([&events[..count - 2], &of("2026-11-20T18:00")].concat(), 4),
        // As long, and another end.
        ([&events[..count - 1], &[message(1, "2026-11-20T18:00")]].concat(), 1),
        // An older one of the same name.
        ([&events[..1], &of("2026-11-19T10:00")].concat(), 4),
    ] {
        fs::write(&file, lines.join("\n") + "\n").unwrap();
        if lacks == 0 {
            sick.is(&[]);
            continue;
        }
        sick.is(&[(Code::HalfMigrated, 1)]);
        let evidence = sick.evidence(Code::HalfMigrated);
        assert!(evidence.contains(&format!("not have {lacks} of its messages")), "{evidence}");
    }
    // An import that gave them other ids has them by their time.
    let renamed: Vec<String> =
        events.iter().map(|event| event.replace("\"id\":\"", "\"id\":\"x")).collect();
    fs::write(&file, renamed.join("\n") + "\n").unwrap();
    sick.is(&[]);
}

/// It was added, or came back from a backup, after the migration: no database, no finding.
#[test]
fn an_agent_that_was_never_migrated_beside_one_that_was_is_found() {
    let sick = sqlite();
    let (from, to) = (Sick::copy("2026.5.6-reset"), sick.path("agents/work"));
    unpack(&from.path("agents/main"), &to);
    let index = to.join("sessions/sessions.json");
    let rows = fs::read_to_string(&index).unwrap().replace("agent:main:", "agent:work:");
    fs::write(&index, rows).unwrap();
    sick.is(&[(Code::HalfMigrated, 1)]);
    let evidence = sick.evidence(Code::HalfMigrated);
    assert!(evidence.contains("2 rows") && evidence.contains("no database"), "{evidence}");
    fs::remove_file(&index).unwrap();
    let found = sick.found();
    assert!(found.contains(&(Code::HalfMigrated, 1)), "{found:?}");
    // An agent that has yet to speak.
    fs::remove_dir_all(to.join("sessions")).unwrap();
    fs::create_dir_all(to.join("sessions")).unwrap();
    fs::write(&index, "{}").unwrap();
    sick.is(&[]);
}

/// From 2026.5.31 to 2026.7.1 jobs lie in the shared database, and sessions in files.
#[test]
fn an_agent_without_a_database_where_no_agent_has_one_is_of_its_era() {
    let sick = sqlite();
    fs::remove_dir_all(sick.path("agents")).unwrap();
    unpack(&Sick::copy("2026.5.6-reset").path("agents"), &sick.path("agents"));
    let found = sick.found();
    assert!(found.iter().all(|(code, _)| *code != Code::HalfMigrated), "{found:?}");
}

#[test]
fn migrated_job_files_beside_an_empty_table_are_found() {
    let sick = sqlite();
    sql(&sick, STATE, "DELETE FROM cron_jobs");
    fs::create_dir_all(sick.path("cron")).unwrap();
    let jobs = fs::read(Sick::copy("2026.5.6-plain").path("cron/jobs.json")).unwrap();
    fs::write(sick.path("cron/jobs.json.migrated"), jobs).unwrap();
    let found = sick.found();
    assert!(found.contains(&(Code::JobsNotMigrated, 1)), "{found:?}");
}

/// 2026.9.6 declares jobs for itself, so that a table is hardly ever empty.
#[test]
fn jobs_of_persons_that_only_old_files_and_copies_have_are_found_beside_declared_ones() {
    let sick = sqlite();
    let copy = format!("{STATE}.bak");
    fs::copy(sick.path(STATE), sick.path(&copy)).unwrap();
    fs::create_dir_all(sick.path("cron")).unwrap();
    let jobs = fs::read(Sick::copy("2026.5.6-plain").path("cron/jobs.json")).unwrap();
    fs::write(sick.path("cron/jobs.json.migrated"), jobs).unwrap();
    sick.is(&[]);
    // A new database declares them anew, by other ids.
    sql(
        &sick,
        STATE,
        "DELETE FROM cron_jobs WHERE declaration_key IS NULL;
         UPDATE cron_jobs SET job_json = json_set(job_json, '$.id', 'x' || job_id), job_id = 'x' || job_id",
    );
    sick.is(&[(Code::JobsNotMigrated, 2)]);
    let report = sick.report_at(crate::folder::NOW);
    let finding = report.findings.iter().find(|finding| finding.code == Code::JobsNotMigrated);
    for item in &finding.unwrap().items {
        assert!(item.evidence.starts_with("1 job here"), "{}", item.evidence);
    }
}

#[test]
fn transcripts_in_cold_archives_are_read_and_archives_that_are_gone_are_found() {
    let sick = sqlite();
    let (node, events) = events(&sick);
    let file = move_out(&sick.path(AGENT), &node, 3, true);
    sick.is(&[]);
    // What is in an archive is no text that the database has not.
    fs::write(sick.session_file(&format!("{node}.jsonl")), events.join("\n") + "\n").unwrap();
    sick.is(&[]);
    fs::remove_file(sick.session_file(&format!("{node}.jsonl"))).unwrap();
    fs::remove_file(file).unwrap();
    sick.is(&[(Code::RecordUnreadable, 1)]);
    let evidence = sick.evidence(Code::RecordUnreadable);
    assert!(evidence.starts_with("4 events moved to"), "{evidence}");
}

/// Migrated files were found in such folders (openclaw/openclaw#97422). Jobs that OpenClaw makes for itself are not
/// missing.
#[test]
fn jobs_that_only_files_have_that_were_put_away_are_found() {
    let sick = sqlite();
    let away = "cron/_archived-seeds-20260625T204233/jobs.json.migrated.3";
    fs::create_dir_all(sick.path(away).parent().unwrap()).unwrap();
    let mut jobs: Value = serde_json::from_slice(
        &fs::read(Sick::copy("2026.5.6-plain").path("cron/jobs.json")).unwrap(),
    )
    .unwrap();
    let of_plugin = json!({
        "id": "c5a1", "name": "Memory Dreaming Promotion", "enabled": true,
        "description": "[managed-by=memory-core.short-term-promotion] Promote recalls.",
        "schedule": {"kind": "cron", "expr": "0 3 * * *"}, "sessionTarget": "main",
        "payload": {"kind": "systemEvent", "text": "__openclaw_memory_core_short_term_promotion_dream__"},
    });
    jobs["jobs"].as_array_mut().unwrap().push(of_plugin.clone());
    fs::write(sick.path(away), jobs.to_string()).unwrap();
    sick.is(&[]);
    // What is left was made by the plugin, before there were keys of declarations.
    let raw = serde_json::to_string(&of_plugin).unwrap();
    let left = format!(
        "DELETE FROM cron_jobs WHERE declaration_key IS NULL;
         UPDATE cron_jobs SET declaration_key = NULL, job_json = '{raw}' WHERE name LIKE 'Memory%'"
    );
    sql(&sick, STATE, &left);
    sick.is(&[(Code::JobsNotMigrated, 1)]);
    let evidence = sick.evidence(Code::JobsNotMigrated);
    assert!(evidence.starts_with("1 job here"), "{evidence}");
}

/// A migration lost the agents of all jobs, and the next version started none of them (openclaw/openclaw#93031).
#[test]
fn a_job_that_lost_its_agent_on_the_way_is_found() {
    for (agent, found) in [("main", &[][..]), ("work", &[(Code::JobsNotMigrated, 1)][..])] {
        let sick = sqlite();
        fs::create_dir_all(sick.path("cron")).unwrap();
        let job = json!({"id": JOB, "name": "t1", "enabled": true, "agentId": agent,
            "schedule": {"kind": "every", "everyMs": 3_600_000}, "payload": {"kind": "agentTurn"}});
        let jobs = json!({"version": 1, "jobs": [job]}).to_string();
        fs::write(sick.path("cron/jobs.json.migrated"), &jobs).unwrap();
        sick.is(found);
        // What an older one says was changed before the migration.
        let without = jobs.replace("agentId", "agentWas");
        fs::write(sick.path("cron/jobs.json.migrated.2"), without).unwrap();
        sick.is(&[]);
        fs::remove_file(sick.path("cron/jobs.json.migrated.2")).unwrap();
        sql(
            &sick,
            STATE,
            "UPDATE cron_jobs SET job_json = json_set(job_json, '$.agentId', 'other')",
        );
        assert!(sick.found().iter().all(|(code, _)| *code != Code::JobsNotMigrated));
    }
}

/// A quarter of free pages alone is not worth a healing: they also have to be more than 16 MiB.
#[test]
fn a_database_is_bloated_by_a_quarter_of_free_pages_above_16_mib() {
    for (mib, expected) in [(12, &[][..]), (18, &[(Code::DatabaseBloated, 1)])] {
        let sick = sqlite();
        let ballast = format!(
            "CREATE TABLE ballast (x BLOB); INSERT INTO ballast VALUES (zeroblob({mib} * 1048576)); DROP TABLE ballast"
        );
        sql(&sick, AGENT, &ballast);
        sick.is(expected);
    }
}

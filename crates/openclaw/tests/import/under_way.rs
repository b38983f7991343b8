//! What a living gateway is at work on, and what only looks as if.

use sexton_domain::run::Outcome;
use sexton_domain::session::{EndReason, Session};
use sexton_openclaw::import::gather::{Gathered, UnderWay};

use crate::folder::{AGENT, Copy, STATE, own_start};
use crate::{JOB, RESET, SESSION};

/// The session of theirs.
fn session<'a>(found: &'a Gathered, id: &str) -> Option<&'a Session> {
    let mut sessions = found.generations.iter().map(|generation| &generation.session);
    sessions.find(|session| session.origin.as_ref().unwrap().id == id)
}

fn is_empty(left_out: Option<&UnderWay>) -> bool {
    left_out.is_some_and(|left_out| left_out.sessions.is_empty() && left_out.runs.is_empty())
}

#[test]
fn what_is_under_way_is_left_out_while_the_gateway_lives_and_interrupted_when_it_is_dead() {
    let folder = Copy::of("2026.9.6-plain");
    let ended = folder.gather();
    let claim = |owner_start: u64| {
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
    };
    claim(own_start());
    let alive = folder.gather();
    let under_way = alive.under_way.as_ref().unwrap();
    assert!(under_way.sessions.iter().eq([SESSION]), "{under_way:?}");
    let [run] = &Vec::from_iter(&under_way.runs)[..] else { panic!("{under_way:?}") };
    assert!(run.starts_with(JOB), "{run}");
    assert_eq!(alive.runs.len(), ended.runs.len() - 1);
    assert_eq!(alive.generations.len(), ended.generations.len() - 1);
    assert!(alive.remarks.iter().any(|remark| remark.starts_with("a gateway runs")));

    claim(own_start() + 1);
    let dead = folder.gather();
    assert_eq!((&dead.under_way, &dead.remarks), (&None, &ended.remarks));
    assert_eq!(dead.runs.len(), ended.runs.len());
    assert_eq!(dead.generations.len(), ended.generations.len());
    let lost = dead.runs.iter().filter(|(run, _)| run.outcome() == Some(Outcome::Interrupted));
    assert_eq!(lost.count(), 1);
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
               execution_owner_pid = {pid}, execution_owner_start_identity = {dead}
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
        assert_eq!(found.runs.iter().filter(|(run, _)| is_lost(run)).count(), 1, "{history}");
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

//! What a living gateway is at work on, and what only looks as if.

use sexton_domain::run::Outcome;

use crate::folder::{AGENT, Copy, STATE, own_start};
use crate::{JOB, RESET, SESSION};

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

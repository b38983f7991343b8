//! What agents report about their runs is counted once with their end, and harms nobody.

use crate::support::{Node, World};
use jiff::civil::Date;
use sexton_domain::duration::Duration;
use sexton_domain::job::Retain;
use sexton_domain::node::EndReason;
use sexton_domain::run::{Outcome, Reason, Run};
use sexton_domain::usage::{By, Group, Tokens};
use sexton_engine::handle::Error;
use sexton_engine::metrics::Form;

/// A script that appends lines to the report, then does something else.
fn reports(lines: &[&str], then: &str) -> String {
    let lines: String =
        lines.iter().map(|line| format!("echo '{line}' >> \"$SEXTON_REPORT\"\n")).collect();
    format!("{lines}{then}")
}

async fn ledger(node: &Node) -> Vec<(String, u64, Tokens)> {
    let ledger = node.handle.usage(By::Model, Date::MIN).await.unwrap();
    let named = ledger.sums.into_iter().map(|(group, sum)| match group {
        Group::Model(model) => (model, sum.reports, sum.tokens),
        other => panic!("{other:?}"),
    });
    named.collect()
}

async fn run(node: &Node, agent: &str) -> Run {
    let job = node.job(&format!("job-{agent}"), agent, |spec| spec.prompt = "p".to_owned()).await;
    node.run(&job).await
}

/// Waits until no run has a folder any more.
async fn no_folders(world: &World) {
    let count = || std::fs::read_dir(world.file("runs")).map_or(0, Iterator::count);
    for _ in 0..1_000 {
        if count() == 0 {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    panic!("{} folders are left", count());
}

/// P12: the ledger, the run and its session say the same; a bad line is named and counts for nothing.
#[tokio::test]
async fn what_an_agent_reports_is_counted_with_the_end_of_its_run() {
    let lines = [
        r#"{"usage": {"model": "m", "input_tokens": 10, "output_tokens": 2, "cost_usd": 0.25}}"#,
        "broken",
        r#"{"usage": {"model": "n", "input_tokens": 5, "cached_tokens": 4}}"#,
    ];
    let world = World::new().agent("a", &reports(&lines, "echo answer; exit 1"));
    let node = world.start().await;
    let run = run(&node, "a").await;
    assert_eq!((run.outcome(), run.reason()), (Some(Outcome::Failed), Some(Reason::Exit)));
    let sum = Tokens { input: 15, output: 2, cached: 4, cost_micro_usd: 250_000 };
    assert_eq!(run.usage, Some(sum));
    let session = node.handle.session(run.session.unwrap()).await.unwrap();
    assert_eq!(session.usage, Some(sum));
    let m = Tokens { input: 10, output: 2, cached: 0, cost_micro_usd: 250_000 };
    let n = Tokens { input: 5, output: 0, cached: 4, cost_micro_usd: 0 };
    assert_eq!(ledger(&node).await, [("m".to_owned(), 1, m), ("n".to_owned(), 1, n)]);
    let transcript = node.transcript(&run).await;
    assert_eq!(transcript[..2], ["p", "answer"]);
    assert!(transcript[2].starts_with("[1 line of the report could not be read: line 2: "));
    assert_eq!((transcript.len(), session.entry_count), (3, 3));
    no_folders(&world).await;
    node.stop(EndReason::Shutdown).await;
}

/// The last declared outcome wins over the exit code, and says whether a retry makes sense.
#[tokio::test]
async fn an_agent_can_declare_how_its_run_ended() {
    let ok = reports(&[r#"{"outcome": "failed"}"#, r#"{"outcome": "ok"}"#], "exit 1");
    let failed =
        reports(&[r#"{"outcome": "failed", "reason": "quota", "retry": "1ms"}"#], "exit 0");
    let skipped = reports(&[r#"{"outcome": "skipped", "reason": "no mail"}"#], "exit 0");
    let world = World::new().agent("ok", &ok).agent("failed", &failed).agent("skipped", &skipped);
    let node = world.start().await;

    let run = self::run(&node, "ok").await;
    assert_eq!((run.outcome(), run.reason()), (Some(Outcome::Ok), Some(Reason::Declared)));
    assert_eq!(run.error, None);

    let job = node.job("f", "failed", |spec| spec.retries = Some(1)).await;
    let run = node.run(&job).await;
    assert_eq!((run.outcome(), run.reason()), (Some(Outcome::Failed), Some(Reason::Declared)));
    let error = run.error.unwrap();
    assert_eq!((error.class.as_str(), error.message.as_str()), ("declared", "quota"));
    assert_eq!(node.runs(&job).await.len(), 2, "a wish for a retry is heard");

    let run = self::run(&node, "skipped").await;
    assert_eq!((run.outcome(), run.reason()), (Some(Outcome::Skipped), Some(Reason::Declared)));
    assert_eq!(node.transcript(&run).await, ["p", "[skipped: no mail]"]);
    node.stop(EndReason::Shutdown).await;
}

/// P4, P12: what a run is stopped for stays its reason, and what it took until then is counted.
#[tokio::test]
async fn a_run_that_is_stopped_is_counted_and_stays_stopped() {
    let lines = [r#"{"outcome": "ok", "usage": {"input_tokens": 7}}"#];
    let world = World::new()
        .agent("a", &reports(&lines, "exec sleep 600"))
        .tuned("a", |agent| agent.timeout = Duration::from_millis(700));
    let node = world.start().await;
    let run = run(&node, "a").await;
    assert_eq!((run.outcome(), run.reason()), (Some(Outcome::TimedOut), Some(Reason::Deadline)));
    assert_eq!(run.usage.map(|usage| usage.input), Some(7));
    no_folders(&world).await;
    node.stop(EndReason::Shutdown).await;
}

/// P10: whatever stands in the place of a report, its run ends as it would without one.
#[tokio::test]
async fn a_report_that_is_something_else_harms_nobody() {
    let world = World::new()
        .agent("gone", "rm -r \"$(dirname \"$SEXTON_REPORT\")\"")
        .agent("huge", "truncate -s 1G \"$SEXTON_REPORT\"")
        .agent("pipe", "rm \"$SEXTON_REPORT\"; mkfifo \"$SEXTON_REPORT\"")
        .agent(
            "link",
            "echo '{\"outcome\": \"failed\"}' > it; ln -sf \"$PWD/it\" \"$SEXTON_REPORT\"",
        )
        .agent("zero", "rm \"$SEXTON_REPORT\"; ln -s /dev/zero \"$SEXTON_REPORT\"");
    let node = world.start().await;
    for agent in ["gone", "huge", "pipe", "link", "zero"] {
        let run = run(&node, agent).await;
        assert_eq!((run.outcome(), run.usage), (Some(Outcome::Ok), None), "{agent}");
        let remarks = node.transcript(&run).await.split_off(1);
        assert_eq!(remarks.len(), usize::from(agent != "gone"), "{agent}: {remarks:?}");
    }
    no_folders(&world).await;
    node.stop(EndReason::Shutdown).await;
}

/// P6: what earlier lives left of runs that are over, or of no run at all, goes at the next start; what
/// is not a run's is not touched.
#[tokio::test]
async fn stale_folders_of_runs_are_removed_at_a_start() {
    let world = World::new().agent("a", "true");
    let node = world.start().await;
    let over = run(&node, "a").await;
    node.stop(EndReason::Shutdown).await;
    let stranger = "01890a5d-ac96-774b-bcce-b302099a8057";
    for name in [over.id.to_string().as_str(), stranger, "notes"] {
        std::fs::create_dir_all(world.file("runs").join(name)).unwrap();
    }
    let node = world.start().await;
    let left: Vec<_> = std::fs::read_dir(world.file("runs")).unwrap().flatten().collect();
    assert_eq!(left.iter().map(|entry| entry.file_name()).collect::<Vec<_>>(), ["notes"]);
    assert_eq!(ledger(&node).await, []);
    node.stop(EndReason::Shutdown).await;
}

/// P12: the sums stay when sessions are swept, jobs removed and gateways restarted. The last drain is among
/// the metrics of the next life.
#[tokio::test]
async fn no_sweep_removal_or_restart_changes_a_sum() {
    let lines = [r#"{"usage": {"model": "m", "input_tokens": 3, "cost_usd": 0.000007}}"#];
    let world = World::new().agent("a", &reports(&lines, "exit 0"));
    let node = world.start().await;
    let job = node.job("j", "a", |spec| spec.retention.retain = Some(Retain::OnFailure)).await;
    let runs = [node.run(&job).await, node.run(&job).await];
    let tokens = Tokens { input: 6, output: 0, cached: 0, cost_micro_usd: 14 };
    let sums = [("m".to_owned(), 2, tokens)];
    assert_eq!(ledger(&node).await, sums);
    node.handle.remove_job(&job, None).await.unwrap();
    for run in &runs {
        let session = run.session.unwrap();
        let mut sweeps = 0;
        while !matches!(node.handle.session(session).await, Err(Error::NotFound { .. })) {
            node.handle.sweep().await.unwrap();
            sweeps += 1;
            assert!(sweeps < 100, "the session is not swept");
        }
    }
    assert_eq!(ledger(&node).await, sums);
    node.stop(EndReason::Shutdown).await;
    let node = world.start().await;
    assert_eq!(ledger(&node).await, sums);
    let metrics = node.handle.metrics().await.unwrap().write(Form::Prometheus).unwrap();
    assert!(metrics.contains("sexton_last_drain_seconds "), "{metrics}");
    assert!(metrics.contains("sexton_last_drain{what=\"runs_unproven\"} 0.0"), "{metrics}");
    node.stop(EndReason::Shutdown).await;
}

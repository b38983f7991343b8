//! Usage on the command line: sums, and what a crash leaves of a report.

use crate::support::{CONFIG, Place, until};

const SPENDERS: &str = r#"
[agents.spender]
executor = "process"
command = ["sh", "-c", '''
cat > /dev/null
echo '{"usage": {"model": "large", "input_tokens": 100, "output_tokens": 10, "cost_usd": 0.5}}' >> "$SEXTON_REPORT"
echo '{"usage": {"model": "small", "input_tokens": 7, "cost_usd": 0.000001}}' >> "$SEXTON_REPORT"
''']

[agents.victim]
executor = "process"
grace = "1s"
command = ["sh", "-c", '''
echo '{"usage": {"model": "large", "input_tokens": 1, "cost_usd": 1}}' >> "$SEXTON_REPORT"
echo begun
exec sleep 600
''']
"#;

fn place() -> Place {
    Place::new(&format!("{CONFIG}{SPENDERS}"))
}

fn add(place: &Place, key: &str, agent: &str) {
    place.ok(&["job", "add", "--key", key, "--agent", agent, "--every", "1d", "--prompt", "x"]);
}

#[test]
fn usage_is_summed_up_by_job_agent_model_and_day() {
    let place = place();
    let daemon = place.serve();
    let none = place.ok(&["usage"]);
    assert!(none.contains("no usage was reported yet"), "{none}");
    for key in ["one", "two"] {
        add(&place, key, "spender");
        place.ok(&["job", "run", key, "--wait"]);
    }
    place.ok(&["job", "run", "one", "--wait"]);
    place.ok(&["job", "rm", "two"]);

    let jobs = place.json(&["usage"]);
    let items = jobs["items"].as_array().unwrap();
    let named: Vec<_> = items.iter().map(|item| (&item["job_key"], &item["reports"])).collect();
    assert_eq!(named, [(&"one".into(), &4.into()), (&"two".into(), &2.into())], "{jobs}");
    assert_eq!(items[0]["cost_usd"], 1.000002);
    assert_eq!(jobs["total"]["cost_usd"], 1.500003);
    assert_eq!(jobs["next"], serde_json::Value::Null);

    let table = place.ok(&["usage", "--by", "model"]);
    let rows: Vec<Vec<&str>> =
        table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["MODEL", "REPORTS", "IN", "OUT", "CACHED", "COST"]);
    assert_eq!(rows[1], ["large", "3", "300", "30", "0", "$1.5000"]);
    assert_eq!(rows[2], ["small", "3", "21", "0", "0", "$0.0000"]);
    assert_eq!(rows[3], ["total", "6", "321", "30", "0", "$1.5000"]);

    let since = |since: &str| place.json(&["usage", "--by", "day", "--since", since]);
    assert_eq!(since("2d")["total"]["reports"], 6);
    assert_eq!(since("2000-02-29")["since"], "2000-02-29");
    assert_eq!(since("2100-01-01T00:00:00Z")["items"], serde_json::json!([]));
    let wrong = place.run(&["usage", "--since", "2026-13-40"]);
    assert_eq!(wrong.code, 2, "{wrong:?}");
    assert!(wrong.err.contains("`since`"), "{wrong:?}");
    drop(daemon);
    assert_eq!(place.json(&["usage"])["total"]["reports"], 6, "the store can be asked, too");
}

/// P12: what a run had reported when the gateway was killed is counted by the next start, once.
#[test]
fn what_a_crashed_run_had_reported_is_not_lost() {
    let place = place();
    let daemon = place.serve();
    add(&place, "v", "victim");
    let run = place.json(&["job", "run", "v"])["id"].as_str().unwrap().to_owned();
    let session = until("the agent to begin", || {
        let run = place.json(&["run", "show", &run]);
        let session = run["session_id"].as_str()?.to_owned();
        place.ok(&["session", "transcript", &session]).contains("begun").then_some(session)
    });
    daemon.kill();
    for _ in 0..2 {
        let daemon = place.serve();
        let shown = place.json(&["run", "show", &run]);
        assert_eq!(
            (&shown["outcome"], &shown["usage"]["cost_usd"]),
            (&"interrupted".into(), &1.0.into())
        );
        let session = place.json(&["session", "show", &session]);
        assert_eq!(session["usage"]["input_tokens"], 1);
        let usage = place.json(&["usage"]);
        assert_eq!(
            (&usage["total"]["reports"], &usage["total"]["cost_usd"]),
            (&1.into(), &1.0.into())
        );
        let left = std::fs::read_dir(place.data().join("runs")).unwrap().count();
        assert_eq!(left, 0);
        daemon.kill();
    }
}

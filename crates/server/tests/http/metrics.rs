//! `/metrics`: what is scraped, judged by Prometheus' own tool.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::process::{Command, Stdio};

use sexton_engine::metrics::{ALL, Kind};
use sexton_server::api::RunState;

use crate::world::World;

/// The text, after it was judged.
async fn scrape(world: &World) -> String {
    let answer = world.get("/metrics").await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.header("content-type"), "text/plain; version=0.0.4; charset=utf-8");
    let text = answer.body;
    judge(&text);
    text
}

/// `promtool check metrics` has nothing to say.
fn judge(text: &str) {
    let mut promtool = Command::new("promtool");
    promtool.args(["check", "metrics"]).stdin(Stdio::piped());
    let promtool = promtool.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut promtool = promtool.unwrap_or_else(|error| {
        panic!(
            "promtool: {error}; `cargo xtask test` installs it (Debian: apt-get install prometheus)"
        )
    });
    promtool.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let judged = promtool.wait_with_output().unwrap();
    let said = [judged.stdout, judged.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(judged.status.success() && said.is_empty(), "{said}\n{text}");
}

fn value(text: &str, series: &str) -> Option<f64> {
    let line = text
        .lines()
        .find(|line| line.strip_prefix(series).is_some_and(|it| it.starts_with(' ')))?;
    line.rsplit(' ').next()?.parse().ok()
}

#[tokio::test]
async fn the_metrics_are_clean_and_count_what_there_is() {
    let world = World::new().await;
    let idle = scrape(&world).await;
    assert_eq!(value(&idle, "sexton_ready"), Some(1.0));
    world.job("talk", "echo").await;
    world.run("talk", RunState::Ended).await;
    world.job("long", "hang").await;
    world.run("long", RunState::Running).await;

    let text = scrape(&world).await;
    let is = |series: &str, expected: f64| {
        assert_eq!(value(&text, series), Some(expected), "{series}\n{text}")
    };
    is("sexton_jobs", 2.0);
    is(r#"sexton_sessions{kind="run",state="open"}"#, 1.0);
    is(r#"sexton_sessions{kind="run",state="ended"}"#, 1.0);
    is(r#"sexton_runs{state="running",outcome=""}"#, 1.0);
    is(r#"sexton_runs{state="ended",outcome="ok"}"#, 1.0);
    is(r#"sexton_runs_ended_total{outcome="ok"}"#, 1.0);
    is(r#"sexton_events_total{type="session.started"}"#, 2.0);
    is("sexton_ownerless", 0.0);
    is("sexton_overdue_rows", 0.0);
    is(r#"sexton_store_rows{kind="session"}"#, 2.0);
    assert!(value(&text, "sexton_store_commit_seconds_count") > Some(3.0), "{text}");
    assert!(value(&text, "sexton_store_batches_total") > Some(3.0), "{text}");
    assert!(value(&text, "sexton_store_bytes").is_some(), "{text}");
    assert!(!text.contains("talk"), "no label is a job");
}

/// Every series that is scraped is one that the page of metrics lists, with its labels.
#[tokio::test]
async fn nothing_is_scraped_that_is_not_documented() {
    let world = World::new().await;
    world.job("talk", "echo").await;
    world.run("talk", RunState::Ended).await;
    let text = scrape(&world).await;
    let mut names = BTreeSet::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (series, _) = line.rsplit_once(' ').unwrap();
        let (name, labels) = series.split_once('{').unwrap_or((series, ""));
        let labels = labels.trim_end_matches('}').split(',').filter(|label| !label.is_empty());
        let labels = labels.map(|label| label.split('=').next().unwrap());
        let labels: Vec<&str> = labels.filter(|label| *label != "le").collect();
        let known = ALL.iter().find(|known| {
            let suffixes: &[&str] = match known.kind {
                Kind::Gauge => &[""],
                Kind::Counter => &["_total"],
                Kind::Histogram => &["_bucket", "_sum", "_count"],
            };
            name.strip_prefix(known.name).is_some_and(|suffix| suffixes.contains(&suffix))
        });
        let known = known.unwrap_or_else(|| panic!("{name} is not documented"));
        assert_eq!(labels, known.labels, "{series}");
        names.insert(known.name);
    }
    assert!(names.len() > 25, "{names:?}");
}

#[tokio::test]
async fn whoever_wants_open_metrics_gets_them() {
    let world = World::new().await;
    let accept = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5";
    let answer = world.call("GET", "/metrics").header("accept", accept).send().await;
    assert!(
        answer.header("content-type").starts_with("application/openmetrics-text; version=1.0.0")
    );
    assert!(answer.body.ends_with("# EOF\n"), "{answer:?}");
}

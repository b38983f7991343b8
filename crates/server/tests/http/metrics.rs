//! `/metrics`: what is scraped, judged by Prometheus' own tool.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::json;
use sexton_domain::event::EventType;
use sexton_engine::metrics::{ALL, Kind};
use sexton_server::api::{Alert, Code, Job, Page, RunState, Status, Swept};

use crate::world::{PATIENCE, World};

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
    // From zero on, so that the first one is an increase.
    is(r#"sexton_slots_passed_total{outcome="missed"}"#, 0.0);
    is(r#"sexton_events_total{type="session.started"}"#, 2.0);
    is("sexton_ownerless", 0.0);
    is("sexton_overdue_rows", 0.0);
    is(r#"sexton_store_rows{kind="session"}"#, 2.0);
    assert!(value(&text, "sexton_store_commit_seconds_count") > Some(3.0), "{text}");
    assert!(value(&text, "sexton_store_batches_total") > Some(3.0), "{text}");
    assert!(value(&text, "sexton_store_bytes").is_some(), "{text}");
    assert!(!text.contains("talk"), "no label is a job");
}

/// A node that had a life before, with a hook, a dead letter, a skipped slot and a sweep.
async fn busy() -> World {
    let world = World::lived_in().await;
    world.job("talk", "echo").await;
    world.run("talk", RunState::Ended).await;
    let each = json!({ "key": "long", "agent": "hang", "every": "1s", "prompt": "hi" });
    world.post("/v1/jobs", &each).await.is::<Job>(201);
    world.post("/v1/sweep", &json!({})).await.is::<Swept>(200);
    let mut news = world.handle.watch_events();
    let wait = async {
        loop {
            news.borrow_and_update();
            let events = world.handle.events(0, 500).await.unwrap();
            let kinds = events.iter().map(|event| event.fact.kind).collect::<BTreeSet<_>>();
            let all = [EventType::HookDeadLettered, EventType::RunSkipped, EventType::AlertRaised];
            if all.iter().all(|kind| kinds.contains(kind)) {
                return;
            }
            news.changed().await.unwrap();
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.expect("all of it happens in time");
    world
}

/// What is scraped is what the page of metrics lists, all of it, with its labels, and nothing else.
#[tokio::test]
async fn what_is_scraped_is_what_is_documented() {
    let world = busy().await;
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
    let documented: BTreeSet<_> = ALL.iter().map(|known| known.name).collect();
    let missing: Vec<_> = documented.difference(&names).collect();
    assert!(missing.is_empty(), "documented and not scraped: {missing:?}\n{text}");
    for (kind, rows) in [("hook", 2.0), ("job", 2.0)] {
        let series = format!("sexton_store_rows{{kind=\"{kind}\"}}");
        assert_eq!(value(&text, &series), Some(rows), "{text}");
    }
    assert_eq!(value(&text, r#"sexton_deliveries{hook="refuses",state="dead"}"#), Some(1.0));
    let delivered = r#"sexton_delivery_tries_total{hook="refuses",result="delivered"}"#;
    assert_eq!(value(&text, delivered), Some(0.0), "from zero on");
    world.stop().await;
}

/// What needs a look, over HTTP: on its own, and in the status.
#[tokio::test]
async fn alerts_are_listed_and_in_the_status() {
    let world = busy().await;
    let alerts: Page<Alert> = world.get("/v1/alerts").await.is(200);
    let [alert] = &alerts.items[..] else { panic!("{alerts:?}") };
    assert_eq!((alert.code.as_str(), alert.about.as_str()), ("dead_letters", "refuses"));
    assert!(alert.message.contains("`sexton hook deliveries --hook refuses --state dead`"));
    assert_eq!((alert.cleared_at, &alerts.next), (None, &None));
    let status: Status = world.get("/v1/status").await.is(200);
    assert_eq!(&status.alerts, &alerts.items);
    assert_eq!((status.outbox.pending, status.outbox.dead), (0, 1));
    assert_eq!(status.outbox.oldest_at, None);
    let few: Page<Alert> = world.get("/v1/alerts?limit=1").await.is(200);
    assert_eq!(few.items.len(), 1);
    world.get("/v1/alerts?limit=0").await.problem(Code::InvalidParameter);
    world.stop().await;
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

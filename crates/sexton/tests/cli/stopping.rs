//! Stopping: bounded whatever hangs, and honest about what it came to.

use std::fs;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use sexton_domain::duration;
use sexton_domain::event::{Event, EventType};
use sexton_domain::hook::{Delivery, DeliveryState};
use sexton_domain::id::Ids;
use sexton_store::Driver as _;
use sexton_store::page::{DeliveryFilter, MAX_PAGE, PageRequest};
use sexton_store_sqlite::{Access, Options, SqliteDriver};

use crate::disk::SlowDisk;
use crate::supervisor::Supervisor;
use crate::support::{CONFIG, Daemon, Place, until};

/// Agents that wait for a file, that ignore TERM, and one that hangs.
fn config(drain: &str) -> String {
    format!(
        r#"{CONFIG}
[limits]
runs = 20
runs_per_agent = 20

[drain]
{drain}

[agents.waits]
executor = "process"
command = ["sh", "-c", "while [ ! -e go ]; do sleep 0.02; done; echo went"]
grace = "1s"

[agents.deaf]
executor = "process"
command = ["sh", "-c", "trap '' TERM; echo begun; while :; do sleep 1; done"]
grace = "1s"

[hooks.takes]
on = ["session.started", "session.ended", "node.draining"]
command = ["true"]

[hooks.mute]
on = ["session.started", "session.ended", "node.stopped"]
command = {MUTE}
timeout = "10m"
"#
    )
}

/// A hook's command that never answers.
const MUTE: &str = r#"["sleep", "600"]"#;

/// What `config check` says a stop takes at most.
fn sum(place: &Place) -> Duration {
    let ms = place.json(&["config", "check"])["stop_at_most_ms"].as_u64().unwrap();
    Duration::from_millis(ms)
}

/// Starts so many jobs of an agent and waits until all of them run.
fn begin(place: &Place, agent: &str, count: usize) -> Vec<String> {
    let run = |n| {
        let key = format!("{agent}-{n}");
        place.ok(&["job", "add", "--key", &key, "--agent", agent, "--every", "1d"]);
        place.json(&["job", "run", &key])["id"].as_str().unwrap().to_owned()
    };
    let runs: Vec<String> = (0..count).map(run).collect();
    for run in &runs {
        until("the run to begin", || {
            (place.json(&["run", "show", run])["state"] == "running").then_some(())
        });
    }
    runs
}

/// The whole event log and all deliveries of a place whose daemon is gone.
fn books(place: &Place) -> (Vec<Event>, Vec<Delivery>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let path = place.data().join("sexton.db");
        let now = jiff::Timestamp::UNIX_EPOCH;
        let options = Options::new(path, Ids::new(now, 1).mint(), now);
        let driver = SqliteDriver::open(Options { access: Access::ReadOnly, ..options }).unwrap();
        let mut events: Vec<Event> = Vec::new();
        loop {
            let after = events.last().map_or(0, |event| event.seq);
            let page = driver.events(after, 500).await.unwrap();
            if page.is_empty() {
                break;
            }
            events.extend(page);
        }
        let (mut deliveries, mut after) = (Vec::new(), None);
        loop {
            let request = PageRequest { after, limit: MAX_PAGE };
            let page = driver.deliveries(DeliveryFilter::default(), request).await.unwrap();
            deliveries.extend(page.items);
            after = page.next;
            if after.is_none() {
                return (events, deliveries);
            }
        }
    })
}

/// P9: what the report of the last stop says is what the log says that happened while it drained.
fn the_report_adds_up(place: &Place) -> Value {
    let (events, deliveries) = books(place);
    let begin =
        events.iter().rposition(|event| event.fact.kind == EventType::NodeDraining).unwrap();
    let drained = &events[begin..];
    let stopped = drained.last().unwrap();
    assert_eq!(stopped.fact.kind, EventType::NodeStopped, "nothing happens after the report");
    let report = stopped.fact.data["drained"].clone();
    let ended = |outcome: fn(&Value) -> bool| {
        let of_run = drained.iter().filter(|event| event.fact.kind == EventType::RunEnded);
        of_run.filter(|event| outcome(&event.fact.data["outcome"])).count()
    };
    assert_eq!(report["runs"]["finished"], ended(|outcome| outcome != "interrupted"), "{report}");
    assert_eq!(
        report["runs"]["interrupted"],
        ended(|outcome| outcome == "interrupted"),
        "{report}"
    );
    let sessions = drained.iter().filter(|event| event.fact.kind == EventType::SessionEnded);
    assert_eq!(report["sessions_ended"], sessions.count(), "{report}");
    let delivered = |since| {
        let of = |it: &&Delivery| matches!(it.state, DeliveryState::Delivered { at } if (since..=stopped.fact.at).contains(&at));
        deliveries.iter().filter(of).count() as u64
    };
    // In the millisecond in which the drain began, either may have come first.
    let begun = drained[0].fact.at;
    let either = delivered(duration::Duration::from_millis(1).after(begun))..=delivered(begun);
    assert!(either.contains(&report["deliveries"]["delivered"].as_u64().unwrap()), "{report}");
    let pending = deliveries.iter().filter(|it| it.state.name() == "pending");
    assert_eq!(report["deliveries"]["pending"], pending.clone().count(), "{report}");
    let failed = pending.filter(|it| it.last_error.is_some()).count();
    assert_eq!(report["deliveries"]["failed"], failed, "{report}");
    let node = &place.json(&["node", "list"])["items"][0];
    assert_eq!(node["drained"], report, "the record says the same as the event");
    let took = report["took_ms"].as_u64().unwrap();
    assert!(took <= drained[0].fact.data["at_most_ms"].as_u64().unwrap(), "{report}");
    report
}

/// P3: what the hook that never answered was to be told is still there, and goes out with its true reason
/// once the hook answers.
fn the_mute_hook_hears_it_late(place: &Place, pending: &Value) {
    let heard = place.dir.path().join("heard");
    fs::create_dir(&heard).unwrap();
    let tells = format!("[\"sh\", \"-c\", \"cat > {}/$SEXTON_EVENT_ID\"]", heard.display());
    let config = fs::read_to_string(place.config()).unwrap();
    place.write(&config.replace(MUTE, &tells));
    let daemon = place.serve();
    until("all of it to be delivered", || {
        let status = &place.json(&["hook", "list"])["items"];
        let mute = status.as_array().unwrap().iter().find(|hook| hook["name"] == "mute")?;
        (mute["pending"] == 0).then_some(())
    });
    let read = |entry: std::io::Result<fs::DirEntry>| -> Value {
        serde_json::from_str(&fs::read_to_string(entry.unwrap().path()).unwrap()).unwrap()
    };
    let told: Vec<Value> = fs::read_dir(&heard).unwrap().map(read).collect();
    assert_eq!(*pending, told.len(), "all that was pending, each once");
    let of = |kind: &str| -> Vec<&Value> { told.iter().filter(|it| it["type"] == kind).collect() };
    assert_eq!(of("node.stopped").len(), 1);
    let (started, ended) = (of("session.started"), of("session.ended"));
    assert_eq!((started.len(), ended.len()), (20, 20));
    assert!(started.iter().chain(&ended).all(|it| it["late"] == true), "{told:?}");
    assert!(ended.iter().all(|it| it["data"]["reason"] == "shutdown"), "{ended:?}");
    assert!(daemon.stop().success());
}

/// P9: everything that can hang hangs, together, and the stop takes no longer than it says.
#[test]
#[cfg(target_os = "linux")]
fn a_hook_that_never_answers_deaf_agents_and_a_slow_disk_do_not_stretch_a_stop() {
    let place = Place::new(&config("runs = \"1s\"\nhooks = \"1s\""));
    let disk = SlowDisk::new(&place);
    let mut daemon = place.ready(place.spawn(&[], &disk.environment()));
    begin(&place, "deaf", 20);
    let sum = sum(&place);
    disk.slow();
    daemon.signal(Signal::SIGTERM);
    daemon.ends_within(sum);
    let report = the_report_adds_up(&place);
    let all = json!({ "finished": 0, "interrupted": 20, "unproven": 0 });
    assert_eq!(report["runs"], all, "{}", place.log());
    assert_eq!(report["sessions_ended"], 20);
    let pending = &report["deliveries"]["pending"];
    for run in place.json(&["run", "list", "--limit", "20"])["items"].as_array().unwrap() {
        assert_eq!((&run["outcome"], &run["reason"]), (&json!("interrupted"), &json!("shutdown")));
    }
    the_mute_hook_hears_it_late(&place, pending);
}

/// Running work gets its time, and what finishes in it has not been cut off.
#[test]
fn a_run_that_finishes_in_time_ends_well() {
    let place = Place::new(&config("runs = \"60s\""));
    let mut daemon = place.serve();
    let run = begin(&place, "waits", 1).remove(0);
    daemon.signal(Signal::SIGTERM);
    place.logged("\"draining\"", 0);
    let status = place.json(&["status"]);
    assert_eq!((&status["phase"], &status["drain"]["step"]), (&json!("draining"), &json!("runs")));
    let refused = place.run(&["job", "run", "waits-0"]);
    assert_eq!(refused.code, 6, "{refused:?}");
    // Told long before the drain gives deliveries their time.
    until("the begin of the drain to be delivered", || {
        let told = place.json(&["hook", "deliveries", "--hook", "takes", "--state", "delivered"]);
        told["items"].as_array().unwrap().iter().find(|it| it["event_type"] == "node.draining")?;
        Some(())
    });
    fs::write(place.data().join("go"), "").unwrap();
    daemon.ends_within(sum(&place));
    let shown = place.json(&["run", "show", &run]);
    assert_eq!((&shown["outcome"], &shown["output"]), (&json!("ok"), &json!("went")));
    let report = the_report_adds_up(&place);
    assert_eq!(report["runs"], json!({ "finished": 1, "interrupted": 0, "unproven": 0 }));
}

/// A second signal skips to cancelling, and a third one makes nothing worse.
#[test]
fn a_second_signal_cuts_off_what_the_first_one_waits_for() {
    let place = Place::new(&config("runs = \"1h\""));
    let mut daemon = place.serve();
    let run = begin(&place, "hang", 1).remove(0);
    daemon.signal(Signal::SIGUSR1);
    place.logged("\"draining\"", 0);
    assert_eq!(place.json(&["run", "show", &run])["state"], "running");
    daemon.signal(Signal::SIGTERM);
    place.logged("\"patience\":\"Cancel\"", 0);
    daemon.signal(Signal::SIGTERM);
    let sum = sum(&place) - Duration::from_secs(3600);
    daemon.ends_within(sum);
    let shown = place.json(&["run", "show", &run]);
    // The reason is the first one's.
    assert_eq!((&shown["outcome"], &shown["reason"]), (&json!("interrupted"), &json!("restart")));
    let report = the_report_adds_up(&place);
    assert_eq!(report["runs"], json!({ "finished": 0, "interrupted": 1, "unproven": 0 }));
    assert_eq!(place.json(&["node", "list"])["items"][0]["reason"], "restart");
}

/// The supervisor is told when it is ready, and on a stop how long that takes at most.
#[test]
fn the_supervisor_is_told_of_the_start_and_how_long_a_stop_takes_at_most() {
    let place = Place::new(&config("runs = \"60s\""));
    let supervisor = Supervisor::new(&place);
    let mut daemon = place.ready(place.spawn(&[], &[supervisor.environment()]));
    assert!(supervisor.hears().contains("READY=1"));
    begin(&place, "waits", 1);
    daemon.signal(Signal::SIGTERM);
    let told = supervisor.hears();
    assert!(told.lines().any(|line| line == "STOPPING=1"), "{told}");
    let micros = told.lines().find_map(|line| line.strip_prefix("EXTEND_TIMEOUT_USEC="));
    let at_most = Duration::from_micros(micros.unwrap().parse().unwrap());
    let sum = sum(&place);
    assert!(at_most >= sum, "{at_most:?} is less than {sum:?}");
    assert!(told.contains("STATUS=waiting for running runs"), "{told}");
    fs::write(place.data().join("go"), "").unwrap();
    daemon.ends_within(sum);
    let later = supervisor.heard();
    assert!(later.iter().any(|told| told.contains("STATUS=delivering")), "{later:?}");
}

/// A start can take long: a signal does not wait for it.
#[test]
#[cfg(target_os = "linux")]
fn a_signal_while_it_starts_is_obeyed_at_once() {
    let place = Place::new(&config("runs = \"1h\""));
    let disk = SlowDisk::new(&place);
    disk.slow();
    let supervisor = Supervisor::new(&place);
    let environment: Vec<_> =
        disk.environment().into_iter().chain([supervisor.environment()]).collect();
    let mut daemon = Daemon::starting(place.spawn(&[], &environment));
    until("its folder", || place.data().exists().then_some(()));
    daemon.signal(Signal::SIGTERM);
    // Nothing runs, so nothing is waited for.
    daemon.ends_within(sum(&place) - Duration::from_secs(3600));
    assert!(!place.log().contains("\"ready\""), "{}", place.log());
    assert!(!place.data().join("address").exists());
    let told = supervisor.heard();
    assert!(told.iter().any(|told| told.contains("STOPPING=1")), "{told:?}");
    assert!(!told.iter().any(|told| told.contains("READY=1")), "{told:?}");
    let daemon = place.serve();
    assert_eq!(place.json(&["status"])["phase"], "ready");
    assert!(daemon.stop().success());
}

#[test]
fn the_commands_wait_until_it_is_gone_and_say_what_that_came_to() {
    for (command, reason) in [("stop", "shutdown"), ("restart", "restart")] {
        let place = Place::new(&config("runs = \"1h\""));
        let mut daemon = place.serve();
        begin(&place, "hang", 2);
        let said = place.ok(&[command, "--now"]);
        assert!(said.starts_with("stopped after"), "{said}");
        assert!(said.contains("0 runs finished, 2 interrupted, 2 sessions ended"), "{said}");
        assert!(daemon.wait().success());
        let node = &place.json(&["node", "list"])["items"][0];
        assert_eq!(
            (&node["reason"], &node["drained"]["sessions_ended"]),
            (&json!(reason), &json!(2))
        );
        assert!(place.ok(&["node", "list"]).contains(reason));
        the_report_adds_up(&place);
    }
}

/// `drain` is patient: until the runs have ended, whatever `[drain] runs` says.
#[test]
fn a_drain_lets_running_runs_finish_and_a_stop_after_it_does_not() {
    let place = Place::new(&config("runs = \"100ms\""));
    let mut daemon = place.serve();
    begin(&place, "waits", 1);
    let said = place.ok(&["drain", "--no-wait"]);
    assert!(said.starts_with("waiting for running runs"), "{said}");
    place.logged("\"draining\"", 0);
    assert_eq!(place.json(&["status"])["phase"], "draining");
    fs::write(place.data().join("go"), "").unwrap();
    daemon.ends_within(sum(&place));
    assert_eq!(the_report_adds_up(&place)["runs"]["finished"], 1);

    fs::remove_file(place.data().join("go")).unwrap();
    let mut daemon = place.serve();
    let run = place.json(&["job", "run", "waits-0"])["id"].as_str().unwrap().to_owned();
    until("the run to begin", || {
        (place.json(&["run", "show", &run])["state"] == "running").then_some(())
    });
    place.ok(&["drain", "--no-wait"]);
    place.ok(&["stop"]);
    daemon.ends_within(sum(&place));
    assert_eq!(the_report_adds_up(&place)["runs"]["interrupted"], 1);
}

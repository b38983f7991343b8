//! The daemon: its start, its reloads, its ends.

use std::fs;

use crate::support::{CONFIG, Ended, Place, until};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

fn with_job(key: &str, schedule: &str) -> String {
    format!("{CONFIG}\n[jobs.{key}]\nagent = \"echo\"\n{schedule}\nprompt = \"hello\"\n")
}

fn keys(place: &Place) -> Vec<String> {
    let jobs = place.json(&["job", "list"]);
    let mut keys: Vec<String> = jobs["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|job| job["key"].as_str().unwrap().to_owned())
        .collect();
    keys.sort();
    keys
}

#[test]
fn a_first_start_makes_a_private_folder_with_a_private_token() {
    let place = Place::new(CONFIG);
    let daemon = place.serve();
    assert_eq!(crate::support::mode(&place.data()), 0o700);
    for file in ["token", "sexton.db", "address"] {
        assert_eq!(crate::support::mode(&place.data().join(file)), 0o600, "{file}");
    }
    let token = fs::read_to_string(place.data().join("token")).unwrap();
    assert_eq!(token.trim().len(), 64);
    let address = fs::read_to_string(place.data().join("address")).unwrap();
    assert_eq!(address.trim(), daemon.url);
    assert!(daemon.stop().success());
    assert!(!place.data().join("address").exists());
    let again = place.serve();
    assert_eq!(fs::read_to_string(place.data().join("token")).unwrap(), token);
    drop(again);
}

#[test]
fn a_wrong_or_missing_token_is_refused() {
    let place = Place::new(CONFIG);
    let daemon = place.serve();
    let wrong = place.run(&["status", "--token", "wrong"]);
    assert_eq!(wrong.code, 4, "{wrong:?}");
    assert!(wrong.err.contains("token is wrong") && wrong.err.contains("hint: "), "{wrong:?}");
    let elsewhere = place.run(&["status", "--data-dir", "elsewhere", "--url", &daemon.url]);
    assert_eq!(elsewhere.code, 4, "{elsewhere:?}");
    assert!(elsewhere.err.contains("there is no token"), "{elsewhere:?}");
}

#[test]
fn a_held_store_names_its_holder() {
    let place = Place::new(CONFIG);
    let daemon = place.serve();
    let second = place.run(&["serve"]);
    assert_eq!(second.code, 4, "{second:?}");
    assert!(second.err.contains("holds it since"), "{second:?}");
    assert!(second.err.contains("hint: stop that one first"), "{second:?}");
    assert!(place.data().join("address").exists(), "the holder's address is still there");
    assert!(place.ok(&["status"]).contains("ready"));
    drop(daemon);
}

#[test]
fn an_address_in_use_is_refused() {
    let place = Place::new(CONFIG);
    let daemon = place.serve();
    let address = daemon.url.trim_start_matches("http://");
    let other = Place::new(&CONFIG.replace("127.0.0.1:0", address));
    let second = other.run(&["serve"]);
    assert_eq!(second.code, 4, "{second:?}");
    assert!(second.err.contains(&format!("failed to listen on {address}")), "{second:?}");
}

#[test]
fn a_wrong_config_is_no_start() {
    let place = Place::new("[servr]\n");
    let ended = place.run(&["serve"]);
    assert_eq!(ended.code, 2);
    assert!(ended.err.contains("did you mean `server`?"), "{ended:?}");
    assert!(!place.data().exists(), "nothing was made");
}

#[test]
fn a_store_of_another_program_is_left_alone() {
    let place = Place::new(CONFIG);
    fs::create_dir(place.data()).unwrap();
    let text = "this is no database, and long enough to be one, as far as its first page goes";
    fs::write(place.data().join("sexton.db"), text).unwrap();
    let ended = place.run(&["serve"]);
    assert_eq!(ended.code, 4, "{ended:?}");
    assert!(ended.err.contains("not a SQLite database"), "{ended:?}");
    assert_eq!(fs::read_to_string(place.data().join("sexton.db")).unwrap(), text);
}

/// P2, P4: what a crash leaves behind is ended by the next start, and nothing else is lost.
#[test]
fn a_daemon_that_was_killed_starts_again_and_ends_what_it_left() {
    let place = Place::new(CONFIG);
    let daemon = place.serve();
    place.ok(&["job", "add", "--key", "long", "--agent", "hang", "--every", "1d", "--prompt", "x"]);
    let run = place.json(&["job", "run", "long"]);
    let run = run["id"].as_str().unwrap().to_owned();
    until("the run to begin", || {
        let shown = place.json(&["run", "show", &run]);
        (shown["state"] == "running").then_some(())
    });
    daemon.kill();

    let offline = place.run(&["status"]);
    assert_eq!(offline.code, 0, "{offline:?}");
    assert!(offline.out.contains("without a live owner") || offline.out.contains("1 running"));

    let daemon = place.serve();
    let shown = place.json(&["run", "show", &run]);
    assert_eq!(shown["outcome"], "interrupted");
    assert_eq!(shown["reason"], "crash");
    let session = place.json(&["session", "show", shown["session_id"].as_str().unwrap()]);
    assert_eq!(session["reason"], "interrupted");
    let status = place.json(&["status"]);
    assert_eq!(status["ownerless"], 0);
    let left = json!({ "runs": 1, "retried": 0, "sessions": 1 });
    assert_eq!(
        (&status["before"]["reason"], &status["before"]["left_behind"]),
        (&json!("crash"), &left)
    );
    let told = "left behind 1 run (0 tried again) and 1 session, ended since";
    let screen = place.ok(&["status"]);
    assert!(screen.contains("crash") && screen.contains(told), "{screen}");
    assert!(place.run(&["node", "list"]).err.contains(told));
    assert!(daemon.stop().success());
    let offline = place.json(&["status"]);
    assert_eq!(offline["before"]["left_behind"], left);
}

#[test]
fn a_stop_ends_the_runs_and_a_restart_says_that_it_is_one() {
    let signals =
        [(Signal::SIGTERM, "shutdown"), (Signal::SIGINT, "shutdown"), (Signal::SIGUSR1, "restart")];
    for (signal, reason) in signals {
        let place = Place::new(&format!("{CONFIG}\n[drain]\nruns = \"100ms\"\n"));
        let mut daemon = place.serve();
        place.ok(&["job", "add", "--key", "long", "--agent", "hang", "--every", "1d"]);
        let run = place.json(&["job", "run", "long"])["id"].as_str().unwrap().to_owned();
        until("the run to begin", || {
            (place.json(&["run", "show", &run])["state"] == "running").then_some(())
        });
        daemon.signal(signal);
        assert!(daemon.wait().success());
        let shown = place.json(&["run", "show", &run]);
        assert_eq!((&shown["outcome"], &shown["reason"]), (&"interrupted".into(), &reason.into()));
        let session = place.json(&["session", "show", shown["session_id"].as_str().unwrap()]);
        assert_eq!(session["reason"], reason);
    }
}

#[test]
fn the_stop_command_returns_when_the_daemon_has_stopped() {
    let place = Place::new(CONFIG);
    let mut daemon = place.serve();
    assert!(place.ok(&["stop"]).contains("stopped after"));
    assert!(daemon.wait().success());
    let again = place.run(&["stop"]);
    assert_eq!(again.code, 5, "{again:?}");
}

/// A command for one store was carried out on another: its config said where that one's daemon listens.
#[test]
fn a_command_for_a_data_folder_without_a_daemon_asks_no_other_daemon() {
    let place = Place::new(&with_job("one", "every = \"1h\""));
    let daemon = place.serve();
    let address = fs::read_to_string(place.data().join("address")).unwrap();
    let listen = address.trim().strip_prefix("http://").unwrap();
    let other = Place::new(&CONFIG.replace("127.0.0.1:0", listen));
    let token = fs::read_to_string(place.data().join("token")).unwrap();
    let suspend = ["job", "disable", "one"];
    let refused = other.command(&suspend).env("SEXTON_TOKEN", token.trim()).output().unwrap();
    let refused = Ended::from(refused);
    assert_eq!(refused.code, 5, "{refused:?}");
    let data = other.data();
    assert!(refused.err.contains(&format!("no daemon runs on {}", data.display())), "{refused:?}");
    assert!(place.json(&["job", "show", "one"])["suspension"].is_null());
    assert!(daemon.stop().success());
}

#[test]
fn a_reload_adds_changes_and_removes_the_jobs_of_the_file_and_no_others() {
    let place = Place::new(&with_job("one", "every = \"1h\""));
    let daemon = place.serve();
    place.ok(&["job", "add", "--key", "mine", "--agent", "echo", "--every", "1h"]);
    assert_eq!(keys(&place), ["mine", "one"]);
    let before = place.json(&["job", "show", "one"]);
    assert_eq!(before["source"], "config");

    place.write(&with_job("two", "cron = \"0 7 * * *\"\ntz = \"Europe/Berlin\""));
    daemon.signal(Signal::SIGHUP);
    place.logged("config reloaded", 0);
    assert_eq!(keys(&place), ["mine", "two"]);

    place.write(&with_job("three", "cron = \"0 8 * * *\"\nrenamed_from = \"two\""));
    let two = place.json(&["job", "show", "two"]);
    daemon.signal(Signal::SIGHUP);
    place.logged("config reloaded", 1);
    assert_eq!(keys(&place), ["mine", "three"]);
    let three = place.json(&["job", "show", "three"]);
    assert_eq!(three["id"], two["id"]);
    assert_eq!(three["schedule"], "0 8 * * * UTC");
}

/// A grid of a file begins when the job is first declared, and stays.
#[test]
fn a_reload_and_a_restart_that_change_nothing_change_nothing() {
    let place = Place::new(&with_job("one", "every = \"1h\""));
    let daemon = place.serve();
    let before = place.json(&["job", "show", "one"]);
    daemon.signal(Signal::SIGHUP);
    place.logged("config reloaded", 0);
    assert_eq!(place.json(&["job", "show", "one"]), before);
    assert!(daemon.stop().success());
    let daemon = place.serve();
    assert_eq!(place.json(&["job", "show", "one"]), before);
    drop(daemon);
}

#[test]
fn a_wrong_config_changes_nothing_at_a_reload() {
    let place = Place::new(&with_job("one", "every = \"1h\""));
    let daemon = place.serve();
    place.write(&with_job("two", "every = \"1x\""));
    daemon.signal(Signal::SIGHUP);
    place.logged("everything stays as it was", 0);
    assert_eq!(keys(&place), ["one"]);
    assert!(place.log().contains("unknown unit"), "{}", place.log());
}

#[test]
fn a_reload_that_would_remove_every_job_is_refused_unless_it_is_allowed() {
    let place = Place::new(&with_job("one", "every = \"1h\""));
    let daemon = place.serve();
    place.write(CONFIG);
    daemon.signal(Signal::SIGHUP);
    place.logged("--allow-empty", 0);
    assert_eq!(keys(&place), ["one"]);
    assert!(daemon.stop().success());

    let refused = place.run(&["serve"]);
    assert_eq!(refused.code, 4, "{refused:?}");
    assert!(refused.err.contains("--allow-empty"), "{refused:?}");

    let daemon = place.serve_with(&["--allow-empty"]);
    assert_eq!(keys(&place), Vec::<String>::new());
    drop(daemon);
}

#[test]
fn a_reload_does_not_take_over_jobs_of_others() {
    let place = Place::new(CONFIG);
    let daemon = place.serve();
    place.ok(&["job", "add", "--key", "one", "--agent", "echo", "--every", "1h"]);
    place.write(&with_job("one", "every = \"2h\""));
    daemon.signal(Signal::SIGHUP);
    place.logged("belongs to api", 0);
    assert!(place.log().contains("sexton job rm one"), "{}", place.log());
    let job = place.json(&["job", "show", "one"]);
    assert_eq!((&job["source"], &job["spec"]["every"]), (&"api".into(), &"1h".into()));
}

#[test]
fn a_job_of_the_file_is_not_edited_by_command_but_can_be_suspended() {
    let place = Place::new(&with_job("one", "every = \"1h\""));
    let daemon = place.serve();
    for args in [&["job", "edit", "one", "--every", "2h"][..], &["job", "rm", "one"]] {
        let refused = place.run(args);
        assert_eq!(refused.code, 4, "{refused:?}");
        assert!(refused.err.contains("declared in the config"), "{refused:?}");
    }
    assert!(place.ok(&["job", "disable", "one"]).contains("suspended"));
    daemon.signal(Signal::SIGHUP);
    place.logged("config reloaded", 0);
    assert_eq!(place.json(&["job", "show", "one"])["suspension"]["by"], "operator");
    assert!(place.ok(&["job", "enable", "one"]).contains("active"));
}

#[test]
fn a_reload_names_what_needs_a_restart_and_takes_over_the_rest() {
    let place = Place::new(&with_job("one", "every = \"1h\""));
    let daemon = place.serve();
    let config = with_job("one", "every = \"3h\"").replace("127.0.0.1:0", "127.0.0.1:1");
    place.write(&format!("{config}\n[lease]\nlength = \"30s\"\n"));
    daemon.signal(Signal::SIGHUP);
    place.logged("need a restart: server, lease", 0);
    assert_eq!(place.json(&["job", "show", "one"])["spec"]["every"], "3h");
    assert_eq!(place.json(&["status"])["phase"], "ready");
}

#[test]
fn logs_are_lines_of_json_when_nobody_looks() {
    let place = Place::new(CONFIG);
    let daemon = place.serve();
    assert!(daemon.stop().success());
    let log = place.log();
    assert!(!log.is_empty());
    for line in log.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        assert!(line["message"].is_string() && line["level"].is_string(), "{line}");
    }
    let token = fs::read_to_string(place.data().join("token")).unwrap();
    assert!(!log.contains(token.trim()));
}

//! The commands: what they print, in which form, and how they end.

use std::io::Write as _;
use std::process::Stdio;

use crate::support::{CONFIG, Ended, Place, until};
use serde_json::{Value, json};

const ADD: [&str; 8] = ["job", "add", "--key", "daily", "--agent", "echo", "--prompt", "one\ntwo"];

fn add<'a>(more: &[&'a str]) -> Vec<&'a str> {
    ADD.into_iter().chain(more.iter().copied()).collect()
}

#[test]
fn a_job_is_added_run_and_its_answer_read() {
    let place = Place::new(CONFIG);
    let _daemon = place.serve();
    let said = place.ok(&add(&["--cron", "0 7 * * *", "--tz", "Europe/Berlin"]));
    assert!(said.starts_with("job daily has revision 1\nnext at "), "{said}");

    let ran = place.run(&["job", "run", "daily", "--wait"]);
    assert_eq!((ran.code, ran.out.as_str()), (0, "one\ntwo\n"), "{ran:?}");
    assert!(ran.err.contains("ended ok"), "{ran:?}");

    let runs = place.json(&["run", "list", "--job", "daily"]);
    assert_eq!(runs["next"], Value::Null);
    let run = &runs["items"][0];
    assert_eq!((&run["outcome"], &run["cause"]), (&json!("ok"), &json!("manual")));
    let id = run["session_id"].as_str().unwrap();

    assert_eq!(place.ok(&["session", "transcript", id]), "> one\n> two\none\ntwo\n");
    assert_eq!(place.ok(&["session", "transcript", id, "--follow", "--after", "2"]), "two\n");
    let lines = place.ok(&["session", "transcript", id, "--json"]);
    let entries: Vec<Value> =
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let seqs: Vec<u64> = entries.iter().map(|entry| entry["seq"].as_u64().unwrap()).collect();
    assert_eq!(seqs, [1, 2, 3]);
    assert_eq!(entries[0]["role"], "user");

    let shown = place.ok(&["run", "show", run["id"].as_str().unwrap()]);
    assert!(shown.contains("\ntimeline\n") && shown.contains("it ended ok"), "{shown}");
    assert!(shown.contains("\noutput\none\ntwo\n"), "{shown}");
}

#[test]
fn sessions_of_runs_are_hidden_unless_asked_for() {
    let place = Place::new(CONFIG);
    let _daemon = place.serve();
    place.ok(&add(&["--every", "1d"]));
    place.ok(&["job", "run", "daily", "--wait"]);
    assert_eq!(place.json(&["session", "list"])["items"], json!([]));
    assert!(place.ok(&["session", "list"]).contains("--kind run"));
    for kind in ["run", "all"] {
        let sessions = place.json(&["session", "list", "--kind", kind]);
        assert_eq!(sessions["items"][0]["reason"], "completed", "{kind}");
    }
    let sessions = place.json(&["session", "list", "--kind", "run", "--open"]);
    assert_eq!(sessions["items"], json!([]));
    let shown = place.ok(&["session", "list", "--kind", "run"]);
    assert!(shown.contains("completed") && shown.starts_with("SESSION"), "{shown}");
}

#[test]
fn a_run_that_fails_is_a_no_under_wait() {
    let place = Place::new(CONFIG);
    let _daemon = place.serve();
    place.ok(&["job", "add", "--key", "bad", "--agent", "fail", "--every", "1d"]);
    let ran = place.run(&["job", "run", "bad", "--wait"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.err.contains("ended failed (exit)"), "{ran:?}");
    let ran = place.run(&["job", "run", "bad", "--wait", "--json"]);
    assert_eq!((ran.code, &ran.document()["outcome"]), (1, &json!("failed")));
    assert_eq!(ran.document()["stderr"], "oh no");
}

/// A wait that nobody will ever answer is no wait.
#[test]
fn a_wait_ends_when_the_daemon_dies() {
    let place = Place::new(CONFIG);
    let daemon = place.serve();
    place.ok(&["job", "add", "--key", "long", "--agent", "hang", "--every", "1d"]);
    let wait = place
        .command(&["job", "run", "long", "--wait"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    until("the run to begin", || {
        let runs = place.json(&["run", "list", "--state", "running"]);
        (runs["items"].as_array().unwrap().len() == 1).then_some(())
    });
    daemon.kill();
    let ended = Ended::from(wait.wait_with_output().unwrap());
    assert_eq!(ended.code, 5, "{ended:?}");
    assert!(ended.err.contains("went away while run"), "{ended:?}");
}

#[test]
fn a_run_is_cancelled_and_a_second_time_refused() {
    let place = Place::new(CONFIG);
    let _daemon = place.serve();
    place.ok(&["job", "add", "--key", "long", "--agent", "hang", "--every", "1d"]);
    let id = place.json(&["job", "run", "long"])["id"].as_str().unwrap().to_owned();
    until("the run to begin", || {
        (place.json(&["run", "show", &id])["state"] == "running").then_some(())
    });
    let overlap = place.run(&["job", "run", "long"]);
    assert_eq!(overlap.code, 4, "{overlap:?}");
    assert!(place.ok(&["status"]).contains("running, the oldest first"));
    place.ok(&["run", "cancel", &id]);
    until("the run to end", || {
        (place.json(&["run", "show", &id])["outcome"] == "cancelled").then_some(())
    });
    let again = place.run(&["run", "cancel", &id]);
    assert_eq!(again.code, 4, "{again:?}");
}

#[test]
fn a_transcript_is_followed_to_the_end_of_its_session() {
    let config = CONFIG.replace("echo begun; exec sleep 600", "echo begun; cat $PIPE; echo over");
    let pipe = std::env::temp_dir().join(format!("sexton-follow-{}", std::process::id()));
    let _ = std::fs::remove_file(&pipe);
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let env = format!("grace = \"1s\"\nenv = {{ PIPE = {:?} }}\n", pipe.display().to_string());
    let at = config.rfind("grace = \"1s\"").unwrap();
    let place = Place::new(&format!("{}{env}", &config[..at]));
    let _daemon = place.serve();
    place.ok(&["job", "add", "--key", "long", "--agent", "hang", "--every", "1d"]);
    let id = place.json(&["job", "run", "long"])["id"].as_str().unwrap().to_owned();
    let session = until("the session", || {
        place.json(&["run", "show", &id])["session_id"].as_str().map(str::to_owned)
    });
    let follow = place
        .command(&["session", "transcript", &session, "--follow"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    std::fs::write(&pipe, "middle\n").unwrap();
    let ended = Ended::from(follow.wait_with_output().unwrap());
    let _ = std::fs::remove_file(&pipe);
    assert_eq!((ended.code, ended.err.as_str()), (0, ""));
    assert!(ended.out.ends_with("begun\nmiddle\nover\n"), "{ended:?}");
}

#[test]
fn adding_the_same_twice_changes_nothing() {
    let place = Place::new(CONFIG);
    let _daemon = place.serve();
    let first = place.json(&add(&["--every", "90m", "--retries", "2", "--backoff", "10s,1m"]));
    let second = place.json(&add(&["--every", "90m", "--retries", "2", "--backoff", "10s,1m"]));
    assert_eq!(first, second);
    let third = place.json(&add(&["--every", "2h"]));
    assert_eq!((&third["id"], &third["revision"]), (&first["id"], &json!(2)));
}

#[test]
fn a_dry_run_says_what_would_happen_and_does_nothing() {
    let place = Place::new(CONFIG);
    let _daemon = place.serve();
    let said = place.ok(&add(&["--cron", "0 7 * * *", "--dry-run"]));
    assert!(said.starts_with("job daily would be added: 0 7 * * * UTC\n"), "{said}");
    assert!(said.contains("SLOT"), "{said}");
    let document = place.json(&add(&["--cron", "0 7 * * *", "--dry-run"]));
    assert_eq!(document["placed"], "added");
    assert_eq!(place.json(&["job", "list"])["items"], json!([]));
}

#[test]
fn an_edit_changes_what_is_named_and_nothing_else() {
    let place = Place::new(CONFIG);
    let _daemon = place.serve();
    place.ok(&add(&["--every", "1h", "--timeout", "5m", "--keep-last", "3"]));
    place.ok(&["job", "edit", "daily", "--cron", "0 7 * * *", "--unset", "keep-last"]);
    let job = place.json(&["job", "show", "daily"]);
    let spec = &job["spec"];
    assert_eq!((&spec["cron"], &spec["timeout"]), (&json!("0 7 * * *"), &json!("5m")));
    assert_eq!((spec.get("every"), spec.get("keep_last")), (None, None));
    let stale = place.run(&["job", "edit", "daily", "--name", "x", "--revision", "1"]);
    assert_eq!(stale.code, 4, "{stale:?}");
    let nothing = place.run(&["job", "edit", "daily"]);
    assert_eq!(nothing.code, 2, "{nothing:?}");
    let shown = place.ok(&["job", "show", "daily"]);
    assert!(shown.contains("0 7 * * * UTC") && shown.ends_with("\none\ntwo\n"), "{shown}");
}

#[test]
fn slots_are_explained() {
    let place = Place::new(CONFIG);
    let _daemon = place.serve();
    place.ok(&add(&[
        "--cron",
        "30 2 * * *",
        "--tz",
        "Europe/Berlin",
        "--jitter",
        "5m",
        "--offset",
        "1m",
    ]));
    let said = place.ok(&["job", "next", "daily", "--count", "3", "--explain"]);
    assert!(said.contains("Europe/Berlin") && said.contains("by jitter"), "{said}");
    assert!(said.contains("1m later by offset"), "{said}");
    let slots = place.json(&["job", "next", "daily", "--count", "3"]);
    assert_eq!(slots["items"].as_array().unwrap().len(), 3);
}

#[test]
fn a_prompt_comes_from_stdin_or_from_a_file() {
    let place = Place::new(CONFIG);
    let _daemon = place.serve();
    let base = ["job", "add", "--key", "p", "--agent", "echo", "--every", "1d", "--prompt"];
    let mut child = place
        .command(&[&base[..], &["-"]].concat())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"from stdin").unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(place.json(&["job", "show", "p"])["spec"]["prompt"], "from stdin");
    std::fs::write(place.dir.path().join("p.md"), "from a file").unwrap();
    place.ok(&[&base[..], &["@p.md"]].concat());
    assert_eq!(place.json(&["job", "show", "p"])["spec"]["prompt"], "from a file");
    let missing = place.run(&[&base[..], &["@nowhere"]].concat());
    assert_eq!(missing.code, 2);
    assert!(missing.err.contains("nowhere"), "{missing:?}");
}

#[test]
fn every_way_to_fail_has_its_exit_code() {
    let place = Place::new(CONFIG);
    let nowhere = "http://127.0.0.1:1";
    let code = |args: &[&str]| {
        let ended = place.run(args);
        assert!(!ended.err.contains("bug"), "{ended:?}");
        ended.code
    };
    assert_eq!(code(&["explode"]), 2);
    assert_eq!(code(&["status"]), 5, "no daemon and no store");
    assert_eq!(code(&["status", "--url", nowhere]), 5);
    assert_eq!(code(&["status", "--url", "gopher://x"]), 2);
    let daemon = place.serve();
    let unknown = "01890a5d-ac96-774b-bcce-b302099a8057";
    assert_eq!(code(&["job", "show", "nothing"]), 3);
    assert_eq!(code(&["run", "show", unknown]), 3);
    assert_eq!(code(&["session", "show", unknown]), 3);
    assert_eq!(code(&["session", "transcript", unknown]), 3);
    assert_eq!(code(&["run", "show", "x y"]), 2);
    assert_eq!(code(&["run", "list", "--since", "yesterday"]), 2);
    assert_eq!(code(&["run", "list", "--cursor", "garbage"]), 2);
    assert_eq!(code(&add(&["--every", "5x"])), 2);
    assert_eq!(code(&add(&["--every", "5m", "--cron", "0 7 * * *"])), 2);
    assert_eq!(code(&add(&["--every", "5m", "--timeout", "false"])), 2);
    assert_eq!(code(&add(&["--at", "2020-01-01T00:00:00Z"])), 2);
    assert_eq!(code(&["job", "add", "--key", "x", "--agent", "nobody", "--every", "1h"]), 2);
    assert_eq!(code(&["job", "add", "--key", "x y", "--agent", "echo", "--every", "1h"]), 2);
    drop(daemon);
    assert_eq!(code(&add(&["--every", "5m"])), 5, "writing needs the daemon");
    assert_eq!(code(&["job", "show", "nothing"]), 3, "reading does not");
}

#[test]
fn without_a_daemon_the_store_is_read_directly() {
    let place = Place::new(CONFIG);
    let daemon = place.serve();
    place.ok(&add(&["--every", "1d"]));
    place.ok(&["job", "run", "daily", "--wait"]);
    let online = place.json(&["run", "list"]);
    assert!(daemon.stop().success());

    let offline = place.run(&["run", "list", "--json"]);
    assert_eq!(offline.code, 0, "{offline:?}");
    assert!(offline.err.contains("note: the daemon is not running; reading "), "{offline:?}");
    assert_eq!(offline.document(), online);
    let status = place.run(&["status", "-q"]);
    assert!(status.out.contains("offline") && status.err.is_empty(), "{status:?}");
    let session = online["items"][0]["session_id"].as_str().unwrap();
    let read = place.ok(&["session", "transcript", session, "--follow"]);
    assert_eq!(read, "> one\n> two\none\ntwo\n");

    let refused = place.run(&["job", "run", "daily"]);
    assert_eq!(refused.code, 5, "{refused:?}");
    assert!(refused.err.contains("hint: start it with `sexton serve`"), "{refused:?}");
}

#[test]
fn lists_are_paged() {
    let place = Place::new(CONFIG);
    let _daemon = place.serve();
    for key in ["a", "b", "c"] {
        place.ok(&["job", "add", "--key", key, "--agent", "echo", "--every", "1d"]);
    }
    let first = place.json(&["job", "list", "--limit", "2"]);
    assert_eq!(first["items"].as_array().unwrap().len(), 2);
    let cursor = first["next"].as_str().unwrap();
    let second = place.json(&["job", "list", "--limit", "2", "--cursor", cursor]);
    assert_eq!((&second["items"][0]["key"], &second["next"]), (&json!("a"), &Value::Null));
    let table = place.run(&["job", "list", "--limit", "2"]);
    assert!(table.err.contains("there is more: --cursor "), "{table:?}");
}

#[test]
fn colors_are_for_terminals_unless_asked_for() {
    let place = Place::new(CONFIG);
    let _daemon = place.serve();
    place.ok(&add(&["--every", "1d"]));
    assert!(!place.ok(&["job", "list"]).contains('\u{1b}'));
    assert!(place.ok(&["job", "list", "--color", "always"]).contains('\u{1b}'));
}

#[test]
fn a_job_is_removed_and_can_still_be_looked_up() {
    let place = Place::new(CONFIG);
    let _daemon = place.serve();
    let job = place.json(&add(&["--every", "1d", "--disabled"]));
    assert_eq!(job["active"], false);
    place.ok(&["job", "rm", "daily"]);
    assert_eq!(place.run(&["job", "show", "daily"]).code, 3);
    let removed = place.json(&["job", "show", job["id"].as_str().unwrap()]);
    assert!(removed["removed_at"].is_string());
    assert_eq!(place.json(&["job", "list", "--removed"])["items"][0]["key"], "daily");
}

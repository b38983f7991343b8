//! Webhooks and the commands about hooks: a real daemon, a real HTTP server.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::receiver::{Receiver, status};
use crate::support::{CONFIG, PATIENCE, Place, until};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

fn config(hook: &str) -> String {
    format!(
        "{CONFIG}\n[jobs.j]\nagent = \"echo\"\nevery = \"100d\"\nprompt = \"hello\"\n\n{hook}\n"
    )
}

fn webhook(url: &str, more: &str) -> String {
    config(&format!(
        "[hooks.h]\non = [\"session.started\", \"session.ended\"]\nurl = \"{url}/in?token=t0ps3cret\"\n\
         backoff = [\"10ms\"]\n{more}"
    ))
}

fn deliveries(place: &Place) -> Vec<Value> {
    place.json(&["hook", "deliveries"])["items"].as_array().unwrap().clone()
}

/// Waits until so many deliveries are in a state, and returns them.
fn wait_for(place: &Place, state: &str, count: usize) -> Vec<Value> {
    until(&format!("{count} deliveries that are {state}"), || {
        let all = deliveries(place);
        (all.iter().filter(|it| it["state"] == state).count() == count).then_some(all)
    })
}

/// The published library in another language, as `cargo xtask peers` installs it.
fn python() -> PathBuf {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    let python = root.join("target/peers/standardwebhooks/bin/python");
    assert!(python.exists(), "{} is missing: run `cargo xtask peers`", python.display());
    python
}

/// P3, interface §6: what is sent verifies with the library that receivers use, and what was changed
/// on the way does not.
#[test]
fn signatures_verify_with_the_published_library_of_another_language() {
    let receiver = Receiver::new(|_, _| status("204 No Content"));
    let place = Place::new("");
    fs::create_dir_all(place.data()).unwrap();
    fs::write(place.data().join("secret"), format!("{SECRET}\n")).unwrap();
    place.write(&webhook(&receiver.url, "secret_file = \"secret\""));
    let daemon = place.serve();
    place.ok(&["job", "run", "j", "--wait"]);
    wait_for(&place, "delivered", 2);
    let heard = receiver.heard();
    let requests: Vec<Value> = heard.iter().map(|request| request.document()).collect();
    let script = "
import json, sys
from standardwebhooks import Webhook, WebhookVerificationError
webhook = Webhook(sys.argv[1])
requests = json.load(sys.stdin)
for request in requests:
    print(webhook.verify(request['body'], request['headers'])['type'])
try:
    webhook.verify(requests[0]['body'].replace('hello', 'hallo') + ' ', requests[0]['headers'])
except WebhookVerificationError:
    print('refused')
";
    let mut verifier = Command::new(python())
        .args(["-c", script, SECRET])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let input = serde_json::to_vec(&requests).unwrap();
    verifier.stdin.take().unwrap().write_all(&input).unwrap();
    let said = verifier.wait_with_output().unwrap();
    assert_eq!(
        String::from_utf8(said.stdout).unwrap(),
        "session.started\nsession.ended\nrefused\n"
    );
    let ids: Vec<&str> = heard.iter().map(|request| request.header("webhook-id")).collect();
    let mut known: Vec<Value> = deliveries(&place).iter().map(|it| it["id"].clone()).collect();
    known.reverse();
    assert_eq!(json!(ids), json!(known), "the idempotency key is the delivery's id");
    assert_eq!(heard[0].header("content-type"), "application/json");
    // The secret is nowhere to be seen.
    for shown in
        [place.ok(&["config", "show"]), place.log(), place.json(&["hook", "list"]).to_string()]
    {
        assert!(!shown.contains(SECRET) && !shown.contains("MfKQ9r8"), "{shown}");
    }
    assert!(!place.json(&["hook", "list"]).to_string().contains("t0ps3cret"));
    drop(daemon);
}

/// P10: whatever else it answers is a failure that is tried again; redirects are not followed.
#[test]
fn redirects_garbage_and_errors_are_failures_and_are_tried_again() {
    let receiver = Receiver::new(|nth, _| {
        match nth {
        0 => {
            let away = "location: /elsewhere\r\ncontent-length: 0\r\nconnection: close";
            format!("HTTP/1.1 307 Temporary Redirect\r\n{away}\r\n\r\n")
        }
        1 => "\u{1}\u{2} this is no HTTP at all".to_owned(),
        2 => "HTTP/1.1 500 Internal Server Error\r\ncontent-length: 9\r\nconnection: close\r\n\r\nno\nroom\n\u{7}"
            .to_owned(),
        3 => String::new(),
        _ => status("200 OK"),
    }
    });
    let place = Place::new(&webhook(&receiver.url, ""));
    let daemon = place.serve();
    place.ok(&["job", "run", "j", "--wait"]);
    let all = wait_for(&place, "delivered", 2);
    let heard = receiver.heard();
    assert!(heard.iter().all(|request| request.path.starts_with("/in")), "{heard:?}");
    assert_eq!(heard.len(), 6, "{heard:?}");
    assert!(
        heard[..5]
            .iter()
            .all(|request| request.header("webhook-id") == heard[0].header("webhook-id"))
    );
    assert_eq!((&all[1]["attempts"], &all[1]["last_error"]), (&json!(5), &Value::Null));
    assert_eq!(heard[0].header("webhook-signature"), "", "without a secret there is no signature");
    drop(daemon);
}

#[test]
fn what_went_wrong_is_kept_in_words() {
    let receiver = Receiver::new(|_, _| {
        "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 9\r\nconnection: close\r\n\r\nno\nroom\n\u{7}".to_owned()
    });
    let place = Place::new(&webhook(&receiver.url, "max_attempts = 1"));
    let daemon = place.serve();
    place.ok(&["job", "run", "j", "--wait"]);
    let all = wait_for(&place, "dead", 2);
    assert_eq!(all[0]["last_error"], "status 503 Service Unavailable: no room");
    let table = place.ok(&["hook", "deliveries", "--state", "dead"]);
    assert!(table.contains("max_attempts"), "{table}");
    drop(daemon);
    // Nobody listens there any more.
    drop(receiver);
}

/// P3: an answer that comes too late, or twice, changes nothing more.
#[test]
fn an_answer_after_the_timeout_and_a_second_one_change_nothing() {
    let (late, lately) = mpsc::channel::<()>();
    let lately = Arc::new(Mutex::new(lately));
    let receiver = Receiver::new(move |nth, _| match nth {
        0 => {
            // Until the test has seen what became of it.
            let _ = lately.lock().unwrap().recv_timeout(Duration::from_secs(30));
            status("200 OK")
        }
        _ => status("200 OK").repeat(2),
    });
    let place = Place::new(&webhook(&receiver.url, "timeout = \"300ms\""));
    let daemon = place.serve();
    place.ok(&["job", "run", "j", "--wait"]);
    let before = wait_for(&place, "delivered", 2);
    late.send(()).unwrap();
    place.ok(&["job", "run", "j", "--wait"]);
    let after = wait_for(&place, "delivered", 4);
    assert_eq!(after[2..], before[..]);
    assert_eq!(before[1]["attempts"], 2);
    assert_eq!(receiver.heard().len(), 5);
    drop(daemon);
}

/// Interface §2 and §6: 410 switches a hook off; the commands say so, bring it back, and try it out.
#[test]
fn a_hook_is_listed_tried_out_switched_and_sent_again_from_the_command_line() {
    let gone = Arc::new(Mutex::new(true));
    let is_gone = Arc::clone(&gone);
    let receiver = Receiver::new(move |_, _| {
        status(if *is_gone.lock().unwrap() { "410 Gone" } else { "200 OK" })
    });
    let place = Place::new(&webhook(&receiver.url, ""));
    let daemon = place.serve();
    let tried = place.run(&["hook", "test", "h"]);
    assert_eq!((tried.code, tried.out.starts_with("gone after ")), (1, true), "{tried:?}");
    place.ok(&["job", "run", "j", "--wait"]);
    until("the hook is off", || {
        let hooks = place.json(&["hook", "list"]);
        (hooks["items"][0]["disabled_why"] == "410 gone").then_some(())
    });
    assert!(place.ok(&["hook", "list"]).contains("off: 410 gone"));
    *gone.lock().unwrap() = false;
    let tried = place.ok(&["hook", "test", "h"]);
    assert!(tried.contains("acknowledged after ") && tried.contains("status 200 OK"), "{tried}");
    assert_eq!(wait_for(&place, "pending", 2).len(), 2);
    assert_eq!(place.ok(&["hook", "enable", "h"]), "hook h is on\n");
    let all = wait_for(&place, "delivered", 2);
    let id = all[0]["id"].as_str().unwrap();
    let again = place.ok(&["hook", "redeliver", id]);
    assert_eq!(again, format!("delivery {id} goes out again to h\n"));
    until("it is told again", || (receiver.heard().len() == 6).then_some(()));
    assert_eq!(place.ok(&["hook", "disable", "h"]), "hook h is off\n");
    for unknown in [["hook", "enable", "x"], ["hook", "test", "x"]] {
        let refused = place.run(&unknown);
        assert_eq!(refused.code, 3, "{refused:?}");
        assert!(refused.err.contains("`sexton hook list`"), "{refused:?}");
    }
    let refused = place.run(&["hook", "redeliver", "01890a5d-ac96-774b-bcce-b302099a8057"]);
    assert_eq!(refused.code, 3, "{refused:?}");
    drop(daemon);
    // Reading works without a daemon.
    let hooks = place.json(&["hook", "list"]);
    assert_eq!(
        (&hooks["items"][0]["name"], &hooks["items"][0]["settings"]),
        (&json!("h"), &Value::Null)
    );
    assert_eq!(deliveries(&place).len(), 2);
}

/// P3: a hook that leaves the config on a reload ends with its rows; it says so.
#[test]
fn a_reload_adds_and_removes_hooks() {
    let receiver = Receiver::new(|_, _| status("500 Internal Server Error"));
    let place = Place::new(&webhook(&receiver.url, ""));
    let daemon = place.serve();
    place.ok(&["job", "run", "j", "--wait"]);
    wait_for(&place, "pending", 2);
    place.write(&config(
        "[hooks.other]\non = [\"session.ended\"]\ncommand = [\"sh\", \"-c\", \"cat > told\"]",
    ));
    daemon.signal(Signal::SIGHUP);
    let all = wait_for(&place, "dead", 2);
    assert!(all.iter().all(|delivery| delivery["why"] == "hook_removed"), "{all:?}");
    until("the other hook is known", || {
        let hooks = place.json(&["hook", "list"]);
        let items = hooks["items"].as_array().unwrap();
        (items.len() == 1 && items[0]["since"].is_string()).then_some(())
    });
    place.ok(&["job", "run", "j", "--wait"]);
    let told = until("it is told", || {
        fs::read_to_string(place.data().join("told")).ok().filter(|told| told.ends_with('}'))
    });
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!(told["type"], "session.ended");
    drop(daemon);
}

#[test]
fn a_secret_that_cannot_be_read_or_used_is_named_before_anything_starts() {
    let place = Place::new(&webhook("http://127.0.0.1:1", "secret_file = \"missing\""));
    let said = place.run(&["config", "check"]);
    assert_eq!(said.code, 2, "{said:?}");
    assert!(
        said.err.contains("key: hooks.h.secret_file") && said.err.contains("missing"),
        "{said:?}"
    );
    place.write(&webhook("http://127.0.0.1:1", "secret = \"whsec_no base64\""));
    let said = place.run(&["config", "check"]);
    assert!(said.err.contains("key: hooks.h.secret") && said.err.contains("base64"), "{said:?}");
}

/// A web server whose answer never ends: where it is, and whether the other side has hung up.
fn endless(status: &'static str) -> (String, Arc<AtomicU64>, mpsc::Receiver<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (written, (hangs_up, hung_up)) = (Arc::new(AtomicU64::new(0)), mpsc::channel());
    let count = Arc::clone(&written);
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let (count, hangs_up) = (Arc::clone(&count), hangs_up.clone());
            std::thread::spawn(move || {
                let _ = stream.read(&mut [0; 65536]);
                let head = format!("HTTP/1.1 {status}\r\ncontent-type: text/plain\r\n\r\n");
                let mut open = stream.write_all(head.as_bytes()).is_ok();
                while open {
                    let noise = "and so on ".repeat(100);
                    open = stream.write_all(noise.as_bytes()).is_ok();
                    count.fetch_add(noise.len() as u64, Ordering::Relaxed);
                }
                let _ = hangs_up.send(());
            });
        }
    });
    (url, written, hung_up)
}

/// P10: an answer without an end is judged by its status; no more of it is read than is kept.
#[test]
fn an_answer_that_never_ends_is_judged_by_its_status_and_harms_nobody() {
    let cases =
        [("200 OK", "delivered", ""), ("500 Internal Server Error", "dead", "and so on and so on")];
    for (status_line, state, said) in cases {
        let (url, written, hung_up) = endless(status_line);
        let receiver = Receiver::new(|_, _| status("200 OK"));
        let place = Place::new(&format!(
            "{}\n[hooks.other]\non = [\"session.ended\"]\nurl = \"{}\"\n",
            webhook(&url, "max_attempts = 1\ntimeout = \"1h\""),
            receiver.url
        ));
        let daemon = place.serve();
        place.ok(&["job", "run", "j", "--wait"]);
        let of = |hook: &str| -> Vec<Value> {
            deliveries(&place).into_iter().filter(|it| it["hook"] == hook).collect()
        };
        until("the answer to be judged", || {
            (of("h").iter().all(|it| it["state"] == state) && of("h").len() == 2).then_some(())
        });
        until("the other hook to be told", || {
            of("other").iter().all(|it| it["state"] == "delivered").then_some(())
        });
        for delivery in of("h") {
            let error = delivery["last_error"].as_str().unwrap_or_default();
            assert!(error.contains(said) && error.len() <= 600, "{error}");
            assert_eq!(error.is_empty(), said.is_empty(), "{error}");
        }
        for _ in 0..2 {
            hung_up.recv_timeout(PATIENCE).expect("it is read no further");
        }
        // What the sockets of two connections hold; without a bound it would go on.
        let written = written.load(Ordering::Relaxed);
        assert!(written < 64 << 20, "{written} bytes were taken");
        assert!(daemon.stop().success());
    }
}

/// Interface §6: the end of a run carries what its model calls took.
#[test]
fn the_end_of_a_run_tells_a_hook_what_it_used() {
    let receiver = Receiver::new(|_, _| status("200 OK"));
    let report = r#"{"usage": {"model": "m", "input_tokens": 10, "output_tokens": 2, "cached_tokens": 3, "cost_usd": 0.25}}"#;
    let place = Place::new(&format!(
        "{CONFIG}\n[agents.spender]\nexecutor = \"process\"\ncommand = [\"sh\", \"-c\", '''\n\
         cat > /dev/null\necho '{report}' >> \"$SEXTON_REPORT\"\n''']\n\
         [jobs.j]\nagent = \"spender\"\nevery = \"100d\"\nprompt = \"hello\"\n\
         [hooks.h]\non = [\"run.ended\"]\nurl = \"{}\"\n",
        receiver.url
    ));
    let daemon = place.serve();
    place.ok(&["job", "run", "j", "--wait"]);
    wait_for(&place, "delivered", 1);
    let told: Value = serde_json::from_str(&receiver.heard()[0].body).unwrap();
    let usage = json!({
        "input_tokens": 10, "output_tokens": 2, "cached_tokens": 3, "cost_usd": 0.25
    });
    assert_eq!((&told["type"], &told["data"]["usage"]), (&json!("run.ended"), &usage), "{told}");
    assert!(daemon.stop().success());
}

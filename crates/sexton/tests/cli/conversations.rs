//! `send`, and `session end|reset|pin|unpin|delete`: what they print and how they end.

use std::io::Write as _;
use std::process::Stdio;

use crate::support::{CONFIG, Ended, Place, until};
use serde_json::{Value, json};

/// An agent that answers with what it was told before.
const TALK: &str = r#"
[agents.talk]
executor = "process"
command = ["sh", "-c", "cat; echo; wc -l < $SEXTON_HISTORY"]
"#;

/// What does not change from run to run.
fn settled(text: &str) -> String {
    let word = |word: &str| match word.trim_matches([':', ',', ';', '`']) {
        id if id.len() == 36 && id.matches('-').count() == 4 => word.replace(id, "ID"),
        took if took.ends_with('s') && took.starts_with(|c: char| c.is_ascii_digit()) => {
            word.replace(took, "TIME")
        }
        _ => word.to_owned(),
    };
    let line = |line: &str| line.split(' ').map(word).collect::<Vec<_>>().join(" ");
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

/// Command, exit code, stdout and stderr as one text.
fn told(place: &Place, args: &[&str]) -> String {
    let Ended { code, out, err } = place.run(args);
    let shown = args.iter().map(|arg| settled(arg)).collect::<Vec<_>>().join(" ");
    format!("$ sexton {shown}\n{}\n{}\nexit code {code}\n", settled(&out), settled(&err))
}

fn session_of(place: &Place, key: &str) -> String {
    let sessions = place.json(&["session", "list", "--key", key, "--open"]);
    sessions["items"][0]["id"].as_str().unwrap().to_owned()
}

#[test]
fn a_message_is_answered_and_the_conversation_goes_on() {
    let place = Place::new(&format!("{CONFIG}{TALK}"));
    let _daemon = place.serve();
    let first = place.run(&["send", "agent:talk:main", "hello"]);
    assert_eq!((first.code, first.out.as_str()), (0, "hello\n0\n"), "{first:?}");
    assert!(first.err.contains("ended ok"), "{first:?}");
    let mut second = place.command(&["send", "agent:talk:main", "-", "--json"]);
    let mut second = second.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    second.stdin.take().unwrap().write_all(b"from stdin").unwrap();
    let second = Ended::from(second.wait_with_output().unwrap()).document();
    assert_eq!((&second["outcome"], &second["output"]), (&json!("ok"), &json!("from stdin\n3")));
    std::fs::write(place.dir.path().join("note"), "from a file").unwrap();
    let third = place.ok(&["send", "agent:talk:main", "@note", "--new"]);
    assert_eq!(third, "from a file\n0\n");
    let sessions = place.json(&["session", "list", "--key", "agent:talk:main"]);
    let reasons: Vec<&Value> =
        sessions["items"].as_array().unwrap().iter().map(|it| &it["reason"]).collect();
    assert_eq!(reasons, [&Value::Null, &json!("new")]);
}

#[test]
fn a_message_that_fails_or_cannot_be_sent_says_so() {
    let place = Place::new(CONFIG);
    let _daemon = place.serve();
    insta::assert_snapshot!(
        [
            told(&place, &["send", "agent:fail:main", "hello"]),
            told(&place, &["send", "agent:fial:main", "hello"]),
            told(&place, &["send", "my chat", "hello"]),
            told(&place, &["send", "agent:echo:main", ""]),
            told(&place, &["send", "agent:echo:cron:job:run:1", "hello"]),
            told(&place, &["send", "agent:echo:main", "hello", "--no-wait"]),
        ]
        .join("\n")
    );
}

#[test]
fn a_session_is_ended_reset_kept_and_deleted_by_command() {
    let place = Place::new(CONFIG);
    let _daemon = place.serve();
    place.ok(&["send", "agent:echo:main", "hello"]);
    let first = session_of(&place, "agent:echo:main");
    let mut said = vec![
        told(&place, &["session", "pin", &first]),
        told(&place, &["session", "delete", &first]),
        told(&place, &["session", "unpin", &first]),
        told(&place, &["session", "end", &first]),
        told(&place, &["session", "end", &first]),
        told(&place, &["session", "delete", &first]),
    ];
    place.ok(&["send", "agent:echo:main", "hello"]);
    let second = session_of(&place, "agent:echo:main");
    said.push(told(&place, &["session", "reset", &second]));
    place.ok(&["send", "agent:hang:main", "hello", "--no-wait"]);
    let hanging = until("the turn to begin", || {
        let open = place.json(&["session", "list", "--key", "agent:hang:main", "--open"]);
        open["items"][0]["id"].as_str().map(str::to_owned)
    });
    said.push(told(&place, &["session", "delete", &hanging, "--purge"]));
    said.push(told(&place, &["session", "end", "agent:echo:main"]));
    place.ok(&["send", "agent:echo:main", "hello"]);
    said.push(told(&place, &["session", "end", "agent:echo:main"]));
    let nothing = "01890a5d-ac96-774b-bcce-b302099a8057";
    said.push(told(&place, &["session", "end", nothing]));
    insta::assert_snapshot!(said.join("\n"));
    until("the turn to be cancelled", || {
        let runs = place.json(&["run", "list", "--agent", "hang"]);
        (runs["items"][0]["outcome"] == "cancelled").then_some(())
    });
}

/// P2: a turn that a crash cuts off takes its session with it, and the next turn goes on.
#[test]
fn a_conversation_goes_on_after_the_daemon_was_killed_in_the_middle_of_a_turn() {
    let slow = r#"
[agents.talk]
executor = "process"
command = ["sh", "-c", "cat; [ -e quick ] || { echo begun; exec sleep 600; }; cat $SEXTON_HISTORY"]
"#;
    let place = Place::new(&format!("{CONFIG}{slow}"));
    let daemon = place.serve();
    place.ok(&["send", "agent:talk:main", "remember me\n", "--no-wait"]);
    let first = until("the turn to begin", || {
        let open = place.json(&["session", "list", "--key", "agent:talk:main", "--open"]);
        let id = open["items"][0]["id"].as_str()?.to_owned();
        place.ok(&["session", "transcript", &id]).contains("begun").then_some(id)
    });
    place.ok(&["send", "agent:talk:main", "this one waits\n", "--no-wait"]);
    std::fs::write(place.data().join("quick"), "").unwrap();
    daemon.kill();
    let daemon = place.serve();
    let next = place.ok(&["send", "agent:talk:main", "and I come last\n"]);
    let place_of = |text: &str| next.find(text).unwrap_or_else(|| panic!("{text} in {next}"));
    assert!(place_of("remember me") < place_of("this one waits"), "{next}");
    let before = place.json(&["session", "show", &first]);
    assert_eq!(before["reason"], "interrupted");
    let open = place.json(&["session", "list", "--key", "agent:talk:main", "--open"]);
    let now = &open["items"][0];
    assert_eq!(
        (&now["previous_session_id"], &now["open_reason"]),
        (&before["id"], &json!("continued"))
    );
    let runs = place.json(&["run", "list", "--agent", "talk"]);
    let outcomes: Vec<&Value> =
        runs["items"].as_array().unwrap().iter().map(|run| &run["outcome"]).collect();
    assert_eq!(outcomes, ["ok", "ok", "interrupted"]);
    drop(daemon);
}

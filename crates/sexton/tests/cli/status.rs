//! What needs a look: alerts, and the screen that shows them first.

use serde_json::{Value, json};

use crate::support::{CONFIG, Place, until};

/// A job that has failed twice, and a hook that takes nothing and gives up at once.
fn troubled() -> Place {
    let place = Place::new(&format!(
        r#"{CONFIG}
[hooks.broken]
on = ["session.ended"]
command = ["false"]
max_attempts = 1

[hooks.slow]
on = ["session.ended"]
command = ["sleep", "600"]
timeout = "10m"
"#
    ));
    let daemon = place.serve();
    place.ok(&["job", "add", "--key", "bad", "--agent", "fail", "--every", "1d"]);
    for _ in 0..2 {
        assert_eq!(place.run(&["job", "run", "bad", "--wait"]).code, 1);
    }
    until("both alerts", || {
        (place.json(&["alerts"])["items"].as_array().unwrap().len() == 2).then_some(())
    });
    assert!(daemon.stop().success());
    place
}

fn codes(alerts: &Value) -> Vec<&str> {
    let alerts = alerts["items"].as_array().unwrap();
    let mut codes: Vec<&str> = alerts.iter().map(|it| it["code"].as_str().unwrap()).collect();
    codes.sort_unstable();
    codes
}

#[test]
fn what_needs_a_look_comes_first_and_names_the_command_that_shows_it() {
    let place = troubled();
    let daemon = place.serve();
    let alerts = place.json(&["alerts"]);
    assert_eq!(codes(&alerts), ["dead_letters", "job_failing"]);
    let listed = place.ok(&["alerts"]);
    assert!(listed.contains("job_failing") && listed.contains("dead_letters"), "{listed}");

    let screen = place.ok(&["status"]);
    let lines: Vec<&str> = screen.lines().collect();
    assert!(lines[..2].iter().all(|line| line.starts_with("! ")), "{screen}");
    assert!(lines[2].starts_with("node"), "{screen}");
    assert!(screen.contains("job bad failed 2 times in a row"), "{screen}");
    let command = "sexton hook deliveries --hook broken --state dead";
    assert!(screen.contains(command), "{screen}");
    let args: Vec<&str> = command.split(' ').skip(1).collect();
    let dead = place.json(&args);
    assert_eq!(dead["items"].as_array().unwrap().len(), 2);

    // Well again: cleared, and shown only to those who ask for it.
    place.ok(&["job", "edit", "bad", "--agent", "echo"]);
    place.ok(&["job", "run", "bad", "--wait"]);
    until("the alert to be cleared", || {
        (codes(&place.json(&["alerts"])) == ["dead_letters"]).then_some(())
    });
    assert_eq!(codes(&place.json(&["alerts", "--all"])), ["dead_letters", "job_failing"]);
    assert!(daemon.stop().success());
}

#[test]
fn the_screen_shows_what_hooks_are_still_to_be_told_and_what_is_overdue() {
    let place = troubled();
    let outbox = |status: &Value| {
        let outbox = &status["outbox"];
        assert!(outbox["oldest_at"].is_string(), "{outbox}");
        (outbox["pending"].clone(), outbox["dead"].clone())
    };
    // The same with a daemon and without one.
    assert_eq!(outbox(&place.json(&["status"])), (json!(2), json!(2)));
    let daemon = place.serve();
    assert_eq!(outbox(&place.json(&["status"])), (json!(2), json!(2)));
    let screen = place.ok(&["status"]);
    let line = |name: &str| screen.lines().find(|line| line.starts_with(name)).unwrap();
    assert!(line("outbox").contains("2 pending, the oldest "), "{screen}");
    assert!(line("outbox").ends_with(" ago, 2 dead"), "{screen}");
    assert!(line("reaper").contains("0 overdue"), "{screen}");
    assert!(daemon.stop().success());
}

/// A gateway that dies again and again soon after its start says so, also after the next start.
#[test]
fn a_gateway_that_keeps_dying_says_so() {
    let place = Place::new(CONFIG);
    for _ in 0..3 {
        place.serve().kill();
    }
    let daemon = place.serve();
    until("the alert", || (codes(&place.json(&["alerts"])) == ["boot_loop"]).then_some(()));
    let screen = place.ok(&["status"]);
    assert!(screen.starts_with("! the gateway died 3 times"), "{screen}");
    assert!(daemon.stop().success());
}

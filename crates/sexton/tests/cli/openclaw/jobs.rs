//! Jobs that come to run here: enabled by a later import, and one-shots that fell due on the way.

use std::fs;

use serde_json::{Value, json};

use super::{folder, import};
use crate::support::{CONFIG, Place, until};

const AGENT: &str = "[agents.main]\nexecutor = \"process\"\ncommand = [\"sh\", \"-c\", \"cat\"]\n";

/// A folder whose jobs are these, each with what it has beside its name.
fn with_jobs(place: &Place, jobs: &[(&str, Value)]) -> std::path::PathBuf {
    let folder = folder(place, "2026.5.6-plain");
    let path = folder.join("cron/jobs.json");
    let text = fs::read_to_string(&path).unwrap();
    let whole: Value = serde_json::from_str(&text).unwrap();
    let made = jobs.iter().map(|(name, fields)| {
        let mut job = whole["jobs"][0].clone();
        (job["id"], job["name"]) = (json!(format!("id-of-{name}")), json!(name));
        for (field, value) in fields.as_object().unwrap() {
            job[field] = value.clone();
        }
        job
    });
    let jobs: Vec<Value> = made.collect();
    fs::write(path, json!({ "version": 1, "jobs": jobs }).to_string()).unwrap();
    fs::remove_file(folder.join("cron/jobs-state.json")).unwrap();
    folder
}

fn job(place: &Place, key: &str) -> Value {
    place.json(&["job", "show", key])
}

#[test]
fn a_later_import_enables_what_stands_as_it_came_and_nothing_that_a_person_switched_off() {
    let place = Place::new(&format!("{CONFIG}\n{AGENT}"));
    let folder = with_jobs(
        &place,
        &[("a", json!({})), ("b", json!({})), ("c", json!({ "enabled": false }))],
    );
    import(&place, &folder);
    let daemon = place.serve();
    place.ok(&["job", "enable", "b"]);
    place.ok(&["job", "disable", "b"]);
    assert!(daemon.stop().success());
    let path = folder.to_str().unwrap();
    let again = place.run(&["openclaw", "import", path, "--enable"]);
    assert!(again.err.contains("enabled, as they are there: a\n"), "{again:?}");
    let [a, b, c] = ["a", "b", "c"].map(|key| job(&place, key));
    assert!(a["spec"]["enabled"] == true && a["next_slot"].is_string(), "{a}");
    assert!(b["suspension"].is_object(), "{b}");
    assert_eq!(c["spec"]["enabled"], false);
    let third = place.run(&["openclaw", "import", path, "--enable"]);
    assert!(!third.err.contains("enabled, as they are there"), "{third:?}");
    assert_eq!(job(&place, "a"), a);
}

/// The time between the stop there and the start here is when it happens.
#[test]
fn a_one_shot_whose_time_passed_without_a_run_runs_once() {
    let at = |at: &str| json!({ "schedule": { "kind": "at", "at": at } });
    let ran = json!({
        "schedule": { "kind": "at", "at": "2026-11-20T18:00:00Z" },
        "state": { "lastRunAtMs": 1_795_197_764_329_u64, "lastStatus": "ok" },
    });
    let jobs = [("late", at("2026-11-20T18:00:00Z")), ("ran", ran)];
    let place = Place::new(&format!("{CONFIG}\n{AGENT}"));
    let folder = with_jobs(&place, &jobs);
    let path = folder.to_str().unwrap();
    let disabled = place.run(&["openclaw", "import", path]);
    assert!(disabled.err.contains("`sexton job run late`"), "{disabled:?}");
    assert!(!disabled.err.contains("one-shot ran"), "{disabled:?}");
    let again = place.run(&["openclaw", "import", path, "--enable"]);
    assert!(again.err.contains("enabled, as they are there: late"), "{again:?}");

    let other = Place::new(&format!("{CONFIG}\n{AGENT}"));
    let at_once = other.ok(&["openclaw", "import", path, "--enable"]);
    let slot = "2026-11-20T18:00:00Z";
    let row = at_once.lines().find(|line| line.starts_with("late ")).unwrap();
    assert_eq!(row.split_whitespace().collect::<Vec<_>>(), ["late", "enabled", slot, slot]);
    assert!(!at_once.contains("is no slot any more"), "{at_once}");
    assert!(disabled.out.contains("is no slot any more"), "{disabled:?}");
    for place in [place, other] {
        let daemon = place.serve();
        let run = until("the run of the one-shot", || {
            let runs = place.json(&["run", "list", "--job", "late"]);
            let run = runs["items"].as_array().unwrap().first().cloned();
            run.filter(|run| run["state"]["outcome"].is_string() || run["outcome"].is_string())
        });
        assert_eq!(run["slot"], slot, "{run}");
        assert_eq!(place.json(&["run", "list", "--job", "ran"])["items"], json!([]));
        assert!(daemon.stop().success());
    }
}

//! `openclaw import`, `heal` and `undo`: state folders and stores as they are.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use crate::disk::KillingDisk;
use crate::support::{CONFIG, Place, until};
use crate::unpack::unpack;

mod again;
#[path = "../../../openclaw/tests/fixtures/cold.rs"]
mod cold;
mod jobs;
mod killed;
mod said;
mod terminal;

/// A copy of a real folder, its databases unpacked.
fn folder(place: &Place, name: &str) -> PathBuf {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../openclaw/tests/fixtures");
    let to = place.dir.path().join(name);
    unpack(&fixtures.join(name), &to);
    to
}

/// Imports a folder; the receipt, which must add up.
fn import(place: &Place, folder: &Path) -> Value {
    let receipt = place.json(&["openclaw", "import", folder.to_str().unwrap()]);
    for source in receipt["sources"].as_array().unwrap() {
        assert_eq!(source["read"], accounted(source), "{source}");
        assert_eq!(source["sha256"].as_str().unwrap().len(), 64, "{source}");
    }
    receipt
}

/// How many records of a source something became of.
fn accounted(source: &Value) -> u64 {
    let number = |name: &str| source[name].as_u64().unwrap();
    let quarantined = source["quarantined"].as_array().unwrap().len() as u64;
    number("imported") + number("already_present") + number("under_way") + quarantined
}

/// How many records of all sources became this.
fn total(receipt: &Value, what: &str) -> u64 {
    receipt["sources"].as_array().unwrap().iter().map(|source| source[what].as_u64().unwrap()).sum()
}

/// Everything of a store that an import brings, as the commands show it.
fn state(place: &Place) -> Value {
    let mut sessions = Vec::new();
    for kind in ["main", "chat", "run", "job", "subagent", "boot", "temporary", "other"] {
        let args = ["session", "list", "--kind", kind, "--limit", "500"];
        sessions.extend(place.json(&args)["items"].as_array().unwrap().clone());
    }
    for session in &mut sessions {
        let id = session["id"].as_str().unwrap().to_owned();
        session["transcript"] = json!(place.ok(&["session", "transcript", &id]));
    }
    let list = |args: &[&str]| place.json(args)["items"].clone();
    json!({
        "sessions": sessions,
        "runs": list(&["run", "list", "--limit", "500"]),
        "jobs": list(&["job", "list", "--limit", "500"]),
        "usage": place.json(&["usage", "--by", "model"]),
    })
}

/// The same without these fields of its sessions or jobs.
fn without(mut state: Value, of: &str, fields: &[&str]) -> Value {
    for record in state[of].as_array_mut().unwrap() {
        fields.iter().for_each(|field| record[*field] = Value::Null);
    }
    state
}

/// [`state`] without the times of the import, to be compared with that of another store.
fn timeless(place: &Place) -> Value {
    let state = without(state(place), "sessions", &["expires_at", "imported_at"]);
    without(state, "jobs", &["created_at", "updated_at", "next_slot"])
}

#[test]
fn folders_of_both_eras_are_imported_whole_and_importing_again_changes_nothing() {
    for (name, jobs, sessions, runs) in
        [("2026.5.6-plain", 0, 11, 11), ("2026.5.6-reset", 0, 3, 0), ("2026.9.6-plain", 0, 11, 11)]
    {
        let place = Place::new(CONFIG);
        let folder = folder(&place, name);
        let first = import(&place, &folder);
        let kept = &first["kept"];
        assert!(kept["jobs"].as_u64().unwrap() >= jobs, "{name}: {kept}");
        assert_eq!([&kept["sessions"], &kept["runs"]], [sessions, runs], "{name}");
        let before = state(&place);
        assert_eq!(before["sessions"].as_array().unwrap().len(), sessions, "{name}");
        let again = import(&place, &folder);
        assert_eq!(total(&again, "imported"), 0, "{name}");
        assert_eq!(total(&again, "read"), total(&first, "read"), "{name}");
        assert_eq!(state(&place), before, "{name}");
        let receipts = fs::read_dir(place.data().join("imports")).unwrap().count();
        assert_eq!(receipts, 2, "{name}");
    }
}

#[test]
fn a_dry_run_says_what_would_be_and_makes_no_store() {
    let place = Place::new(CONFIG);
    let folder = folder(&place, "2026.5.6-plain");
    let folder = folder.to_str().unwrap();
    let receipt = place.json(&["openclaw", "import", folder, "--dry-run"]);
    assert_eq!(receipt["kept"]["sessions"], 11);
    let agent =
        "1 job of agent main, which the config does not have: add [agents.main] before they run";
    assert_eq!(receipt["remarks"], json!([agent]));
    assert!(!place.data().join("sexton.db").exists());
    assert!(!place.data().join("imports").exists());
}

/// P3, P6: a session that an import brought tells no hook anything, and no sweep takes it by surprise.
#[test]
fn imported_jobs_run_chats_go_on_hooks_hear_nothing_and_a_sweep_takes_nothing() {
    let hook = "[hooks.h]\non = [\"*\"]\ncommand = [\"sh\", \"-c\", \"cat >> heard\"]\n";
    let hook = hook.replace("[\"*\"]", "[\"session.started\", \"session.ended\", \"run.ended\"]");
    let agent = "[agents.main]\nexecutor = \"process\"\ncommand = [\"sh\", \"-c\", \"cat\"]\n";
    let place = Place::new(&format!("{CONFIG}\n{agent}\n{hook}"));
    for name in ["2026.5.6-plain", "2026.5.6-reset"] {
        let folder = folder(&place, name);
        import(&place, &folder);
    }
    let before = state(&place);
    let daemon = place.serve();
    let refused = place.run(&[
        "openclaw",
        "import",
        place.dir.path().join("2026.5.6-plain").to_str().unwrap(),
    ]);
    assert_eq!(refused.code, 4, "{refused:?}");
    assert!(refused.err.contains("sexton stop"), "{refused:?}");
    place.ok(&["sweep"]);
    let after = state(&place);
    // The reaper has looked, and looks next by the policies.
    let looked = |state: &Value| without(state.clone(), "sessions", &["expires_at"]);
    assert_eq!(looked(&after)["sessions"], looked(&before)["sessions"]);
    assert_eq!(after["runs"], before["runs"]);
    assert_eq!(place.json(&["hook", "deliveries"])["items"], json!([]));

    let jobs = after["jobs"].as_array().unwrap();
    assert!(jobs.iter().all(|job| job["spec"]["enabled"] == false), "{jobs:?}");
    assert_eq!(jobs[0]["origin"]["id"], "1e0faea8-493d-4ba7-96eb-5c51b3d0e63f", "{jobs:?}");
    let key = jobs[0]["key"].as_str().unwrap();
    place.ok(&["job", "enable", key]);
    place.ok(&["job", "run", key, "--wait"]);

    let imported = after["sessions"].as_array().unwrap();
    // By the history of runs: their rows say nothing of an end.
    let of_runs = imported.iter().filter(|it| it["kind"] == "run");
    assert_eq!(of_runs.filter(|it| it["reason"] == "completed").count(), 11);
    let chat = imported.iter().find(|it| it["key"] == "agent:main:bench1").unwrap();
    assert!(chat["entry_count"].as_u64().unwrap() > 1, "{chat}");
    let id = chat["id"].as_str().unwrap();
    assert!(place.ok(&["session", "transcript", id]).contains("all checks passed"));
    let run = after["runs"][0]["id"].as_str().unwrap();
    for [command, id] in [["session", id], ["run", run]] {
        let shown = place.json(&[command, "show", id]);
        assert_eq!(shown["origin"]["system"], "openclaw", "{shown}");
        assert!(shown["imported_at"].is_string(), "{shown}");
        let text = place.ok(&[command, "show", id]);
        let source = shown["origin"]["source"].as_str().unwrap();
        assert!(text.contains("imported") && text.contains(source), "{text}");
    }
    place.ok(&["send", "agent:main:bench1", "go on"]);
    let next = until("the session that goes on", || {
        let open = place.json(&["session", "list", "--kind", "other", "--open"]);
        open["items"].as_array().unwrap().first().cloned()
    });
    assert_eq!(next["previous_session_id"], chat["id"], "{next}");
    assert_eq!(next["open_reason"], "continued");
    assert!(daemon.stop().success());
}

#[test]
fn what_cannot_be_read_is_quarantined_by_its_place_and_the_rest_is_imported() {
    let place = Place::new(CONFIG);
    let folder = folder(&place, "2026.5.6-reset");
    let transcript = folder.join("agents/main/sessions/305399fd-36f7-4eee-a3db-f2cd708ec72e.jsonl");
    let text = fs::read_to_string(&transcript).unwrap();
    let mut lines: Vec<&str> = text.lines().collect();
    lines[2] = "{\"type\":";
    fs::write(&transcript, lines.join("\n")).unwrap();
    let ended = place.run(&["openclaw", "import", folder.to_str().unwrap(), "--json"]);
    assert_eq!(ended.code, 1, "{ended:?}");
    let receipt = ended.document();
    let sources = receipt["sources"].as_array().unwrap();
    let source =
        sources.iter().find(|it| it["path"].as_str().unwrap().contains("305399fd")).unwrap();
    assert_eq!(source["quarantined"][0]["place"], json!({ "line": 3 }), "{source}");
    assert_eq!(source["imported"], source["read"].as_u64().unwrap() - 1);
}

/// A file that a writer left.
const LEFT: &str =
    "agents/main/sessions/sessions.json.4711.305399fd-36f7-4eee-a3db-f2cd708ec72e.tmp";

/// A folder with nothing wrong but [`LEFT`], and with a port of its own.
fn sick(place: &Place, port: u16) -> PathBuf {
    let root = place.dir.path().join("sick");
    let sessions = root.join("agents/main/sessions");
    fs::create_dir_all(&sessions).unwrap();
    let config = json!({ "gateway": { "port": port } });
    fs::write(root.join("openclaw.json"), config.to_string()).unwrap();
    fs::write(sessions.join("sessions.json"), "{}").unwrap();
    fs::write(root.join(LEFT), "{").unwrap();
    let old = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    File::options().write(true).open(root.join(LEFT)).unwrap().set_modified(old).unwrap();
    root
}

#[test]
fn a_folder_whose_port_is_served_is_neither_healed_nor_undone_unless_it_is_another_gateway() {
    let place = Place::new(CONFIG);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let folder = sick(&place, port);
    let temporary = folder.join(LEFT);
    let folder = folder.to_str().unwrap();
    let refused = |args: &[&str]| {
        let refused = place.run(args);
        assert_eq!(refused.code, 4, "{refused:?}");
        assert!(refused.err.contains(&format!("127.0.0.1:{port}")), "{refused:?}");
        assert!(refused.err.contains("--stopped"), "{refused:?}");
    };
    place.ok(&["openclaw", "heal", folder, "--plan-only"]);
    refused(&["openclaw", "heal", folder, "--yes"]);
    assert!(temporary.exists());
    place.ok(&["openclaw", "heal", folder, "--yes", "--stopped"]);
    assert!(!temporary.exists());
    refused(&["openclaw", "undo", folder]);
    assert!(!temporary.exists());
    place.ok(&["openclaw", "undo", folder, "--stopped"]);
    assert!(temporary.exists());
}

#[test]
fn a_healing_that_was_cut_off_is_finished_only_with_a_yes_and_what_it_leaves_out_is_said() {
    let place = Place::new(CONFIG);
    let folder = sick(&place, 1);
    let path = folder.to_str().unwrap();
    let healed = place.json(&["openclaw", "heal", path, "--yes"]);
    let backup = folder.join(healed["outcome"]["backup"].as_str().unwrap());
    let journal = backup.join("journal.jsonl");
    let cut = fs::read_to_string(&journal).unwrap().replace("\"healed\"", "");
    fs::write(&journal, &cut).unwrap();
    fs::write(backup.join("aside").join(LEFT), "changed").unwrap();

    for args in [&["--plan-only"][..], &["--plan-only", "--yes", "--json"]] {
        let planned = place.run(&[&["openclaw", "heal", path], args].concat());
        assert_eq!(planned.code, 0, "{planned:?}");
        assert!(planned.err.contains("was cut off"), "{planned:?}");
    }
    let unasked = place.run(&["openclaw", "heal", path]);
    assert_eq!(unasked.code, 2, "{unasked:?}");
    assert_eq!(fs::read_to_string(&journal).unwrap(), cut);

    let finished = place.run(&["openclaw", "heal", path, "--yes"]);
    assert!(finished.err.contains("finished now"), "{finished:?}");
    assert!(finished.err.contains(&format!("{LEFT} has changed")), "{finished:?}");
    assert!(fs::read_to_string(&journal).unwrap().ends_with("\"healed\""));
}

/// Half of an undoing looked like a healthy folder.
#[test]
fn heal_does_not_look_at_a_folder_whose_undoing_was_cut_off() {
    let place = Place::new(CONFIG);
    let folder = sick(&place, 8);
    let path = folder.to_str().unwrap();
    let healed = place.json(&["openclaw", "heal", path, "--yes"]);
    let backup = folder.join(healed["outcome"]["backup"].as_str().unwrap());
    let mut journal = File::options().append(true).open(backup.join("journal.jsonl")).unwrap();
    writeln!(journal, "\n\"undo\"").unwrap();
    let refused = place.run(&["openclaw", "heal", path, "--yes"]);
    assert_eq!(refused.code, 4, "{refused:?}");
    assert!(refused.err.contains("sexton openclaw undo"), "{refused:?}");
    let planned = place.run(&["openclaw", "heal", path, "--plan-only"]);
    assert!(planned.err.contains("the undoing of"), "{planned:?}");
    place.ok(&["openclaw", "undo", path]);
    assert!(folder.join(LEFT).exists());
    place.ok(&["openclaw", "heal", path, "--yes"]);
}

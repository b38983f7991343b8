//! What the commands say, and what they refuse before anything is changed.

use sexton_engine::clock::{Clock as _, SystemClock};

use super::*;

#[test]
fn a_receipt_that_cannot_be_written_is_refused_before_anything_is_stored() {
    let place = Place::new(CONFIG);
    let folder = folder(&place, "2026.5.6-reset");
    let folder = folder.to_str().unwrap();
    let nowhere = place.dir.path().join("nowhere/receipt.json");
    for path in [nowhere.as_path(), place.dir.path()] {
        let refused =
            place.run(&["openclaw", "import", folder, "--receipt", path.to_str().unwrap()]);
        assert_eq!(refused.code, 2, "{refused:?}");
        assert!(refused.err.contains("nothing was imported"), "{refused:?}");
    }
    assert_eq!(place.json(&["session", "list", "--kind", "all"])["items"], json!([]));
    let receipt = place.dir.path().join("receipt.json");
    place.ok(&["openclaw", "import", folder, "--receipt", receipt.to_str().unwrap()]);
    assert!(receipt.is_file());
}

#[test]
fn a_plan_that_was_made_for_another_folder_says_so_and_is_no_success() {
    let place = Place::new(CONFIG);
    let sick = sick(&place, 3);
    let plan = place.ok(&["openclaw", "heal", sick.to_str().unwrap(), "--plan-only", "--json"]);
    let file = place.dir.path().join("plan.json");
    fs::write(&file, plan).unwrap();
    let other = folder(&place, "2026.5.6-reset");
    let [other, file] = [&other, &file].map(|path| path.to_str().unwrap());
    let healed = place.run(&["openclaw", "heal", other, "--plan", file, "--yes"]);
    assert_eq!(healed.code, 1, "{healed:?}");
    let made_for = format!("the plan was made for {}", sick.canonicalize().unwrap().display());
    assert!(healed.err.contains(&made_for), "{healed:?}");
}

/// A plan of nothing was written, with the command that applies it.
#[test]
fn where_nothing_can_be_healed_no_plan_is_written() {
    let place = Place::new(CONFIG);
    let folder = folder(&place, "2026.5.6-plain");
    let path = folder.to_str().unwrap();
    let args = ["openclaw", "heal", path, "--plan-only"];
    let says = "there is nothing that heal can do";
    assert_eq!(place.ok(&args).trim(), says);
    // What needs a person is named.
    let jobs = folder.join("cron/jobs.json");
    let mut file: Value = serde_json::from_slice(&fs::read(&jobs).unwrap()).unwrap();
    file["jobs"][0]["schedule"] = json!({ "kind": "cron", "expr": "0 0 31 2 *" });
    fs::write(&jobs, file.to_string()).unwrap();
    let planned = place.run(&args);
    assert_eq!((planned.code, planned.out.trim()), (0, says), "{planned:?}");
    assert!(planned.err.contains("needs a person"), "{planned:?}");
    assert!(!folder.join(".sexton-heal").exists());
    let plan = place.json(&args);
    assert_eq!(plan["items"], json!([]));
    assert_eq!(plan["person"].as_array().unwrap().len(), 1, "{plan}");
}

/// One thing was told in the plural.
#[test]
fn one_of_a_thing_is_told_as_one() {
    let place = Place::new(CONFIG);
    let folder = folder(&place, "2026.5.6-reset");
    let sessions = folder.join("agents/main/sessions");
    for entry in fs::read_dir(&sessions).unwrap().flatten() {
        let name = entry.file_name().into_string().unwrap();
        let is_first = name.starts_with("305399fd");
        if (name.ends_with(".jsonl") && !is_first) || name == "sessions.json" {
            fs::remove_file(entry.path()).unwrap();
        }
    }
    let looked = place.run(&["openclaw", "inspect", folder.to_str().unwrap()]);
    assert!(looked.out.contains("it is gone, with 1 transcript beside its place"), "{looked:?}");
    let config = folder.join("openclaw.json");
    fs::write(config, "{gateway:{port:4}}").unwrap();
    let healed = place.run(&["openclaw", "heal", folder.to_str().unwrap(), "--yes"]);
    assert!(healed.out.contains("stores that are gone: 1  store_missing"), "{healed:?}");
}

#[test]
fn inspect_says_what_keeps_heal_from_its_work_and_heal_what_its_backup_takes() {
    let place = Place::new(CONFIG);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let folder = sick(&place, address.port());
    let path = folder.to_str().unwrap();
    let looked = place.run(&["openclaw", "inspect", path]);
    assert!(looked.err.contains(&format!("something answers at {address}")), "{looked:?}");
    assert!(looked.out.contains("no process of it shows"), "{looked:?}");
    let imported = place.run(&["openclaw", "import", path]);
    assert!(imported.err.contains(&format!("something answers at {address}")), "{imported:?}");
    assert!(imported.err.contains("a gateway may run on the folder"), "{imported:?}");
    for command in ["inspect", "import"] {
        let known = place.run(&["openclaw", command, path, "--stopped"]);
        assert!(!known.err.contains("something answers"), "{known:?}");
    }
    let healed = place.ok(&["openclaw", "heal", path, "--yes", "--stopped"]);
    let backup = healed.lines().find(|line| line.contains("the backup of ")).unwrap();
    assert!(!backup.contains("of 0 B"), "{backup}");
    drop(listener);

    let lock = format!(
        "{{\"pid\":{},\"createdAt\":\"{}\"}}",
        std::process::id(),
        SystemClock::new().now()
    );
    fs::write(folder.join("agents/main/sessions/sessions.json.lock"), lock).unwrap();
    let refused = place.run(&["openclaw", "heal", path, "--yes"]);
    assert_eq!(refused.code, 4, "{refused:?}");
    assert!(
        refused.err.contains("lock") && refused.err.contains("openclaw gateway stop"),
        "{refused:?}"
    );
}

#[test]
fn agents_come_as_sections_for_the_config_and_are_not_spoken_of_once_it_has_them() {
    let place = Place::new(CONFIG);
    let folder = folder(&place, "2026.5.6-plain");
    fs::create_dir(folder.join("workspace-scout")).unwrap();
    let agents = json!({
        "defaults": { "model": { "primary": "a/b\n[agents.other]" }, "timeoutSeconds": 90 },
        "list": [{ "id": "main", "workspace": "~/it's \"here\" # now" }, { "id": "scout" }, { "id": "echo" }],
    });
    fs::write(folder.join("openclaw.json"), json!({ "agents": agents }).to_string()).unwrap();
    let args = ["openclaw", "import", folder.to_str().unwrap(), "--agent", "main=boss"];
    let first = place.run(&[&args[..], &["--dry-run"]].concat());
    assert!(first.err.contains("1 job of agent boss, which the config does not have"), "{first:?}");
    let (_, sections) = first.out.rsplit_once("\n\n# agents").unwrap();
    let sections = &format!("# agents{sections}");
    assert!(sections.contains(place.config().file_name().unwrap().to_str().unwrap()), "{sections}");
    place.write(&format!("{CONFIG}\n{sections}"));

    place.ok(&["config", "check"]);
    let config = &place.json(&["config", "show"])["agents"];
    assert_eq!(config.as_object().unwrap().len(), 5, "{config}");
    let home = place.dir.path().canonicalize().unwrap();
    assert_eq!(config["boss"]["cwd"], json!(home.join("it's \"here\" # now")));
    let inside = folder.canonicalize().unwrap().join("workspace-scout");
    let scout = &config["scout"];
    assert_eq!([&scout["cwd"], &scout["timeout"]], [&json!(inside), &json!("1m30s")]);

    let again = place.run(&args);
    assert!(again.out.contains("imported: 1 job") && !again.out.contains("agents."), "{again:?}");
    assert!(!again.err.contains("agent"), "{again:?}");
    let receipt = place.json(&args);
    let row = |agent: &Value| json!([agent["id"], agent["declared"], agent["section"]]);
    let rows: Vec<Value> = receipt["agents"].as_array().unwrap().iter().map(row).collect();
    assert_eq!(
        json!(rows),
        json!([["main", true, null], ["scout", true, null], ["echo", true, null]])
    );
}

/// Everything came over under the wrong name, and no command takes that back.
#[test]
fn an_agent_of_nobody_is_refused_before_anything_is_stored() {
    let place = Place::new(CONFIG);
    let folder = folder(&place, "2026.5.6-plain");
    let path = folder.to_str().unwrap();
    let refused = place.run(&["openclaw", "import", path, "--agent", "mian=boss"]);
    assert_eq!(refused.code, 2, "{refused:?}");
    assert!(refused.err.contains("no agent is called mian there"), "{refused:?}");
    assert_eq!(place.json(&["session", "list"])["items"], json!([]));
}

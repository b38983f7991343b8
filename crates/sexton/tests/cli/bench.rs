//! `bench`: it measures where it is told to, says under which conditions, and leaves nothing behind.
//! Nothing here looks at how fast anything is.

use std::fs;
use std::path::Path;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::support::{CONFIG, Place, until};

/// Each in small: the words after `bench`.
const STORE: &[&str] = &["store", "--sessions", "20", "--rounds", "1", "--slice", "60ms"];
const FIRE: &[&str] = &["fire", "--jobs", "1,3", "--rounds", "2", "--contest", "2s"];
const SWEEP: &[&str] = &["sweep", "--sessions", "20", "--expired", "30", "--before", "60ms"];
const LIST: &[&str] =
    &["list", "--sessions", "20,60", "--looks", "5", "--writers", "3", "--busy", "100ms"];

/// A place with a folder to measure in.
fn place() -> Place {
    let place = Place::new(CONFIG);
    fs::create_dir(place.dir.path().join("scratch")).unwrap();
    place
}

fn is_empty(folder: &Path) -> bool {
    fs::read_dir(folder).unwrap().next().is_none()
}

/// Measures in the scratch folder of a place, which is empty again in the end. Nothing else was made.
fn measured(words: &[&str]) -> Value {
    let place = place();
    let document = place.json(&[&["bench", "--dir", "scratch"], words].concat());
    assert!(is_empty(&place.dir.path().join("scratch")));
    assert!(!place.data().exists(), "a measurement touches no data folder");
    assert_eq!(document["bench"], words[0]);
    let conditions = &document["conditions"];
    for name in ["version", "build", "cpus", "cpu", "system", "filesystem", "load_before"] {
        assert!(!conditions[name].is_null(), "{name}: {conditions}");
    }
    assert!(conditions["raw_sync"]["p50_ms"].as_f64().unwrap() > 0.0, "{conditions}");
    assert_eq!(document["machine"][0].as_str().unwrap(), built(conditions));
    document["figures"].clone()
}

/// What the first line for people says of the build.
fn built(conditions: &Value) -> String {
    let [version, build] = ["version", "build"].map(|name| conditions[name].as_str().unwrap());
    format!("sexton {version}, {build} build")
}

/// Whoever measures from outside asks for the conditions alone, and finds out what was built.
#[test]
fn the_conditions_are_told_without_a_measurement() {
    assert_eq!(measured(&["conditions"]), serde_json::json!({}));
    let ended = place().run(&["bench", "conditions", "--dir", "scratch"]);
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(ended.out.contains("fdatasync") && ended.out.contains("load averages: "), "{ended:?}");
}

#[test]
fn commits_are_measured_beside_raw_writes() {
    let figures = measured(STORE);
    let writers = figures["writers"].as_array().unwrap();
    assert_eq!(writers.iter().map(|it| it["writers"].as_u64().unwrap()).sum::<u64>(), 273);
    for it in writers {
        let positive = ["commits_per_second", "syncs_per_commit", "raw_syncs_per_second", "of_raw"];
        assert!(positive.iter().all(|name| it[*name].as_f64().unwrap() > 0.0), "{it}");
        assert!(it["commit"]["count"].as_u64().unwrap() > 0, "{it}");
    }
    // Many share a wait; one at a time nobody does.
    assert!(writers[2]["syncs_per_commit"].as_f64() < Some(0.5), "{figures}");
    assert!(figures["one_at_a_time"]["syncs_per_commit"].as_f64() >= Some(1.0), "{figures}");
}

#[test]
fn slots_and_runs_are_measured_with_real_processes() {
    let figures = measured(FIRE);
    let bursts = figures["bursts"].as_array().unwrap();
    assert_eq!(bursts.len(), 2);
    assert_eq!(bursts[1]["jobs"], 3);
    // Few jobs are due again: what one burst says is chance.
    assert_eq!(bursts[1]["bursts"], 2);
    for it in bursts {
        let slots = it["jobs"].as_u64().unwrap() * 2;
        assert_eq!(it["recorded"]["count"], slots, "{it}");
        assert_eq!(it["started"]["count"], slots, "{it}");
        let p50 = |what: &str| it[what]["p50_ms"].as_f64().unwrap();
        assert!(0.0 < p50("recorded") && p50("recorded") <= p50("started"), "{it}");
    }
    assert!(bursts[1]["cpu_per_run_ms"].as_f64() > Some(0.0), "{figures}");
    assert_eq!(figures["fairness"]["jobs"], 30);
    assert!(figures["fairness"]["starts"].as_u64() > Some(0), "{figures}");
}

#[test]
fn a_sweep_is_measured_from_its_first_to_its_last_session() {
    let figures = measured(SWEEP);
    assert_eq!((&figures["sessions"], &figures["expired"]), (&20.into(), &30.into()));
    assert!(figures["before"]["count"].as_u64() > Some(0), "{figures}");
    assert!(figures["sweep_ms"].as_f64() > Some(0.0), "{figures}");
}

#[test]
fn every_size_of_a_store_is_measured() {
    let figures = measured(LIST);
    let sizes = figures["sizes"].as_array().unwrap();
    assert_eq!(
        sizes.iter().map(|it| it["sessions"].as_u64().unwrap()).collect::<Vec<_>>(),
        [20, 60]
    );
    for what in ["update", "list", "status", "claim"] {
        assert!(sizes.iter().all(|it| it[what]["count"] == 5), "{what}: {figures}");
    }
    assert_eq!(figures["busy"]["writers"], 3);
    assert!(figures["busy"]["list"]["count"].as_u64() > Some(0), "{figures}");
}

/// A number without its conditions says nothing.
#[test]
fn every_number_is_printed_with_its_conditions() {
    let place = place();
    let ended = place.run(&[&["bench", "--dir", "scratch"], LIST].concat());
    assert_eq!(ended.code, 0, "{ended:?}");
    for part in ["disk: a write of 4 KiB with fdatasync takes", "load averages: ", " build\n"] {
        assert!(ended.out.contains(part), "{part}: {}", ended.out);
    }
    let (_, figures) = ended.out.split_once("\n\n").unwrap();
    for figure in figures.split("\n\n") {
        let lines: Vec<&str> = figure.trim_end().lines().collect();
        assert_eq!(lines.len(), 3, "what, how much, under which conditions: {figure}");
        assert!(lines[1].contains("max") && lines[2].contains(';'), "{figure}");
    }
    assert!(ended.err.contains("note: filling a store with 60 sessions"), "{}", ended.err);
}

#[test]
fn what_cannot_be_measured_is_refused() {
    let place = place();
    let missing = place.run(&["bench", "store", "--dir", "nowhere"]);
    assert_eq!(missing.code, 2, "{missing:?}");
    assert!(missing.err.contains("--dir DIR"), "{}", missing.err);
    for words in [
        ["bench", "store", "--writers", "0"],
        ["bench", "list", "--sessions", "0"],
        ["bench", "fire", "--contest", "5"],
        ["bench", "sweep", "--expired", "-1"],
    ] {
        assert_eq!(place.run(&words).code, 2, "{words:?}");
    }
    assert!(is_empty(&place.dir.path().join("scratch")));
}

/// Whoever has seen enough gets their disk back.
#[test]
fn an_interrupted_measurement_leaves_nothing_behind() {
    let place = place();
    let scratch = place.dir.path().join("scratch");
    let words = ["bench", "store", "--dir", "scratch", "--sessions", "20", "--slice", "10m"];
    let mut child = place.command(&words).stderr(std::process::Stdio::piped()).spawn().unwrap();
    until("the store that is measured", || {
        let mut folders = fs::read_dir(&scratch).unwrap().flatten();
        folders.next().filter(|folder| folder.path().join("store.db").exists())
    });
    kill(Pid::from_raw(child.id().try_into().unwrap()), Signal::SIGTERM).unwrap();
    let status = until("the end of the measurement", || child.try_wait().unwrap());
    assert_eq!(status.code(), Some(6), "{status:?}");
    assert!(is_empty(&scratch));
}

/// A store of somebody's own is never measured, and not even its lock is taken.
#[test]
fn a_store_that_was_not_filled_for_this_is_refused_and_stays_as_it_is() {
    let place = place();
    let daemon = place.serve();
    assert!(daemon.stop().success());
    let theirs = place.data().join("sexton.db");
    let before = fs::read(&theirs).unwrap();
    let words = ["bench", "store", "--dir", "scratch", "--filled", theirs.to_str().unwrap()];
    let refused = place.run(&words);
    assert_eq!(refused.code, 6, "{refused:?}");
    assert!(refused.err.contains("was not filled for this"), "{}", refused.err);
    assert_eq!(fs::read(&theirs).unwrap(), before);
    assert!(is_empty(&place.dir.path().join("scratch")));
}

/// The store that developers fill once is copied, and stays as it is.
#[test]
fn a_store_that_was_filled_before_is_copied() {
    let place = place();
    place.ok(&["bench", "fill", "filled.db", "20"]);
    let filled = place.dir.path().join("filled.db");
    let before = fs::read(&filled).unwrap();
    let words = [&["bench", "--dir", "scratch", "--filled", "filled.db"], STORE].concat();
    let ended = place.run(&words);
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(!ended.err.contains("filling"), "{}", ended.err);
    assert_eq!(fs::read(&filled).unwrap(), before);
    assert_eq!(place.run(&["bench", "fill", "filled.db", "20"]).code, 6, "it exists");
}

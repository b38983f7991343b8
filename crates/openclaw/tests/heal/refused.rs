//! What is left out, and what is refused.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::json;
use sexton_openclaw::finding::Step;
use sexton_openclaw::heal::undo::{Which, undo};
use sexton_openclaw::heal::{Error, Progress, State, apply, list_healings};

use crate::scene::{AGENT, FIRST, SESSIONS, STATE, STUCK, Scene};

#[test]
fn what_changed_since_the_plan_is_left_out_and_the_rest_is_healed() {
    let scene = Scene::new();
    let plan = scene.everything();
    let text = fs::read_to_string(scene.session_file("sessions.json")).unwrap();
    let first = scene.key(0);
    let (before, row) = text.split_at(scene.row_span(&first).start);
    let changed = before.to_owned() + &row.replacen("\"updatedAt\": 1", "\"updatedAt\": 2", 1);
    assert!(text != changed);
    fs::write(scene.session_file("sessions.json"), changed).unwrap();
    fs::write(scene.session_file("left.jsonl"), "{}\n").unwrap();
    fs::remove_file(scene.session_file("sessions.json.7.tmp")).unwrap();
    let db = rusqlite::Connection::open(scene.path(AGENT)).unwrap();
    let sql = "UPDATE session_nodes SET updated_at = updated_at + 1 WHERE session_key = ?1";
    db.execute(sql, [STUCK]).unwrap();
    drop(db);
    let db = rusqlite::Connection::open(scene.path(STATE)).unwrap();
    db.execute("UPDATE task_runs SET status = 'succeeded' WHERE task_id = 't-1'", []).unwrap();
    drop(db);
    let outcome = scene.apply(&plan).unwrap();
    let left: Vec<(usize, &str)> =
        outcome.left_out.iter().map(|item| (item.n, item.reason.as_str())).collect();
    assert_eq!(
        left,
        [
            (1, "the row has changed"),
            (3, &*format!("{SESSIONS}/left.jsonl has changed")),
            (5, &*format!("{SESSIONS}/sessions.json.7.tmp is gone")),
            (6, "the session has changed"),
            (8, "the task is succeeded now"),
            (9, "the database has changed"),
        ]
    );
    assert_eq!(outcome.done, [2, 4, 7]);
    assert!(scene.index()[&first].get("status").is_none_or(|status| *status != json!("failed")));
}

#[test]
fn an_item_is_done_with_all_of_its_steps_or_not_at_all() {
    let scene = Scene::new();
    let key = scene.key(1);
    let steps = vec![scene.remove_row(&key), scene.rename("gone.jsonl")];
    fs::write(scene.session_file("gone.jsonl"), "more").unwrap();
    let before = scene.listing();
    let outcome = scene.apply(&scene.plan(vec![steps])).unwrap();
    assert_eq!((outcome.done.len(), outcome.left_out.len(), outcome.backup), (0, 1, None));
    assert!(scene.listing() == before);
}

#[test]
fn a_damaged_index_is_not_spliced() {
    let scene = Scene::new();
    let step = scene.edit_row(&scene.key(0));
    let text = fs::read_to_string(scene.session_file("sessions.json")).unwrap();
    fs::write(scene.session_file("sessions.json"), &text[..text.len() - 3]).unwrap();
    let outcome = scene.apply(&scene.plan(vec![vec![step]])).unwrap();
    assert_eq!(outcome.left_out[0].reason, "the index is cut off");
}

#[test]
fn nothing_is_renamed_onto_a_file_or_out_of_the_folder() {
    let scene = Scene::new();
    let Step::Rename { from, was, .. } = scene.rename("gone.jsonl") else { panic!("no rename") };
    let to = |to: &str| Step::Rename { from: from.clone(), to: to.into(), was: was.clone() };
    let taken = format!("{SESSIONS}/left.jsonl");
    let before = scene.listing();
    for to in [to(&taken), to("../out.jsonl"), to("/tmp/out.jsonl")] {
        let outcome = scene.apply(&scene.plan(vec![vec![to]])).unwrap();
        assert_eq!(outcome.left_out.len(), 1);
    }
    assert!(scene.listing() == before);
    let both = vec![vec![to("a.jsonl")], vec![to("b.jsonl")]];
    let outcome = scene.apply(&scene.plan(both)).unwrap();
    assert_eq!((outcome.done, outcome.left_out[0].n), (vec![1], 2));
}

#[test]
fn a_folder_with_a_living_owner_is_refused_and_its_process_named() {
    let scene = Scene::new();
    let plan = scene.everything();
    let database = fs::File::open(scene.path(STATE)).unwrap();
    let mut child = Command::new("sleep").arg("60").stdin(Stdio::from(database)).spawn().unwrap();
    let before = scene.listing();
    let refused = scene.apply(&plan);
    let message = refused.as_ref().err().map(ToString::to_string).unwrap_or_default();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(matches!(&refused, Err(Error::Owned(owner)) if owner.pid == child.id()), "{message}");
    assert!(message.contains(&child.id().to_string()));
    assert!(scene.listing() == before);
    scene.apply(&plan).unwrap();
}

#[test]
fn an_owner_that_comes_while_the_healing_is_prepared_is_refused_and_no_backup_stays() {
    let scene = Scene::new();
    let plan = scene.everything();
    let before = scene.listing();
    let mut child = None;
    let refused = apply(&plan, &scene.root, FIRST, &mut |progress| {
        if matches!(progress, Progress::Saving(_)) && child.is_none() {
            let database = fs::File::open(scene.path(STATE)).unwrap();
            let mut sleep = Command::new("sleep");
            child = Some(sleep.arg("60").stdin(Stdio::from(database)).spawn().unwrap());
        }
    });
    let mut child = child.unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(matches!(&refused, Err(Error::Owned(owner)) if owner.pid == child.id()), "{refused:?}");
    assert!(scene.listing() == before);
    assert!(list_healings(&scene.root).unwrap().is_empty());
}

#[test]
fn a_lock_of_a_living_process_is_an_owner_too() {
    let scene = Scene::new();
    let lock = json!({"pid": std::process::id()});
    fs::write(scene.session_file("left.jsonl.lock"), lock.to_string()).unwrap();
    let refused = scene.apply(&scene.everything());
    assert!(matches!(refused, Err(Error::Owned(owner)) if owner.pid == std::process::id()));
}

#[test]
fn undo_refuses_as_a_whole_what_changed_since_and_names_it() {
    let scene = Scene::new();
    scene.apply(&scene.everything()).unwrap();
    fs::write(scene.session_file("left.jsonl"), "{\"n\":4}\n").unwrap();
    let db = rusqlite::Connection::open(scene.path(AGENT)).unwrap();
    db.execute("DELETE FROM cache_entries", []).unwrap();
    db.execute("UPDATE session_nodes SET label = 'x'", []).unwrap();
    drop(db);
    let before = scene.listing();
    let Err(Error::Changed { stamp, paths, .. }) = scene.undo() else { panic!("not refused") };
    assert_eq!(stamp, FIRST);
    assert_eq!(paths, [Path::new(AGENT), &Path::new(SESSIONS).join("left.jsonl")]);
    assert!(scene.listing() == before, "something was touched");
}

#[test]
fn undo_names_what_it_cannot_bring_back_before_it_begins() {
    let scene = Scene::new();
    let name = "sessions.json.7.tmp";
    let steps = vec![vec![scene.set_aside(name)], vec![scene.rename("gone.jsonl")]];
    scene.apply(&scene.plan(steps)).unwrap();
    let backup = scene.path(".sexton-heal").join(FIRST);
    fs::remove_file(backup.join("aside").join(SESSIONS).join(name)).unwrap();
    let before = scene.listing();
    let refused = scene.undo().unwrap_err();
    let says = format!("{SESSIONS}/{name}: its copy in {} is gone", backup.display());
    assert!(refused.to_string().contains(&says), "{refused}");
    assert!(!refused.to_string().contains("changed since"), "{refused}");
    let Error::Changed { paths, lost, .. } = refused else { panic!("{refused}") };
    assert_eq!((paths, lost), (vec![], vec![Path::new(SESSIONS).join(name)]));
    assert!(scene.listing() == before, "something was touched");
    assert_eq!(list_healings(&scene.root).unwrap()[0].state, State::Healed);
}

/// A copy that was damaged was put back, and undo said that all was as before.
#[test]
fn undo_refuses_a_backup_whose_copy_is_damaged_before_it_begins() {
    let scene = Scene::new();
    scene.apply(&scene.everything()).unwrap();
    let copy = scene.path(".sexton-heal").join(FIRST).join("files").join(SESSIONS);
    fs::write(copy.join("sessions.json"), "{}").unwrap();
    let before = scene.listing();
    let Err(Error::Changed { lost, .. }) = scene.undo() else { panic!("not refused") };
    assert_eq!(lost, [Path::new(SESSIONS).join("sessions.json")]);
    assert!(scene.listing() == before, "something was touched");
}

/// A gateway that came after the healing leaves its changes in the log at first.
#[test]
fn undo_refuses_a_database_with_a_log_that_is_newer_than_the_healing() {
    let scene = Scene::new();
    scene.apply(&scene.everything()).unwrap();
    for database in [AGENT, STATE] {
        fs::write(scene.path(format!("{database}-wal")), "what somebody wrote").unwrap();
    }
    let Err(Error::Changed { paths, .. }) = scene.undo() else { panic!("not refused") };
    assert_eq!(paths.len(), 2, "{paths:?}");
}

#[test]
fn undo_twice_says_so() {
    let scene = Scene::new();
    assert!(matches!(scene.undo(), Err(Error::NoBackup { stamp: None })));
    scene.apply(&scene.everything()).unwrap();
    scene.undo().unwrap();
    let message = scene.undo().unwrap_err().to_string();
    assert!(message.contains("undone before"), "{message}");
    let other = undo(&scene.root, Which::Stamp("nothing"), &mut |_| ());
    assert!(matches!(other, Err(Error::NoBackup { stamp: Some(_) })));
}

#[test]
fn healings_are_undone_one_after_the_other() {
    let scene = Scene::new();
    let first = scene.listing();
    let plan = |scene: &Scene, place| scene.plan(vec![vec![scene.edit_row(&scene.key(place))]]);
    scene.apply(&plan(&scene, 0)).unwrap();
    let between = scene.listing();
    apply(&plan(&scene, 1), &scene.root, "20261127T120000Z", &mut |_| ()).unwrap();
    let refused = undo(&scene.root, Which::Stamp(FIRST), &mut |_| ()).unwrap_err();
    assert!(refused.to_string().contains("undo 20261127T120000Z first"), "{refused}");
    let Error::Changed { later, .. } = refused else { panic!("{refused}") };
    assert_eq!(later.as_deref(), Some("20261127T120000Z"));
    scene.undo().unwrap();
    assert!(scene.listing() == between);
    scene.undo().unwrap();
    assert!(scene.listing() == first);
    let states: Vec<State> =
        list_healings(&scene.root).unwrap().iter().map(|healing| healing.state).collect();
    assert_eq!(states, [State::Undone, State::Undone]);
}

//! Changes that are left, and changes that fail when something of them is made: undoing knows them apart.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use rusqlite::Connection;
use rusqlite::config::DbConfig;
use sexton_openclaw::heal::{Progress, apply, finish};

use crate::scene::{AGENT, FIRST, SESSIONS, Scene};

/// The healing made what it had noted as left once it was finished, and undoing did not take it back.
#[test]
fn what_was_left_before_a_healing_was_cut_off_stays_left_when_it_is_finished() {
    let scene = Scene::new();
    let before = scene.contents();
    let items = vec![
        vec![scene.drop_lines("left.jsonl", &[2])],
        vec![scene.set_aside("sessions.json.7.tmp")],
    ];
    let (plan, path) = (scene.plan(items), scene.session_file("left.jsonl"));
    let text = fs::read(&path).unwrap();
    let cut_off = catch_unwind(AssertUnwindSafe(|| {
        apply(&plan, &scene.root, FIRST, &mut |progress| match progress {
            Progress::Saved => fs::write(&path, "somebody else's\n").unwrap(),
            Progress::Making(path) => panic!("cut off before {}", path.display()),
            _ => (),
        })
    }));
    assert!(cut_off.is_err());
    fs::write(&path, &text).unwrap();
    let outcome = finish(&scene.root, FIRST, &mut |_| ()).unwrap();
    assert_eq!((outcome.done, outcome.left_out[0].n), (vec![2], 1));
    assert_eq!(fs::read(&path).unwrap(), text);
    scene.undo().unwrap();
    assert!(scene.contents() == before, "not every byte is back");
}

/// A rename that was made and then failed was noted as left.
#[test]
fn a_change_that_is_there_although_making_it_failed_is_made_and_taken_back() {
    let scene = Scene::new();
    let before = scene.listing();
    let plan = scene.plan(vec![vec![scene.set_aside("sessions.json.7.tmp")]]);
    let aside = scene.path(".sexton-heal").join(FIRST).join("aside").join(SESSIONS);
    let outcome = apply(&plan, &scene.root, FIRST, &mut |progress| {
        if matches!(progress, Progress::Making(_)) {
            fs::create_dir_all(&aside).unwrap();
            let name = "sessions.json.7.tmp";
            fs::rename(scene.session_file(name), aside.join(name)).unwrap();
        }
    });
    assert_eq!(outcome.unwrap().done, [1]);
    scene.undo().unwrap();
    assert!(scene.listing() == before, "not every byte is back");
}

/// A reader in the way lets the frames into the database and the log stand.
#[test]
fn a_log_that_was_written_back_in_part_is_left_and_its_database_taken_back() {
    let scene = Scene::new();
    let (before, was) = (scene.listing(), fs::read(scene.path(AGENT)).unwrap());
    let plan = scene.plan(vec![vec![scene.end_node()]]);
    let mut reader = None;
    let outcome = apply(&plan, &scene.root, FIRST, &mut |progress| {
        let Progress::Making(path) = progress else { return };
        if path == Path::new(AGENT) && reader.is_none() {
            let db = Connection::open(scene.path(AGENT)).unwrap();
            db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).unwrap();
            db.execute_batch("BEGIN; SELECT count(*) FROM session_nodes").unwrap();
            reader = Some(db);
        }
    })
    .unwrap();
    drop(reader);
    assert_eq!((outcome.done.len(), outcome.left_out.len()), (0, 1));
    assert!(outcome.left_out[0].reason.contains("somebody else"), "{outcome:?}");
    assert!(fs::read(scene.path(AGENT)).unwrap() != was, "no frame was written back");
    scene.undo().unwrap();
    assert!(scene.listing() == before, "not every byte is back");
}

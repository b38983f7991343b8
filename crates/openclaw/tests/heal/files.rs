//! Steps on files.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use proptest::prelude::*;
use serde_json::{Value, json};
use sexton_openclaw::finding::Step;

use crate::scene::{FIRST, SESSIONS, Scene, sha256};

/// Applies items, looks, undoes, and finds the folder as it was.
fn there_and_back(scene: &Scene, items: Vec<Vec<Step>>, look: impl FnOnce(&Scene)) {
    let before = scene.listing();
    let count = items.len();
    let outcome = scene.apply(&scene.plan(items)).unwrap();
    assert_eq!(outcome.left_out, []);
    assert_eq!(outcome.done, (1..=count).collect::<Vec<usize>>());
    look(scene);
    let undone = scene.undo().unwrap();
    assert!(undone.files.iter().all(|path| !path.starts_with(".sexton-heal")), "{undone:?}");
    assert!(scene.listing() == before, "the folder is not as it was");
}

#[test]
fn an_edited_row_changes_in_its_fields_and_nothing_else_does() {
    let scene = Scene::new();
    let (key, text) =
        (scene.key(0), fs::read_to_string(scene.session_file("sessions.json")).unwrap());
    let span = scene.row_span(&key);
    let mut expected = scene.index();
    let row = expected[&key].as_object_mut().unwrap();
    row.remove("skillsSnapshot");
    row.insert("status".to_owned(), json!("failed"));
    row.insert("endedAt".to_owned(), json!(1_795_197_793_345_u64));
    there_and_back(&scene, vec![vec![scene.edit_row(&key)]], |scene| {
        assert_eq!(scene.index(), expected);
        let now = fs::read_to_string(scene.session_file("sessions.json")).unwrap();
        assert!(now.starts_with(&text[..span.start]) && now.ends_with(&text[span.end..]));
        let fields = now.lines().filter(|line| line.contains("\"status\": \"failed\"")).count();
        assert_eq!(fields, 1, "a new field stands as the others do");
    });
}

#[test]
fn a_removed_row_and_its_renamed_transcript_go_together() {
    let scene = Scene::new();
    let key = scene.key(1);
    let mut expected = scene.index();
    expected.remove(&key);
    let steps = vec![scene.remove_row(&key), scene.rename("gone.jsonl")];
    there_and_back(&scene, vec![steps], |scene| {
        assert_eq!(scene.index(), expected);
        assert!(!scene.session_file("gone.jsonl").exists());
        let archived = scene.session_file("gone.jsonl.deleted.2026-11-26T12-00-00.000Z");
        assert_eq!(fs::read_to_string(archived).unwrap(), "{\"n\":1}\n");
    });
}

#[test]
fn fields_are_taken_out_of_every_row_beside_other_changes() {
    let scene = Scene::new();
    let (edited, removed) = (scene.key(0), scene.key(1));
    let strip = Step::StripFields {
        store: Path::new(SESSIONS).join("sessions.json"),
        was: scene.stamp(Path::new(SESSIONS).join("sessions.json")),
        fields: vec!["skillsSnapshot".to_owned(), "systemPromptReport".to_owned()],
    };
    let mut expected = scene.index();
    expected.remove(&removed);
    for row in expected.values_mut() {
        let row = row.as_object_mut().unwrap();
        assert!(row.remove("skillsSnapshot").is_some());
        row.remove("systemPromptReport");
    }
    expected[&edited]["status"] = json!("failed");
    expected[&edited]["endedAt"] = json!(1_795_197_793_345_u64);
    let items = vec![vec![scene.edit_row(&edited)], vec![scene.remove_row(&removed)], vec![strip]];
    there_and_back(&scene, items, |scene| assert_eq!(scene.index(), expected));
}

#[test]
fn a_file_that_is_set_aside_is_in_the_backup() {
    let scene = Scene::new();
    let name = "sessions.json.7.tmp";
    there_and_back(&scene, vec![vec![scene.set_aside(name)]], |scene| {
        assert!(!scene.session_file(name).exists());
        let aside = scene.path(".sexton-heal").join(FIRST).join("aside").join(SESSIONS).join(name);
        assert_eq!(fs::read_to_string(aside).unwrap(), "{");
    });
}

/// OpenClaw removes archives that are older than its retention.
#[test]
fn a_file_comes_back_when_the_archive_that_it_became_is_gone() {
    let scene = Scene::new();
    let before = scene.listing();
    scene.apply(&scene.plan(vec![vec![scene.rename("gone.jsonl")]])).unwrap();
    fs::remove_file(scene.session_file("gone.jsonl.deleted.2026-11-26T12-00-00.000Z")).unwrap();
    scene.undo().unwrap();
    assert!(scene.listing() == before, "not every byte is back");
}

#[test]
fn dropped_lines_go_and_mode_and_owner_stay() {
    let scene = Scene::new();
    there_and_back(&scene, vec![vec![scene.drop_lines("left.jsonl", &[2])]], |scene| {
        let path = scene.session_file("left.jsonl");
        assert_eq!(fs::read_to_string(&path).unwrap(), "{\"n\":1}\n{\"n\":3}\n");
        assert_eq!(fs::metadata(path).unwrap().mode() & 0o777, 0o640);
    });
}

#[test]
fn a_rewritten_file_is_no_hard_link_any_more() {
    let scene = Scene::new();
    there_and_back(&scene, vec![vec![scene.drop_lines("linked.jsonl", &[])]], |scene| {
        let meta = fs::metadata(scene.session_file("linked.jsonl")).unwrap();
        assert_eq!((meta.nlink(), meta.len()), (1, 8));
    });
}

#[test]
fn lines_are_dropped_from_a_file_before_it_is_renamed() {
    let scene = Scene::new();
    let items = vec![
        vec![scene.rename("left.jsonl")],
        vec![scene.drop_lines("left.jsonl", &[1])],
        vec![scene.drop_lines("left.jsonl", &[2])],
    ];
    there_and_back(&scene, items, |scene| {
        let archived = scene.session_file("left.jsonl.deleted.2026-11-26T12-00-00.000Z");
        assert_eq!(fs::read_to_string(archived).unwrap(), "{\"n\":3}\n");
        assert!(!scene.session_file("left.jsonl").exists());
    });
}

#[test]
fn everything_at_once_comes_back_byte_by_byte() {
    let scene = Scene::new();
    let before = scene.listing();
    let outcome = scene.apply(&scene.everything()).unwrap();
    assert_eq!((outcome.left_out.as_slice(), outcome.done.len()), ([].as_slice(), 9));
    assert!(outcome.freed > 400_000, "{outcome:?}");
    let undone = scene.undo().unwrap();
    assert_eq!(undone.stamp, FIRST);
    let after = scene.listing();
    for (path, was) in &before {
        assert!(after.get(path) == Some(was), "{}", path.display());
    }
    assert_eq!(after.len(), before.len());
}

/// A `sessions.json` of generated rows, of which some are edited and some removed.
fn generated(rows: &[(String, u8)], pretty: bool) -> String {
    let row = |(place, (text, _)): (usize, &(String, u8))| {
        let key = format!("agent:main:cron:{place}");
        (
            key,
            json!({"sessionId": format!("s-{place}"), "updatedAt": 1_795_197_793_345_u64, "label": text}),
        )
    };
    let rows = Value::Object(rows.iter().enumerate().map(row).collect());
    if pretty { serde_json::to_string_pretty(&rows).unwrap() } else { rows.to_string() }
}

proptest! {
    #![proptest_config(sexton_fuzz::budget(48))]

    #[test]
    fn whatever_is_healed_other_rows_stay_and_undo_restores(
        rows in prop::collection::vec(("\\PC{0,12}", 0_u8..3), 1..12),
        pretty in any::<bool>(),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(dir.path()).unwrap();
        fs::create_dir_all(root.join(SESSIONS)).unwrap();
        let path = root.join(SESSIONS).join("sessions.json");
        let text = generated(&rows, pretty);
        fs::write(&path, &text).unwrap();
        let value: Value = serde_json::from_str(&text).unwrap();
        let store = Path::new(SESSIONS).join("sessions.json");
        let mut spans = Vec::new();
        sexton_openclaw::read::sessions::rows(text.as_bytes(), &mut |row| {
            spans.push((row.row.key.to_string(), String::from_utf8(row.raw.to_vec()).unwrap()));
        }).unwrap();
        let (mut items, mut expected) = (Vec::new(), value.as_object().unwrap().clone());
        for (key, raw) in &spans {
            let place: usize = key.rsplit(':').next().unwrap().parse().unwrap();
            let (store, key, was) = (store.clone(), key.clone(), sha256(raw.as_bytes()));
            match rows[place].1 {
                1 => {
                    expected.remove(&key);
                    items.push(vec![Step::RemoveRow { store, key, was }]);
                }
                2 => {
                    expected[&key]["status"] = json!("killed");
                    let set = serde_json::Map::from_iter([("status".to_owned(), json!("killed"))]);
                    items.push(vec![Step::EditRow { store, key, was, set, unset: Vec::new() }]);
                }
                _ => {}
            }
        }
        let plan = Scene::new_plan(&root, items);
        let meta = fs::metadata(&path).unwrap();
        let outcome = sexton_openclaw::heal::apply(&plan, &root, FIRST, &mut |_| ()).unwrap();
        prop_assert_eq!(outcome.done.len(), plan.items.len());
        let now = fs::read_to_string(&path).unwrap();
        prop_assert_eq!(serde_json::from_str::<Value>(&now).unwrap(), Value::Object(expected));
        let mut kept = Vec::new();
        sexton_openclaw::read::sessions::rows(now.as_bytes(), &mut |row| {
            kept.push((row.row.key.to_string(), String::from_utf8(row.raw.to_vec()).unwrap()));
        }).unwrap();
        for (key, raw) in &spans {
            let place: usize = key.rsplit(':').next().unwrap().parse().unwrap();
            if rows[place].1 == 0 {
                prop_assert!(kept.contains(&(key.clone(), raw.clone())));
            }
        }
        if !plan.items.is_empty() {
            sexton_openclaw::heal::undo::undo(
                &root,
                sexton_openclaw::heal::undo::Which::Latest,
                &mut |_| (),
            ).unwrap();
        }
        prop_assert_eq!(fs::read_to_string(&path).unwrap(), text);
        prop_assert_eq!(fs::metadata(&path).unwrap().modified().unwrap(), meta.modified().unwrap());
    }
}

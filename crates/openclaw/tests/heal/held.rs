//! OpenClaw's own locks: held while its files are changed, respected, and gone afterwards.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
use sexton_openclaw::finding::{Code, Step};
use sexton_openclaw::heal::undo::{Which, undo};
use sexton_openclaw::heal::{Error, Progress, apply, finish};

use crate::scene::{FIRST, SESSIONS, Scene};

/// The files of the scene that OpenClaw locks and a healing of everything changes.
const LOCKED: [&str; 4] = ["gone.jsonl", "left.jsonl", "linked.jsonl", "sessions.json"];

/// The locks among the sessions, by the files that they are of.
fn locks(scene: &Scene) -> Vec<String> {
    let names = fs::read_dir(scene.path(SESSIONS)).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut locks: Vec<String> =
        names.filter_map(|name| name.strip_suffix(".lock").map(str::to_owned)).collect();
    locks.sort();
    locks
}

/// What lay there before makes room for those that are held, and comes back when they are given back.
fn is_lock(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending == "lock")
}

fn lock(scene: &Scene, of: &str) -> Value {
    let bytes = fs::read(scene.session_file(&format!("{of}.lock"))).unwrap();
    serde_json::from_slice(&bytes).unwrap()
}

/// A lock of a process that died.
fn leave_lock(scene: &Scene, of: &str) {
    let mut child = Command::new("true").spawn().unwrap();
    let pid = child.id();
    child.wait().unwrap();
    let text = json!({"pid": pid, "createdAt": "2026-11-20T18:05:44.888Z", "starttime": 7});
    fs::write(scene.session_file(&format!("{of}.lock")), text.to_string()).unwrap();
}

/// A process that takes a lock, and lives until it is killed.
fn take_lock(scene: &Scene, of: &str) -> Child {
    let mut sleep = Command::new("sleep");
    let child = sleep.arg("60").stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let text = json!({"pid": child.id(), "createdAt": "2099-01-01T00:00:00.000Z"});
    fs::write(scene.session_file(&format!("{of}.lock")), text.to_string()).unwrap();
    child
}

fn end(mut child: Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn the_lock_of_every_transcript_and_index_is_held_while_anything_is_changed_and_taken_back() {
    let scene = Scene::new();
    let before = scene.listing();
    let mut seen = Value::Null;
    let outcome = apply(&scene.everything(), &scene.root, FIRST, &mut |progress| {
        if let Progress::Making(path) = progress
            && !is_lock(path)
        {
            assert_eq!(locks(&scene), LOCKED);
            seen = lock(&scene, "left.jsonl");
        }
    });
    assert_eq!(outcome.unwrap().done.len(), 9);
    assert_eq!(locks(&scene), [""; 0]);
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let (_, fields) = stat.rsplit_once(')').unwrap();
    let started: u64 = fields.split_whitespace().nth(19).unwrap().parse().unwrap();
    assert_eq!([&seen["pid"], &seen["starttime"]], [&json!(std::process::id()), &json!(started)]);
    let at: jiff::Timestamp = seen["createdAt"].as_str().unwrap().parse().unwrap();
    let modified = fs::metadata(scene.path(".sexton-heal").join(FIRST)).unwrap().modified();
    let ago = jiff::Timestamp::try_from(modified.unwrap()).unwrap().duration_since(at);
    assert!(ago.as_secs().abs() < 60, "{seen}");

    let mut restored = 0;
    let undone = undo(&scene.root, Which::Latest, &mut |progress| {
        if let Progress::Restoring(path) = progress
            && !is_lock(path)
        {
            assert_eq!(locks(&scene), LOCKED);
            restored += 1;
        }
    });
    undone.unwrap();
    assert!(restored > 5, "{restored}");
    assert!(scene.listing() == before, "not every byte is back");
}

/// Databases and run logs have no lock files: OpenClaw would not look at them.
#[test]
fn nothing_else_is_locked() {
    let scene = Scene::new();
    let runs = scene.path("cron/runs");
    fs::create_dir_all(&runs).unwrap();
    fs::write(runs.join("j1.jsonl"), "{}\nbroken\n").unwrap();
    let path = Path::new("cron/runs/j1.jsonl").to_owned();
    let plan = scene.plan(vec![
        vec![scene.end_node()],
        vec![scene.end_task()],
        vec![scene.set_aside("sessions.json.7.tmp")],
        vec![Step::DropLines { was: scene.stamp(&path), path, lines: vec![2] }],
    ]);
    let stale = locks(&scene);
    let outcome = apply(&plan, &scene.root, FIRST, &mut |_| {
        assert_eq!(locks(&scene), stale);
        assert!(!runs.join("j1.jsonl.lock").exists());
    });
    assert_eq!(outcome.unwrap().done.len(), 4);
    scene.undo().unwrap();
}

#[test]
fn the_lock_of_a_file_that_a_link_leads_to_lies_beside_the_file_itself() {
    let scene = Scene::new();
    fs::rename(scene.path(SESSIONS), scene.path("elsewhere")).unwrap();
    std::os::unix::fs::symlink(scene.path("elsewhere"), scene.path(SESSIONS)).unwrap();
    let Step::DropLines { was, lines, .. } = scene.drop_lines("left.jsonl", &[2]) else {
        panic!("no lines")
    };
    let path = Path::new("elsewhere/left.jsonl").to_owned();
    let plan = scene.plan(vec![vec![Step::DropLines { path, was, lines }]]);
    let mut held = Vec::new();
    let outcome = apply(&plan, &scene.root, FIRST, &mut |progress| {
        if let Progress::Making(_) = progress {
            held = locks(&scene);
        }
    });
    assert_eq!(outcome.unwrap().done, [1]);
    assert!(held.contains(&"left.jsonl".to_owned()), "{held:?}");
}

#[test]
fn a_file_that_a_living_process_has_locked_meanwhile_is_left_out_and_the_process_named() {
    let scene = Scene::new();
    let mut child = None;
    let plan = scene.everything();
    let outcome = apply(&plan, &scene.root, FIRST, &mut |progress| {
        if let Progress::Saved = progress {
            child = Some(take_lock(&scene, "left.jsonl"));
        }
    });
    let child = child.unwrap();
    let outcome = outcome.unwrap();
    let pid = child.id();
    assert_eq!(outcome.done.len(), 8, "{outcome:?}");
    let reason = format!("process {pid} holds its lock {SESSIONS}/left.jsonl.lock");
    assert_eq!((outcome.left_out[0].n, &outcome.left_out[0].reason), (3, &reason));
    assert_eq!(lock(&scene, "left.jsonl")["pid"], pid);
    assert_eq!(locks(&scene), ["left.jsonl"]);
    assert!(fs::read_to_string(scene.session_file("left.jsonl")).unwrap().contains("broken"));
    end(child);
}

/// OpenClaw may take a lock for stale that is not, and take it over.
#[test]
fn a_lock_that_somebody_else_took_over_is_not_given_back() {
    let scene = Scene::new();
    let mut child = None;
    let outcome = apply(&scene.everything(), &scene.root, FIRST, &mut |progress| {
        if let Progress::Making(path) = progress
            && !is_lock(path)
            && child.is_none()
        {
            child = Some(take_lock(&scene, "left.jsonl"));
        }
    });
    outcome.unwrap();
    assert_eq!(locks(&scene), ["left.jsonl"]);
    end(child.unwrap());
}

/// Undoing brings all back or nothing: one file that is somebody's keeps it from all.
#[test]
fn undo_refuses_while_somebody_is_about_to_lock_a_file_and_touches_nothing() {
    let scene = Scene::new();
    scene.apply(&scene.everything()).unwrap();
    fs::write(scene.session_file("left.jsonl.lock"), "").unwrap();
    let before = scene.listing();
    let refused = scene.undo().unwrap_err();
    assert!(matches!(&refused, Error::Locked { .. }), "{refused}");
    assert!(refused.to_string().contains("left.jsonl.lock"), "{refused}");
    assert!(scene.listing() == before, "something was touched");
    fs::remove_file(scene.session_file("left.jsonl.lock")).unwrap();
    scene.undo().unwrap();
}

/// One names a dead process; the other was made by one that died before it said its name.
#[test]
fn stale_locks_make_room_and_come_back_with_undo() {
    for with_finding in [false, true] {
        let scene = Scene::new();
        leave_lock(&scene, "left.jsonl");
        fs::write(scene.session_file("sessions.json.lock"), "").unwrap();
        let old = ["-d", "2026-11-20T19:00:00Z"];
        let touch =
            Command::new("touch").args(old).arg(scene.session_file("sessions.json.lock")).status();
        assert!(touch.unwrap().success());
        let before = scene.listing();
        let mut plan = scene.everything();
        if with_finding {
            let step = vec![scene.set_aside("left.jsonl.lock")];
            let mut item = scene.plan(vec![step]).items.remove(0);
            (item.n, item.code) = (10, Code::StaleLock);
            plan.items.push(item);
        }
        let mut last = Vec::new();
        let outcome = apply(&plan, &scene.root, FIRST, &mut |progress| {
            if let Progress::Made(_) = progress {
                last = locks(&scene);
            }
        });
        assert_eq!(outcome.unwrap().done.len(), plan.items.len());
        assert_eq!(last, LOCKED);
        assert_eq!(locks(&scene), [""; 0]);
        scene.undo().unwrap();
        assert!(scene.listing() == before, "not every byte is back");
    }
}

/// The promise of a kill at any step, where stale locks were in the way before.
#[test]
fn what_a_cut_off_healing_holds_blocks_neither_its_end_nor_its_undoing() {
    let scene = Scene::new();
    leave_lock(&scene, "left.jsonl");
    let before = scene.listing();
    let plan = scene.everything();
    for undone in [false, true] {
        let scene = scene.again();
        let mut made = 0;
        let cut_off = catch_unwind(AssertUnwindSafe(|| {
            apply(&plan, &scene.root, FIRST, &mut |progress| {
                if let Progress::Made(path) = progress {
                    made += 1;
                    assert!(made < 3, "cut off behind {}", path.display());
                }
            })
        }));
        assert!(cut_off.is_err());
        // A killed process gives nothing back.
        for of in LOCKED {
            leave_lock(&scene, of);
        }
        if !undone {
            let outcome = finish(&scene.root, FIRST, &mut |_| ()).unwrap();
            assert_eq!(outcome.done.len(), 9, "{outcome:?}");
            assert_eq!(locks(&scene), [""; 0]);
        }
        scene.undo().unwrap();
        assert!(scene.listing() == before, "not every byte is back");
    }
}

#[test]
fn locks_are_given_back_where_nothing_can_be_put_back() {
    let scene = Scene::new();
    scene.apply(&scene.everything()).unwrap();
    let copies = scene.path(".sexton-heal").join(FIRST).join("files").join(SESSIONS);
    fs::remove_dir_all(copies).unwrap();
    let before = scene.listing();
    assert!(matches!(scene.undo(), Err(Error::Changed { .. })));
    assert!(scene.listing() == before, "something was touched");
}

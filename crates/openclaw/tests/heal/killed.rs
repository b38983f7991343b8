//! A process that heals or undoes is killed at every step of it.

use std::env;
use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, Stdio};

use rustix::process::{Signal, getpid, kill_process};
use sexton_domain::schedule::Zone;
use sexton_openclaw::finding::Code;
use sexton_openclaw::heal::plan::Plan;
use sexton_openclaw::heal::undo::{Which, undo};
use sexton_openclaw::heal::{Error, Progress, State, apply, finish, list_healings};
use sexton_openclaw::inspect::{Options, inspect};

use crate::scene::{AGENT, FIRST, STATE, Scene};

const FOLDER: &str = "SEXTON_TEST_FOLDER";
const PLAN: &str = "SEXTON_TEST_PLAN";
const AT: &str = "SEXTON_TEST_KILL_AT";

/// The process that is killed: it kills itself, without a chance to tidy up.
#[test]
fn a_process_heals_or_undoes_until_it_is_killed() {
    let Ok(folder) = env::var(FOLDER) else { return };
    let at: usize = env::var(AT).unwrap().parse().unwrap();
    let mut steps = 0;
    let mut die = |_: Progress<'_>| {
        steps += 1;
        if steps == at {
            kill_process(getpid(), Signal::KILL).unwrap();
        }
    };
    match env::var(PLAN) {
        Ok(plan) => {
            let plan = Plan::read(&fs::read(plan).unwrap()).unwrap();
            apply(&plan, folder.as_ref(), FIRST, &mut die).unwrap();
        }
        Err(_) => {
            undo(folder.as_ref(), Which::Latest, &mut die).unwrap();
        }
    }
}

/// Whether the process was killed at that step; else it went to its end.
fn is_killed(scene: &Scene, plan: Option<&Plan>, at: usize) -> bool {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", "killed::a_process_heals_or_undoes_until_it_is_killed"]);
    command.stdout(Stdio::null()).env(FOLDER, &scene.root).env(AT, at.to_string());
    if let Some(plan) = plan {
        let path = scene.beside("plan.json");
        fs::write(&path, plan.text()).unwrap();
        command.env(PLAN, path);
    }
    let status = command.status().unwrap();
    let killed = status.signal() == Some(9);
    assert!(killed || status.success(), "{status}");
    killed
}

#[test]
fn a_healing_that_is_killed_at_any_step_is_undone_or_finished() {
    let scene = Scene::new();
    let before = scene.listing();
    let plan = scene.everything();
    let whole = scene.again();
    whole.apply(&plan).unwrap();
    let healed = whole.contents();
    let mut at = 0;
    loop {
        at += 1;
        let undone = scene.again();
        if !is_killed(&undone, Some(&plan), at) {
            break;
        }
        let finished = undone.again();
        match undone.undo() {
            Err(Error::NoBackup { .. }) => {}
            other => assert!(other.is_ok(), "step {at}: {other:?}"),
        }
        assert!(undone.listing() == before, "step {at}: not every byte is back");
        let outcome = match list_healings(&finished.root).unwrap().as_slice() {
            [] => finished.apply(&plan).unwrap(),
            [healing] => {
                assert_eq!(healing.state, State::Unfinished, "step {at}");
                let other = apply(&plan, &finished.root, "29990101T000000Z", &mut |_| ());
                assert!(matches!(other, Err(Error::Unfinished { .. })), "step {at}");
                finish(&finished.root, FIRST, &mut |_| ()).unwrap()
            }
            more => panic!("step {at}: {more:?}"),
        };
        assert_eq!(outcome.done.len(), 9, "step {at}: {outcome:?}");
        assert!(finished.contents() == healed, "step {at}: it is healed in another way");
        if at % 5 == 0 {
            finished.undo().unwrap();
            assert!(finished.listing() == before, "step {at}: finished and not undone");
        }
    }
    assert!(at > 35, "{at} steps");
}

#[test]
fn an_undoing_that_is_killed_at_any_step_goes_on() {
    let scene = Scene::new();
    let before = scene.listing();
    scene.apply(&scene.everything()).unwrap();
    let mut at = 0;
    loop {
        at += 1;
        let again = scene.again();
        if !is_killed(&again, None, at) {
            assert!(again.listing() == before);
            break;
        }
        let state = list_healings(&again.root).unwrap()[0].state;
        assert_eq!(state, State::Undoing, "step {at}");
        assert!(matches!(finish(&again.root, FIRST, &mut |_| ()), Err(Error::Undone { .. })));
        again.undo().unwrap();
        assert!(again.listing() == before, "step {at}: not every byte is back");
    }
    assert!(at > 20, "{at} steps");
}

/// A killed process gives no lock back.
#[test]
fn the_locks_of_a_healing_that_was_killed_are_no_damage() {
    let scene = Scene::new();
    let plan = scene.everything();
    let (mut at, mut last) = (0, 0);
    let mut count = |progress: Progress<'_>| {
        at += 1;
        if matches!(progress, Progress::Made(_)) {
            last = at;
        }
    };
    apply(&plan, &scene.again().root, FIRST, &mut count).unwrap();
    assert!(is_killed(&scene, Some(&plan), last));
    assert!(scene.session_file("sessions.json.lock").exists());
    let options = Options {
        now: "2026-11-26T12:00:00Z".parse().unwrap(),
        zone: Zone::UTC,
        scratch: scene.beside("."),
        served: None,
        progress: &mut |_, _| {},
    };
    let report = inspect(&scene.root, options).unwrap();
    let codes: Vec<Code> = report.findings.iter().map(|finding| finding.code).collect();
    assert!(!codes.contains(&Code::StaleLock), "{codes:?}");
    assert_eq!(report.gateway_pid, None);
}

/// Leaves commits in the log of a database, as a gateway does that is killed.
fn leave_in_the_log(scene: &Scene, database: &str) {
    let db = scene.look(database);
    db.execute_batch("PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0").unwrap();
    db.execute_batch("CREATE TABLE theirs (x); INSERT INTO theirs VALUES (7)").unwrap();
    fs::copy(scene.beside("look.sqlite-wal"), scene.path(format!("{database}-wal"))).unwrap();
}

/// One database has a log when it is staged, the other has none.
#[test]
fn what_a_gateway_committed_between_a_kill_and_the_finish_stays() {
    let scene = Scene::new();
    let plan = scene.everything();
    let before = scene.contents();
    let (mut at, mut saved) = (0, 0);
    let mut count = |progress: Progress<'_>| {
        at += 1;
        if matches!(progress, Progress::Saved) {
            saved = at;
        }
    };
    apply(&plan, &scene.again().root, FIRST, &mut count).unwrap();
    assert!(is_killed(&scene, Some(&plan), saved));
    for database in [AGENT, STATE] {
        leave_in_the_log(&scene, database);
    }
    let files: Vec<_> = [AGENT, STATE].map(|name| fs::read(scene.path(name)).unwrap()).into();
    let outcome = finish(&scene.root, FIRST, &mut |_| ()).unwrap();
    assert_eq!(outcome.done, [1, 2, 3, 4, 5]);
    let left: Vec<(usize, &str)> =
        outcome.left_out.iter().map(|item| (item.n, item.reason.as_str())).collect();
    let (agent, state) = (format!("{AGENT} has changed"), format!("{STATE} has changed"));
    assert_eq!(left, [(6, &*agent), (7, &*agent), (8, &*state), (9, &*state)]);
    for (database, was) in [AGENT, STATE].into_iter().zip(files) {
        assert!(fs::read(scene.path(database)).unwrap() == was, "{database} was replaced");
        let theirs = scene.look(database).query_row("SELECT x FROM theirs", [], |row| row.get(0));
        assert_eq!(theirs, Ok(7), "{database}");
    }
    // What was made can be taken back, and what was left stays as it is.
    let theirs = [AGENT, STATE].map(|name| fs::read(scene.path(format!("{name}-wal"))).unwrap());
    scene.undo().unwrap();
    for (path, was) in before {
        if path.ends_with(AGENT)
            || path.ends_with(STATE)
            || path.to_string_lossy().ends_with("-wal")
        {
            continue;
        }
        assert!(scene.contents().get(&path) == Some(&was), "{}", path.display());
    }
    for (name, was) in [AGENT, STATE].into_iter().zip(theirs) {
        assert!(fs::read(scene.path(format!("{name}-wal"))).unwrap() == was, "{name}");
    }
}

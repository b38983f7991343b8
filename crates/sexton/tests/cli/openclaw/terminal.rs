//! `openclaw heal` in front of a person: what is asked, and what is seen meanwhile.

use std::io::{Read as _, Write as _};
use std::process::Stdio;

use nix::pty::openpty;

use super::*;

/// How a command ends on a terminal where this is typed, and all that is seen there.
fn on_a_terminal(place: &Place, args: &[&str], typed: &str) -> (Option<i32>, String) {
    let pty = openpty(None, None).unwrap();
    let end = || Stdio::from(pty.slave.try_clone().unwrap());
    let mut command = place.command(args);
    let mut child = command.stdin(end()).stdout(end()).stderr(end()).spawn().unwrap();
    drop((command, pty.slave));
    let mut terminal = File::from(pty.master);
    terminal.write_all(typed.as_bytes()).unwrap();
    let mut seen = Vec::new();
    // Once nobody has the other end, reading fails: that is the end of it.
    let _ = terminal.read_to_end(&mut seen);
    (child.wait().unwrap().code(), String::from_utf8(seen).unwrap())
}

#[test]
fn a_person_is_asked_sees_how_far_it_is_and_how_to_take_it_back() {
    let place = Place::new(CONFIG);
    let folder = sick(&place, 2);
    let left = folder.join(LEFT);
    let index = folder.join("agents/main/sessions/sessions.json");
    fs::write(&index, format!("{{{}}}", " ".repeat(9 << 20))).unwrap();
    let args = ["openclaw", "heal", folder.to_str().unwrap()];

    let (code, seen) = on_a_terminal(&place, &args, "no\n");
    assert_eq!(code, Some(1), "{seen}");
    assert!(seen.contains("reading agents/main/sessions/sessions.json (9.0 MiB)"), "{seen}");
    assert!(seen.contains("? [y/N] ") && seen.contains("nothing was changed"), "{seen}");
    assert!(left.exists());

    let (code, seen) = on_a_terminal(&place, &args, "y\n");
    assert_eq!(code, Some(0), "{seen}");
    for step in ["copying", "changing"] {
        assert!(seen.contains(&format!("{step} {LEFT}")), "{seen}");
    }
    assert!(seen.contains("to take it back: sexton openclaw undo "), "{seen}");
    assert!(!left.exists());

    fs::write(&left, "another").unwrap();
    let refused = place.run(&["openclaw", "undo", folder.to_str().unwrap()]);
    assert_eq!(refused.code, 4, "{refused:?}");
    let by_hand = ["take back single files by hand", "/aside", LEFT];
    assert!(by_hand.iter().all(|part| refused.err.contains(part)), "{refused:?}");
    assert_eq!(fs::read_to_string(&left).unwrap(), "another");
}

//! `sweep` and `archive`, against a real daemon and without one.

use std::fs;

use crate::support::{CONFIG, Place, until};

/// P6: what is over is archived and can be read, checked and brought back; damage is named.
#[test]
fn what_is_over_is_swept_archived_read_checked_and_restored() {
    let place = Place::new(&format!("{CONFIG}\n[retention]\nrun = \"1h\"\n"));
    let daemon = place.serve();
    place
        .ok(&["job", "add", "--key", "talk", "--agent", "echo", "--every", "1d", "--prompt", "hi"]);
    place.ok(&["job", "run", "talk", "--wait"]);
    let explained = place.ok(&["sweep", "--dry-run", "--explain"]);
    assert!(
        explained.contains("(age)") && explained.contains("later age: 1 session"),
        "{explained}"
    );
    assert_eq!(place.ok(&["sweep", "--dry-run"]).trim(), "nothing would go");
    place.write(&format!("{CONFIG}\n[retention]\nrun = \"1ms\"\n"));
    daemon.signal(nix::sys::signal::Signal::SIGHUP);
    let archives = until("the session is archived", || {
        place.ok(&["sweep"]);
        let archives = place.json(&["archive", "list"]);
        (!archives["items"].as_array().unwrap().is_empty()).then_some(archives)
    });
    let id = archives["items"][0]["session_id"].as_str().unwrap().to_owned();
    let shown = place.ok(&["archive", "show", &id]);
    assert!(shown.contains("> hi"), "{shown}");
    let swept = place.json(&["sweep", "--explain"]);
    assert!(swept["items"].as_array().unwrap().is_empty());
    assert!(place.ok(&["archive", "verify"]).contains("1 archive sound, 0 findings"));
    place.write(&format!("{CONFIG}\n[retention]\nrun = \"1h\"\n"));
    daemon.signal(nix::sys::signal::Signal::SIGHUP);
    let back = place.ok(&["archive", "restore", &id]);
    assert!(back.contains("pinned"), "{back}");
    assert_eq!(place.run(&["archive", "restore", &id]).code, 4);
    assert!(place.ok(&["session", "transcript", &id]).contains("> hi"));
    assert!(place.ok(&["status"]).contains("1 archive"));
    assert!(daemon.stop().success());
    // Without a daemon the archives are read all the same.
    assert!(place.ok(&["archive", "show", &id]).contains("> hi"));
    let segment = archives["items"][0]["segment"].as_str().unwrap();
    let path = place.data().join("archives").join(segment);
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&path, bytes).unwrap();
    let damaged = place.run(&["archive", "verify"]);
    assert_eq!(damaged.code, 1, "{damaged:?}");
    assert!(damaged.out.contains(segment) && damaged.out.contains(&id), "{damaged:?}");
}

/// A session that is gone is purged by its id, and its archive with it.
#[test]
fn an_archived_session_is_purged_by_its_id() {
    let place = Place::new(&format!("{CONFIG}\n[retention]\nrun = \"1ms\"\n"));
    let daemon = place.serve();
    place
        .ok(&["job", "add", "--key", "talk", "--agent", "echo", "--every", "1d", "--prompt", "hi"]);
    place.ok(&["job", "run", "talk", "--wait"]);
    let id = until("the session is archived", || {
        place.ok(&["sweep"]);
        let archives = place.json(&["archive", "list"]);
        archives["items"][0]["session_id"].as_str().map(str::to_owned)
    });
    let purged = place.ok(&["session", "delete", &id, "--purge"]);
    assert_eq!(purged.trim(), format!("the archive of session {id} is erased"));
    assert_eq!(place.run(&["archive", "show", &id]).code, 3);
    assert!(daemon.stop().success());
}

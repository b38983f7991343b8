//! `openclaw import`, killed at every step: each ends with a wait for the disk.

use std::os::unix::process::ExitStatusExt as _;

use super::again::talk;
use super::*;

/// Kills an import at each of its waits for the disk, in a place as this one is: the next goes on to the same
/// end, and a third has nothing to do. Looks at what each kill leaves; returns how many entries of transcripts
/// were left to store after each.
fn killed_at_every_step(begun: &Place, folder: &Path, mut look: impl FnMut(&Place)) -> Vec<u64> {
    let again = || {
        let place = Place::new(CONFIG);
        fs::create_dir_all(begun.data()).unwrap();
        unpack(&begun.data(), &place.data());
        place
    };
    let whole = again();
    let (before, known) = (counts(begun), receipts(begun));
    let read = total(&import(&whole, folder), "read");
    let expected = timeless(&whole);
    let disk = KillingDisk::new(begun);
    let mut left = Vec::new();
    for sync in 1.. {
        let place = again();
        let mut command = place.command(&["openclaw", "import", folder.to_str().unwrap()]);
        let ended = command.envs(disk.environment(sync)).output().unwrap();
        if ended.status.signal() != Some(9) {
            assert!(ended.status.success(), "{ended:?}");
            break;
        }
        look(&place);
        let stored = counts(&place);
        let resumed = import(&place, folder);
        let mut receipts = receipts(&place);
        receipts.retain(|receipt| !known.contains(receipt));
        what_was_stored_has_its_receipt(&receipts, &resumed, [before, stored]);
        left.push(resumed["kept"]["entries"].as_u64().unwrap());
        assert_eq!(total(&resumed, "read"), read, "killed at sync {sync}");
        assert_eq!(timeless(&place), expected, "killed at sync {sync}");
        let third = import(&place, folder);
        assert_eq!(total(&third, "imported"), 0, "killed at sync {sync}");
        assert!(!third["remarks"].to_string().contains("that began at"), "{third}");
    }
    left
}

/// How many jobs, sessions, runs and entries of transcripts are stored.
fn counts(place: &Place) -> [u64; 4] {
    if place.run(&["job", "list"]).code != 0 {
        // The store is not made yet.
        return [0; 4];
    }
    let state = state(place);
    let [jobs, sessions, runs] =
        ["jobs", "sessions", "runs"].map(|what| state[what].as_array().unwrap().len() as u64);
    let entries = state["sessions"].as_array().unwrap().iter();
    let entries = entries.map(|session| session["entry_count"].as_u64().unwrap()).sum();
    [jobs, sessions, runs, entries]
}

/// The receipts that lie beside a store.
fn receipts(place: &Place) -> Vec<Value> {
    let files = fs::read_dir(place.data().join("imports")).into_iter().flatten();
    files
        .map(|file| serde_json::from_slice(&fs::read(file.unwrap().path()).unwrap()).unwrap())
        .collect()
}

/// The import that was killed has a receipt of just what it has stored: each commit holds both, and the next import
/// writes what is not written.
fn what_was_stored_has_its_receipt(
    all: &[Value],
    resumed: &Value,
    [before, stored]: [[u64; 4]; 2],
) {
    let killed: Vec<_> = all.iter().filter(|receipt| receipt["at"] != resumed["at"]).collect();
    let [receipt] = killed[..] else {
        assert_eq!((killed.len(), before), (0, stored));
        return;
    };
    let kept = ["jobs", "sessions", "runs", "entries"].map(|what| &receipt["kept"][what]);
    for (kept, (before, stored)) in kept.into_iter().zip(before.into_iter().zip(stored)) {
        assert_eq!(*kept, stored - before, "{receipt}");
    }
    let sources = receipt["sources"].as_array().unwrap();
    let whole = sources.iter().all(|source| accounted(source) == source["read"]);
    assert_eq!(receipt["cut_off"] == true, !whole, "{receipt}");
    let remarks = resumed["remarks"].to_string();
    assert!(whole || remarks.contains("was cut off; what it stored is in"), "{remarks}");
}

#[test]
fn an_import_that_is_killed_at_any_step_goes_on_to_the_same_end() {
    let place = Place::new(CONFIG);
    let folder = folder(&place, "2026.9.6-plain");
    let left = killed_at_every_step(&place, &folder, |_| ());
    assert!(left.first() > Some(&0) && left.last() == Some(&0), "{left:?}");
}

/// So many lines of a conversation, each with what it took, are one batch of an import.
const BATCH: u64 = 1000;

#[test]
fn an_import_of_many_batches_that_is_killed_at_any_step_goes_on_to_the_same_end() {
    let place = Place::new(CONFIG);
    let folder = place.dir.path().join("talk");
    talk(&folder, 0, 0..0);
    import(&place, &folder);
    talk(&folder, 3, 0..BATCH + 1);
    let mut left = killed_at_every_step(&place, &folder, |_| ());
    left.dedup();
    assert!(left.len() > 3, "{left:?}");
}

/// A kill between the last entries of a session and its record: the next import had nothing to add to the
/// entries, and left the record as it was for ever.
#[test]
fn what_a_session_took_is_brought_up_to_date_after_an_import_that_was_killed() {
    let place = Place::new(CONFIG);
    let folder = place.dir.path().join("talk");
    talk(&folder, 3, 0..11);
    import(&place, &folder);
    talk(&folder, 3, 11..11 + BATCH);
    let mut behind = 0;
    killed_at_every_step(&place, &folder, |place| {
        let is_behind = |session: &&Value| {
            session["entry_count"] == 11 + BATCH && session["usage"]["input_tokens"] == 100
        };
        behind += state(place)["sessions"].as_array().unwrap().iter().filter(is_behind).count();
    });
    assert!(behind > 0, "no kill came between entries and record");
}

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
        let resumed = import(&place, folder);
        left.push(resumed["kept"]["entries"].as_u64().unwrap());
        assert_eq!(total(&resumed, "read"), read, "killed at sync {sync}");
        assert_eq!(timeless(&place), expected, "killed at sync {sync}");
        assert_eq!(total(&import(&place, folder), "imported"), 0, "killed at sync {sync}");
    }
    left
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

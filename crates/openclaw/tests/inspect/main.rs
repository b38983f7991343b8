//! Real state folders, healthy and made sick in every way that is known from the field.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on stops")]

mod aside;
#[path = "../fixtures/cold.rs"]
mod cold;
mod folder;
mod fuzz;
mod jobs;
mod jobs_alone;
mod json_era;
mod links;
mod lost;
#[path = "../fixtures/mixed.rs"]
mod mixed;
mod retained;
mod sqlite_era;
mod stores;
mod tasks;
#[path = "../fixtures/unpack.rs"]
mod unpack;

use folder::Sick;
use sexton_openclaw::finding::Code;

/// No false alarm: what the real packages write is not sick, whenever it is looked at.
#[test]
fn healthy_folders_of_both_eras_have_nothing_wrong() {
    for name in folder::HEALTHY {
        let sick = Sick::copy(name);
        for later in ["2026-11-20T19:10:00Z", "2027-06-01T00:00:00Z"] {
            assert_eq!(sick.found_at(later), [], "{name} at {later}");
        }
    }
}

/// What inspect looks at stays as it is: bytes, times, and the list of files.
#[test]
fn inspect_writes_nothing() {
    for name in folder::HEALTHY {
        let sick = Sick::copy(name);
        let before = sick.listing();
        sick.found();
        assert_eq!(sick.listing(), before, "{name}");
    }
}

/// Codes are unique and in the words of the documents.
#[test]
fn every_code_is_a_word_of_its_own() {
    let mut words: Vec<&str> = Code::ALL.iter().map(|code| code.as_str()).collect();
    assert!(words.iter().all(|word| word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')));
    words.sort_unstable();
    words.dedup();
    assert_eq!(words.len(), Code::ALL.len());
}

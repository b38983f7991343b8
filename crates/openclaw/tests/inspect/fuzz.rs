//! Folders with damaged bytes: inspect says something or nothing, and what is healed comes back.

use std::fs;
use std::path::PathBuf;

use proptest::prelude::*;
use proptest::sample::Index;
use sexton_fuzz::budget;

use crate::folder::{HEALTHY, NOW, Sick};

/// What happens to a file.
#[derive(Debug, Clone)]
enum Damage {
    /// Its end is lost.
    Cut(Index),
    /// A part of it is zeros.
    Zeros(Index),
    /// A part of it is there twice.
    Twice(Index, Index),
    /// All of it is there twice.
    Doubled,
    /// One byte is another one.
    Flip(Index, u8),
    /// It is gone.
    Gone,
}

fn damage() -> impl Strategy<Value = Damage> {
    prop_oneof![
        any::<Index>().prop_map(Damage::Cut),
        any::<Index>().prop_map(Damage::Zeros),
        (any::<Index>(), any::<Index>()).prop_map(|(from, to)| Damage::Twice(from, to)),
        Just(Damage::Doubled),
        (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Damage::Flip(at, byte)),
        Just(Damage::Gone),
    ]
}

fn damaged(mut bytes: Vec<u8>, damage: &Damage) -> Option<Vec<u8>> {
    let length = bytes.len().max(1);
    match damage {
        Damage::Cut(at) => bytes.truncate(at.index(length)),
        Damage::Zeros(at) => {
            let from = at.index(length);
            bytes.iter_mut().skip(from).take(512).for_each(|byte| *byte = 0);
        }
        Damage::Twice(from, to) => {
            let (from, to) = (from.index(length), to.index(length));
            let part = bytes.get(from.min(to)..from.max(to)).unwrap_or_default().to_vec();
            let at = to.min(bytes.len());
            bytes.splice(at..at, part);
        }
        Damage::Doubled => bytes.extend_from_within(..),
        Damage::Flip(at, byte) => {
            if let Some(there) = bytes.get_mut(at.index(length)) {
                *there = *byte;
            }
        }
        Damage::Gone => return None,
    }
    Some(bytes)
}

proptest! {
    #![proptest_config(budget(24))]

    /// Whatever is damaged: inspect ends and writes nothing, a second look says the same, and undoing a
    /// healing brings every byte back.
    #[test]
    fn a_damaged_folder_is_looked_at_healed_and_brought_back(
        folder in prop::sample::select(HEALTHY),
        hits in prop::collection::vec((any::<Index>(), damage()), 1..4),
    ) {
        let sick = Sick::copy(folder);
        let files: Vec<PathBuf> =
            sick.listing().into_keys().filter(|path| path.is_file()).collect();
        for (which, damage) in &hits {
            let path = which.get(&files);
            match fs::read(path).ok().and_then(|bytes| damaged(bytes, damage)) {
                Some(bytes) => fs::write(path, bytes).unwrap(),
                None => { let _ = fs::remove_file(path); }
            }
        }
        let before = sick.listing();
        let found = sick.found_at(NOW);
        prop_assert!(sick.listing() == before, "inspect wrote");
        prop_assert_eq!(sick.found_at(NOW), found);
        sick.heal_and_undo();
        prop_assert!(sick.listing() == before, "undo did not bring everything back");
    }
}

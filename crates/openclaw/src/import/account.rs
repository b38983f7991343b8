//! The account of an import: what was read of each source, and what became of it.

use serde::Serialize;

use crate::model::{Dropped, Place};

/// What became of the records of one source. `read` is always the sum of the other three.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Source {
    /// The file, relative to the folder; the table behind a `#` for one of a database.
    pub path: String,
    /// Its size in bytes, or that of its database.
    pub bytes: u64,
    /// The SHA-256 of those bytes, in hex. Of a database: of the copy that was read.
    pub sha256: String,
    /// It was written to while it was read: this is as good as it went.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub best_effort: bool,
    /// Records that were found.
    pub read: u64,
    /// Those that this import stored.
    pub imported: u64,
    /// Those that it could not take, each with its place and the reason.
    pub quarantined: Vec<Dropped>,
    /// Those that were stored before, or that tell of something which another source told of.
    pub already_present: u64,
}

/// What becomes of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Became {
    /// It is stored now.
    Imported,
    /// It was there.
    Present,
}

impl Source {
    /// Counts a record.
    pub fn count(&mut self, became: Became) {
        self.read += 1;
        match became {
            Became::Imported => self.imported += 1,
            Became::Present => self.already_present += 1,
        }
    }

    /// Counts a record that could not be taken.
    pub fn quarantine(&mut self, place: Place, reason: impl Into<String>) {
        self.read += 1;
        self.quarantined.push(Dropped { place, reason: reason.into() });
    }

    /// Counts records that could not be read.
    pub fn quarantine_all(&mut self, dropped: Vec<Dropped>) {
        self.read += dropped.len() as u64;
        self.quarantined.extend(dropped);
    }

    /// Whether it adds up.
    pub fn adds_up(&self) -> bool {
        self.read == self.imported + self.quarantined.len() as u64 + self.already_present
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_adds_up_whatever_becomes_of_its_records_and_not_if_one_is_lost() {
        let mut source = Source::default();
        source.count(Became::Imported);
        source.count(Became::Present);
        source.quarantine(Place::Line(3), "no JSON");
        source.quarantine_all(vec![Dropped { place: Place::Byte(9), reason: "cut".to_owned() }]);
        assert!(source.adds_up());
        assert_eq!((source.read, source.imported, source.already_present), (4, 1, 1));
        source.read += 1;
        assert!(!source.adds_up());
    }
}

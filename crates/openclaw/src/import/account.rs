//! The account of an import: what was read of each source, and what became of it.

use serde::{Deserialize, Serialize};

use crate::model::{Dropped, Place, Tally};

/// What became of the records of one source. How many there are is what their reader says; each of the
/// other columns is counted by who decides about a record, so that one that nobody decided about shows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// The file, relative to the folder; the table behind a `#` for one of a database.
    pub path: String,
    /// Its size in bytes, or that of its database.
    pub bytes: u64,
    /// The SHA-256 of those bytes, in hex. Of a database: of the copy that was read.
    pub sha256: String,
    /// It was written to while it was read: this is as good as it went.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub best_effort: bool,
    /// Records that their reader found, those that it could not hand on too.
    pub read: u64,
    /// What became of them.
    #[serde(flatten)]
    pub done: Done,
}

/// What became of records of a source.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// Those that this import stored.
    pub imported: u64,
    /// Those that it could not take, each with its place and the reason.
    pub quarantined: Vec<Dropped>,
    /// Those that were stored before, or that tell of something which another source told of.
    pub already_present: u64,
    /// Those that a living gateway is at work on.
    pub under_way: u64,
}

/// What becomes of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Became {
    /// It is stored now.
    Imported,
    /// It was there.
    Present,
}

impl Done {
    /// Counts what became of a record.
    pub fn count(&mut self, became: Became) {
        match became {
            Became::Imported => self.imported += 1,
            Became::Present => self.already_present += 1,
        }
    }

    /// Counts a record that could not be taken.
    pub fn quarantine(&mut self, place: Place, reason: impl Into<String>) {
        self.quarantined.push(Dropped { place, reason: reason.into() });
    }

    /// Counts records that are left out until they have their end.
    pub fn leave(&mut self, records: u64) {
        self.under_way += records;
    }

    /// Takes over what became of more.
    pub fn add(&mut self, more: Self) {
        self.imported += more.imported;
        self.quarantined.extend(more.quarantined);
        self.already_present += more.already_present;
        self.under_way += more.under_way;
    }

    /// How many records something became of.
    fn records(&self) -> u64 {
        self.imported + self.quarantined.len() as u64 + self.already_present + self.under_way
    }
}

impl Source {
    /// Takes over what a reader found: what it could not hand on is quarantined.
    pub fn found(&mut self, tally: Tally) {
        self.read += tally.read + tally.dropped.len() as u64;
        self.done.quarantined.extend(tally.dropped);
    }

    /// Nothing of it can be read: it counts as one record.
    pub fn unread(&mut self, reason: String) {
        self.found(Tally {
            dropped: vec![Dropped { place: Place::Whole, reason }],
            ..Tally::default()
        });
    }

    /// How many records something became of.
    pub fn accounted(&self) -> u64 {
        self.done.records()
    }

    /// Whether something became of every record, and of no record twice.
    pub fn adds_up(&self) -> bool {
        self.read == self.accounted()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_adds_up_if_one_thing_became_of_each_record_and_not_if_one_is_lost_or_counted_twice()
    {
        let mut source = Source::default();
        let dropped = vec![Dropped { place: Place::Byte(9), reason: "cut".to_owned() }];
        source.found(Tally { read: 4, dropped, bytes: 0 });
        source.done.count(Became::Imported);
        source.done.count(Became::Present);
        source.done.quarantine(Place::Line(3), "no JSON");
        assert_eq!((source.read, source.accounted(), source.adds_up()), (5, 4, false));
        source.done.leave(1);
        assert!(source.adds_up());
        source.done.count(Became::Present);
        assert!(!source.adds_up());

        let mut source = Source::default();
        source.unread("no database".to_owned());
        assert_eq!((source.read, source.adds_up()), (1, true));
    }
}

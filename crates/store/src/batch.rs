//! A batch of bounded size: records, and transcripts of sessions that are brought back or over, each
//! part of a transcript behind the record of its session.

use sexton_domain::change::{Change, Restore};
use sexton_domain::entry::Entry;
use sexton_domain::id::SessionId;

/// So many bytes, or a little more, are stored at once.
const FULL_BYTES: usize = 1024 * 1024;

/// Changes that are to be stored at once.
#[derive(Debug)]
pub struct Batch {
    changes: Vec<Change>,
    /// Those of the session that is being filled.
    entries: Vec<Entry>,
    items: usize,
    bytes: usize,
    full_items: usize,
}

impl Batch {
    /// An empty one that takes so many changes and entries.
    pub fn of(full_items: usize) -> Self {
        Self { changes: Vec::new(), entries: Vec::new(), items: 0, bytes: 0, full_items }
    }

    /// Adds a change with about so many bytes.
    pub fn push(&mut self, change: impl Into<Change>, bytes: usize) {
        self.items += 1;
        self.bytes += bytes;
        self.changes.push(change.into());
    }

    /// Adds entries of a session, which is named by the next [`Batch::close`].
    pub fn fill(&mut self, entries: impl IntoIterator<Item = Entry>) {
        for entry in entries {
            self.items += 1;
            self.bytes += entry.content.len();
            self.entries.push(entry);
        }
    }

    /// The entries so far are those of this session.
    pub fn close(&mut self, session: SessionId) {
        let entries = std::mem::take(&mut self.entries);
        if !entries.is_empty() {
            self.changes.push(Change::Restore(Restore { session, entries }));
        }
    }

    /// Whether it is to be stored before more is added.
    pub fn is_full(&self) -> bool {
        self.items >= self.full_items || self.bytes >= FULL_BYTES
    }

    /// What is to be stored; none where nothing is. Begins anew.
    pub fn take(&mut self) -> Option<Vec<Change>> {
        let Self { changes, .. } = std::mem::replace(self, Self::of(self.full_items));
        (!changes.is_empty()).then_some(changes)
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use sexton_domain::change::{Guard, RecordId};
    use sexton_domain::entry::Role;
    use sexton_domain::id::Ids;
    use sexton_domain::node::Epoch;

    use super::*;

    fn entry(seq: u64, bytes: usize) -> Entry {
        let (at, role) = (Timestamp::UNIX_EPOCH, Role::User);
        Entry { seq, at, role, content: "x".repeat(bytes) }
    }

    fn change() -> Change {
        Change::Require(Guard::Alive(Epoch::new(1, 1)))
    }

    #[test]
    fn a_batch_is_full_by_items_or_by_bytes_and_begins_anew_when_it_is_taken() {
        let mut batch = Batch::of(3);
        assert_eq!(batch.take(), None);
        batch.push(change(), FULL_BYTES - 1);
        assert!(!batch.is_full());
        batch.fill([entry(1, 1)]);
        assert!(batch.is_full());
        assert_eq!(batch.take(), Some(vec![change()]), "nobody said whose entry it was");
        batch.fill([entry(1, 1), entry(2, 1)]);
        batch.push(change(), 0);
        assert!(batch.is_full());
    }

    #[test]
    fn the_entries_of_a_session_stand_where_it_was_closed() {
        let mut ids = Ids::new(Timestamp::UNIX_EPOCH, 1);
        let [one, other]: [SessionId; 2] = [ids.mint(), ids.mint()];
        let record = |id| Change::Delete(RecordId::Session(id), Default::default());
        let mut batch = Batch::of(9);
        batch.push(record(one), 0);
        batch.fill([entry(1, 1), entry(2, 1)]);
        batch.close(one);
        batch.push(record(other), 0);
        batch.fill([entry(1, 1)]);
        batch.close(other);
        batch.close(other);
        let restore = |session, entries| Change::Restore(Restore { session, entries });
        let expected = vec![
            record(one),
            restore(one, vec![entry(1, 1), entry(2, 1)]),
            record(other),
            restore(other, vec![entry(1, 1)]),
        ];
        assert_eq!(batch.take(), Some(expected));
        assert_eq!(batch.take(), None);
    }
}

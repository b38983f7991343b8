//! P7: an acknowledged write is on disk, and so is what a record speaks of (P6).

use sexton_domain::change::{Change, Record, RecordId, Version};
use sexton_domain::id::EventId;
use sexton_store::{CommitError, Committed, Driver};

use super::Kept;
use crate::diary::{Broken, Promise};
use crate::ledger::inline;
use crate::shelf::Shelf;

/// What a batch stores, to be looked for after its answer.
#[derive(Debug, Default)]
pub(crate) struct Written {
    events: Vec<EventId>,
    records: Vec<(RecordId, Version)>,
}

impl Written {
    /// What a batch is to store. An event that is stored already, by an answer that was lost, says nothing.
    pub(crate) fn by(changes: &[Change], store: &dyn Driver) -> Self {
        let mut written = Self::default();
        for change in changes {
            match change {
                Change::Emit(event) if inline(store.event(event.id)).is_some() => {}
                Change::Emit(event) => written.events.push(event.id),
                Change::Put(record) if is_versioned(record) => {
                    written.records.retain(|(id, _)| *id != record.id());
                    written.records.push((record.id(), record.version()));
                }
                Change::Delete(id, _) => written.records.retain(|(other, _)| other != id),
                _ => {}
            }
        }
        written
    }

    /// The records, each at the version that it is written over.
    pub(crate) fn records(&self) -> impl Iterator<Item = &(RecordId, Version)> {
        self.records.iter()
    }
}

fn is_versioned(record: &Record) -> bool {
    !matches!(record, Record::Usage(_) | Record::Idempotency(_))
}

/// P7: a batch that is acknowledged is stored with all that it changes, and one that is refused is not.
pub(crate) fn p7_as_answered(
    written: &Written,
    answer: &Result<Committed, CommitError>,
    store: &dyn Driver,
) -> Kept {
    if matches!(answer, Err(CommitError::AnswerLost)) {
        return Ok(());
    }
    let no = |how: String| Err(Broken::new(Promise::P7, how));
    let acknowledged = answer.is_ok();
    for id in &written.events {
        if inline(store.event(*id)).is_some() != acknowledged {
            return no(format!("event {id} of a batch that was answered {answer:?}"));
        }
    }
    for (id, version) in written.records.iter().filter(|_| acknowledged) {
        let stored = inline(store.get(id.clone())).map(|record| record.version());
        if stored != Some(version.next()) {
            return no(format!(
                "{id:?} was stored at {version:?}, acknowledged, and is at {stored:?}"
            ));
        }
    }
    Ok(())
}

/// P6: the archive of a session is on disk before its record is.
pub(crate) fn p6_archive_before_its_record(
    written: &Written,
    store: &dyn Driver,
    shelf: &Shelf,
) -> Kept {
    for (id, before) in written.records().filter(|(id, _)| matches!(id, RecordId::Archive(_))) {
        let Some(Record::Archive(archive)) = inline(store.get(id.clone())) else { continue };
        let end = archive.offset + archive.length;
        let is_new = archive.version == before.next() && archive.deleted_at.is_none();
        if is_new && !shelf.is_synced(&archive.segment, end) {
            let (session, segment) = (archive.session, &archive.segment);
            let how = format!(
                "{session} is recorded as archived in {segment} up to byte {end}, which is not on disk"
            );
            return Err(Broken::new(Promise::P6, how));
        }
    }
    Ok(())
}

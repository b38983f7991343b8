//! Which sessions earlier imports brought: one that has its transcript by now, or has lost it since, is the
//! same.
//!
//! The id of a session follows from when it began, and its row and its transcript tell of two instants. What
//! both share is their id there.

use std::collections::{HashMap, HashSet};

use jiff::Timestamp;
use sexton_domain::id::SessionId;
use sexton_domain::origin::Origin;
use sexton_domain::session::Session;
use uuid::Uuid;

use super::ids;

/// The id there; where it is not one of its kind, with the folder of the source.
type There = (String, String);

/// The sessions that earlier imports brought.
#[derive(Debug, Default)]
pub struct Brought {
    ids: HashSet<SessionId>,
    there: HashMap<There, Before>,
}

#[derive(Debug, Clone, Copy)]
struct Before {
    id: SessionId,
    opened_at: Timestamp,
    /// It has no transcript.
    is_bare: bool,
}

impl Brought {
    /// A session that is stored.
    pub fn add(&mut self, session: &Session) {
        let Some(there) = there(session) else { return };
        self.ids.insert(session.id);
        let Session { id, opened_at, entry_count, .. } = *session;
        self.there.insert(there, Before { id, opened_at, is_bare: entry_count == 0 });
    }

    /// The id that a session has here already, if it is another one than follows from what is told of it now.
    /// A transcript is that of a session which had none, or began with it: one that was begun anew under an
    /// old id is another session.
    pub fn other_id(&mut self, told: &Session, has_text: bool) -> Option<SessionId> {
        if self.ids.contains(&told.id) {
            return None;
        }
        let there = there(told)?;
        let before = *self.there.get(&there)?;
        let is_same = !has_text || before.is_bare || before.opened_at == told.opened_at;
        if is_same && has_text {
            self.there.remove(&there);
        }
        is_same.then_some(before.id)
    }
}

/// Keys and paths stand for an id where there is none: they are not one session's alone.
fn there(session: &Session) -> Option<There> {
    let Origin { system, id, source, .. } = session.origin.as_deref()?;
    let is_id = system == ids::SYSTEM && !id.contains([':', '/']);
    // A session keeps its id where the store of its agent changes.
    let folder = source.rsplit_once('/').filter(|_| id.parse::<Uuid>().is_err());
    let folder = folder.map_or("", |(folder, _)| folder);
    is_id.then(|| (folder.to_owned(), id.clone()))
}

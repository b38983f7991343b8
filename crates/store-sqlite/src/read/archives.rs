//! Reads of archives and of the segments they lie in.

use sexton_domain::archive::{Archive, Segment};
use sexton_domain::id::SessionId;
use sexton_store::page::{Page, PageRequest};

use crate::codec;
use crate::fail::Fail;
use crate::read::page::{Condition, Ids, Scan};
use crate::read::{View, at_most};

pub(crate) const SEGMENTS: &str = "SELECT name, body FROM segment ORDER BY name";
pub(crate) const IN_SEGMENT: &str = "SELECT session, body FROM archive INDEXED BY archive_segment \
     WHERE segment = ? AND start > ? ORDER BY start, session";

/// See [`sexton_store::Driver::segments`].
pub(crate) fn segments(view: &View<'_>) -> Result<Vec<Segment>, Fail> {
    view.list(SEGMENTS, Vec::new(), usize::MAX)
}

/// See [`sexton_store::Driver::archives_in`].
pub(crate) fn in_segment(
    view: &View<'_>,
    segment: &str,
    after: Option<u64>,
    limit: u32,
) -> Result<Vec<Archive>, Fail> {
    let after = after.map_or(rusqlite::types::Value::Integer(-1), codec::number);
    view.list(IN_SEGMENT, vec![codec::text(segment), after], at_most(limit))
}

/// See [`sexton_store::Driver::archives`].
pub(crate) fn page(
    view: &View<'_>,
    page: PageRequest<SessionId>,
) -> Result<Page<Archive, SessionId>, Fail> {
    scan().page(view, &Ids::all().after(page.after.map(SessionId::uuid)), page.limit)
}

/// How the list is read.
pub(crate) fn scan() -> Scan {
    Scan::by_id(Condition::none())
}

//! Reads of sessions and their transcripts.

use jiff::Timestamp;
use rusqlite::OptionalExtension;
use rusqlite::types::Value;
use sexton_domain::entry::Entry;
use sexton_domain::id::{JobId, SessionId};
use sexton_domain::key::{SessionKey, SessionKind};
use sexton_domain::node::Epoch;
use sexton_domain::session::Session;
use sexton_store::Error;
use sexton_store::page::{Ended, Page, PageRequest, SessionFilter};

use crate::codec;
use crate::fail::Fail;
use crate::read::orphans::Owned;
use crate::read::page::{Condition, Ids, Scan};
use crate::read::{View, at_most, uuid};
use crate::table;

pub(crate) const OPEN: &str = "SELECT id, body, entry_count, bytes FROM session \
     INDEXED BY session_open_key WHERE key = ? AND open = 1";
pub(crate) const ENTRIES: &str =
    "SELECT seq, at, role, content FROM entry WHERE session = ? AND seq > ? ORDER BY seq";
pub(crate) const CONTINUED: &str = "SELECT 1 FROM session INDEXED BY session_continued \
     WHERE previous = ? AND open = 1 AND previous IS NOT NULL LIMIT 1";
pub(crate) const IDLE: &str = "SELECT id, body, entry_count, bytes FROM session \
     INDEXED BY session_idle WHERE kind = ? AND active_at <= ? AND open = 1 AND active_at IS NOT NULL \
     ORDER BY active_at, id";
pub(crate) const DUE: &str = "SELECT id, body, entry_count, bytes FROM session \
     INDEXED BY session_expires WHERE expires_at <= ? AND open = 0 AND expires_at IS NOT NULL \
     ORDER BY expires_at, id";
pub(crate) const NEXT_DUE: &str = "SELECT id, body, entry_count, bytes, expires_at FROM session \
     INDEXED BY session_expires WHERE open = 0 AND expires_at IS NOT NULL ORDER BY expires_at";
pub(crate) const OVERDUE: &str = "SELECT id, body, entry_count, bytes FROM session \
     INDEXED BY session_expires WHERE expires_at < ? AND open = 0 AND expires_at IS NOT NULL";
pub(crate) const NEWEST_ENDED: &str = "SELECT id FROM session INDEXED BY session_ended \
     WHERE job = ? AND open = 0 AND job IS NOT NULL ORDER BY id DESC";
pub(crate) const NEWEST_FAILED: &str = "SELECT id FROM session INDEXED BY session_failed \
     WHERE job = ? AND failure = 1 AND job IS NOT NULL ORDER BY id DESC";
pub(crate) const OLDEST_KEPT: &str = "SELECT id FROM session INDEXED BY session_ended \
     WHERE job = ? AND open = 0 AND job IS NOT NULL ORDER BY id DESC LIMIT 1 OFFSET ?";
pub(crate) const BEYOND: &str = "SELECT id, body, entry_count, bytes FROM session \
     INDEXED BY session_ended WHERE job = ?1 AND id < ?2 AND open = 0 AND job IS NOT NULL \
         AND ifnull(held_until, ?3) <= ?3 ORDER BY id DESC";
pub(crate) const OWNED: Owned = Owned { index: "session_owner", only: "open = 1" };

/// See [`sexton_store::Driver::open_session`].
pub(crate) fn open(view: &View<'_>, key: &SessionKey) -> Result<Option<Session>, Fail> {
    let mut statement = view.db.prepare_cached(OPEN)?;
    let mut rows = statement.query([key.as_str()])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    table::read(row).map(Some)
}

/// See [`sexton_store::Driver::sessions`].
pub(crate) fn page(
    view: &View<'_>,
    filter: &SessionFilter,
    page: PageRequest<SessionId>,
) -> Result<Page<Session, SessionId>, Fail> {
    let ids = Ids::all().after(page.after.map(SessionId::uuid)).since(filter.since);
    scan(filter).page(view, &ids, page.limit)
}

/// How a list is read: along the index of the filter that leaves the fewest rows.
pub(crate) fn scan(filter: &SessionFilter) -> Scan {
    let equals = |sql, value| Condition::new(sql, vec![value]);
    let key = filter.key.as_ref().map(|key| equals("key = ?", codec::text(key.as_str())));
    let agent = filter.agent.as_ref().map(|agent| equals("agent = ?", codec::text(agent.as_str())));
    let job = filter.job.map(|job| equals("job = ?", codec::id(job.uuid())));
    let open = filter.open.map(|open| equals("open = ?", codec::flag(open)));
    let reason = filter.reason.map(|why| equals("reason = ?", codec::text(codec::word(&why))));
    let kinds = (!filter.kinds.is_empty()).then(|| any_kind(&filter.kinds));
    let all = |conditions: [&Option<Condition>; 5]| {
        let some = conditions.into_iter().flatten().cloned();
        some.fold(Condition::none(), Condition::and)
    };
    match (&key, &job, &agent, &reason) {
        (Some(key), ..) => {
            let rest = all([&kinds, &agent, &job, &open, &reason]);
            Scan::along("session_key", key.clone(), rest)
        }
        _ if filter.open == Some(true) => {
            let open = Condition::new("open = 1", Vec::new());
            Scan::along("session_open", open, all([&kinds, &agent, &job, &reason, &None]))
        }
        (_, Some(job), ..) => {
            Scan::along("session_job", job.clone(), all([&kinds, &agent, &open, &reason, &None]))
        }
        (_, _, Some(agent), _) => Scan {
            index: Some("session_agent"),
            arms: kind_arms(&filter.kinds).map(|kind| agent.clone().and(kind)).collect(),
            rest: all([&open, &reason, &None, &None, &None]),
        },
        (.., Some(reason)) => {
            Scan::along("session_reason", reason.clone(), all([&kinds, &open, &None, &None, &None]))
        }
        _ if kinds.is_some() => Scan {
            index: Some("session_kind"),
            arms: kind_arms(&filter.kinds).collect(),
            rest: open.unwrap_or_default(),
        },
        _ => Scan::by_id(open.unwrap_or_default()),
    }
}

/// One arm for each of some kinds, or for each kind there is.
fn kind_arms(kinds: &[SessionKind]) -> impl Iterator<Item = Condition> {
    let wanted: Vec<SessionKind> = SessionKind::ALL
        .into_iter()
        .filter(|kind| kinds.is_empty() || kinds.contains(kind))
        .collect();
    wanted.into_iter().map(|kind| Condition::new("kind = ?", vec![codec::text(kind.as_str())]))
}

fn any_kind(kinds: &[SessionKind]) -> Condition {
    let marks = vec!["?"; kinds.len()].join(", ");
    let values = kinds.iter().map(|kind| codec::text(kind.as_str())).collect();
    Condition::new(format!("kind IN ({marks})"), values)
}

/// See [`sexton_store::Driver::orphan_sessions`].
pub(crate) fn orphans(view: &View<'_>, living: &[Epoch], limit: u32) -> Result<Vec<Session>, Fail> {
    OWNED.orphans(view, living, limit, |session: &Session| session.id)
}

/// See [`sexton_store::Driver::sessions_of`].
pub(crate) fn of(view: &View<'_>, epoch: Epoch, limit: u32) -> Result<Vec<Session>, Fail> {
    OWNED.of(view, epoch, limit)
}

/// See [`sexton_store::Driver::continued`].
pub(crate) fn continued(view: &View<'_>, sessions: Vec<SessionId>) -> Result<Vec<SessionId>, Fail> {
    view.those(CONTINUED, sessions)
}

/// See [`sexton_store::Driver::idle_sessions`].
pub(crate) fn idle(
    view: &View<'_>,
    kind: SessionKind,
    until: Timestamp,
    limit: u32,
) -> Result<Vec<Session>, Fail> {
    view.list(IDLE, vec![codec::text(kind.as_str()), codec::time(until)], at_most(limit))
}

/// See [`sexton_store::Driver::due_sessions`].
pub(crate) fn due(view: &View<'_>, now: Timestamp, limit: u32) -> Result<Vec<Session>, Fail> {
    view.list(DUE, vec![codec::time(now)], at_most(limit))
}

/// See [`sexton_store::Driver::next_due_session`].
pub(crate) fn next_due(view: &View<'_>) -> Result<Option<Timestamp>, Fail> {
    view.first_time::<Session>(NEXT_DUE, Vec::new())
}

/// See [`sexton_store::Driver::overdue_sessions`]. As [`due`], it leaves out what cannot be read.
pub(crate) fn overdue(view: &View<'_>, before: Timestamp, limit: u32) -> Result<u64, Fail> {
    let found = view.collect(OVERDUE, vec![codec::time(before)], at_most(limit), |row| {
        table::read::<Session>(row).map(drop)
    })?;
    Ok(found.len() as u64)
}

/// See [`sexton_store::Driver::newest_ended`].
pub(crate) fn newest_ended(
    view: &View<'_>,
    job: JobId,
    which: Ended,
    limit: u32,
) -> Result<Vec<SessionId>, Fail> {
    let sql = match which {
        Ended::All => NEWEST_ENDED,
        Ended::Failures => NEWEST_FAILED,
    };
    view.collect(sql, vec![codec::id(job.uuid())], at_most(limit), |row| Ok(uuid(row, 0)?.into()))
}

/// See [`sexton_store::Driver::ended_beyond`].
pub(crate) fn ended_beyond(
    view: &View<'_>,
    job: JobId,
    keep: u32,
    now: Timestamp,
    limit: u32,
) -> Result<Vec<Session>, Fail> {
    let job = codec::id(job.uuid());
    let below = match keep.checked_sub(1) {
        None => Some(Value::Blob(vec![0xff; 17])),
        Some(offset) => view
            .db
            .prepare_cached(OLDEST_KEPT)?
            .query_row([job.clone(), codec::number(offset.into())], |row| row.get(0))
            .optional()?,
    };
    match below {
        Some(below) => view.list(BEYOND, vec![job, below, codec::time(now)], at_most(limit)),
        None => Ok(Vec::new()),
    }
}

/// See [`sexton_store::Driver::entries`].
pub(crate) fn entries(
    view: &View<'_>,
    session: SessionId,
    after: u64,
    limit: u32,
) -> Result<Vec<Entry>, Fail> {
    let values = vec![codec::id(session.uuid()), codec::number(after)];
    view.collect(ENTRIES, values, at_most(limit), |row| read_entry(session, row))
}

fn read_entry(session: SessionId, row: &rusqlite::Row<'_>) -> Result<Entry, Fail> {
    let seq = codec::unsigned(row.get(0)?);
    let corrupt = |why| Error::Corrupt { what: format!("entry {seq} of session {session}"), why };
    let at = codec::from_time(row.get(1)?).map_err(corrupt)?;
    let role = row.get_ref(2)?.as_str().ok().and_then(codec::from_word);
    let role = role.ok_or_else(|| corrupt("its role is unknown".to_owned()))?;
    let content = row.get_ref(3)?.as_str().map_err(|error| corrupt(error.to_string()))?.to_owned();
    Ok(Entry { seq, at, role, content })
}

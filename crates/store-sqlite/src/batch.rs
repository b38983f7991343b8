//! Batches: the changes of one decision, one after the other.

use rusqlite::{Connection, OptionalExtension, ToSql};
use sexton_domain::change::{Change, Guard, Version};
use sexton_store::{Committed, Conflict, limits};

use crate::codec;
use crate::fail::Fail;
use crate::read::{deliveries, sessions};
use crate::record;

const ALIVE: &str = "SELECT 1 FROM node WHERE epoch = ? AND ended = 0";
const SINCE: &str = "SELECT 1 FROM event WHERE seq > ? LIMIT 1";
const RUNNING: &str = "SELECT 1 FROM run INDEXED BY run_active_job \
     WHERE job = ? AND state = 'running' AND state <> 'ended' LIMIT 1";
const BUSY: &str =
    "SELECT 1 FROM run INDEXED BY run_running_key WHERE session_key = ? AND state = 'running'";
const QUEUED: &str = "SELECT count(*) FROM run INDEXED BY run_active_key \
     WHERE session_key = ? AND state = 'queued' AND state <> 'ended'";

/// Applies every change or stops at the first that cannot be applied; the caller undoes the rest.
pub(crate) fn apply(db: &Connection, batch: &mut [Change]) -> Result<Committed, Fail> {
    let mut last_seq = None;
    for change in batch {
        limits::check(change)?;
        match change {
            Change::Require(guard) => require(db, guard)?,
            Change::Put(record) => record::put(db, record)?,
            Change::Delete(id, version) => record::delete(db, id.clone(), *version)?,
            Change::Append(append) => record::entry::append(db, append)?,
            Change::Restore(restore) => record::entry::restore(db, restore)?,
            Change::Emit(event) => last_seq = Some(record::event::insert(db, event)?),
        }
    }
    Ok(Committed { last_seq })
}

fn require(db: &Connection, guard: &Guard) -> Result<(), Fail> {
    let exists = |sql, key: &dyn ToSql| -> rusqlite::Result<bool> {
        Ok(db.prepare_cached(sql)?.query_row([key], |_| Ok(())).optional()?.is_some())
    };
    let holds = match guard {
        Guard::Alive(epoch) => exists(ALIVE, &codec::number(epoch.number()))?,
        Guard::NothingSince(seq) => !exists(SINCE, &codec::number(*seq))?,
        Guard::Unchanged(id, version) => {
            record::version(db, id)?.unwrap_or(Version::NEW) == *version
        }
        Guard::NothingRunning(job) => !exists(RUNNING, &codec::id(job.uuid()))?,
        Guard::KeyIdle(key) => !exists(BUSY, &key.as_str())?,
        Guard::QueueRoom(key, limit) => {
            let queued: i64 =
                db.prepare_cached(QUEUED)?.query_row([key.as_str()], |row| row.get(0))?;
            usize::try_from(queued).is_ok_and(|queued| queued < *limit)
        }
        Guard::NotContinued(session) => !exists(sessions::CONTINUED, &codec::id(session.uuid()))?,
        Guard::Told(session) => !exists(deliveries::UNDELIVERED, &codec::id(session.uuid()))?,
    };
    if holds { Ok(()) } else { Err(Conflict::Guard(guard.clone()).into()) }
}

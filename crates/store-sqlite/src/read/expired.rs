//! Expired records: by kind, those whose time was over before an instant, the longest over first.

use rusqlite::types::Value;
use rusqlite::{OptionalExtension, Row};
use sexton_domain::access::IdempotencyKey;
use sexton_domain::change::{RecordId, Version};
use sexton_domain::id::JobId;
use sexton_domain::node::Epoch;
use sexton_store::Error;
use sexton_store::page::Expired;

use crate::codec;
use crate::fail::Fail;
use crate::read::{View, at_most, uuid};
use crate::record::alert;

// Each answers the version (zero for records without one) and then the identity.
pub(crate) const NODES: &str = "SELECT version, epoch FROM node INDEXED BY node_ended \
     WHERE ended_at IS NOT NULL AND ended_at < ? ORDER BY ended_at, epoch";
pub(crate) const TOMBSTONES: &str = "SELECT version, id FROM job INDEXED BY job_removed \
     WHERE removed_at IS NOT NULL AND removed_at < ? \
         AND NOT EXISTS (SELECT 1 FROM session INDEXED BY session_job WHERE session.job = job.id) \
     ORDER BY removed_at, id";
pub(crate) const DONE_JOBS: &str = "SELECT version, id FROM job INDEXED BY job_done \
     WHERE removed = 0 AND done_at IS NOT NULL AND done_at < ? AND source = 'api' \
     ORDER BY done_at, id";
pub(crate) const RUNS: &str = "SELECT version, id FROM run INDEXED BY run_ended \
     WHERE ended_at IS NOT NULL AND ended_at < ? ORDER BY ended_at, id";
pub(crate) const OLDEST_KEPT_RUN: &str = "SELECT id FROM run INDEXED BY run_job \
     WHERE job = ? ORDER BY id DESC LIMIT 1 OFFSET ?";
pub(crate) const RUNS_BEFORE: &str = "SELECT version, id FROM run INDEXED BY run_job \
     WHERE job = ? AND id < ? AND state = 'ended' ORDER BY id";
pub(crate) const EVENTS: &str = "SELECT 0, id FROM event INDEXED BY event_at \
     WHERE at < ? AND NOT EXISTS (SELECT 1 FROM delivery \
         WHERE delivery.event = event.id AND state <> 'delivered') \
     ORDER BY at, seq";
pub(crate) const DELIVERIES: &str = "SELECT version, id FROM delivery INDEXED BY delivery_over \
     WHERE state = ? AND state <> 'pending' AND at < ? ORDER BY at, id";
pub(crate) const USAGE: &str =
    "SELECT 0, id FROM usage INDEXED BY usage_at WHERE at < ? ORDER BY at, id";
pub(crate) const STUBS: &str = "SELECT version, session FROM archive INDEXED BY archive_deleted \
     WHERE deleted_at IS NOT NULL AND deleted_at < ? ORDER BY deleted_at, session";
pub(crate) const SEGMENTS: &str = "SELECT version, name FROM segment INDEXED BY segment_deleted \
     WHERE deleted_at IS NOT NULL AND deleted_at < ? ORDER BY deleted_at, name";
pub(crate) const IDEMPOTENCY: &str = "SELECT 0, token, route, key FROM idempotency \
     INDEXED BY idempotency_at WHERE at < ? ORDER BY at";
pub(crate) const ALERTS: &str = "SELECT version, key FROM alert INDEXED BY alert_cleared \
     WHERE cleared_at IS NOT NULL AND cleared_at < ? ORDER BY cleared_at, key";

/// How an identity is read from its columns.
type Identity = fn(&Row<'_>) -> Result<RecordId, Fail>;

/// See [`sexton_store::Driver::expired`].
pub(crate) fn expired(
    view: &View<'_>,
    what: &Expired,
    limit: u32,
) -> Result<Vec<(RecordId, Version)>, Fail> {
    let (sql, before, identity): (_, _, Identity) = match what {
        Expired::Nodes(before) => (NODES, before, |row| {
            Ok(RecordId::Node(Epoch::from_number(codec::unsigned(row.get(1)?))))
        }),
        Expired::Tombstones(before) => {
            (TOMBSTONES, before, |row| Ok(RecordId::Job(uuid(row, 1)?.into())))
        }
        Expired::DoneJobs(before) => {
            (DONE_JOBS, before, |row| Ok(RecordId::Job(uuid(row, 1)?.into())))
        }
        Expired::Runs(before) => (RUNS, before, run_id),
        Expired::RunsBeyond(job, keep) => return runs_beyond(view, *job, *keep, limit),
        Expired::Events(before) => {
            (EVENTS, before, |row| Ok(RecordId::Event(uuid(row, 1)?.into())))
        }
        Expired::Delivered(before) => {
            return rows(
                view,
                DELIVERIES,
                vec![codec::text("delivered"), codec::time(*before)],
                limit,
                delivery_id,
            );
        }
        Expired::Dead(before) => {
            return rows(
                view,
                DELIVERIES,
                vec![codec::text("dead"), codec::time(*before)],
                limit,
                delivery_id,
            );
        }
        Expired::Usage(before) => (USAGE, before, |row| Ok(RecordId::Usage(uuid(row, 1)?.into()))),
        Expired::Stubs(before) => {
            (STUBS, before, |row| Ok(RecordId::Archive(uuid(row, 1)?.into())))
        }
        Expired::Segments(before) => (SEGMENTS, before, |row| Ok(RecordId::Segment(row.get(1)?))),
        Expired::Idempotency(before) => (IDEMPOTENCY, before, answer_id),
        Expired::Alerts(before) => (ALERTS, before, alert_id),
    };
    rows(view, sql, vec![codec::time(*before)], limit, identity)
}

fn rows(
    view: &View<'_>,
    sql: &str,
    values: Vec<Value>,
    limit: u32,
    identity: Identity,
) -> Result<Vec<(RecordId, Version)>, Fail> {
    view.collect(sql, values, at_most(limit), |row| {
        Ok((identity(row)?, Version(codec::unsigned(row.get(0)?))))
    })
}

fn runs_beyond(
    view: &View<'_>,
    job: JobId,
    keep: u64,
    limit: u32,
) -> Result<Vec<(RecordId, Version)>, Fail> {
    let job = codec::id(job.uuid());
    let below = match keep.checked_sub(1) {
        None => Some(Value::Blob(vec![0xff; 17])),
        Some(offset) => view
            .db
            .prepare_cached(OLDEST_KEPT_RUN)?
            .query_row([job.clone(), codec::number(offset)], |row| row.get(0))
            .optional()?,
    };
    match below {
        Some(below) => rows(view, RUNS_BEFORE, vec![job, below], limit, run_id),
        None => Ok(Vec::new()),
    }
}

fn run_id(row: &Row<'_>) -> Result<RecordId, Fail> {
    Ok(RecordId::Run(uuid(row, 1)?.into()))
}

fn delivery_id(row: &Row<'_>) -> Result<RecordId, Fail> {
    Ok(RecordId::Delivery(uuid(row, 1)?.into()))
}

fn answer_id(row: &Row<'_>) -> Result<RecordId, Fail> {
    let token = match row.get_ref(1)?.as_blob() {
        Ok([]) => None,
        _ => Some(uuid(row, 1)?.into()),
    };
    Ok(RecordId::Idempotency(IdempotencyKey { token, route: row.get(2)?, key: row.get(3)? }))
}

fn alert_id(row: &Row<'_>) -> Result<RecordId, Fail> {
    let text: String = row.get(1)?;
    let key = alert::key(&text).ok_or_else(|| Error::Corrupt {
        what: format!("alert {text}"),
        why: "its code is unknown".to_owned(),
    })?;
    Ok(RecordId::Alert(key))
}

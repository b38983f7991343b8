//! The records: which columns each kind has, and where a change, a guard or a read finds them.

use rusqlite::{Connection, OptionalExtension, ToSql};
use sexton_domain::access::Token;
use sexton_domain::alert::Alert;
use sexton_domain::archive::{Archive, Segment};
use sexton_domain::change::{Record, RecordId, Version};
use sexton_domain::hook::{Delivery, Hook};
use sexton_domain::job::Job;
use sexton_domain::node::Node;
use sexton_domain::receipt::ReceiptPart;
use sexton_domain::run::Run;
use sexton_domain::session::Session;
use sexton_domain::sweep::Reaper;
use sexton_store::Conflict;

use crate::codec;
use crate::fail::Fail;
use crate::table::{self, Row};

pub(crate) mod alert;
pub(crate) mod entry;
pub(crate) mod event;
pub(crate) mod idempotency;
pub(crate) mod usage;

mod archive;
mod delivery;
mod hook;
mod job;
mod node;
mod reaper;
mod receipt_part;
mod run;
mod segment;
mod session;
mod token;

pub(crate) use job::source_word;

/// Stores a record.
pub(crate) fn put(db: &Connection, record: &mut Record) -> Result<(), Fail> {
    let id = record.id();
    match record {
        Record::Node(node) => table::put(db, node, id),
        Record::Job(job) => table::put(db, &mut **job, id),
        Record::Run(run) => table::put(db, &mut **run, id),
        Record::Session(session) => table::put(db, &mut **session, id),
        Record::Hook(hook) => table::put(db, hook, id),
        Record::Delivery(delivery) => table::put(db, delivery, id),
        Record::Archive(archive) => table::put(db, archive, id),
        Record::Segment(segment) => table::put(db, segment, id),
        Record::Alert(alert) => table::put(db, alert, id),
        Record::Reaper(reaper) => table::put(db, reaper, id),
        Record::Token(token) => table::put(db, token, id),
        Record::ReceiptPart(part) => table::put(db, part, id),
        Record::Usage(usage) => usage::put(db, usage),
        Record::Idempotency(answer) => idempotency::put(db, answer),
    }
}

/// Deletes a record and what belongs to it. Records without versions are deleted at any.
pub(crate) fn delete(db: &Connection, id: RecordId, version: Version) -> Result<(), Fail> {
    let versioned = |table, key| table::delete(db, table, key, version);
    let deleted = match &id {
        RecordId::Node(epoch) => versioned(Node::TABLE, codec::number(epoch.number()))?,
        RecordId::Job(job) => versioned(Job::TABLE, codec::id(job.uuid()))?,
        RecordId::Run(run) => versioned(Run::TABLE, codec::id(run.uuid()))?,
        RecordId::Session(session) => {
            let deleted = versioned(Session::TABLE, codec::id(session.uuid()))?;
            if deleted {
                entry::delete_all(db, *session)?;
            }
            deleted
        }
        RecordId::Hook(hook) => versioned(Hook::TABLE, codec::text(hook.as_str()))?,
        RecordId::Delivery(delivery) => versioned(Delivery::TABLE, codec::id(delivery.uuid()))?,
        RecordId::Archive(session) => versioned(Archive::TABLE, codec::id(session.uuid()))?,
        RecordId::Segment(segment) => versioned(Segment::TABLE, codec::text(&**segment))?,
        RecordId::Alert(alert) => versioned(Alert::TABLE, codec::text(alert.to_string()))?,
        RecordId::Reaper => versioned(Reaper::TABLE, reaper::ONE)?,
        RecordId::Token(token) => versioned(Token::TABLE, codec::id(token.uuid()))?,
        RecordId::ReceiptPart(part) => versioned(ReceiptPart::TABLE, codec::id(part.uuid()))?,
        RecordId::Event(event) => event::delete(db, *event)?,
        RecordId::Usage(usage) => usage::delete(db, *usage)?,
        RecordId::Idempotency(key) => idempotency::delete(db, key)?,
    };
    if deleted { Ok(()) } else { Err(Conflict::Version(id).into()) }
}

/// The version that is stored; of a record without versions, that of one that was stored once.
pub(crate) fn version(db: &Connection, id: &RecordId) -> rusqlite::Result<Option<Version>> {
    let versioned = |table, key| table::version(db, table, key);
    match id {
        RecordId::Node(epoch) => versioned(Node::TABLE, codec::number(epoch.number())),
        RecordId::Job(job) => versioned(Job::TABLE, codec::id(job.uuid())),
        RecordId::Run(run) => versioned(Run::TABLE, codec::id(run.uuid())),
        RecordId::Session(session) => versioned(Session::TABLE, codec::id(session.uuid())),
        RecordId::Hook(hook) => versioned(Hook::TABLE, codec::text(hook.as_str())),
        RecordId::Delivery(delivery) => versioned(Delivery::TABLE, codec::id(delivery.uuid())),
        RecordId::Archive(session) => versioned(Archive::TABLE, codec::id(session.uuid())),
        RecordId::Segment(segment) => versioned(Segment::TABLE, codec::text(&**segment)),
        RecordId::Alert(alert) => versioned(Alert::TABLE, codec::text(alert.to_string())),
        RecordId::Reaper => versioned(Reaper::TABLE, reaper::ONE),
        RecordId::Token(token) => versioned(Token::TABLE, codec::id(token.uuid())),
        RecordId::ReceiptPart(part) => versioned(ReceiptPart::TABLE, codec::id(part.uuid())),
        RecordId::Event(event) => event::exists(db, *event).map(stored_once),
        RecordId::Usage(usage) => usage::exists(db, *usage).map(stored_once),
        RecordId::Idempotency(key) => idempotency::exists(db, key).map(stored_once),
    }
}

fn stored_once(exists: bool) -> Option<Version> {
    exists.then(|| Version::NEW.next())
}

/// One record. Events are not records: they are read in their order.
pub(crate) fn get(db: &Connection, id: &RecordId) -> Result<Option<Record>, Fail> {
    Ok(match id {
        RecordId::Node(epoch) => table::get(db, codec::number(epoch.number()))?.map(Record::Node),
        RecordId::Job(job) => table::get(db, codec::id(job.uuid()))?.map(Box::new).map(Record::Job),
        RecordId::Run(run) => table::get(db, codec::id(run.uuid()))?.map(Box::new).map(Record::Run),
        RecordId::Session(session) => {
            table::get(db, codec::id(session.uuid()))?.map(Box::new).map(Record::Session)
        }
        RecordId::Hook(hook) => table::get(db, codec::text(hook.as_str()))?.map(Record::Hook),
        RecordId::Delivery(delivery) => {
            table::get(db, codec::id(delivery.uuid()))?.map(Record::Delivery)
        }
        RecordId::Archive(session) => {
            table::get(db, codec::id(session.uuid()))?.map(Record::Archive)
        }
        RecordId::Segment(segment) => table::get(db, codec::text(&**segment))?.map(Record::Segment),
        RecordId::Alert(alert) => {
            table::get(db, codec::text(alert.to_string()))?.map(Record::Alert)
        }
        RecordId::Reaper => table::get(db, reaper::ONE)?.map(Record::Reaper),
        RecordId::Token(token) => table::get(db, codec::id(token.uuid()))?.map(Record::Token),
        RecordId::ReceiptPart(part) => {
            table::get(db, codec::id(part.uuid()))?.map(Record::ReceiptPart)
        }
        RecordId::Usage(usage) => usage::get(db, *usage)?.map(Record::Usage),
        RecordId::Idempotency(key) => idempotency::get(db, key)?.map(Record::Idempotency),
        RecordId::Event(_) => None,
    })
}

/// Whether a query has an answer.
fn found(db: &Connection, sql: &str, params: &[&dyn ToSql]) -> rusqlite::Result<bool> {
    Ok(db.prepare_cached(sql)?.query_row(params, |_| Ok(())).optional()?.is_some())
}

//! Sessions as rows.

use rusqlite::types::Value;
use sexton_domain::change::Version;
use sexton_domain::session::{EndReason, Session};
use sexton_store::limits::{self, MAX_SESSION_BYTES};
use sexton_store::{Conflict, Error};

use crate::codec;
use crate::table::{Row, Table};

impl Row for Session {
    const TABLE: Table = Table {
        name: "session",
        id: "id",
        columns: &[
            "key",
            "kind",
            "agent",
            "job",
            "epoch",
            "open",
            "reason",
            "expires_at",
            "previous",
            "active_at",
            "failure",
            "held_until",
        ],
        extra: ", entry_count, bytes",
    };

    fn id(&self) -> Value {
        codec::id(self.id.uuid())
    }

    fn version(&mut self) -> &mut Version {
        &mut self.version
    }

    fn columns(&self) -> Vec<Value> {
        let held_until = match (&self.hold, self.pinned) {
            (_, true) => Value::Integer(i64::MAX),
            (hold, false) => codec::time(hold.as_ref().map(|hold| hold.until)),
        };
        vec![
            codec::text(self.key.as_str()),
            codec::text(self.kind.as_str()),
            codec::text(self.agent.as_str()),
            codec::id(self.job.map(|job| job.uuid())),
            codec::number(self.owner.epoch.number()),
            codec::flag(self.is_open()),
            self.end_reason().map_or(Value::Null, |reason| codec::text(codec::word(&reason))),
            codec::time(self.look_at()),
            codec::id(self.previous.map(|previous| previous.uuid())),
            codec::time(self.active_at.filter(|_| self.is_open() && self.run.is_none())),
            codec::flag(self.end_reason().is_some_and(EndReason::is_failure)),
            held_until,
        ]
    }

    fn check(body: &str) -> Result<(), Error> {
        limits::fits("a session", body.len(), MAX_SESSION_BYTES)
    }

    fn taken(&self, rule: &str) -> Option<Conflict> {
        (rule == "session.key").then(|| Conflict::KeyOpen(self.key.clone()))
    }

    /// The counts in the body are those of the last put; appends have moved the columns since.
    fn overlay(&mut self, row: &rusqlite::Row<'_>, first: usize) -> rusqlite::Result<()> {
        self.entry_count = codec::unsigned(row.get(first)?);
        self.bytes = codec::unsigned(row.get(first + 1)?);
        Ok(())
    }
}

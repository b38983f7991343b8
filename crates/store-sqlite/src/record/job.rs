//! Jobs as rows.

use rusqlite::types::Value;
use sexton_domain::change::Version;
use sexton_domain::job::{Job, Source};
use sexton_store::Conflict;

use crate::codec;
use crate::table::{Row, Table};

impl Row for Job {
    const TABLE: Table = Table {
        name: "job",
        id: "id",
        columns: &[
            "key",
            "source",
            "agent",
            "removed",
            "due_at",
            "removed_at",
            "done_at",
            "capped",
            "reindex",
            "troubled",
        ],
        extra: "",
    };

    fn id(&self) -> Value {
        codec::id(self.id.uuid())
    }

    fn version(&mut self) -> &mut Version {
        &mut self.version
    }

    fn columns(&self) -> Vec<Value> {
        vec![
            codec::text(self.key.as_str()),
            codec::text(source_word(&self.source)),
            codec::text(self.spec.agent.as_str()),
            codec::flag(self.removed_at.is_some()),
            codec::time(self.due_at()),
            codec::time(self.removed_at),
            codec::time(self.done_at),
            codec::flag(self.spec.retention.max_sessions.is_some()),
            codec::flag(self.reindex),
            codec::flag(self.is_troubled()),
        ]
    }

    fn taken(&self, rule: &str) -> Option<Conflict> {
        (rule == "job.key").then(|| Conflict::JobKeyTaken(self.key.clone()))
    }
}

/// A source as its column has it: as in JSON, where a config named `api` is not the API.
pub(crate) fn source_word(source: &Source) -> String {
    codec::word(source)
}

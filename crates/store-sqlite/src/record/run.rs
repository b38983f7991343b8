//! Runs as rows.

use rusqlite::types::Value;
use sexton_domain::change::Version;
use sexton_domain::run::{Run, State};
use sexton_store::Conflict;

use crate::codec;
use crate::table::{Row, Table};

impl Row for Run {
    const TABLE: Table = Table {
        name: "run",
        id: "id",
        columns: &[
            "job",
            "slot",
            "attempt",
            "agent",
            "session_key",
            "state",
            "outcome",
            "turn",
            "rests_until",
            "epoch",
            "started_at",
            "ended_at",
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
        let rests_until = match self.state {
            State::Waiting { until } => Some(until),
            _ => None,
        };
        vec![
            codec::id(self.job.map(|job| job.uuid())),
            codec::time(self.slot),
            codec::number(self.attempt.into()),
            codec::text(self.agent.as_str()),
            codec::text(self.session_key.as_str()),
            codec::text(self.state.name()),
            self.outcome().map_or(Value::Null, |outcome| codec::text(codec::word(&outcome))),
            codec::number(self.turn),
            codec::time(rests_until),
            self.owner().map_or(Value::Null, |owner| codec::number(owner.epoch.number())),
            codec::time(self.started_at),
            // In `ended_at`: from when its age counts, of an imported run its import.
            codec::time(self.aged_from()),
        ]
    }

    fn taken(&self, rule: &str) -> Option<Conflict> {
        match rule {
            "run.session_key" => Some(Conflict::KeyRunning(self.session_key.clone())),
            "run.job, run.slot, run.attempt" => Some(Conflict::SlotTaken),
            _ => None,
        }
    }
}

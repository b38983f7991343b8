//! Reads of what the store knows about itself, and of the counts it keeps.

use std::collections::BTreeMap;

use rusqlite::Connection;
use sexton_domain::key::SessionKind;
use sexton_domain::meta::Meta;
use sexton_domain::name::HookName;
use sexton_domain::run::Outcome;
use sexton_store::Error;
use sexton_store::page::{RunState, Standing, Tally};

use crate::codec;
use crate::fail::Fail;
use crate::read::View;

pub(crate) const TALLY: &str = "SELECT what, a, b, n FROM counter WHERE n > 0";

/// See [`sexton_store::Driver::meta`].
pub(crate) fn meta(db: &Connection) -> Result<Meta, Fail> {
    let schema = db.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    let text = |name: &str| {
        db.prepare_cached("SELECT value FROM meta WHERE name = ?")?
            .query_row([name], |row| row.get::<_, String>(0))
    };
    let corrupt = |what: &str, why: String| Error::Corrupt { what: format!("the {what}"), why };
    let store_id = text("store_id")?
        .parse()
        .map_err(|error: uuid::Error| corrupt("store's id", error.to_string()))?;
    let generation = text("generation")?.parse().map_err(|error: std::num::ParseIntError| {
        corrupt("store's generation", error.to_string())
    })?;
    Ok(Meta { schema, store_id, generation })
}

/// How many rows each table has.
pub(crate) fn rows(db: &Connection) -> Result<BTreeMap<String, u64>, Fail> {
    let tables = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'";
    let mut statement = db.prepare_cached(tables)?;
    let names = statement.query_map([], |row| row.get::<_, String>(0))?;
    let mut counts = BTreeMap::new();
    for name in names {
        let name = name?;
        let count = db.query_row(&format!("SELECT count(*) FROM {name}"), [], |row| row.get(0))?;
        counts.insert(name, codec::unsigned(count));
    }
    Ok(counts)
}

/// See [`sexton_store::Driver::tally`].
pub(crate) fn tally(view: &View<'_>) -> Result<Tally, Fail> {
    let mut tally = Tally::default();
    let mut statement = view.db.prepare_cached(TALLY)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let [what, a, b]: [String; 3] = [row.get(0)?, row.get(1)?, row.get(2)?];
        let n = codec::unsigned(row.get(3)?);
        match what.as_str() {
            "session" => {
                let kind: Option<SessionKind> = a.parse().ok();
                tally.sessions.extend(kind.map(|kind| ((kind, b == "1"), n)));
            }
            "run" => {
                let state = RunState::ALL.into_iter().find(|state| state.name() == a);
                let outcome: Option<Outcome> = codec::from_word(&b);
                tally.runs.extend(state.map(|state| ((state, outcome), n)));
            }
            "delivery" => {
                let state = Standing::ALL.into_iter().find(|state| state.name() == b);
                let hook: Option<HookName> = a.parse().ok();
                tally.deliveries.extend(hook.zip(state).map(|key| (key, n)));
            }
            "archive" => tally.archives.0 = n,
            "archive_bytes" => tally.archives.1 = n,
            "troubled" => tally.troubled = n,
            "alert" => tally.alerts = n,
            "job" => tally.jobs = n,
            "event" => tally.events = n,
            _ => {}
        }
    }
    Ok(tally)
}

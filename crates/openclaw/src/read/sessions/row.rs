//! One session row: its fields, and how large each is, without holding the large ones.

use crate::model::{Pointer, SessionRow, Status, Usage};
use crate::read::field::Lossy;
use crate::read::raw::{self, lossy, members};

/// Reads the value of a row. Bytes that are no UTF-8 count as replacement characters, as for OpenClaw;
/// of a repeated field the last one counts. The row's `range` is left empty.
///
/// # Errors
///
/// Why the row is none: it is no JSON, or no object.
pub fn row(key: &str, raw: &[u8]) -> Result<SessionRow, String> {
    let text = lossy(raw);
    let mut row = empty(key);
    let mut rest = Rest::default();
    members(&text, &mut |name, value| {
        set(&mut row, &mut rest, name, value);
        let bytes = value.len() as u64;
        if row.largest.as_ref().is_none_or(|(_, most)| bytes > *most) {
            row.largest = Some((name.into(), bytes));
        }
    })
    .map_err(|error| error.to_string())?;
    row.bytes = raw.len() as u64;
    row.label = rest.label.or(rest.display_name);
    row.parent = rest.spawned_by.or(rest.parent);
    row.usage = rest.has_usage.then_some(rest.usage);
    let SessionRow { earlier, session_id, .. } = &mut row;
    earlier.retain(|id| Some(id) != session_id.as_ref());
    Ok(row)
}

/// What several fields decide about.
#[derive(Default)]
struct Rest {
    label: Option<Box<str>>,
    display_name: Option<Box<str>>,
    spawned_by: Option<Box<str>>,
    parent: Option<Box<str>>,
    usage: Usage,
    has_usage: bool,
}

fn set(row: &mut SessionRow, rest: &mut Rest, name: &str, value: &str) {
    match name {
        "sessionId" => row.session_id = text(value),
        "status" => row.status = text(value).as_deref().and_then(status),
        "sessionFile" => row.pointer = text(value).map_or(Pointer::Derived, Pointer::Named),
        "updatedAt" => row.updated_at = raw::millis(value),
        "sessionStartedAt" => row.session_started_at = raw::millis(value),
        "startedAt" => row.started_at = raw::millis(value),
        "endedAt" => row.ended_at = raw::millis(value),
        "abortedLastRun" => row.aborted_last_run = value == "true",
        "archivedAt" => row.archived_at = raw::millis(value),
        "pinnedAt" => row.pinned_at = raw::millis(value),
        "label" => rest.label = text(value),
        "displayName" => rest.display_name = text(value),
        "model" => row.model = text(value),
        "spawnedBy" => rest.spawned_by = text(value),
        "parentSessionKey" => rest.parent = text(value),
        "usageFamilySessionIds" => each_of(value, &mut |id| row.earlier.extend(text(id))),
        "compactionCheckpoints" => each_of(value, &mut |checkpoint| {
            row.earlier.extend(compacted(checkpoint));
        }),
        _ => set_usage(rest, name, value),
    }
}

/// The elements of a list; none of what is no list.
fn each_of(list: &str, each: &mut dyn FnMut(&str)) {
    let _ = raw::elements(list, each);
}

/// The session that was compacted.
fn compacted(checkpoint: &str) -> Option<Box<str>> {
    let before = member(checkpoint, "preCompaction")?;
    text(&member(&before, "sessionId")?)
}

fn member(object: &str, wanted: &str) -> Option<String> {
    let mut found = None;
    let read = members(object, &mut |name, value| {
        if name == wanted {
            found = Some(value.to_owned());
        }
    });
    read.ok().and(found)
}

fn set_usage(rest: &mut Rest, name: &str, value: &str) {
    let usage = &mut rest.usage;
    let count = match name {
        "inputTokens" => &mut usage.input,
        "outputTokens" => &mut usage.output,
        "cacheRead" => &mut usage.cache_read,
        "cacheWrite" => &mut usage.cache_write,
        "estimatedCostUsd" => {
            let Some(cost) = raw::number(value).filter(|cost| *cost >= 0.0) else { return };
            usage.cost_usd = cost;
            rest.has_usage = true;
            return;
        }
        _ => return,
    };
    if let Some(read) = raw::count(value) {
        *count = read;
        rest.has_usage = true;
    }
}

fn empty(key: &str) -> SessionRow {
    SessionRow {
        key: key.into(),
        session_id: None,
        status: None,
        pointer: Pointer::Derived,
        updated_at: None,
        session_started_at: None,
        started_at: None,
        ended_at: None,
        aborted_last_run: false,
        archived_at: None,
        pinned_at: None,
        label: None,
        model: None,
        parent: None,
        earlier: Vec::new(),
        usage: None,
        bytes: 0,
        largest: None,
        range: 0..0,
    }
}

/// A status by its name.
pub fn status(word: &str) -> Option<Status> {
    match word {
        "running" => Some(Status::Running),
        "done" => Some(Status::Done),
        "failed" => Some(Status::Failed),
        "killed" => Some(Status::Killed),
        "timeout" => Some(Status::Timeout),
        _ => None,
    }
}

fn text(value: &str) -> Option<Box<str>> {
    raw::text(value).map(Into::into)
}

/// The text of a key as it stands in a file, with its quotes.
pub(super) fn key(quoted: &[u8]) -> Result<String, String> {
    let text = lossy(quoted);
    let key: Lossy = serde_json::from_str(&text).map_err(|error| error.to_string())?;
    Ok(key.0)
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    #[test]
    fn every_field_of_a_row_is_read() {
        let raw = br#"{"sessionId":"s","status":"killed","sessionFile":"/x/s.jsonl","updatedAt":5000,
            "sessionStartedAt":1000,"startedAt":2000,"endedAt":3000,"lastInteractionAt":4000,
            "abortedLastRun":true,"archivedAt":6000,"pinnedAt":7000,"chatType":"group","displayName":"D",
            "model":"m","parentSessionKey":"agent:main:main","inputTokens":1,"outputTokens":2,
            "cacheRead":3,"cacheWrite":4,"estimatedCostUsd":0.5,"skillsSnapshot":{"prompt":"0123456789"}}"#;
        let row = row("k", raw).unwrap();
        let at = |seconds| Some(Timestamp::from_second(seconds).unwrap());
        let expected = SessionRow {
            key: "k".into(),
            session_id: Some("s".into()),
            status: Some(Status::Killed),
            pointer: Pointer::Named("/x/s.jsonl".into()),
            updated_at: at(5),
            session_started_at: at(1),
            started_at: at(2),
            ended_at: at(3),
            aborted_last_run: true,
            archived_at: at(6),
            pinned_at: at(7),
            label: Some("D".into()),
            model: Some("m".into()),
            parent: Some("agent:main:main".into()),
            earlier: Vec::new(),
            usage: Some(Usage {
                input: 1,
                output: 2,
                cache_read: 3,
                cache_write: 4,
                cost_usd: 0.5,
            }),
            bytes: raw.len() as u64,
            largest: Some(("skillsSnapshot".into(), 23)),
            range: 0..0,
        };
        assert_eq!(row, expected);
    }

    #[test]
    fn other_sessions_of_its_key_are_read_and_its_own_is_none() {
        let raw = br#"{"usageFamilySessionIds":["r","s",7,""],"sessionId":"s","compactionCheckpoints":[
            {"preCompaction":{"sessionId":"q"},"postCompaction":{"sessionId":"s"}},{"preCompaction":1},8]}"#;
        assert_eq!(row("k", raw).unwrap().earlier, ["r".into(), "q".into()]);
    }

    #[test]
    fn a_field_of_a_wrong_type_is_absent_and_the_row_is_read() {
        let raw = br#"{"sessionId":7,"status":"paused","sessionFile":[],"updatedAt":"now","startedAt":-1,
            "abortedLastRun":"yes","usageFamilySessionIds":"s","compactionCheckpoints":{"a":1},"label":{},"displayName":"D","inputTokens":"many","spawnedBy":null,
            "parentSessionKey":"p"}"#;
        let row = row("k", raw).unwrap();
        assert_eq!(
            (row.session_id, row.status, row.updated_at, row.started_at),
            (None, None, None, None)
        );
        assert_eq!((row.pointer, row.aborted_last_run, row.usage), (Pointer::Derived, false, None));
        assert_eq!((row.label.as_deref(), row.parent.as_deref()), (Some("D"), Some("p")));
        assert!(row.earlier.is_empty());
    }

    #[test]
    fn what_is_no_object_is_no_row() {
        for raw in ["[]", "null", "\"x\"", "7", "", "{", "{} {}", "{\"a\":tru}"] {
            assert!(row("k", raw.as_bytes()).is_err(), "{raw}");
        }
    }

    #[test]
    fn bytes_that_are_no_utf8_do_not_lose_a_row() {
        let row = row("k", b"{\"sessionId\":\"s\",\"label\":\"a\xffb\"}").unwrap();
        assert_eq!(row.label.as_deref(), Some("a\u{fffd}b"));
        assert_eq!(row.bytes, 31);
    }
}

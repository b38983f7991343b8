//! Lines of transcripts as entries, and what their messages took as usage reports.
//!
//! A message of a user or an assistant that is one text and nothing else becomes that text. Every other
//! line is kept as it stands, as JSON: nothing of it is lost. A line longer than an entry may be becomes
//! several entries, cut between characters.

use jiff::Timestamp;
use serde::Deserialize;
use sexton_domain::entry::{Entry, MAX_ENTRY_BYTES, Role};
use sexton_domain::id::{RunId, UsageId};
use sexton_domain::key::SessionKind;
use sexton_domain::run::Run;
use sexton_domain::session::Session;
use sexton_domain::usage::{Tokens, Usage};

use crate::model;
use crate::read::transcript::{self, Line};

/// The entries of a line; `last` is the number of the entry before them, `at` the time where the line
/// has none.
pub fn entries(line: &Line<'_>, last: u64, at: Timestamp) -> Vec<Entry> {
    let role = role(line);
    let at = line.at.unwrap_or(at);
    let plain = matches!(role, Role::User | Role::Assistant).then(|| plain(line)).flatten();
    let text = plain.as_deref().unwrap_or(&line.raw);
    let entry = |(seq, piece): (u64, &str)| Entry { seq, at, role, content: piece.to_owned() };
    (last + 1..).zip(pieces(text)).map(entry).collect()
}

/// Whether an entry of a line is one that is stored. A line without a time has that of another one, which may
/// be read otherwise by now. A header says the same if it names the same session: the version and the folder in it
/// are those of who wrote it last.
pub fn agree(entry: &Entry, line: &Line<'_>, stored: &Entry) -> bool {
    let timed = line.at.is_none() || entry.at.as_millisecond() == stored.at.as_millisecond();
    let is_at = entry.seq == stored.seq && timed && entry.role == stored.role;
    is_at && (entry.content == stored.content || is_header_of(line, &stored.content))
}

/// Whether a line and what is stored are headers of one session.
fn is_header_of(line: &Line<'_>, stored: &str) -> bool {
    let header = |line: &Line<'_>| line.id.clone().filter(|_| line.kind == "session");
    let Some(id) = header(line) else { return false };
    transcript::line(stored.as_bytes()).is_ok_and(|stored| header(&stored) == Some(id))
}

/// What an isolated run took in all, as one report; none where it says nothing or was nothing. Such a run has
/// its session to itself: its lines tell the same, where they are there.
pub fn sum(run: &Run, model: Option<String>) -> Option<Usage> {
    let tokens = run.usage.filter(|tokens| *tokens != Tokens::default())?;
    (run.session_key.kind() == SessionKind::Run).then(|| Usage {
        id: sum_id(run.id),
        at: run.ended_at().unwrap_or(run.queued_at),
        job: run.job,
        agent: run.agent.clone(),
        run: run.id,
        session: run.session,
        model: model.unwrap_or_else(unknown),
        tokens,
        imported_at: run.imported_at,
    })
}

/// The id of that report: its number comes before that of every line.
pub fn sum_id(run: RunId) -> UsageId {
    UsageId::of(run, 0)
}

fn unknown() -> String {
    "unknown".to_owned()
}

/// The usage report of a line of a session; none where it says nothing or was nothing. `seq` is the number
/// of its first entry: that stays, while runs become known and are forgotten, and lines are left out.
pub fn usage(line: &Line<'_>, seq: u64, session: &Session) -> Option<Usage> {
    let tokens = tokens(line.usage?);
    let run = session.run.unwrap_or_else(|| session.id.uuid().into());
    (tokens != Tokens::default()).then(|| Usage {
        id: UsageId::of(session.id.uuid().into(), seq),
        at: line.at.unwrap_or(session.opened_at),
        job: session.job,
        agent: session.agent.clone(),
        run,
        session: Some(session.id),
        model: line.model.clone().unwrap_or_else(unknown),
        tokens,
        imported_at: session.imported_at,
    })
}

/// Theirs count cached tokens apart; ours are part of the input.
pub fn tokens(usage: model::Usage) -> Tokens {
    let input = [usage.cache_read, usage.cache_write];
    Tokens {
        input: input.into_iter().fold(usage.input, u64::saturating_add),
        output: usage.output,
        cached: usage.cache_read,
        // A cost that is no number, or negative, becomes none.
        cost_micro_usd: (usage.cost_usd * 1e6).round() as u64,
    }
}

fn role(line: &Line<'_>) -> Role {
    match (line.kind.as_str(), line.role.as_deref()) {
        ("message", Some("user")) => Role::User,
        ("message", Some("assistant")) => Role::Assistant,
        ("message", Some("toolResult" | "tool" | "tool_result")) => Role::Tool,
        _ => Role::System,
    }
}

#[derive(Deserialize)]
struct Plain {
    message: Message,
}

#[derive(Deserialize)]
struct Message {
    content: Content,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Content {
    Text(String),
    Parts([Part; 1]),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Part {
    #[serde(rename = "type")]
    kind: String,
    text: String,
}

/// The text of a message that is nothing else.
fn plain(line: &Line<'_>) -> Option<String> {
    if line.broken_off {
        return None;
    }
    match serde_json::from_str::<Plain>(&line.raw).ok()?.message.content {
        Content::Text(text) => Some(text),
        Content::Parts([Part { kind, text }]) => (kind == "text").then_some(text),
    }
}

/// A text in pieces of at most [`MAX_ENTRY_BYTES`]; at least one.
fn pieces(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest.take()?;
        let (piece, after) = text.split_at(text.floor_char_boundary(MAX_ENTRY_BYTES));
        rest = (!after.is_empty()).then_some(after);
        Some(piece)
    })
}

#[cfg(test)]
mod tests {
    use sexton_domain::key::SessionKey;
    use sexton_domain::run::Cause;

    use super::*;
    use crate::import::ids;
    use crate::import::sessions::{self, End, Home, Told};
    use crate::read::transcript::line;

    fn one(text: &str) -> Entry {
        let mut entries = entries(&line(text.as_bytes()).unwrap(), 6, Timestamp::UNIX_EPOCH);
        assert_eq!(entries.len(), 1);
        entries.remove(0)
    }

    #[test]
    fn a_message_that_is_one_text_becomes_it_and_every_other_line_stays_as_it_is() {
        let message = |role: &str, content: &str| {
            format!(
                r#"{{"type":"message","id":"1","message":{{"role":"{role}","content":{content}}}}}"#
            )
        };
        let text = r#"[{"type":"text","text":"hello\n"}]"#;
        let kept = [
            (message("user", text), Role::User, Some("hello\n")),
            (message("assistant", r#""hi""#), Role::Assistant, Some("hi")),
            (message("assistant", r#"[{"type":"text","text":"a","textSignature":"s"}]"#), Role::Assistant, None),
            (message("assistant", r#"[{"type":"text","text":"a"},{"type":"text","text":"b"}]"#), Role::Assistant, None),
            (message("assistant", r#"[{"type":"thinking","thinking":"hm"}]"#), Role::Assistant, None),
            (message("assistant", r#"[{"type":"toolCall","id":"c","name":"exec"}]"#), Role::Assistant, None),
            (message("toolResult", text), Role::Tool, None),
            (message("bashExecution", text), Role::System, None),
            (r#"{"type":"session","id":"s"}"#.to_owned(), Role::System, None),
            (r#"{"type":"message","message":{"role":"assistant","content":"cut","stopReason":"aborted"}}"#.to_owned(), Role::Assistant, None),
        ];
        for (line, role, text) in kept {
            let entry = one(&line);
            assert_eq!((entry.role, entry.seq), (role, 7), "{line}");
            assert_eq!(entry.content, text.unwrap_or(&line), "{line}");
        }
    }

    #[test]
    fn a_line_has_its_own_time_and_one_without_takes_the_one_before() {
        let timed = one(r#"{"type":"leaf","timestamp":"2026-11-20T19:04:21.411Z"}"#);
        assert_eq!(timed.at, "2026-11-20T19:04:21.411Z".parse().unwrap());
        assert_eq!(one(r#"{"type":"leaf"}"#).at, Timestamp::UNIX_EPOCH);
    }

    #[test]
    fn a_line_agrees_with_what_is_stored_of_it_and_with_nothing_else() {
        let raw = r#"{"type":"leaf","timestamp":"2026-11-20T19:04:21.411Z"}"#;
        let line = line(raw.as_bytes()).unwrap();
        let entry = &entries(&line, 6, Timestamp::UNIX_EPOCH)[0];
        let stored = entry.clone();
        assert!(agree(entry, &line, &stored));
        let others = [
            Entry { seq: 8, ..stored.clone() },
            Entry { role: Role::User, ..stored.clone() },
            Entry { content: "other".to_owned(), ..stored.clone() },
            Entry { at: Timestamp::UNIX_EPOCH, ..stored.clone() },
        ];
        for other in others {
            assert!(!agree(entry, &line, &other), "{other:?}");
        }
        let untimed = Line { at: None, ..line };
        assert!(agree(entry, &untimed, &Entry { at: Timestamp::UNIX_EPOCH, ..stored }));
    }

    #[test]
    fn headers_agree_if_they_name_the_same_session() {
        let header = |id: &str, cwd: &str| {
            format!(r#"{{"type":"session","version":4,"id":"{id}","cwd":"{cwd}"}}"#)
        };
        let raw = header("s", "/a");
        let line = line(raw.as_bytes()).unwrap();
        let entry = &entries(&line, 0, Timestamp::UNIX_EPOCH)[0];
        let agrees = |content: String| agree(entry, &line, &Entry { content, ..entry.clone() });
        assert!(agrees(header("s", "/b")));
        assert!(!agrees(header("t", "/a")));
        assert!(!agrees("{}".to_owned()));
    }

    /// P12: the id came from the run. Once the history of runs was pruned there, the same line had another
    /// one, and counted twice where its session was imported again.
    #[test]
    fn a_report_has_the_same_id_whether_the_run_of_its_session_is_known_or_not() {
        let raw = r#"{"type":"message","message":{"role":"assistant","content":"a","usage":{"input":3}}}"#;
        let line = line(raw.as_bytes()).unwrap();
        let session = |run| {
            let at = Timestamp::UNIX_EPOCH;
            let key = SessionKey::parse("agent:main:cron:j:run:s").unwrap();
            let [agent, own] = ["main", "main"].map(|name| name.parse().unwrap());
            let home = Home { key, agent, own, run, job: None, outcome: None, ended_at: None };
            let told = Told {
                home,
                id: "s".to_owned(),
                end: End::Current(None),
                began_at: Some(at),
                ended_at: Some(at),
                usage: None,
                source: String::new(),
                place: String::new(),
                data: serde_json::Value::Null,
            };
            sessions::session(told, at)
        };
        let report = |run, seq| usage(&line, seq, &session(run)).unwrap();
        assert_eq!(report(Some(id()), 7).run, id());
        assert_eq!(report(Some(id()), 7).id, report(None, 7).id);
        assert_ne!(report(None, 7).id, report(None, 8).id);
    }

    #[test]
    fn what_a_run_took_is_a_report_where_its_session_is_its_own_and_it_took_something() {
        let run = |key: &str, usage| {
            let (agent, key) = ("main".parse().unwrap(), key.parse().unwrap());
            let queued = Run::queued(id(), agent, key, Cause::Schedule, Timestamp::UNIX_EPOCH);
            Run { usage, imported_at: Some(Timestamp::MAX), ..queued }
        };
        let took = Some(Tokens { input: 3, ..Tokens::default() });
        let isolated = run("agent:main:cron:j:run:s", took);
        let report = sum(&isolated, Some("m".to_owned())).unwrap();
        assert_eq!((report.id, report.tokens.input), (sum_id(isolated.id), 3));
        assert_eq!((report.model.as_str(), report.imported_at), ("m", isolated.imported_at));
        assert_eq!(report.aged_from(), None);
        for nothing in [None, Some(Tokens::default())] {
            assert_eq!(sum(&run("agent:main:cron:j:run:s", nothing), None), None);
        }
        assert_eq!(sum(&run("agent:main:main", took), None), None);
    }

    fn id() -> RunId {
        ids::id(Timestamp::UNIX_EPOCH, &["run"])
    }

    #[test]
    fn a_long_line_becomes_several_entries_that_are_it_again_together() {
        let text = "é".repeat(MAX_ENTRY_BYTES);
        let raw =
            format!(r#"{{"type":"message","message":{{"role":"user","content":"x{text}"}}}}"#);
        let entries = entries(&line(raw.as_bytes()).unwrap(), 0, Timestamp::UNIX_EPOCH);
        assert_eq!(entries.len(), 3);
        assert!(entries.iter().all(|entry| entry.content.len() <= MAX_ENTRY_BYTES));
        assert!(entries.iter().map(|entry| entry.seq).eq(1..=3));
        let joined: String = entries.iter().map(|entry| entry.content.as_str()).collect();
        assert_eq!(joined, format!("x{text}"));
        assert_eq!(pieces("").count(), 1);
    }

    #[test]
    fn tokens_from_a_cache_are_part_of_the_input_and_a_cost_is_in_millionths() {
        let usage = model::Usage {
            input: 1,
            output: 2,
            cache_read: 4,
            cache_write: 8,
            cost_usd: 0.0123456,
        };
        let expected = Tokens { input: 13, output: 2, cached: 4, cost_micro_usd: 12346 };
        assert_eq!(tokens(usage), expected);
        for cost_usd in [f64::NAN, -1.0] {
            assert_eq!(tokens(model::Usage { cost_usd, ..usage }).cost_micro_usd, 0);
        }
    }
}

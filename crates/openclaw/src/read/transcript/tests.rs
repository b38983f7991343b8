//! Transcripts, healthy and not.

use super::*;
use crate::model::Usage;

const REAL: &[u8] = include_bytes!(
    "../../../tests/fixtures/2026.5.6-plain/agents/main/sessions/5dd63c93-9d84-491a-af1d-7ee776aa05b5.jsonl"
);
const ARCHIVED: &[u8] = include_bytes!(
    "../../../tests/fixtures/2026.9.6-plain/agents/main/sessions/090862da-0dfe-479a-9e05-4351451b0a6d.jsonl.deleted.2026-11-20T18-06-04.476Z.8a52bf3cdb2448ceb50e2669d6b2e77b.zst"
);
const HEADER: &str =
    r#"{"type":"session","version":3,"id":"s","timestamp":"2026-11-20T18:05:44Z","cwd":"/w"}"#;

fn of(lines: &[&str]) -> Summary {
    summary(format!("{}\n", lines.join("\n")).as_bytes(), Encoding::Plain).unwrap()
}

fn assistant(calls: &str, stop: &str) -> String {
    format!(
        r#"{{"type":"message","message":{{"role":"assistant","content":[{calls}],"stopReason":"{stop}"}}}}"#
    )
}

#[test]
fn a_real_transcript_is_summed_up() {
    let summary = summary(REAL, Encoding::Plain).unwrap();
    let header = summary.header.unwrap();
    assert_eq!(header.id.as_deref(), Some("5dd63c93-9d84-491a-af1d-7ee776aa05b5"));
    assert_eq!(header.version, Some(3));
    assert!(header.cwd.is_some_and(|cwd| cwd.ends_with("/user/workspace")));
    assert_eq!((summary.lines, summary.messages, summary.bytes), (6, 2, REAL.len() as u64));
    assert_eq!(summary.header_fault, None);
    assert_eq!(summary.first_at, Some("2026-11-20T18:05:44.888Z".parse().unwrap()));
    assert_eq!(summary.last_at, Some("2026-11-20T18:05:44.916Z".parse().unwrap()));
    assert_eq!(summary.last_role.as_deref(), Some("assistant"));
    assert_eq!(summary.model.as_deref(), Some("fake/fake-1"));
    assert_eq!(summary.usage, Usage { input: 100, output: 8, ..Usage::default() });
    assert_eq!((summary.damaged.count, summary.void.count, summary.open_calls.count), (0, 0, 0));
    assert_eq!((summary.partial_tail, summary.cut), (None, None));
}

#[test]
fn a_compressed_archive_is_read_and_a_damaged_one_as_far_as_it_goes() {
    let whole = summary(ARCHIVED, Encoding::Zstd).unwrap();
    assert!(whole.lines > 2 && whole.cut.is_none(), "{whole:?}");
    assert_eq!(whole.header.unwrap().id.as_deref(), Some("090862da-0dfe-479a-9e05-4351451b0a6d"));
    assert_eq!((whole.damaged.count, whole.partial_tail), (0, None));
    let cut = summary(&ARCHIVED[..ARCHIVED.len() / 2], Encoding::Zstd).unwrap();
    assert!(cut.cut.is_some() && cut.lines < whole.lines, "{cut:?}");
    assert!(summary(&b"no frame"[..], Encoding::Zstd).unwrap().cut.is_some());
}

#[test]
fn texts_are_found_in_every_form_of_content() {
    let cases = [
        (r#"{"type":"message","message":{"role":"user","content":"hi"}}"#, Some("hi")),
        (
            r#"{"type":"message","message":{"content":[{"type":"text","text":"a"},{"type":"image"},{"type":"text","text":"b"}]}}"#,
            Some("a\nb"),
        ),
        (r#"{"type":"custom_message","content":"c"}"#, Some("c")),
        (r#"{"type":"compaction","summary":"s"}"#, Some("s")),
        (r#"{"type":"message","message":7}"#, None),
        (r#"{"type":"model_change","content":"c"}"#, None),
    ];
    for (raw, expected) in cases {
        assert_eq!(line(raw.as_bytes()).unwrap().text().as_deref(), expected, "{raw}");
    }
}

#[test]
fn calls_and_results_are_paired_in_every_form() {
    let calls = r#"{"type":"toolCall","id":"1","name":"x","arguments":{}},{"type":"tool_use","id":"2"},{"type":"functionCall","id":"3"}"#;
    let results = [
        r#"{"type":"message","message":{"role":"toolResult","toolCallId":"1","content":[]}}"#,
        r#"{"type":"message","message":{"role":"tool","tool_use_id":"2"}}"#,
        r#"{"type":"message","message":{"role":"user","content":[{"type":"tool_result","toolUseId":"3"}]}}"#,
    ];
    let call = assistant(calls, "toolUse");
    let mut lines = vec![HEADER, &call];
    lines.extend(results);
    let whole = of(&lines);
    assert_eq!((whole.open_calls.count, whole.lone_results.count), (0, 0), "{whole:?}");
    let open = of(&lines[..3]);
    assert_eq!(open.open_calls.first, [(2, "2".to_owned()), (2, "3".to_owned())]);
    let lone = of(&[HEADER, results[1]]);
    assert_eq!(lone.lone_results.first, [(2, "2".to_owned())]);
    let twice = of(&[HEADER, &call, results[0], results[1], results[2], results[0]]);
    assert_eq!(twice.lone_results.first, [(6, "1".to_owned())]);
}

#[test]
fn a_message_that_was_broken_off_needs_no_results() {
    let call = r#"{"type":"toolCall","id":"1"}"#;
    assert_eq!(of(&[HEADER, &assistant(call, "aborted")]).open_calls.count, 0);
    assert_eq!(of(&[HEADER, &assistant(call, "toolUse")]).open_calls.count, 1);
}

#[test]
fn damaged_lines_are_told_apart_and_the_rest_is_read() {
    let mut bytes = [HEADER, "{\"type\":", "undefined", "", "null", "7"].join("\n").into_bytes();
    bytes.extend(b"\n\0\0\0\n{\"type\":\"message\",\"message\":{\"role\":\"us");
    let found = summary(&bytes[..], Encoding::Plain).unwrap();
    let numbers = |listed: &Listed| listed.first.iter().map(|(line, _)| *line).collect::<Vec<_>>();
    assert_eq!(numbers(&found.damaged), [2, 6, 7]);
    assert_eq!(numbers(&found.void), [3, 5]);
    assert_eq!(found.partial_tail.as_ref().map(|(line, _)| *line), Some(8));
    assert_eq!((found.lines, found.messages, found.bytes), (7, 0, bytes.len() as u64));

    let mut read_lines = 0;
    let tally = read(&bytes[..], &mut |_, line| read_lines += u64::from(line.is_ok())).unwrap();
    assert_eq!((tally.read, tally.dropped.len(), read_lines), (1, 6, 1));
}

#[test]
fn the_first_line_should_be_a_header() {
    let fault = |lines: &[&str]| of(lines).header_fault.unwrap_or_default();
    assert_eq!(fault(&[HEADER]), "");
    assert_eq!(fault(&["{\"type\":\"session\"}"]), "it names no session");
    assert_eq!(fault(&["{\"type\":\"message\"}", HEADER]), "the first line is of type `message`");
    assert!(fault(&["{\"type\"", HEADER]).starts_with("the first line cannot be read"));
    assert_eq!(fault(&[""]), "there are no lines");
    assert_eq!(of(&["{\"type\":\"message\"}", HEADER]).header.unwrap().id.as_deref(), Some("s"));
}

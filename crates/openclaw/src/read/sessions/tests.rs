//! Whole, odd and damaged files, by hand.

use super::*;

pub(super) const REAL: &[u8] =
    include_bytes!("../../../tests/fixtures/2026.5.6-plain/agents/main/sessions/sessions.json");

pub(super) fn read(bytes: &[u8]) -> (Vec<SessionRow>, Index) {
    let mut all = Vec::new();
    let index = rows(bytes, &mut |row| all.push(row.row)).unwrap();
    (all, index)
}

fn keys(bytes: &[u8]) -> (Vec<String>, Index) {
    let (rows, index) = read(bytes);
    (rows.into_iter().map(|row| row.key.into()).collect(), index)
}

#[test]
fn every_row_of_a_real_file_is_read_with_its_place() {
    let value: serde_json::Value = serde_json::from_slice(REAL).unwrap();
    let expected = value.as_object().unwrap();
    let mut count = 0;
    let index = rows(REAL, &mut |row| {
        let range = row.row.range.start as usize..row.row.range.end as usize;
        assert_eq!(&REAL[range], row.raw);
        let theirs = &expected[&*row.row.key];
        assert_eq!(&serde_json::from_slice::<serde_json::Value>(row.raw).unwrap(), theirs);
        assert_eq!(row.row.session_id.as_deref(), theirs["sessionId"].as_str());
        assert_eq!(
            row.row.updated_at.unwrap().as_millisecond(),
            theirs["updatedAt"].as_i64().unwrap()
        );
        let key = serde_json::to_vec(&*row.row.key).unwrap();
        assert!(REAL[row.key_at as usize..].starts_with(&key));
        assert!(!row.again);
        count += 1;
    })
    .unwrap();
    assert_eq!(count, expected.len());
    assert_eq!((index.tally.read as usize, index.tally.dropped.len()), (expected.len(), 0));
    assert_eq!((index.ending, index.is_json), (Ending::Whole, true));
    assert_eq!(index.tally.bytes, REAL.len() as u64);
}

#[test]
fn the_ending_says_what_a_file_is() {
    let cases: [(&[u8], Ending, usize); 12] = [
        (b"", Ending::Empty, 0),
        (b" \n\t", Ending::Empty, 0),
        (b"\0\0\0\0", Ending::Empty, 0),
        (b"{}", Ending::Whole, 0),
        (b"[]", Ending::NotAnObject, 0),
        (b"[{\"sessionId\":\"s\"}]", Ending::NotAnObject, 0),
        (b"null", Ending::NotAnObject, 0),
        (b"{", Ending::CutOff, 0),
        (b"{\"agent:a\":{}", Ending::CutOff, 1),
        (b"{\"agent:a\":{\"x\":", Ending::CutOff, 0),
        (b"{\"agent:a\":{}}\0\0", Ending::Trailing, 1),
        (b"{\"agent:a\":{}}{\"agent:b\":{}}", Ending::Trailing, 2),
    ];
    for (bytes, ending, count) in cases {
        let text = String::from_utf8_lossy(bytes);
        let (rows, index) = read(bytes);
        assert_eq!((index.ending, rows.len()), (ending, count), "{text}");
        let theirs: Result<serde_json::Value, _> = serde_json::from_slice(bytes);
        assert_eq!(index.is_json, theirs.is_ok_and(|value| value.is_object()), "{text}");
    }
}

#[test]
fn a_member_that_is_no_object_is_dropped_by_its_key() {
    let (keys, index) = keys(br#"{"a":1,"b":null,"c":[{"x":2}],"d":"}","e":{},"f":true}"#);
    assert_eq!(keys, ["e"]);
    let places: Vec<_> = index.tally.dropped.iter().map(|dropped| dropped.place.clone()).collect();
    assert_eq!(places, ["a", "b", "c", "d", "f"].map(|key| Place::Key(key.to_owned())));
    assert!(index.is_json);
}

#[test]
fn a_repeated_key_is_marked_the_second_time() {
    let mut all = Vec::new();
    rows(&br#"{"a":{"sessionId":"1"},"b":{},"a":{"sessionId":"2"}}"#[..], &mut |row| {
        all.push((row.row.key.to_string(), row.again));
    })
    .unwrap();
    assert_eq!(all, [("a".into(), false), ("b".into(), false), ("a".into(), true)]);
}

#[test]
fn a_row_that_lost_its_end_does_not_take_the_next_one_with_it() {
    let healthy = serde_json::json!({
        "agent:a": { "sessionId": "1", "label": "x", "skillsSnapshot": { "prompt": "p" } },
        "agent:b": { "sessionId": "2" },
        "main": { "sessionId": "3" },
    });
    let pretty = serde_json::to_string_pretty(&healthy).unwrap();
    let flat = healthy.to_string();
    let damages = [("\"x\"", "\"x"), ("\"p\"", "p\""), ("}", ""), ("\"p\"}", "\"p\"")];
    for text in [&pretty, &flat] {
        for (from, to) in damages.iter().filter(|(from, _)| text.contains(from)) {
            let (keys, index) = keys(text.replacen(from, to, 1).as_bytes());
            assert_eq!(keys, ["agent:b", "main"], "{from} {text}");
            assert!(!index.is_json);
        }
    }
}

#[test]
fn a_row_larger_than_the_most_is_dropped_and_the_next_is_read() {
    let large = format!(r#"{{"a":{{"x":"{}"}},"b":{{}}}}"#, "y".repeat(ROW_MOST + 10 * CHUNK));
    let (keys, index) = keys(large.as_bytes());
    assert_eq!(keys, ["b"]);
    assert_eq!(index.tally.dropped.len(), 1);
    assert_eq!(index.tally.dropped[0].place, Place::Key("a".to_owned()));
    assert_eq!((index.ending, index.is_json), (Ending::Whole, true));
}

//! Damaged files: nothing goes in silence, and what the damage has not touched is read.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index as At;
use serde_json::{Map, Value, json};

use super::*;

/// A byte, and where in the healthy file it was.
type Traced = (u8, Option<usize>);

/// What happens to a file.
#[derive(Debug, Clone)]
enum Damage {
    Truncate(At),
    Behead(At),
    Remove(At, usize),
    Overwrite(At, Vec<u8>),
    Zeros(At, usize),
    Insert(At, Vec<u8>),
    /// A part of the file comes again somewhere.
    Repeat(At, usize, At),
    /// Two parts change places.
    Swap(At, At, usize),
    /// The file, or its beginning, follows once more.
    Append(At),
}

fn damage() -> impl Strategy<Value = Damage> {
    let at = any::<At>;
    let signs = || vec(prop::sample::select(b"\"\\{}[],:\n \0a".to_vec()), 1..4);
    prop_oneof![
        1 => at().prop_map(Damage::Truncate),
        1 => at().prop_map(Damage::Behead),
        3 => (at(), 1..4_usize).prop_map(|(at, count)| Damage::Remove(at, count)),
        1 => (at(), 1..3000_usize).prop_map(|(at, count)| Damage::Remove(at, count)),
        4 => (at(), signs()).prop_map(|(at, bytes)| Damage::Overwrite(at, bytes)),
        1 => (at(), 1..3000_usize).prop_map(|(at, count)| Damage::Zeros(at, count)),
        4 => (at(), signs()).prop_map(|(at, bytes)| Damage::Insert(at, bytes)),
        2 => (at(), 1..3000_usize, at()).prop_map(|(at, count, to)| Damage::Repeat(at, count, to)),
        1 => (at(), at(), 1..1500_usize).prop_map(|(a, b, count)| Damage::Swap(a, b, count)),
        1 => at().prop_map(Damage::Append),
    ]
}

impl Damage {
    fn apply(&self, mut file: Vec<Traced>) -> Vec<Traced> {
        let length = file.len();
        if length == 0 {
            return file;
        }
        let part = |at: &At, count: usize| at.index(length)..length.min(at.index(length) + count);
        let new = |bytes: &[u8]| bytes.iter().map(|byte| (*byte, None)).collect::<Vec<_>>();
        match self {
            Self::Truncate(at) => file.truncate(at.index(length)),
            Self::Behead(at) => drop(file.drain(..at.index(length))),
            Self::Remove(at, count) => drop(file.drain(part(at, *count))),
            Self::Overwrite(at, bytes) => drop(file.splice(part(at, bytes.len()), new(bytes))),
            Self::Zeros(at, count) => {
                let part = part(at, *count);
                let zeros = new(&vec![0; part.len()]);
                drop(file.splice(part, zeros));
            }
            Self::Insert(at, bytes) => drop(file.splice(part(at, 0), new(bytes))),
            Self::Repeat(at, count, to) => {
                let again = file[part(at, *count)].to_vec();
                drop(file.splice(part(to, 0), again));
            }
            Self::Swap(a, b, count) => {
                let (a, b) =
                    (a.index(length).min(b.index(length)), a.index(length).max(b.index(length)));
                let count = (*count).min(b - a).min(length - b);
                for offset in 0..count {
                    file.swap(a + offset, b + offset);
                }
            }
            Self::Append(at) => file.extend(file[..=at.index(length)].to_vec()),
        }
        file
    }
}

/// Real rows with short texts and the session id first, as they write them, and two whose keys do not begin with `agent:`.
fn healthy() -> Map<String, Value> {
    let real: Map<String, Value> = serde_json::from_slice(tests::REAL).unwrap();
    let mut rows = Map::new();
    for (key, mut row) in real {
        let Value::Object(fields) = &mut row else { panic!("a row is an object") };
        fields.retain(|name, _| name.as_str() >= "sessionId");
        row["skillsSnapshot"] = json!({ "prompt": "a \"b\"\n  c", "skills": [{ "name": "x" }] });
        row["systemPromptReport"] = json!({ "source": "run", "files": [{}, [1, "}"]] });
        rows.insert(key, row);
    }
    rows.insert(
        "main".to_owned(),
        json!({ "updatedAt": 1, "sessionId": "m", "route": { "to": "1" } }),
    );
    rows.insert("global".to_owned(), json!({ "sessionId": "g" }));
    rows
}

/// The bytes of a healthy file, and of each row the place from its key to its end.
fn written(pretty: bool) -> (Vec<u8>, Vec<Range<usize>>) {
    let value = Value::Object(healthy());
    let text =
        if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) };
    let text = text.unwrap().into_bytes();
    let mut places = Vec::new();
    let index =
        rows(&text[..], &mut |row| places.push(row.key_at as usize..row.row.range.end as usize));
    assert_eq!(index.unwrap().tally.read as usize, healthy().len());
    (text, places)
}

type Read = (Vec<(String, Range<u64>)>, Index);

fn read_by(chunk: usize, bytes: &[u8]) -> Read {
    let mut all = Vec::new();
    let index = rows_by(chunk, bytes, &mut |row| {
        let range = row.row.range.start as usize..row.row.range.end as usize;
        assert_eq!(&bytes[range], row.raw, "the place of a row is that of its bytes");
        all.push((row.row.key.to_string(), row.key_at..row.row.range.end));
    });
    (all, index.unwrap())
}

/// Every byte belongs to a row, to something dropped, or to the structure between them.
fn accounts(bytes: &[u8], read: &Read) {
    let (rows, index) = read;
    assert_eq!(index.tally.bytes, bytes.len() as u64);
    assert_eq!(index.tally.read, rows.len() as u64);
    assert_eq!(index.tally.dropped.len(), index.skipped.len());
    let mut parts: Vec<_> = rows.iter().map(|(_, range)| range.clone()).collect();
    parts.extend(index.skipped.iter().cloned());
    parts.sort_by_key(|range| (range.start, range.end));
    let mut at = 0;
    for part in parts.iter().chain([&(bytes.len() as u64..u64::MAX)]) {
        assert!(part.start >= at, "{part:?} begins before {at}");
        let between = &bytes[at as usize..part.start as usize];
        let odd = between.iter().find(|byte| !is_white(**byte) && !b"{},".contains(byte));
        assert_eq!(odd, None, "{:?} goes in silence", String::from_utf8_lossy(between));
        at = part.end;
    }
}

/// Where rows stand that no damage has touched, with what stands before a key in a file of lines.
fn untouched(file: &[Traced], places: &[Range<usize>], before: usize) -> Vec<Range<u64>> {
    let mut found = Vec::new();
    for place in places {
        let from = place.start - before;
        let length = place.end - from;
        let starts = file.iter().enumerate().filter(|(_, byte)| byte.1 == Some(from));
        for (start, _) in starts {
            let whole = file[start..].iter().take(length).zip(from..place.end);
            if file.len() >= start + length && whole.clone().all(|(byte, at)| byte.1 == Some(at)) {
                found.push((start + before) as u64..(start + length) as u64);
            }
        }
    }
    found
}

proptest! {
    #![proptest_config(sexton_fuzz::budget(150))]

    #[test]
    fn nothing_of_a_damaged_file_goes_in_silence(
        pretty in any::<bool>(),
        damages in vec(damage(), 1..4),
        chunk in 32..600_usize,
    ) {
        let (text, places) = written(pretty);
        let file = text.iter().zip(0..).map(|(byte, at)| (*byte, Some(at))).collect();
        let file = damages.iter().fold(file, |file, damage| damage.apply(file));
        let bytes: Vec<u8> = file.iter().map(|byte| byte.0).collect();
        let read = read_by(CHUNK, &bytes);
        accounts(&bytes, &read);
        prop_assert_eq!(&read_by(chunk, &bytes), &read, "whatever is read at a time");

        let (rows, index) = &read;
        for place in untouched(&file, &places, 0) {
            let is_read = rows.iter().any(|(_, range)| *range == place);
            let named = index.skipped.iter().any(|skipped| skipped.start <= place.start && place.end <= skipped.end);
            // What became a well-formed field of another row cannot be told from one by its key alone.
            let text = &bytes[place.start as usize..];
            let within = |row: &Range<u64>| row.start < place.start && place.end <= row.end;
            let is_field = rows.iter().any(|(_, row)| within(row)) && !text.starts_with(b"\"agent:");
            prop_assert!(is_read || named || is_field, "{:?}", String::from_utf8_lossy(text));
        }
        if pretty {
            for place in untouched(&file, &places, 3) {
                let has_key = bytes[place.start as usize + 1..].starts_with(b"agent:");
                let is_read = rows.iter().any(|(_, range)| *range == place);
                prop_assert!(is_read || !has_key, "{place:?} is not read: {:?}", index);
            }
        }
        if index.is_json {
            let theirs: Map<String, Value> = serde_json::from_slice(&bytes).unwrap();
            let objects = theirs.iter().filter(|(_, row)| row.is_object()).map(|(key, _)| key);
            let ours: std::collections::BTreeSet<_> = rows.iter().map(|(key, _)| key).collect();
            prop_assert!(objects.into_iter().all(|key| ours.contains(key)));
        }
    }

    #[test]
    fn any_bytes_are_accounted_for(
        bytes in prop_oneof![
            vec(any::<u8>(), 0..200),
            vec(prop::sample::select(b"\"\\{}[],:\n agent".to_vec()), 0..400),
            sexton_fuzz::json::near(Just(Value::Object(healthy()))).prop_map(String::into_bytes),
        ],
        chunk in 1..100_usize,
    ) {
        let read = read_by(CHUNK, &bytes);
        accounts(&bytes, &read);
        prop_assert_eq!(&read_by(chunk, &bytes), &read);
    }
}

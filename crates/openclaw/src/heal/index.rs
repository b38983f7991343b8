//! Changes rows of a `sessions.json` in one pass: all other bytes are copied as they stand.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use serde_json::{Map, Value};

use super::fields;
use crate::finding::Stamp;
use crate::read::sessions::{Ending, rows};
use crate::stamp::{Hashing, sha256};

/// What becomes of a row.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// Fields are set and removed.
    Edit(Map<String, Value>, Vec<String>),
    /// It goes.
    Remove,
}

impl Change {
    /// Both, one after the other; what is removed stays so.
    pub fn and(&mut self, other: Self) {
        match (&mut *self, other) {
            (Self::Remove, _) => (),
            (Self::Edit(set, unset), Self::Edit(more, less)) => {
                set.retain(|name, _| !less.contains(name));
                unset.retain(|name| !more.contains_key(name));
                set.extend(more);
                unset.extend(less);
            }
            (this, Self::Remove) => *this = Self::Remove,
        }
    }
}

/// Rows of a file that are looked for.
#[derive(Debug)]
pub struct Found {
    /// For each key: the hash of the row that counts, and where all rows of the key are.
    pub rows: BTreeMap<String, Places>,
    /// Where the value of every row is, if that was asked for.
    pub all: Vec<Range<u64>>,
    /// Why no row of the file can be changed; `None` if they can.
    pub damaged: Option<String>,
    /// The contents of the file.
    pub stamp: Stamp,
}

/// Where the rows of a key are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    /// The SHA-256 of the last one's value.
    pub sha256: String,
    /// From the quote of the key to the value.
    leads: Vec<Range<u64>>,
    /// The last one's value.
    value: Range<u64>,
}

/// Looks for rows; where `all` of them are, if fields are taken out of each.
///
/// # Errors
///
/// If the file cannot be read.
pub fn find(path: &Path, keys: &dyn Fn(&str) -> bool, all: bool) -> io::Result<Found> {
    let mut found: BTreeMap<String, Places> = BTreeMap::new();
    let mut every = Vec::new();
    let mut input = Hashing::new(File::open(path)?);
    let index = rows(&mut input, &mut |row| {
        let key = &*row.row.key;
        if all {
            every.push(row.row.range.clone());
        }
        if !keys(key) {
            return;
        }
        let value = row.row.range.clone();
        let places = Places { sha256: sha256(row.raw), leads: Vec::new(), value: value.clone() };
        let lead = row.key_at..value.end;
        let places = match found.remove(key) {
            Some(before) => Places { leads: before.leads, ..places },
            None => places,
        };
        found.entry(key.to_owned()).or_insert(places).leads.push(lead);
    })?;
    io::copy(&mut input, &mut io::sink())?;
    let damaged = match index.ending {
        Ending::Whole if index.is_json => None,
        Ending::Whole => Some("the index is no JSON as a whole".to_owned()),
        Ending::Empty => Some("the index is empty".to_owned()),
        Ending::NotAnObject => Some("the index is no object".to_owned()),
        Ending::CutOff => Some("the index is cut off".to_owned()),
        Ending::Trailing => Some("the index has more behind its end".to_owned()),
    };
    Ok(Found { rows: found, all: every, damaged, stamp: input.finish().1 })
}

/// Writes the file with its changes, and every row without the fields `strip`. Each key of `changes` is
/// one of `found`.
///
/// # Errors
///
/// If reading or writing fails, or a row that is edited is no object.
pub fn rewrite(
    path: &Path,
    found: &Found,
    changes: &BTreeMap<String, Change>,
    strip: &[String],
    out: &mut dyn Write,
) -> io::Result<()> {
    let mut input = File::open(path)?;
    let stripped = Change::Edit(Map::new(), Vec::new());
    let mut splices: Vec<(Range<u64>, Option<&Change>)> = Vec::new();
    for (key, change) in changes {
        let Some(places) = found.rows.get(key) else { continue };
        match change {
            Change::Edit(..) => splices.push((places.value.clone(), Some(change))),
            Change::Remove => splices.extend(places.leads.iter().cloned().map(|lead| (lead, None))),
        }
    }
    let named: BTreeSet<u64> = splices.iter().map(|(range, _)| range.end).collect();
    let others = found.all.iter().filter(|value| !strip.is_empty() && !named.contains(&value.end));
    splices.extend(others.map(|value| (value.clone(), Some(&stripped))));
    splices.sort_by_key(|(range, _)| range.start);
    let mut at = 0;
    let mut first = false;
    for (range, change) in splices {
        let cut = match change {
            Some(_) => range.clone(),
            None => {
                let (cut, is_first) = cut(&input, &range, if first { at } else { 0 })?;
                first = is_first;
                cut
            }
        };
        copy(&mut input, at..cut.start.max(at), out)?;
        if let Some(Change::Edit(set, unset)) = change {
            let mut raw = vec![0; (range.end - range.start) as usize];
            input.read_exact_at(&mut raw, range.start)?;
            let text = std::str::from_utf8(&raw).map_err(io::Error::other)?;
            let unset: Vec<String> = unset.iter().chain(strip).cloned().collect();
            out.write_all(fields::edit(text, set, &unset)?.as_bytes())?;
            first = false;
        }
        at = cut.end;
    }
    let end = found.stamp.bytes;
    copy(&mut input, at..end, out)
}

fn copy(input: &mut File, range: Range<u64>, out: &mut dyn Write) -> io::Result<()> {
    input.seek(SeekFrom::Start(range.start))?;
    let wanted = range.end.saturating_sub(range.start);
    let copied = io::copy(&mut input.take(wanted), out)?;
    if copied < wanted {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the index became shorter"));
    }
    Ok(())
}

/// The bytes that go with a member: those of the comma in front of it, or, where no member is left in
/// front (the object begins there, or what is cut up to `cut_from_start`), of the one behind it.
fn cut(input: &File, member: &Range<u64>, cut_from_start: u64) -> io::Result<(Range<u64>, bool)> {
    if member.start > cut_from_start || cut_from_start == 0 {
        let comma = back(input, member.start)?;
        if byte(input, comma)? == Some(b',') {
            return Ok((comma..member.end, false));
        }
    }
    let mut end = forward(input, member.end)?;
    if byte(input, end)? != Some(b',') {
        return Ok((member.start..member.end, true));
    }
    end = forward(input, end + 1)?;
    Ok((member.start..end, true))
}

fn byte(input: &File, at: u64) -> io::Result<Option<u8>> {
    let mut byte = [0];
    Ok((input.read_at(&mut byte, at)? == 1).then_some(byte[0]))
}

/// The last byte before `at` that is no white space.
fn back(input: &File, at: u64) -> io::Result<u64> {
    let mut at = at;
    while at > 0 {
        at -= 1;
        if byte(input, at)?.is_none_or(|byte| !byte.is_ascii_whitespace()) {
            break;
        }
    }
    Ok(at)
}

/// The first byte from `at` on that is no white space.
fn forward(input: &File, at: u64) -> io::Result<u64> {
    let mut at = at;
    while byte(input, at)?.is_some_and(|byte| byte.is_ascii_whitespace()) {
        at += 1;
    }
    Ok(at)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn rewritten(text: &str, changes: &BTreeMap<String, Change>) -> String {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sessions.json");
        std::fs::write(&path, text).unwrap();
        let found = find(&path, &|key| changes.contains_key(key), false).unwrap();
        assert_eq!(found.damaged, None);
        let mut out = Vec::new();
        rewrite(&path, &found, changes, &[], &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    fn removed(text: &str, keys: &[&str]) -> String {
        rewritten(text, &keys.iter().map(|key| ((*key).to_owned(), Change::Remove)).collect())
    }

    #[test]
    fn a_removed_row_takes_its_comma_with_it() {
        let text = "{\n  \"a\": {},\n  \"b\": {\"x\": 1},\n  \"c\": {}\n}";
        assert_eq!(removed(text, &["b"]), "{\n  \"a\": {},\n  \"c\": {}\n}");
        assert_eq!(removed(text, &["a"]), "{\n  \"b\": {\"x\": 1},\n  \"c\": {}\n}");
        assert_eq!(removed(text, &["c"]), "{\n  \"a\": {},\n  \"b\": {\"x\": 1}\n}");
        assert_eq!(removed(text, &["a", "b"]), "{\n  \"c\": {}\n}");
        assert_eq!(removed(text, &["a", "c"]), "{\n  \"b\": {\"x\": 1}\n}");
        assert_eq!(removed(text, &["b", "c"]), "{\n  \"a\": {}\n}");
        assert_eq!(removed(text, &["a", "b", "c"]), "{\n  \n}");
        assert_eq!(removed("{\"a\":{}}", &["a"]), "{}");
    }

    #[test]
    fn all_rows_of_a_repeated_key_go_and_the_last_one_is_edited() {
        let text = "{\"a\":{\"n\":1},\"b\":{},\"a\":{\"n\":2}}";
        assert_eq!(removed(text, &["a"]), "{\"b\":{}}");
        let edit = Change::Edit(Map::from_iter([("n".to_owned(), json!(3))]), Vec::new());
        let edited = rewritten(text, &BTreeMap::from([("a".to_owned(), edit)]));
        assert_eq!(edited, "{\"a\":{\"n\":1},\"b\":{},\"a\":{\"n\":3}}");
    }

    #[test]
    fn a_damaged_index_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sessions.json");
        for text in ["", "[]", "{\"a\":{", "{\"a\":{}}{\"b\":{}}", "{\"a\":{},}"] {
            std::fs::write(&path, text).unwrap();
            assert!(find(&path, &|_| true, false).unwrap().damaged.is_some(), "{text}");
        }
    }

    #[test]
    fn two_changes_of_a_row_are_one() {
        let edit = |set: Value, unset: &[&str]| {
            let unset = unset.iter().map(|name| (*name).to_owned()).collect();
            Change::Edit(set.as_object().unwrap().clone(), unset)
        };
        let mut both = edit(json!({"a": 1, "b": 1}), &["c"]);
        both.and(edit(json!({"c": 2}), &["a"]));
        assert_eq!(both, edit(json!({"b": 1, "c": 2}), &["a"]));
        both.and(Change::Remove);
        both.and(edit(json!({"d": 1}), &[]));
        assert_eq!(both, Change::Remove);
    }

    proptest! {
        #![proptest_config(sexton_fuzz::budget(256))]

        #[test]
        fn rows_that_are_not_named_stay_byte_by_byte(
            rows in prop::collection::vec((0_u8..12, "[a-z,{}\"]{0,5}", 0_u8..3), 0..10),
            pretty in any::<bool>(),
        ) {
            let row = |n: &u8, text: &str| {
                let key = format!("agent:main:cron:{n}");
                (key, json!({"sessionId": format!("s{n}"), "label": text, "updatedAt": 1_700_000_000_000_u64}))
            };
            let mut changes = BTreeMap::new();
            let mut expected = Map::new();
            let mut before = Map::new();
            for (n, text, what) in &rows {
                let (key, value) = row(n, text);
                before.insert(key.clone(), value.clone());
                let change = match what {
                    0 => None,
                    1 => Some(Change::Remove),
                    _ => Some(Change::Edit(
                        Map::from_iter([("status".to_owned(), json!("failed"))]),
                        vec!["label".to_owned()],
                    )),
                };
                expected.remove(&key);
                changes.remove(&key);
                let mut value = value;
                match &change {
                    None => { expected.insert(key.clone(), value); }
                    Some(Change::Remove) => {}
                    Some(Change::Edit(set, _)) => {
                        let fields = value.as_object_mut().unwrap();
                        fields.remove("label");
                        fields.extend(set.clone());
                        expected.insert(key.clone(), value);
                    }
                }
                if let Some(change) = change {
                    changes.insert(key, change);
                }
            }
            let before = Value::Object(before);
            let text = if pretty { serde_json::to_string_pretty(&before).unwrap() } else { before.to_string() };
            prop_assume!(!rows.is_empty());
            let after = rewritten(&text, &changes);
            prop_assert_eq!(serde_json::from_str::<Value>(&after).unwrap(), Value::Object(expected.clone()));
            for (key, value) in &before.as_object().unwrap().clone() {
                if !changes.contains_key(key) {
                    let one = Map::from_iter([(key.clone(), value.clone())]);
                    let one = if pretty { serde_json::to_string_pretty(&one).unwrap() } else { serde_json::to_string(&one).unwrap() };
                    let row = one.trim_start_matches('{').trim_end_matches('}').trim();
                    prop_assert!(after.contains(&row[..row.len() - 1]), "{} in {}", row, after);
                }
            }
        }
    }
}

//! JSON documents that are almost what somebody meant.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::{Map, Value, json};

use crate::text;

/// One thing that is wrong with a document.
#[derive(Debug, Clone)]
enum Flaw {
    /// Another value in the place of one.
    Other(Index, Value),
    /// A text that is almost the one there.
    Misspelt(Index, String),
    /// A key or an item that is missing.
    Missing(Index),
    /// A key that nobody knows, or an item too many.
    Extra(Index, String, Value),
    /// The value, inside so many lists.
    Nested(Index, usize),
    /// A key spelt otherwise.
    Renamed(Index, String),
}

/// Texts of documents from `valid`, with up to two flaws; some are no JSON any more.
pub fn near(valid: impl Strategy<Value = Value>) -> impl Strategy<Value = String> {
    let flaws = prop_oneof![1 => Just(Vec::new()), 6 => vec(flaw(), 1..3)];
    let document = (valid, flaws).prop_map(|(document, flaws)| {
        flaws.into_iter().fold(document, |document, flaw| apply(document, &flaw)).to_string()
    });
    document.prop_flat_map(|text| prop_oneof![5 => Just(text.clone()), 1 => text::near(Just(text))])
}

/// A value that is rarely the right one.
pub fn odd() -> impl Strategy<Value = Value> {
    prop_oneof![
        4 => select(vec![
            json!(null), json!(true), json!(false), json!(0), json!(-1), json!(1), json!(1.5),
            json!(u64::MAX), json!(i64::MIN), json!(1e300), json!(""), json!([]), json!({}),
            json!([null]), json!({ "": "" }), json!("0"), json!("x".repeat(70_000)),
        ]),
        3 => text::piece().prop_map(Value::String),
        1 => "\\PC{0,40}".prop_map(Value::String),
        1 => vec(text::piece().prop_map(Value::String), 0..4).prop_map(Value::Array),
        1 => any::<i64>().prop_map(Value::from),
        1 => any::<f64>().prop_map(Value::from),
    ]
}

fn flaw() -> impl Strategy<Value = Flaw> {
    let at = any::<Index>;
    prop_oneof![
        6 => (at(), odd()).prop_map(|(at, value)| Flaw::Other(at, value)),
        4 => (at(), text::piece()).prop_map(|(at, piece)| Flaw::Misspelt(at, piece)),
        2 => at().prop_map(Flaw::Missing),
        2 => (at(), text::piece(), odd()).prop_map(|(at, key, value)| Flaw::Extra(at, key, value)),
        1 => (at(), 1..300_usize).prop_map(|(at, depth)| Flaw::Nested(at, depth)),
        1 => (at(), text::piece()).prop_map(|(at, piece)| Flaw::Renamed(at, piece)),
    ]
}

/// The places of all values in a document, the document itself first.
fn places(document: &Value) -> Vec<String> {
    let mut places = vec![String::new()];
    let mut next = 0;
    while next < places.len() {
        let here = places[next].clone();
        match document.pointer(&here) {
            Some(Value::Object(map)) => places.extend(map.keys().map(|key| child(&here, key))),
            Some(Value::Array(items)) => {
                places.extend((0..items.len()).map(|index| format!("{here}/{index}")));
            }
            _ => {}
        }
        next += 1;
    }
    places
}

fn child(place: &str, key: &str) -> String {
    format!("{place}/{}", key.replace('~', "~0").replace('/', "~1"))
}

fn apply(mut document: Value, flaw: &Flaw) -> Value {
    let places = places(&document);
    // The first place is all of the document, which is rarely what is wrong.
    let place = |at: &Index| match at.index(places.len() * 8) {
        0 => String::new(),
        index => places[index % places.len()].clone(),
    };
    match flaw {
        Flaw::Other(at, value) => put(&mut document, &place(at), value.clone()),
        Flaw::Misspelt(at, piece) => {
            if let Some(Value::String(text)) = document.pointer_mut(&place(at)) {
                let middle = text.char_indices().nth(text.chars().count() / 2);
                text.insert_str(middle.map_or(0, |(index, _)| index), piece);
            }
        }
        Flaw::Missing(at) => drop(take(&mut document, &place(at))),
        Flaw::Extra(at, key, value) => match document.pointer_mut(&place(at)) {
            Some(Value::Object(map)) => drop(map.insert(key.clone(), value.clone())),
            Some(Value::Array(items)) => items.push(value.clone()),
            _ => {
                if let Value::Object(map) = &mut document {
                    map.insert(key.clone(), value.clone());
                }
            }
        },
        Flaw::Nested(at, depth) => {
            let place = place(at);
            if let Some(value) = document.pointer(&place).cloned() {
                let nested = (0..*depth).fold(value, |inner, _| Value::Array(vec![inner]));
                put(&mut document, &place, nested);
            }
        }
        Flaw::Renamed(at, piece) => {
            let place = place(at);
            if let Some((key, value)) = take(&mut document, &place) {
                parent(&mut document, &place).insert(format!("{key}{piece}"), value);
            }
        }
    }
    document
}

fn put(document: &mut Value, place: &str, value: Value) {
    if let Some(found) = document.pointer_mut(place) {
        *found = value;
    }
}

/// Takes a key out of the object around it.
fn take(document: &mut Value, place: &str) -> Option<(String, Value)> {
    let (around, key) = place.rsplit_once('/')?;
    let key = key.replace("~1", "/").replace("~0", "~");
    document.pointer_mut(around)?.as_object_mut()?.remove_entry(&key)
}

/// The object around a place from which something was taken.
fn parent<'a>(document: &'a mut Value, place: &str) -> &'a mut Map<String, Value> {
    let around = place.rsplit_once('/').map_or("", |(around, _)| around);
    let found = document.pointer_mut(around).and_then(Value::as_object_mut);
    found.expect("something was taken out of it")
}

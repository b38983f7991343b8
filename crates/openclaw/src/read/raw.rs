//! Parts of JSON texts, without building values of the rest.

use std::borrow::Cow;
use std::fmt;

use jiff::Timestamp;
use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::field::{self, Lossy};

/// The text of bytes; what is no UTF-8 becomes replacement characters.
///
/// As `String::from_utf8_lossy`, which takes several times as long over bytes that are UTF-8.
pub fn lossy(bytes: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => String::from_utf8_lossy(bytes),
    }
}

/// Hands on each member of an object: its name and the text of its value.
///
/// # Errors
///
/// If the text is no JSON, or no object.
pub fn members(text: &str, each: &mut dyn FnMut(&str, &str)) -> serde_json::Result<()> {
    let mut json = serde_json::Deserializer::from_str(text);
    json.deserialize_any(Members(each))?;
    json.end()
}

/// Hands on the text of each element of a list.
///
/// # Errors
///
/// If the text is no JSON, or no list.
pub fn elements(text: &str, each: &mut dyn FnMut(&str)) -> serde_json::Result<()> {
    let mut json = serde_json::Deserializer::from_str(text);
    json.deserialize_any(Elements(each))?;
    json.end()
}

/// A text that is not blank.
pub fn text(value: &str) -> Option<String> {
    if !value.starts_with('"') {
        return None;
    }
    let text: Lossy = serde_json::from_str(value).ok()?;
    (!text.0.trim().is_empty()).then_some(text.0)
}

/// A number.
pub fn number(value: &str) -> Option<f64> {
    serde_json::from_str(value).ok()
}

/// A number that is not negative, its fraction cut off.
pub fn count(value: &str) -> Option<u64> {
    field::whole(number(value)?)
}

/// The instant of a number of milliseconds.
pub fn millis(value: &str) -> Option<Timestamp> {
    field::instant(number(value)?)
}

struct Members<'c>(&'c mut dyn FnMut(&str, &str));

impl<'de> Visitor<'de> for Members<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(quoted) = map.next_key::<&RawValue>()? {
            let name = unquoted(quoted.get()).map_err(A::Error::custom)?;
            (self.0)(&name, map.next_value::<&RawValue>()?.get());
        }
        Ok(())
    }
}

fn unquoted(text: &str) -> serde_json::Result<Cow<'_, str>> {
    if text.contains('\\') {
        return Ok(Cow::Owned(serde_json::from_str::<Lossy>(text)?.0));
    }
    Ok(Cow::Borrowed(text.trim_matches('"')))
}

struct Elements<'c>(&'c mut dyn FnMut(&str));

impl<'de> Visitor<'de> for Elements<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while let Some(value) = seq.next_element::<&RawValue>()? {
            (self.0)(value.get());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_and_elements_are_handed_on_as_they_stand() {
        let mut all = Vec::new();
        members(r#"{"a": [1, 2],"b\n":{}, "a":"x","":1}"#, &mut |name, value| {
            all.push((name.to_owned(), value.to_owned()));
        })
        .unwrap();
        let expected = [("a", "[1, 2]"), ("b\n", "{}"), ("a", "\"x\""), ("", "1")];
        assert_eq!(all, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
        let mut all = Vec::new();
        elements("[1, {\"a\": 2}]", &mut |value| all.push(value.to_owned())).unwrap();
        assert_eq!(all, ["1", "{\"a\": 2}"]);
    }

    #[test]
    fn another_kind_of_value_is_an_error() {
        for text in ["[]", "7", "null", "\"x\"", "{", "{} 1", "", "{\"a\nb\":1}"] {
            assert!(members(text, &mut |_, _| ()).is_err(), "{text}");
        }
        for text in ["{}", "7", "[", "[1] 2"] {
            assert!(elements(text, &mut |_| ()).is_err(), "{text}");
        }
    }
}

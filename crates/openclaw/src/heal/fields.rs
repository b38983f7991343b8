//! Sets and removes fields of a JSON object, as bytes: what is not named stays as it stands.

use serde_json::{Map, Value};

use crate::read::raw;

/// A member as it stands: what is in front of its value, and its value.
struct Member<'a> {
    name: String,
    lead: &'a str,
    value: &'a str,
}

/// The text of an object with `set` and without `unset`.
///
/// # Errors
///
/// If the text is no JSON object.
pub fn edit(text: &str, set: &Map<String, Value>, unset: &[String]) -> serde_json::Result<String> {
    let (members, tail) = members(text)?;
    let mut out = String::with_capacity(text.len() + 64);
    out.push('{');
    let (before_key, after_colon) = style(&members);
    let mut count = 0;
    let mut push = |lead: &str, value: &str| {
        if count > 0 {
            out.push(',');
        }
        count += 1;
        out.push_str(lead);
        out.push_str(value);
    };
    for member in members.iter().filter(|member| !unset.contains(&member.name)) {
        match set.get(&member.name) {
            Some(value) => push(member.lead, &value.to_string()),
            None => push(member.lead, member.value),
        }
    }
    for (name, value) in set {
        if unset.contains(name) || !members.iter().any(|member| member.name == *name) {
            let name = Value::from(name.as_str());
            push(&format!("{before_key}{name}:{after_colon}"), &value.to_string());
        }
    }
    out.push_str(tail);
    Ok(out)
}

/// The members, and what is behind the last one.
fn members(text: &str) -> serde_json::Result<(Vec<Member<'_>>, &str)> {
    let mut members = Vec::new();
    let mut found: Vec<(String, usize, usize)> = Vec::new();
    let start = text.as_ptr() as usize;
    raw::members(text, &mut |name, value| {
        let at = value.as_ptr() as usize - start;
        found.push((name.to_owned(), at, at + value.len()));
    })?;
    let open = text.find('{').map_or(0, |open| open + 1);
    let mut at = open;
    for (name, from, to) in found {
        let lead = text.get(at..from).unwrap_or_default();
        let lead = if at == open { lead } else { after_comma(lead) };
        members.push(Member { name, lead, value: text.get(from..to).unwrap_or_default() });
        at = to;
    }
    Ok((members, text.get(at..).unwrap_or("}")))
}

/// What is behind the comma in front of a member.
fn after_comma(lead: &str) -> &str {
    lead.split_once(',').map_or(lead, |(_, rest)| rest)
}

/// The white space in front of keys and behind colons.
fn style<'a>(members: &[Member<'a>]) -> (&'a str, &'a str) {
    let Some(first) = members.first() else { return ("", "") };
    let key = first.lead.find('"').unwrap_or(0);
    let colon = first.lead.rfind(':').map_or(first.lead.len(), |colon| colon + 1);
    (&first.lead[..key], &first.lead[colon..])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn edited(text: &str, set: Value, unset: &[&str]) -> String {
        let unset: Vec<String> = unset.iter().map(|name| (*name).to_owned()).collect();
        edit(text, set.as_object().unwrap(), &unset).unwrap()
    }

    #[test]
    fn what_is_not_named_stays_byte_by_byte() {
        let text = "{\n  \"a\": 1.50,\n  \"b\": {\"c\":  [ ]},\n  \"d\" : \"\\u0041\"\n}";
        assert_eq!(edited(text, json!({}), &[]), text);
        assert_eq!(
            edited(text, json!({"b": 2}), &[]),
            "{\n  \"a\": 1.50,\n  \"b\": 2,\n  \"d\" : \"\\u0041\"\n}"
        );
        assert_eq!(
            edited(text, json!({"e": true}), &["a"]),
            "{\n  \"b\": {\"c\":  [ ]},\n  \"d\" : \"\\u0041\",\n  \"e\": true\n}"
        );
        assert_eq!(edited("{}", json!({"x": null}), &[]), "{\"x\":null}");
        assert_eq!(edited("{\"a\":1}", json!({}), &["a"]), "{}");
        assert!(edit("[1]", &Map::new(), &[]).is_err());
    }

    #[test]
    fn a_key_with_a_comma_or_a_colon_in_it_is_taken_whole() {
        let text = r#"{"a,\"b": 1, "c:d": 2}"#;
        assert_eq!(edited(text, json!({"a,\"b": 3}), &["c:d"]), r#"{"a,\"b": 3}"#);
        assert_eq!(edited(text, json!({"c:d": 3}), &["a,\"b"]), r#"{ "c:d": 3}"#);
    }

    proptest! {
        #![proptest_config(sexton_fuzz::budget(256))]

        #[test]
        fn an_edit_says_the_same_as_an_edited_value(
            object in prop::collection::btree_map("[a-d,:\"]{0,2}", any::<i32>(), 0..6),
            set in prop::collection::btree_map("[a-d,:\"]{0,2}", any::<i32>(), 0..4),
            unset in prop::collection::vec("[a-d,:\"]{0,2}", 0..3),
            pretty in any::<bool>(),
        ) {
            let value = json!(object);
            let text = if pretty { serde_json::to_string_pretty(&value).unwrap() } else { value.to_string() };
            let set: Map<String, Value> = set.into_iter().map(|(k, v)| (k, json!(v))).collect();
            let mut expected = value.as_object().unwrap().clone();
            expected.retain(|name, _| !unset.contains(name));
            expected.extend(set.clone());
            let edited: Value = serde_json::from_str(&edit(&text, &set, &unset).unwrap()).unwrap();
            prop_assert_eq!(edited, Value::Object(expected));
        }
    }
}

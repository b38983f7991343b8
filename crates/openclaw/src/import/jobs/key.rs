//! Keys for their jobs, which have names that are neither unique nor short.

use std::collections::BTreeSet;

use sexton_domain::name::JobKey;

use crate::model::JobRecord;

/// The longest part of a key that comes from a name.
const MAX_NAME_BYTES: usize = 64;
/// So much of an id tells jobs of one name apart, unless that is taken too.
const SHORT_ID_BYTES: usize = 8;

/// A key that nobody has, the same each time for the same job among the same others.
pub(super) fn unique(record: &JobRecord, taken: &BTreeSet<JobKey>) -> JobKey {
    let id = plain(&record.id, MAX_NAME_BYTES);
    let base = [record.name.as_deref().map(|name| plain(name, MAX_NAME_BYTES)).unwrap_or_default()]
        .into_iter()
        .chain([id.clone(), "job".to_owned()])
        .find(|text| !text.is_empty());
    let base = base.unwrap_or_default();
    let short = plain(&record.id, SHORT_ID_BYTES);
    let suffixes = [String::new(), format!("-{short}"), format!("-{id}")].into_iter();
    let numbers = (2_u64..).map(|number| format!("-{number}"));
    let mut keys = suffixes.chain(numbers).filter_map(|it| format!("{base}{it}").parse().ok());
    keys.find(|key| !taken.contains(key)).expect("one of endlessly many numbers is free")
}

/// The text in characters that a key may have: what lies between them becomes one `-`.
fn plain(text: &str, most: usize) -> String {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let words: Vec<&str> = text.split(|c| !allowed(c)).filter(|word| !word.is_empty()).collect();
    let mut plain = words.join("-");
    plain.truncate(most);
    plain.trim_matches('-').to_owned()
}

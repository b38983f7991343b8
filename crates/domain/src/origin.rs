//! Origins: where a record that was brought in from another system came from.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The largest origin of a session or a run, as JSON, in bytes.
pub const MAX_ORIGIN_BYTES: usize = 1024;

/// From when the age of a record counts that ended `at`: from its import where that was later.
pub fn aged_from(at: Timestamp, imported_at: Option<Timestamp>) -> Timestamp {
    imported_at.map_or(at, |imported| imported.max(at))
}

/// Where an imported record came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The other system: `openclaw`.
    pub system: String,
    /// Its own id of the record.
    pub id: String,
    /// The file it was read from, relative to the folder that was imported.
    pub source: String,
    /// Where in that file: a line, a key, a row.
    pub place: String,
    /// What Sexton has no field for.
    #[serde(default)]
    pub data: Value,
}

impl Origin {
    /// The origin in at most so many bytes of JSON. What does not fit goes: first the data, then the
    /// beginnings of the texts.
    #[must_use]
    pub fn within(self, limit: usize) -> Self {
        if self.bytes() <= limit {
            return self;
        }
        let mut bare = Self { data: Value::Null, ..self };
        let mut most = limit / 4;
        while bare.bytes() > limit && most > 0 {
            for text in [&mut bare.system, &mut bare.id, &mut bare.source, &mut bare.place] {
                keep_end(text, most);
            }
            most /= 2;
        }
        bare
    }

    fn bytes(&self) -> usize {
        serde_json::to_string(self).map_or(usize::MAX, |text| text.len())
    }
}

/// Cuts a text to at most so many bytes of its end.
fn keep_end(text: &mut String, most: usize) {
    let excess = text.len().saturating_sub(most);
    drop(text.drain(..text.ceil_char_boundary(excess)));
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn origin(source: &str, data: Value) -> Origin {
        let [system, id, place] = ["openclaw", "8de449e6", "line 3"].map(str::to_owned);
        Origin { system, id, source: source.to_owned(), place, data }
    }

    /// P6: a clock that was set back between the end and the import makes nothing older than it is.
    #[test]
    fn age_counts_from_the_end_or_from_the_import_after_it() {
        let [first, second] = [Timestamp::UNIX_EPOCH, Timestamp::MAX];
        assert_eq!(aged_from(first, None), first);
        assert_eq!(aged_from(first, Some(second)), second);
        assert_eq!(aged_from(second, Some(first)), second);
    }

    #[test]
    fn an_origin_that_fits_stays_as_it_is_and_a_larger_one_loses_its_data_first() {
        let small = origin("agents/main/sessions/sessions.json", json!({"label": "x"}));
        assert_eq!(small.clone().within(MAX_ORIGIN_BYTES), small);
        let large = origin("sessions.json", json!("d".repeat(MAX_ORIGIN_BYTES)));
        assert_eq!(large.within(MAX_ORIGIN_BYTES), origin("sessions.json", Value::Null));
    }

    #[test]
    fn texts_of_any_characters_are_cut_until_they_fit_and_keep_their_ends() {
        for character in ["a", "\"", "\u{1}", "é", "🦀"] {
            let source = format!("{}end", character.repeat(4 * MAX_ORIGIN_BYTES));
            let cut = origin(&source, Value::Null).within(MAX_ORIGIN_BYTES);
            assert!(cut.bytes() <= MAX_ORIGIN_BYTES, "{} of {character:?}", cut.bytes());
            assert!(cut.source.ends_with("end") && cut.source.len() > 40, "{}", cut.source);
            assert_eq!((cut.id.as_str(), cut.system.as_str()), ("8de449e6", "openclaw"));
        }
    }

    #[test]
    fn an_origin_reads_back_as_it_was_written() {
        let before = origin("cron/jobs.json", json!({"payload": {"kind": "agentTurn"}}));
        let text = serde_json::to_string(&before).unwrap();
        assert_eq!(serde_json::from_str::<Origin>(&text).unwrap(), before);
    }
}

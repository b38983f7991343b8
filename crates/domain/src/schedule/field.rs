//! The fields of a cron expression: finds the one that is wrong, and says why.
//!
//! `croner` names neither the field nor the place. It also replaces names anywhere in the text before
//! it looks at fields, so that `0 MON * * *` would mean 01:00 and `1JAN` November. Hence every field is
//! checked here before croner reads the whole.

use std::str::FromStr;

use croner::Cron;

/// What is wrong with a field of a cron expression.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field} field {value:?} at byte {offset}: {reason}; allowed are {allowed}")]
pub struct FieldError {
    /// The field's name.
    pub field: &'static str,
    /// Its text.
    pub value: String,
    /// Where it begins in the expression, in bytes.
    pub offset: usize,
    /// Why it cannot be used.
    pub reason: String,
    /// What can be written there.
    pub allowed: &'static str,
}

/// What a field may contain beside numbers, `*`, `,`, `-` and `/`.
struct Field {
    name: &'static str,
    allowed: &'static str,
    names: &'static [&'static str],
    /// Its place in croner's seven.
    place: usize,
}

const MONTHS: [&str; 12] =
    ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];
const WEEKDAYS: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];

const fn plain(name: &'static str, allowed: &'static str, place: usize) -> Field {
    Field { name, allowed, names: &[], place }
}

static FIELDS: [Field; 7] = [
    plain("second", "0-59 with * , - and /", 0),
    plain("minute", "0-59 with * , - and /", 1),
    plain("hour", "0-23 with * , - and /", 2),
    plain("day of month", "1-31 with * ? , - / L and W", 3),
    Field { name: "month", allowed: "1-12 or JAN-DEC with * , - and /", names: &MONTHS, place: 4 },
    Field {
        name: "day of week",
        allowed: "0-7 (0 and 7 are Sunday) or SUN-SAT with * ? , - / L # and a leading +",
        names: &WEEKDAYS,
        place: 5,
    },
    plain("year", "1-5000 with * , - and /", 6),
];

/// Reads an expression of 5, 6 or 7 fields; an error names the first field that is wrong.
pub(super) fn parse(text: &str) -> Result<Cron, FieldError> {
    let count = text.split_whitespace().count();
    let fields = &FIELDS[usize::from(count == 5)..];
    let mut at = 0;
    for (field, value) in fields.iter().zip(text.split_whitespace()) {
        let offset = at + text[at..].find(value).unwrap_or(0);
        at = offset + value.len();
        field.check(value).map_err(|reason| FieldError {
            field: field.name,
            value: value.to_owned(),
            offset,
            reason,
            allowed: field.allowed,
        })?;
    }
    // Every field is fine by itself, so croner has nothing left to refuse; if it does, say so.
    Cron::from_str(text).map_err(|error| FieldError {
        field: "some",
        value: text.to_owned(),
        offset: 0,
        reason: reason(&error.to_string()),
        allowed: "the fields of cron",
    })
}

impl Field {
    fn check(&self, value: &str) -> Result<(), String> {
        let words = value.strip_prefix('+').filter(|_| self.place == 5).unwrap_or(value);
        if words.split(',').any(str::is_empty) {
            return Err("an item of its list is empty".to_owned());
        }
        let has = |item: &str| words.split(',').any(|it| it.eq_ignore_ascii_case(item));
        if self.place == 5 && has("L") {
            return Err("L needs a day before it".to_owned());
        }
        if self.place == 3 && has("L") && has("LW") {
            return Err("a list cannot have both L and LW".to_owned());
        }
        if let Some(word) = words.split([',', '-', '/', '#']).find(|word| !self.knows(word)) {
            return Err(format!("{word:?} is not understood"));
        }
        let mut probe = ["*"; 7];
        probe[self.place] = value;
        Cron::from_str(&probe.join(" ")).map(drop).map_err(|error| reason(&error.to_string()))
    }

    /// Whether a piece between separators is a number or a word that means something in this field.
    fn knows(&self, word: &str) -> bool {
        let word = word.to_ascii_uppercase();
        let number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let name = |text: &str| self.names.contains(&text);
        // Croner says better what is missing beside a separator.
        if word.is_empty() || number(&word) || word == "*" || name(&word) {
            return true;
        }
        match self.place {
            3 => {
                matches!(word.as_str(), "?" | "L" | "LW")
                    || word.strip_suffix('W').is_some_and(number)
            }
            5 => {
                matches!(word.as_str(), "?" | "L")
                    || word.strip_suffix('L').is_some_and(|day| number(day) || name(day))
            }
            _ => false,
        }
    }
}

/// Croner's message as a fragment: without its category, in lower case, without the final point.
fn reason(message: &str) -> String {
    let message = message.split_once(": ").map_or(message, |(_, rest)| rest).trim_end_matches('.');
    let mut characters = message.chars();
    match characters.next() {
        Some(first) => first.to_lowercase().chain(characters).collect(),
        None => "it cannot be read".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> FieldError {
        parse(text).unwrap_err()
    }

    #[test]
    fn the_offending_field_is_named_with_its_place() {
        let cases = [
            ("60 * * * *", "minute", 0, "out of bounds"),
            ("* 24 * * *", "hour", 2, "out of bounds"),
            ("*  *   0 * *", "day of month", 7, "out of bounds"),
            ("0 0 1 13 *", "month", 6, "out of bounds"),
            ("0 0 * * 8", "day of week", 8, "out of bounds"),
            ("61 * * * * *", "second", 0, "out of bounds"),
            ("0 0 0 1 1 * 6000", "year", 12, "out of bounds"),
            ("0 9 * * MON-XYZ", "day of week", 8, "\"XYZ\" is not understood"),
            ("5-1 * * * *", "minute", 0, "out of bounds"),
            ("*/0 * * * *", "minute", 0, "step cannot be zero"),
            ("0/5 * * * *", "minute", 0, "use \"*/5\""),
            ("1,,2 * * * *", "minute", 0, "item of its list is empty"),
            (", * * * *", "minute", 0, "item of its list is empty"),
            ("0 0 * * MON#6", "day of week", 8, "nth specifier"),
            ("0 0 é * *", "day of month", 4, "\"é\" is not understood"),
            ("0 0 L-3 * *", "day of month", 4, ""),
        ];
        for (text, field, offset, reason) in cases {
            let found = error(text);
            assert_eq!((found.field, found.offset), (field, offset), "{text}: {found}");
            let said = found.reason.to_lowercase();
            assert!(said.contains(&reason.to_lowercase()), "{text}: {found}");
        }
    }

    // Croner replaces names anywhere in the text: these would be 01:00, November, and Sunday.
    #[test]
    fn a_name_in_the_wrong_place_is_not_a_number() {
        assert_eq!(error("0 MON * * *").field, "hour");
        assert_eq!(error("0 0 * 1JAN *").field, "month");
        assert_eq!(error("0 0 * * JAN").field, "day of week");
        assert_eq!(error("0 0 * FRI *").field, "month");
        assert_eq!(error("0 0 * * MONTUE").field, "day of week");
    }

    // A weekday `L` alone was read as one that never comes, so that `MON,L` and `0 0 1 * L` lost a part
    // in silence, and `+` as a list of nothing. Of `L` and `LW` in one list croner forgets the first.
    #[test]
    fn a_part_of_a_list_that_would_mean_nothing_is_refused() {
        for alone in ["L", "MON,l", "+L"] {
            assert_eq!(error(&format!("0 0 1 * {alone}")).reason, "L needs a day before it");
        }
        assert_eq!(error("0 0 W * *").reason, "\"W\" is not understood");
        for nothing in ["+", "+,MON", "MON,"] {
            let error = error(&format!("0 0 1 * {nothing}"));
            assert_eq!((error.field, error.offset), ("day of week", 8), "{error}");
            assert_eq!(error.reason, "an item of its list is empty");
        }
        for both in ["L,LW", "15,lw,l"] {
            assert_eq!(
                error(&format!("0 0 {both} * *")).reason,
                "a list cannot have both L and LW"
            );
        }
    }

    #[test]
    fn everything_the_grammar_offers_is_read() {
        for text in [
            "*/5 9-17 * * MON-FRI",
            "0 0 L * *",
            "0 0 LW * *",
            "0 0 15W * *",
            "0 0 1,15 * +MON",
            "0 0 * * MON#1,FRI#L",
            "0 0 * * FRIL",
            "0 0 * * 5L",
            "0 0 ? jan-mar,DEC ?",
            "10-50/20 0 */2 ? * sun 2026-2030",
            "0 0 * * 7",
        ] {
            assert!(parse(text).is_ok(), "{text}: {}", error(text));
        }
    }
}

//! Names that people choose: of jobs, agents and hooks. A name that exists is valid.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// A text that is not a name of the expected kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing was given.
    #[error("read {what}: it is empty; allowed are {allowed}")]
    Empty {
        /// The kind of name, with its article.
        what: &'static str,
        /// The rule in words.
        allowed: &'static str,
    },
    /// A character that the rule does not allow at its place.
    #[error(
        "read {value:?} as {what}: character {character:?} at byte {offset} is not allowed; allowed are {allowed}"
    )]
    Character {
        /// The kind of name, with its article.
        what: &'static str,
        /// What was given, cut to 80 characters.
        value: String,
        /// The first offending character.
        character: char,
        /// Where it is, in bytes from the start.
        offset: usize,
        /// The rule in words.
        allowed: &'static str,
    },
    /// More bytes than the rule allows.
    #[error("read {value:?} as {what}: {len} bytes, at most {max} are allowed")]
    TooLong {
        /// The kind of name, with its article.
        what: &'static str,
        /// What was given, cut to 80 characters.
        value: String,
        /// Its length in bytes.
        len: usize,
        /// The longest that is allowed, in bytes.
        max: usize,
    },
}

/// The rule one kind of name obeys.
struct Rule {
    what: &'static str,
    allowed: &'static str,
    max_bytes: usize,
    first: fn(char) -> bool,
    rest: fn(char) -> bool,
}

impl Rule {
    fn check(&self, text: &str) -> Result<(), NameError> {
        let Self { what, allowed, .. } = *self;
        if text.is_empty() {
            return Err(NameError::Empty { what, allowed });
        }
        let value = || text.chars().take(80).collect();
        let offending = text.char_indices().find(|&(offset, character)| {
            if offset == 0 { !(self.first)(character) } else { !(self.rest)(character) }
        });
        if let Some((offset, character)) = offending {
            return Err(NameError::Character { what, value: value(), character, offset, allowed });
        }
        let (len, max) = (text.len(), self.max_bytes);
        if len > max {
            return Err(NameError::TooLong { what, value: value(), len, max });
        }
        Ok(())
    }
}

fn key_character(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')
}

fn agent_start(c: char) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit()
}

fn agent_character(c: char) -> bool {
    agent_start(c) || matches!(c, '_' | '-')
}

macro_rules! names {
    ($($(#[$doc:meta])* $name:ident: $rule:expr;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            const RULE: Rule = $rule;

            /// The longest allowed, in bytes.
            pub const MAX_BYTES: usize = Self::RULE.max_bytes;

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::RULE.check(text)?;
                Ok(Self(text.into()))
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;

            fn try_from(text: String) -> Result<Self, NameError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.as_str().to_owned()
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }
    )*};
}

names! {
    /// The unique, human-chosen key of a job: `[A-Za-z0-9._-]+`, at most 128 bytes. Case matters.
    JobKey: Rule {
        what: "a job key",
        allowed: "letters A-Z and a-z, digits, '.', '_' and '-'",
        max_bytes: 128,
        first: key_character,
        rest: key_character,
    };
    /// The name of an agent in the config: `[a-z0-9][a-z0-9_-]{0,63}`, as in a session key.
    AgentName: Rule {
        what: "an agent name",
        allowed: "lowercase letters and digits, and after the first character also '_' and '-'",
        max_bytes: 64,
        first: agent_start,
        rest: agent_character,
    };
    /// The name of a hook in the config: `[A-Za-z0-9._-]+`, at most 64 bytes. Case matters.
    HookName: Rule {
        what: "a hook name",
        allowed: "letters A-Z and a-z, digits, '.', '_' and '-'",
        max_bytes: 64,
        first: key_character,
        rest: key_character,
    };
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_name_that_obeys_its_rule_reads_back_as_it_was_written() {
        for key in ["morning", "A.b_c-9", "-", "..", &"x".repeat(128)] {
            assert_eq!(key.parse::<JobKey>().unwrap().as_str(), key);
        }
        for agent in ["main", "0", "a_b-c", &"x".repeat(64)] {
            assert_eq!(agent.parse::<AgentName>().unwrap().to_string(), agent);
        }
        assert_eq!("Memory.v2".parse::<HookName>().unwrap().as_ref(), "Memory.v2");
    }

    #[test]
    fn an_error_names_the_value_the_character_its_place_and_what_is_allowed() {
        let error = "nightly:é".parse::<JobKey>().unwrap_err().to_string();
        assert!(error.contains("\"nightly:é\" as a job key: character ':' at byte 7"), "{error}");
        assert!(error.contains("digits, '.', '_' and '-'"), "{error}");

        let first = "_main".parse::<AgentName>().unwrap_err();
        assert!(matches!(first, NameError::Character { character: '_', offset: 0, .. }), "{first}");
        let upper = "maiN".parse::<AgentName>().unwrap_err();
        assert!(matches!(upper, NameError::Character { character: 'N', offset: 3, .. }), "{upper}");
        assert!(matches!("".parse::<HookName>(), Err(NameError::Empty { .. })));
    }

    #[test]
    fn one_byte_over_the_limit_is_too_long() {
        let too_long = |error| matches!(error, NameError::TooLong { .. });
        assert!(too_long("x".repeat(129).parse::<JobKey>().unwrap_err()));
        assert!(too_long("x".repeat(65).parse::<AgentName>().unwrap_err()));
        assert!(too_long("x".repeat(65).parse::<HookName>().unwrap_err()));
    }

    #[test]
    fn json_is_read_through_the_same_rule() {
        let key: JobKey = serde_json::from_str("\"daily\"").unwrap();
        assert_eq!(serde_json::to_string(&key).unwrap(), "\"daily\"");
        let error = serde_json::from_str::<AgentName>("\"Main\"").unwrap_err().to_string();
        assert!(error.contains("an agent name: character 'M'"), "{error}");
    }

    proptest! {
        #[test]
        fn any_text_is_a_name_exactly_if_the_written_pattern_matches(text in "[a-zA-Z0-9._:é -]{0,5}") {
            let key = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
            prop_assert_eq!(
                text.parse::<JobKey>().is_ok(),
                !text.is_empty() && text.chars().all(key)
            );
            let low = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
            let agent = text.starts_with(low) && text.chars().all(|c| low(c) || "_-".contains(c));
            prop_assert_eq!(text.parse::<AgentName>().is_ok(), agent);
        }
    }
}

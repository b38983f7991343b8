//! Where a value ends, and where something looks like a row.

use memchr::memchr3;

/// How many bytes a look ahead may need, beside keys.
pub const LOOK: usize = 64;

/// The longest key that is looked for.
pub const KEY_MOST: usize = 4096;

/// How far into a value the scan is.
#[derive(Debug, Default)]
pub struct Nest {
    depth: u64,
    string: bool,
    /// The next byte to look at.
    pub at: usize,
}

/// Why a scan paused.
#[derive(Debug, PartialEq, Eq)]
pub enum Pause {
    /// The value ends before this position.
    End(usize),
    /// More bytes are needed.
    More,
    /// The quote here may be that of the next row's key, and this value has lost its end.
    Suspect {
        /// Where the quote is.
        quote: usize,
        /// How much it must look like a row for that.
        least: Looks,
    },
}

impl Nest {
    /// Before the value that begins at `at`.
    pub fn new(at: usize) -> Self {
        Self { at, ..Self::default() }
    }

    /// Goes on through `bytes`, which hold an object, a list or a text. `before_key` is what stands
    /// before a row's key in this file, from a line feed to the quote; empty if rows do not begin
    /// lines. `last`: no bytes follow.
    pub fn scan(&mut self, bytes: &[u8], before_key: &[u8], last: bool) -> Pause {
        let limit = if last { bytes.len() } else { bytes.len().saturating_sub(LOOK) };
        while self.at < limit {
            let pause = if self.string {
                self.in_string(bytes, before_key, limit)
            } else {
                self.outside(bytes, before_key, limit)
            };
            if let Some(pause) = pause {
                return pause;
            }
        }
        Pause::More
    }

    fn in_string(&mut self, bytes: &[u8], before_key: &[u8], limit: usize) -> Option<Pause> {
        let Some(found) = memchr3(b'"', b'\\', b'\n', &bytes[self.at..limit]) else {
            self.at = limit;
            return None;
        };
        let at = self.at + found;
        self.at = at + 1;
        match bytes[at] {
            b'\\' => self.at = at + 2,
            b'"' => {
                self.string = false;
                return (self.depth == 0).then_some(Pause::End(self.at));
            }
            _ => return suspect(bytes, at, before_key, Looks::Member),
        }
        None
    }

    fn outside(&mut self, bytes: &[u8], before_key: &[u8], limit: usize) -> Option<Pause> {
        let skipped = bytes[self.at..limit].iter().position(|byte| SIGNS[usize::from(*byte)]);
        let Some(skipped) = skipped else {
            self.at = limit;
            return None;
        };
        let at = self.at + skipped;
        self.at = at + 1;
        match bytes[at] {
            b'"' => {
                self.string = true;
                if bytes[at + 1..].starts_with(b"agent:") && follows_sign(bytes, at) {
                    let least = if self.depth == 1 { Looks::Row } else { Looks::Surely };
                    return Some(Pause::Suspect { quote: at, least });
                }
            }
            b'{' | b'[' => self.depth += 1,
            b'}' | b']' => {
                self.depth -= 1;
                return (self.depth == 0).then_some(Pause::End(self.at));
            }
            _ => return suspect(bytes, at, before_key, Looks::Row),
        }
        None
    }
}

/// The bytes outside of texts at which something happens.
const SIGNS: [bool; 256] = {
    let mut signs = [false; 256];
    let all = b"\"{}[]\n";
    let mut index = 0;
    while index < all.len() {
        signs[all[index] as usize] = true;
        index += 1;
    }
    signs
};

fn suspect(bytes: &[u8], at: usize, before_key: &[u8], least: Looks) -> Option<Pause> {
    (!before_key.is_empty() && bytes[at..].starts_with(before_key))
        .then(|| Pause::Suspect { quote: at + before_key.len() - 1, least })
}

/// Whether what is before `at` is where a key can follow.
fn follows_sign(bytes: &[u8], at: usize) -> bool {
    let before = bytes[..at].iter().rev().find(|byte| !is_white(**byte));
    matches!(before, Some(b',' | b'{'))
}

/// How much something looks like a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Looks {
    /// Not at all.
    No,
    /// A key, and an object.
    Member,
    /// A session key and an object, or any key and an object that begins with a session id.
    Row,
    /// A session key and an object that begins with a session id.
    Surely,
}

/// What the text that begins with the quote at `at` looks like.
pub fn looks(bytes: &[u8], at: usize) -> Looks {
    // What follows a quote that ends a text begins no key of theirs.
    if bytes.get(at + 1).is_some_and(|byte| b":,}]".contains(byte)) {
        return Looks::No;
    }
    let Some(end) = string_end(bytes, at) else { return Looks::No };
    let Some(colon) = skip_white(bytes, end).filter(|colon| bytes[*colon] == b':') else {
        return Looks::No;
    };
    let Some(open) = skip_white(bytes, colon + 1).filter(|open| bytes[*open] == b'{') else {
        return Looks::No;
    };
    let begins =
        |text: &[u8], at| skip_white(bytes, at).is_some_and(|at| bytes[at..].starts_with(text));
    let has_key = bytes[at + 1..].starts_with(b"agent:");
    let has_id = begins(b"\"sessionId\"", open + 1);
    match (has_key, has_id) {
        (true, true) => Looks::Surely,
        (false, false) => Looks::Member,
        _ => Looks::Row,
    }
}

/// The end of the key whose quote is at `at`; keys have no control characters and are not endless.
pub fn string_end(bytes: &[u8], at: usize) -> Option<usize> {
    let mut escaped = false;
    for (offset, byte) in bytes[at + 1..].iter().enumerate().take(KEY_MOST) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return Some(at + offset + 2),
            0..0x20 => return None,
            _ => {}
        }
    }
    None
}

/// The first position from `at` on that is no white space.
pub fn skip_white(bytes: &[u8], at: usize) -> Option<usize> {
    bytes.get(at..)?.iter().position(|byte| !is_white(*byte)).map(|offset| at + offset)
}

/// White space of JSON.
pub const fn is_white(byte: u8) -> bool {
    matches!(byte, b' ' | b'\n' | b'\r' | b'\t')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(text: &str) -> Pause {
        Nest::default().scan(text.as_bytes(), b"\n  \"", true)
    }

    #[test]
    fn values_end_where_their_nesting_ends() {
        assert_eq!(end(r#"{"a":[1,{"b":"}"}]},"#), Pause::End(19));
        assert_eq!(end(r#""a\"b","#), Pause::End(6));
        assert_eq!(end("{\"a\":\"\\\\\"},"), Pause::End(10));
        assert_eq!(end(r#"{"a":"#), Pause::More);
    }

    #[test]
    fn a_value_in_pieces_ends_at_the_same_place() {
        let text = format!(r#"{{"a":"{}\"","b":[]}},"#, "x".repeat(200));
        let mut nest = Nest::default();
        for cut in 0..text.len() {
            assert_eq!(nest.scan(&text.as_bytes()[..cut], b"", false), Pause::More, "{cut}");
        }
        assert_eq!(nest.scan(text.as_bytes(), b"", true), Pause::End(text.len() - 1));
    }

    #[test]
    fn the_key_of_the_next_row_is_seen_wherever_a_piece_ends() {
        let cases = [
            (format!("{{\n    \"a\": \"x\n  }},\n  \"agent:b\": {{{}", "x".repeat(200)), 21),
            (format!("{{\"a\":1,\"agent:b\":{{{}", "x".repeat(200)), 7),
        ];
        for (text, expected) in cases {
            for cut in 0..text.len() {
                let mut nest = Nest::default();
                let mut pause = nest.scan(&text.as_bytes()[..cut], b"\n  \"", false);
                if pause == Pause::More {
                    pause = nest.scan(text.as_bytes(), b"\n  \"", true);
                }
                let Pause::Suspect { quote, .. } = pause else { panic!("{cut}: {pause:?}") };
                assert_eq!(quote, expected, "{cut}");
            }
        }
    }

    #[test]
    fn the_key_of_the_next_row_stops_a_value_that_lost_its_end() {
        let lost_quote = "{\n    \"a\": \"x\n  },\n  \"agent:b\": {";
        assert_eq!(end(lost_quote), Pause::Suspect { quote: 21, least: Looks::Member });
        let lost_brace = "{\n    \"a\": 1\n  ,\n  \"k\": {";
        assert_eq!(end(lost_brace), Pause::Suspect { quote: 19, least: Looks::Row });
        let no_lines = r#"{"a":1,"agent:b":{"#;
        assert_eq!(end(no_lines), Pause::Suspect { quote: 7, least: Looks::Row });
        let deeper = r#"{"a":{"agent:b":{"#;
        assert_eq!(end(deeper), Pause::Suspect { quote: 6, least: Looks::Surely });
        assert_eq!(end(r#"{"spawnedBy":"agent:b"}"#), Pause::End(23));
    }

    #[test]
    fn rows_are_told_from_other_members() {
        let cases = [
            (r#""agent:a":{"#, Looks::Row),
            (r#""main" : { "sessionId":"#, Looks::Row),
            ("\"agent:a\": {\n    \"sessionId\":", Looks::Surely),
            (r#""route": {"channel""#, Looks::Member),
            (r#""agent:a","#, Looks::No),
            (r#""agent:a":7"#, Looks::No),
            ("\"a\nb\":{", Looks::No),
            (r#"":1}}agent:a":{"sessionId":"#, Looks::No),
            ("\"", Looks::No),
        ];
        for (text, expected) in cases {
            assert_eq!(looks(text.as_bytes(), 0), expected, "{text}");
        }
    }
}

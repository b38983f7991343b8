//! Texts that are almost what somebody meant.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

/// One slip of the pen.
#[derive(Debug, Clone)]
enum Slip {
    Delete(Index),
    Insert(Index, String),
    Replace(Index, String),
    Truncate(Index),
    Repeat(Index, Index, usize),
    Swap(Index, Index),
    Case(Index),
}

/// Texts from `valid`, with up to three slips; one in five is left as it is.
pub fn near(valid: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    let slips = prop_oneof![1 => Just(Vec::new()), 4 => vec(slip(), 1..4)];
    (valid, slips).prop_map(|(text, slips)| slips.into_iter().fold(text, apply))
}

/// Pieces that readers stumble over: signs, huge numbers, quotes, control characters, letters whose
/// case changes their length.
pub fn piece() -> impl Strategy<Value = String> {
    let odd = select(vec![
        "",
        " ",
        "\t",
        "\n",
        "\r\n",
        "\0",
        "\u{7f}",
        "\u{a0}",
        "\u{2028}",
        "\u{feff}",
        "\u{202e}",
        "é",
        "İ",
        "ß",
        "ǅ",
        "\u{2212}",
        "\u{1f4a9}",
        "\u{0301}",
        "-",
        "+",
        "--",
        ".",
        ",",
        ":",
        ";",
        "/",
        "#",
        "*",
        "?",
        "@",
        "%",
        "%00",
        "%zz",
        "&",
        "=",
        "\"",
        "'",
        "\"\"\"",
        "\\",
        "\\u0000",
        "`",
        "$",
        "(",
        ")",
        "[",
        "]",
        "{",
        "}",
        "<",
        "0",
        "00",
        "1",
        "-1",
        "0x10",
        "1_000",
        "1e3",
        "1e999",
        "NaN",
        "inf",
        "null",
        "true",
        "false",
        "9223372036854775808",
        "18446744073709551616",
        "99999999999999999999999999999999999999999",
        "T",
        "Z",
        "L",
        "W",
        "s",
        "ms",
        "d",
    ]);
    prop_oneof![6 => odd.prop_map(str::to_owned), 2 => "[ -~]{1,4}", 1 => "\\PC{1,3}", 1 => any::<char>().prop_map(String::from)]
}

fn slip() -> impl Strategy<Value = Slip> {
    let at = any::<Index>;
    prop_oneof![
        3 => at().prop_map(Slip::Delete),
        4 => (at(), piece()).prop_map(|(at, piece)| Slip::Insert(at, piece)),
        4 => (at(), piece()).prop_map(|(at, piece)| Slip::Replace(at, piece)),
        1 => at().prop_map(Slip::Truncate),
        1 => (at(), at(), 1..40_usize).prop_map(|(a, b, times)| Slip::Repeat(a, b, times)),
        1 => (at(), at()).prop_map(|(a, b)| Slip::Swap(a, b)),
        1 => at().prop_map(Slip::Case),
    ]
}

fn apply(text: String, slip: Slip) -> String {
    let mut pieces: Vec<String> = text.chars().map(String::from).collect();
    let count = pieces.len();
    if count == 0 {
        return match slip {
            Slip::Insert(_, piece) | Slip::Replace(_, piece) => piece,
            _ => text,
        };
    }
    match slip {
        Slip::Delete(at) => drop(pieces.remove(at.index(count))),
        Slip::Insert(at, piece) => pieces.insert(at.index(count + 1), piece),
        Slip::Replace(at, piece) => pieces[at.index(count)] = piece,
        Slip::Truncate(at) => pieces.truncate(at.index(count)),
        Slip::Repeat(a, b, times) => {
            let (a, b) = (a.index(count), b.index(count));
            let span = pieces[a.min(b)..=a.max(b)].concat();
            pieces.insert(a.max(b), span.repeat(times.min(1 + 4_096 / span.len().max(1))));
        }
        Slip::Swap(a, b) => pieces.swap(a.index(count), b.index(count)),
        Slip::Case(at) => {
            let piece = &mut pieces[at.index(count)];
            let lower = piece.to_lowercase();
            *piece = if *piece == lower { piece.to_uppercase() } else { lower };
        }
    }
    pieces.concat()
}

//! A file that is one JSON or JSON5 value, read as far as it makes sense.

use serde_json::Value;

use crate::model::{Dropped, Place};
use sexton_domain::words::counted;

/// The deepest nesting for which a JSON5 reader is asked.
const DEPTH_MOST: usize = 128;

/// The first value of a file, and what follows it.
#[derive(Debug)]
pub struct Document {
    /// The value.
    pub value: Value,
    /// Bytes behind it that are no white space: some writers left the end of an older file there.
    pub rest: Option<Dropped>,
}

/// Reads JSON, and JSON5 where it is no JSON.
///
/// # Errors
///
/// Why there is no value.
pub fn document(bytes: &[u8]) -> Result<Document, String> {
    let text = String::from_utf8_lossy(bytes);
    let text = text.trim_start_matches('\u{feff}');
    if text.trim().is_empty() {
        return Err("the file is empty".to_owned());
    }
    let mut json = serde_json::Deserializer::from_str(text).into_iter::<Value>();
    if let Some(Ok(value)) = json.next() {
        let at = json.byte_offset();
        let behind = text[at..].trim().trim_matches('\0');
        if behind.is_empty() || value.is_object() || value.is_array() {
            let rest = (!behind.is_empty()).then(|| Dropped {
                place: Place::Byte(at as u64),
                reason: format!(
                    "{} behind the first value",
                    counted((text.len() - at) as u64, "byte")
                ),
            });
            return Ok(Document { value, rest });
        }
    }
    if depth(text) > DEPTH_MOST {
        return Err(format!("nested deeper than {DEPTH_MOST}"));
    }
    let value = json5::from_str(text).map_err(|error| error.to_string())?;
    Ok(Document { value, rest: None })
}

/// At least how deep the brackets nest, whatever stands in texts and comments.
fn depth(text: &str) -> usize {
    let mut now = 0_usize;
    let mut most = 0;
    for byte in text.bytes() {
        match byte {
            b'{' | b'[' => now += 1,
            b'}' | b']' => now = now.saturating_sub(1),
            _ => {}
        }
        most = most.max(now);
    }
    most
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn json5_is_read_where_json_ends() {
        let read = document(b"// mine\n{ a: 'x', b: [1, 2,], }").unwrap();
        assert_eq!(read.value, json!({ "a": "x", "b": [1, 2] }));
        assert_eq!(read.rest, None);
    }

    #[test]
    fn a_second_value_is_named_and_the_first_is_read() {
        let read = document(b"{\"a\":1}\n{\"b\":2}").unwrap();
        assert_eq!(read.value, json!({ "a": 1 }));
        assert_eq!(read.rest.unwrap().place, Place::Byte(7));
    }

    #[test]
    fn what_has_no_value_says_why() {
        for bytes in [&b""[..], b" \n", b"{", b"\0\0", b"{\"a\":"] {
            assert!(document(bytes).is_err(), "{bytes:?}");
        }
        let deep = "[".repeat(100_000);
        assert_eq!(document(deep.as_bytes()).unwrap_err(), "nested deeper than 128");
    }
}

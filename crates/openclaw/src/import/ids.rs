//! Ids of what is brought over: they follow from the original time and the original id alone, so that
//! importing again finds what is there, and lists by time are right.

use jiff::Timestamp;
use sha2::{Digest as _, Sha256};
use uuid::{Builder, Uuid};

/// The word for OpenClaw in origins and ids.
pub const SYSTEM: &str = "openclaw";

/// The id of the thing of theirs that these parts name, which began at `start`.
pub fn id<T: From<Uuid>>(start: Timestamp, parts: &[&str]) -> T {
    let mut hash = Sha256::new_with_prefix(SYSTEM);
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    let mut rest = [0; 10];
    rest.copy_from_slice(&hash.finalize()[..10]);
    let at_ms = u64::try_from(start.as_millisecond()).unwrap_or(0);
    Builder::from_unix_timestamp_millis(at_ms, &rest).into_uuid().into()
}

#[cfg(test)]
mod tests {
    use sexton_domain::id::{RunId, SessionId};

    use super::*;

    #[test]
    fn an_id_follows_from_time_and_parts_and_sorts_by_its_time() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let [first, second] = [at("2026-11-20T18:00:00Z"), at("2026-11-20T18:00:00.001Z")];
        let one: SessionId = id(first, &["session", "main", "a"]);
        assert_eq!(one, id(first, &["session", "main", "a"]));
        assert_eq!(one.uuid().get_version_num(), 7);
        let others: [SessionId; 4] = [
            id(first, &["session", "main", "b"]),
            id(first, &["session", "maina", ""]),
            id(first, &["run", "main", "a"]),
            id(second, &["session", "main", "a"]),
        ];
        assert!(others.iter().all(|other| *other != one));
        assert!(others[3] > one && others[3] > others[0]);
        let before_1970: RunId = id(at("1969-01-01T00:00:00Z"), &["run"]);
        assert_eq!(before_1970.uuid().as_u128() >> 80, 0);
    }
}

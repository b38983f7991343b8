//! Lock files: who holds them, and since when.

use jiff::Timestamp;
use serde_json::Value;

use crate::model::Process;
use crate::read::field::{count, millis};

/// Reads `{pid, createdAt, starttime}`: the process, if it says one, and when the lock was made.
/// Everything may be missing; a lock without contents was just made, or its writer died.
pub fn lock(bytes: &[u8]) -> (Option<Process>, Option<Timestamp>) {
    let Ok(raw) = serde_json::from_slice::<Value>(bytes) else { return (None, None) };
    let pid = count(raw.get("pid")).and_then(|pid| u32::try_from(pid).ok()).filter(|pid| *pid > 0);
    let started_ticks = count(raw.get("starttime")).or_else(|| count(raw.get("startTime")));
    (pid.map(|pid| Process { pid, started_ticks }), created_at(raw.get("createdAt")))
}

/// A text of RFC 3339, or milliseconds.
fn created_at(value: Option<&Value>) -> Option<Timestamp> {
    match value? {
        Value::String(text) => text.trim().parse().ok(),
        other => millis(Some(other)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_names_its_process() {
        let (owner, at) =
            lock(br#"{"pid":42,"createdAt":"2026-11-20T18:05:44.888Z","starttime":777}"#);
        assert_eq!(owner, Some(Process { pid: 42, started_ticks: Some(777) }));
        assert_eq!(at, Some("2026-11-20T18:05:44.888Z".parse().unwrap()));
    }

    #[test]
    fn what_a_lock_does_not_say_is_absent() {
        let instant = Timestamp::from_second(1).unwrap();
        let only = Process { pid: 7, started_ticks: None };
        let cases: [(&[u8], Option<Process>, Option<Timestamp>); 7] = [
            (b"", None, None),
            (b"42", None, None),
            (b"{\"pid\":0}", None, None),
            (b"{\"pid\":-1,\"createdAt\":1000}", None, Some(instant)),
            (b"{\"pid\":99999999999}", None, None),
            (b"{\"pid\":7,\"starttime\":null,\"createdAt\":\"soon\"}", Some(only), None),
            (b"{\"pid\":", None, None),
        ];
        for (bytes, owner, at) in cases {
            assert_eq!(lock(bytes), (owner, at), "{bytes:?}");
        }
    }
}

//! Run history: `cron/runs/<job>.jsonl`, a finished run in each line.

use std::io::{self, BufRead};

use serde_json::Value;

use crate::model::{Dropped, Place, RunEntry, RunStatus, Tally, Usage};
use crate::read::field::{count, millis, text};
use crate::read::lines::{Line, lines};
use crate::read::raw::lossy;

/// Hands on each finished run with the number of its line. Every other line that is not blank is
/// dropped with its reason.
///
/// # Errors
///
/// If reading from `input` fails.
pub fn runs(input: impl BufRead, each: &mut dyn FnMut(u64, RunEntry)) -> io::Result<Tally> {
    let mut tally = Tally::default();
    tally.bytes = lines(input, &mut |number, line| {
        let read = match line {
            Line::Bytes { bytes, .. } if bytes.trim_ascii().is_empty() => return,
            Line::Bytes { bytes, .. } => finished(bytes),
            Line::TooLong(bytes) => Err(format!("a line of {bytes} bytes")),
        };
        match read {
            Ok(run) => {
                tally.read += 1;
                each(number, run);
            }
            Err(reason) => tally.dropped.push(Dropped { place: Place::Line(number), reason }),
        }
    })?;
    Ok(tally)
}

fn finished(line: &[u8]) -> Result<RunEntry, String> {
    let text = lossy(line);
    let raw: Value = serde_json::from_str(&text).map_err(|error| error.to_string())?;
    match raw.get("action").map(|action| action.as_str()) {
        Some(Some("finished")) => entry(&raw, None),
        Some(Some(other)) => Err(format!("no finished run: {other}")),
        Some(None) => Err("no finished run: its action is no text".to_owned()),
        None if raw.is_object() => Err("no finished run: it has no action".to_owned()),
        None => Err("not an object".to_owned()),
    }
}

/// Reads a run; `job` is its job where the record does not say.
///
/// # Errors
///
/// Why it is none: it is no object, or its job is not known.
pub fn entry(raw: &Value, job: Option<&str>) -> Result<RunEntry, String> {
    if !raw.is_object() {
        return Err("not an object".to_owned());
    }
    let job_id = text(raw.get("jobId")).or_else(|| job.map(str::to_owned));
    let Some(job_id) = job_id else { return Err("it has no job".to_owned()) };
    Ok(RunEntry {
        job_id,
        status: raw.get("status").and_then(Value::as_str).and_then(status),
        error: text(raw.get("error")),
        summary: text(raw.get("summary")),
        session_id: text(raw.get("sessionId")),
        session_key: text(raw.get("sessionKey")),
        run_id: text(raw.get("runId")),
        at: millis(raw.get("ts")),
        run_at: millis(raw.get("runAtMs")),
        duration_ms: count(raw.get("durationMs")),
        model: model(raw),
        usage: raw.get("usage").and_then(usage),
    })
}

fn status(word: &str) -> Option<RunStatus> {
    match word {
        "ok" => Some(RunStatus::Ok),
        "error" => Some(RunStatus::Error),
        "skipped" => Some(RunStatus::Skipped),
        _ => None,
    }
}

/// `provider/model`, or the one of both that is there.
fn model(raw: &Value) -> Option<String> {
    match (text(raw.get("provider")), text(raw.get("model"))) {
        (Some(provider), Some(model)) => Some(format!("{provider}/{model}")),
        (provider, model) => model.or(provider),
    }
}

fn usage(raw: &Value) -> Option<Usage> {
    let parts = ["input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens"]
        .map(|name| count(raw.get(name)));
    let [input, output, cache_read, cache_write] = parts;
    parts.iter().any(Option::is_some).then(|| Usage {
        input: input.unwrap_or(0),
        output: output.unwrap_or(0),
        cache_read: cache_read.unwrap_or(0),
        cache_write: cache_write.unwrap_or(0),
        cost_usd: 0.0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const REAL: &[u8] = include_bytes!(
        "../../tests/fixtures/2026.5.6-plain/cron/runs/0f9f3b6a-599f-4e9e-90ad-3a9309cbd4c9.jsonl"
    );

    fn read(bytes: &[u8]) -> (Vec<(u64, RunEntry)>, Tally) {
        let mut all = Vec::new();
        let tally = runs(bytes, &mut |number, run| all.push((number, run))).unwrap();
        (all, tally)
    }

    #[test]
    fn a_real_run_is_read() {
        let (all, tally) = read(REAL);
        assert_eq!((tally.read, tally.dropped.len(), tally.bytes), (1, 0, REAL.len() as u64));
        let (number, run) = &all[0];
        assert_eq!(*number, 1);
        assert_eq!(run.job_id, "0f9f3b6a-599f-4e9e-90ad-3a9309cbd4c9");
        assert_eq!(run.status, Some(RunStatus::Ok));
        assert_eq!(run.run_at.unwrap().as_millisecond(), 1_795_197_938_469);
        assert_eq!(run.at.unwrap().as_millisecond(), 1_795_197_939_370);
        assert_eq!(run.duration_ms, Some(900));
        assert_eq!(run.model.as_deref(), Some("fake/fake-1"));
        assert_eq!(run.usage.unwrap().input, 100);
        assert_eq!(run.session_id.as_deref(), Some("8de449e6-0f48-420f-9a3c-4791cc7e1608"));
    }

    #[test]
    fn every_line_is_a_run_or_dropped_with_a_reason() {
        let (all, tally) = read(
            b"{\"jobId\":\"j\",\"action\":\"started\"}\n\n{\"jobId\":\"j\",\"action\":\"finished\",\"status\":\"odd\"}\n7\n{\"action\":\"finished\"}\n{\"jobId\":",
        );
        assert_eq!(all.len(), 1);
        assert_eq!((all[0].0, all[0].1.status), (3, None));
        let places: Vec<_> = tally.dropped.iter().map(|dropped| dropped.place.clone()).collect();
        assert_eq!(places, [1, 4, 5, 6].map(Place::Line));
    }

    #[test]
    fn a_record_without_a_job_takes_the_one_it_is_given() {
        let raw = serde_json::json!({ "status": "error", "error": "x", "runAtMs": 1 });
        assert_eq!(entry(&raw, None), Err("it has no job".to_owned()));
        assert_eq!(entry(&raw, Some("j")).unwrap().job_id, "j");
    }
}

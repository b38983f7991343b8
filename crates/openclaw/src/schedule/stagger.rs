//! Their delay of jobs that are due at the full hour, so that not all of them start together.

use jiff::Timestamp;
use sexton_domain::duration::Duration;
use sexton_domain::schedule::{CronExpr, Zone};
use sha2::{Digest as _, Sha256};

use super::cron;

/// The window of an expression of the full hour that names none.
const FULL_HOUR_WINDOW: Duration = Duration::from_secs(300);

/// How long the stretch is in which a job's slots are spread: what the job says, else five minutes for
/// an expression that is due at several full hours, else nothing.
pub fn window(expr: &str, stagger_ms: Option<u64>) -> Duration {
    match stagger_ms {
        Some(millis) => Duration::from_millis(millis),
        None if is_full_hour(expr) => FULL_HOUR_WINDOW,
        None => Duration::ZERO,
    }
}

/// By how much each slot of a job is delayed: the first four bytes of the SHA-256 of its id, modulo the window.
pub fn offset(job_id: &str, window: Duration) -> Duration {
    if window.as_millis() <= 1 {
        return Duration::ZERO;
    }
    let digest = Sha256::digest(job_id.as_bytes());
    let number = digest.iter().take(4).fold(0_u64, |number, &byte| number << 8 | u64::from(byte));
    Duration::from_millis(number % window.as_millis())
}

/// Whether an expression is due at minute 0 of several hours.
fn is_full_hour(expr: &str) -> bool {
    let fields: Vec<&str> = expr.split_whitespace().collect();
    let hour = match fields.as_slice() {
        ["0", hour, _, _, _] | ["0", "0", hour, _, _, _] => hour,
        _ => return false,
    };
    hour.split(',').any(|item| {
        let (item, step) = item.split_once('/').unwrap_or((item, "1"));
        let is_number = !step.is_empty() && step.bytes().all(|byte| byte.is_ascii_digit());
        matches!(item, "*" | "?") && is_number
    })
}

/// The next slot of an expression with its delay, as OpenClaw searches it.
pub(super) fn next(
    expr: &CronExpr,
    zone: &Zone,
    offset: Duration,
    now: Timestamp,
) -> Option<Timestamp> {
    // Never early enough to need a second attempt: a slot after `now - offset` is after `now` with it.
    let base = cron::next(expr, zone, offset.before(now))?;
    Some(offset.after(base))
}

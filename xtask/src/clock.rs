//! The clock of developer commands: the only place here that asks the system for the time.

use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// Wall time.
#[expect(clippy::disallowed_methods, reason = "a developer command measures wall time")]
pub fn now() -> Timestamp {
    Timestamp::now()
}

/// Time since an arbitrary start, for measuring.
#[expect(clippy::disallowed_methods, reason = "a developer command measures wall time")]
pub fn monotonic() -> std::time::Instant {
    std::time::Instant::now()
}

/// Waits.
#[expect(clippy::disallowed_methods, reason = "a developer command measures wall time")]
pub fn sleep(time: Duration) {
    std::thread::sleep(time);
}

/// The time of day where the reader is.
pub fn time_of_day(at: Timestamp) -> String {
    at.to_zoned(TimeZone::system()).strftime("%H:%M:%S").to_string()
}

/// Asks until the answer is yes, for at most `limit`; returns how long that took.
pub fn until(
    limit: Duration,
    is_so: impl FnMut() -> anyhow::Result<bool>,
) -> anyhow::Result<Option<Duration>> {
    until_every(Duration::from_millis(10), limit, is_so)
}

/// [`until`], with its own pause between the questions.
pub fn until_every(
    pause: Duration,
    limit: Duration,
    mut is_so: impl FnMut() -> anyhow::Result<bool>,
) -> anyhow::Result<Option<Duration>> {
    let start = monotonic();
    loop {
        if is_so()? {
            return Ok(Some(start.elapsed()));
        }
        if start.elapsed() >= limit {
            return Ok(None);
        }
        sleep(pause);
    }
}

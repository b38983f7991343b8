//! Tells the supervisor (systemd, or who speaks its protocol) where the daemon stands. Without one,
//! nothing is told.

use sd_notify::NotifyState;
use sexton_domain::duration::Duration;
use sexton_engine::drain::Progress;

use crate::clock;

/// What the supervisor is asked for beyond the bound: its word takes its way, too.
const MARGIN: Duration = Duration::from_secs(2);

/// At work.
pub fn ready() {
    tell(&[NotifyState::Ready, NotifyState::Status("at work")]);
}

/// Reading the config again; [`ready`] ends it.
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(_) => tell(&[NotifyState::Reloading]),
    }
}

/// On the way to stop: what it does now, and how much more time that takes at most. The supervisor
/// waits that long whatever its own limit is.
pub fn stopping(progress: &Progress) {
    let status = format!("{}; stopped {} at the latest", progress.step.doing(), progress.until);
    let left = Duration::between(clock::now().min(progress.until), progress.until);
    stop_takes(left, &status);
}

/// On the way to stop before the start is over: the store has so long to answer.
pub fn stopping_early(bound: Duration) {
    stop_takes(bound, "stopping before it was ready");
}

fn stop_takes(at_most: Duration, status: &str) {
    let micros = at_most.saturating_add(MARGIN).to_std().as_micros();
    let micros = u32::try_from(micros).unwrap_or(u32::MAX);
    tell(&[
        NotifyState::Stopping,
        NotifyState::ExtendTimeoutUsec(micros),
        NotifyState::Status(status),
    ]);
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "the supervisor cannot be told");
    }
}

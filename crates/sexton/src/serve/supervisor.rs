//! Tells the supervisor (systemd, or who speaks its protocol) where the daemon stands. Without one,
//! nothing is told.

use sd_notify::NotifyState;

/// At work.
pub fn ready() {
    tell(&[NotifyState::Ready]);
}

/// Reading the config again; [`ready`] ends it.
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(_) => tell(&[NotifyState::Reloading]),
    }
}

/// On the way to stop.
pub fn stopping() {
    tell(&[NotifyState::Stopping]);
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "the supervisor cannot be told");
    }
}

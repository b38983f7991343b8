//! What the operating system and people ask of the daemon.

use sexton_domain::node::EndReason;
use sexton_domain::plan::drain::Patience;
use tokio::signal::unix::{Signal as Stream, SignalKind, signal};

use crate::failure::{Exit, Failure};

/// What was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// SIGHUP.
    Reload,
    /// SIGTERM, SIGINT, SIGUSR1.
    Stop(Stop),
}

/// A stop that a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stop {
    /// SIGTERM and SIGINT are a shutdown; after SIGUSR1 somebody starts it again.
    pub reason: EndReason,
    /// The first signal leaves running runs their time, the second one does not.
    pub patience: Patience,
}

/// The signals that are listened to.
#[derive(Debug)]
pub struct Signals {
    hangup: Stream,
    terminate: Stream,
    interrupt: Stream,
    user: Stream,
    /// How patient the next stop is.
    patience: Patience,
}

impl Signals {
    /// Listens from now on.
    pub fn new() -> Result<Self, Failure> {
        let listen = |kind| {
            signal(kind).map_err(|error| {
                Failure::new(Exit::Unavailable, format!("failed to listen to signals: {error}"))
            })
        };
        Ok(Self {
            hangup: listen(SignalKind::hangup())?,
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
            user: listen(SignalKind::user_defined1())?,
            patience: Patience::Budget,
        })
    }

    /// The next one.
    pub async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.hangup.recv() => Signal::Reload,
            reason = asked(&mut self.terminate, &mut self.interrupt, &mut self.user) => {
                Signal::Stop(self.stop(reason))
            }
        }
    }

    /// The next one that asks for a stop; a reload waits until it is asked for.
    pub async fn next_stop(&mut self) -> Stop {
        let reason = asked(&mut self.terminate, &mut self.interrupt, &mut self.user).await;
        self.stop(reason)
    }

    fn stop(&mut self, reason: EndReason) -> Stop {
        let patience = std::mem::replace(&mut self.patience, Patience::Cancel);
        tracing::info!(?reason, ?patience, "asked to stop by a signal");
        Stop { reason, patience }
    }
}

async fn asked(terminate: &mut Stream, interrupt: &mut Stream, user: &mut Stream) -> EndReason {
    tokio::select! {
        _ = terminate.recv() => EndReason::Shutdown,
        _ = interrupt.recv() => EndReason::Shutdown,
        _ = user.recv() => EndReason::Restart,
    }
}

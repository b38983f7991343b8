//! Every long-lived task, with what happens when it fails and when the node stops.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use crate::handle::Phase;

/// A long-lived task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TaskKind {
    /// Accounts for due slots.
    Scheduler,
    /// Claims queued runs.
    Dispatcher,
    /// Sees that every run of this epoch has its runner, and tells runners to stop.
    Runners,
    /// Ends what is dead.
    Reconciler,
    /// Archives and deletes what is over.
    Reaper,
    /// Raises and clears alerts.
    Alerts,
    /// Renews the lease.
    Heartbeat,
    /// Takes one run from its claim to its end.
    Runner,
    /// Keeps the store's hooks in line with the config, and gives up what is too old.
    Hooks,
    /// Sends one hook what it is to be told.
    Hook,
    /// One try of one delivery.
    Delivery,
    /// Takes the node from running to stopped.
    Drain,
}

/// What happens when a task fails or panics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnFailure {
    /// It looks again after a pause; the failure is logged when it differs from the last.
    LookAgain,
    /// Its run is proven dead and ended as interrupted.
    EndRun,
    /// Its delivery is tried again later.
    TryAgain,
    /// The process goes on to stop.
    Stop,
}

/// Until when a task works while the node stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AtShutdown {
    /// It ends as soon as the node drains.
    EndsFirst,
    /// It works until everything else is done.
    EndsLast,
    /// It is told to stop its run and ends with it.
    EndsWithRun,
}

impl TaskKind {
    /// What happens when it fails or panics.
    pub const fn on_failure(self) -> OnFailure {
        match self {
            Self::Scheduler
            | Self::Dispatcher
            | Self::Runners
            | Self::Reconciler
            | Self::Reaper
            | Self::Alerts
            | Self::Heartbeat
            | Self::Hooks
            | Self::Hook => OnFailure::LookAgain,
            Self::Runner => OnFailure::EndRun,
            Self::Delivery => OnFailure::TryAgain,
            Self::Drain => OnFailure::Stop,
        }
    }

    /// Until when it works while the node stops.
    pub const fn at_shutdown(self) -> AtShutdown {
        match self {
            Self::Scheduler | Self::Dispatcher | Self::Reconciler | Self::Reaper | Self::Alerts => {
                AtShutdown::EndsFirst
            }
            Self::Runners
            | Self::Heartbeat
            | Self::Hooks
            | Self::Hook
            | Self::Delivery
            | Self::Drain => AtShutdown::EndsLast,
            Self::Runner => AtShutdown::EndsWithRun,
        }
    }

    /// Whether a loop of this kind works in a phase.
    pub fn works_in(self, phase: Phase) -> bool {
        match (self.at_shutdown(), phase) {
            (_, Phase::Stopped | Phase::Offline) | (AtShutdown::EndsFirst, Phase::Draining(_)) => {
                false
            }
            (AtShutdown::EndsFirst | AtShutdown::EndsLast | AtShutdown::EndsWithRun, _) => true,
        }
    }
}

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;
type Wrap = dyn Fn(Task) -> Task + Send + Sync;

/// Starts long-lived tasks on the current Tokio runtime.
#[derive(Clone, Default)]
pub struct Tasks(Option<Arc<Wrap>>);

impl fmt::Debug for Tasks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tasks")
    }
}

impl Tasks {
    /// Tasks that are wrapped before they are started: a simulation watches their polls.
    pub fn wrapped(wrap: impl Fn(Task) -> Task + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(wrap)))
    }

    /// Starts a task.
    pub fn spawn(&self, kind: TaskKind, task: impl Future<Output = ()> + Send + 'static) {
        tracing::trace!(?kind, "task starts");
        let task: Task = Box::pin(task);
        let task = match &self.0 {
            Some(wrap) => wrap(task),
            None => task,
        };
        tokio::spawn(task);
    }
}

//! Plans: every decision that Sexton takes, as functions from a snapshot and `now` to a
//! [`Decision`](crate::change::Decision).
//!
//! | question | where |
//! |---|---|
//! | what becomes of a due slot | [`slots`] |
//! | may a queued run start | [`admission`] |
//! | in which session does it work | [`succession`] |
//! | what follows the end of a run | [`ending`] |
//! | what becomes of a message | [`messages`] |
//! | whose turn is it on a session key | [`turns`] |
//! | what does a command do to a session | [`sessions`] |
//! | what becomes of the runs and sessions of a dead node | [`reconcile`] |
//! | what an edit of a job changes | [`jobs`] |
//! | what an import makes of a session or a run that is there | [`imports`] |
//! | what an answer makes of a delivery, and what becomes of a hook | [`deliveries`] |
//! | what becomes of an ended session | [`sweep`] |
//! | where archives go, and when they are over | [`archives`] |
//! | what needs a look | [`alerts`] |
//! | how long a stop may take, whose sessions it ends | [`drain`] |

use jiff::Timestamp;

use crate::event::Teller;
use crate::id::Ids;

pub mod admission;
pub mod alerts;
pub mod archives;
pub mod deliveries;
pub mod drain;
pub mod ending;
pub mod imports;
pub mod jobs;
pub mod messages;
pub mod reconcile;
pub mod sessions;
pub mod slots;
pub mod succession;
pub mod sweep;
pub mod turns;

/// The time of a decision and the source of the ids it needs.
#[derive(Debug)]
pub struct Moment {
    /// Now, in whole milliseconds.
    pub now: Timestamp,
    /// Mints the ids of new records and events.
    pub ids: Ids,
}

impl Moment {
    /// A decision at `now` whose ids grow from `seed`.
    pub fn new(now: Timestamp, seed: u128) -> Self {
        Self { now, ids: Ids::new(now, seed) }
    }

    /// Makes the events of this decision.
    pub fn tell(&mut self) -> Teller<'_> {
        Teller { now: self.now, ids: &mut self.ids }
    }
}

#[cfg(test)]
pub(crate) mod fixtures;
#[cfg(test)]
mod states;

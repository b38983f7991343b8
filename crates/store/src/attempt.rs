//! Attempts: read, decide, commit; on conflict, again, but not for ever.

use sexton_domain::change::Change;

use crate::driver::{CommitError, Committed, Conflict, Error};
use crate::once::{Once, Standing};
use crate::store::Store;

/// Conflicts in a row after which an operation gives up.
const MAX_CONFLICTS: u32 = 32;

/// The tries of one operation.
///
/// ```text
/// let mut attempts = store.attempts("end run");
/// loop {
///     let decision = domain::decide(store.read().await?, now);
///     if attempts.commit(decision.changes).await?.is_some() { break act(decision.effects) }
/// }
/// ```
#[derive(Debug)]
pub struct Attempts<'a> {
    store: &'a Store,
    doing: &'static str,
    conflicts: u32,
}

impl<'a> Attempts<'a> {
    pub(crate) fn new(store: &'a Store, doing: &'static str) -> Self {
        Self { store, doing, conflicts: 0 }
    }

    /// Commits, and answers `None` when the caller has to read and decide again: after a conflict,
    /// or when the answer was lost (what was decided is then found, or not, by reading).
    ///
    /// # Errors
    ///
    /// When the store fails, or after 32 conflicts in a row.
    pub async fn commit(&mut self, changes: Vec<Change>) -> Result<Option<Committed>, Error> {
        let conflict = match self.try_once(changes).await {
            Ok(committed) => {
                self.conflicts = 0;
                return Ok(Some(committed));
            }
            Err(CommitError::Failed(error)) => return Err(error),
            Err(CommitError::Conflict(conflict)) => Some(conflict),
            Err(CommitError::AnswerLost) => None,
        };
        self.again(conflict).map(|()| None)
    }

    /// Commits; the first batch of a write that is made once carries the record of it, before all else,
    /// so that a twin runs into it and into nothing else.
    async fn try_once(&mut self, mut changes: Vec<Change>) -> Result<Committed, CommitError> {
        let once = Once::current();
        let record = once.as_ref().and_then(|once| once.record(&changes));
        let Some((once, record)) = once.zip(record) else {
            return self.store.commit(changes).await;
        };
        changes.insert(0, record);
        let answer = self.store.commit(changes).await;
        once.note(&answer);
        match once.standing() {
            Standing::Repeated => Err(Error::Repeated.into()),
            Standing::Open | Standing::Made => answer,
        }
    }

    fn again(&mut self, conflict: Option<Conflict>) -> Result<(), Error> {
        self.conflicts += 1;
        if self.conflicts < MAX_CONFLICTS {
            return Ok(());
        }
        let why = match conflict {
            Some(conflict) => format!("gave up after {MAX_CONFLICTS} conflicts: {conflict}"),
            None => format!("gave up after {MAX_CONFLICTS} lost answers"),
        };
        Err(Error::Unavailable { doing: self.doing, why })
    }
}

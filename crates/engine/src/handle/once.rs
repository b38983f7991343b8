//! What a write that is made once was answered.

use sexton_domain::access::{Idempotency, IdempotencyKey};
use sexton_domain::change::{Change, Record, RecordId, Version};
use sexton_store::CommitError;
use sexton_store::once::Once;

use super::{Error, Handle};

impl Handle {
    /// The answer to an earlier write under this key. One without status was made, and died or is still
    /// on its way before its answer was known.
    ///
    /// # Errors
    ///
    /// When the store fails.
    pub async fn remembered(&self, id: &IdempotencyKey) -> Result<Option<Idempotency>, Error> {
        Ok(match self.0.store.read().get(RecordId::Idempotency(id.clone())).await? {
            Some(Record::Idempotency(answer)) => Some(answer),
            _ => None,
        })
    }

    /// Remembers the answer to a write. One that changed nothing is remembered, too: a repetition is
    /// answered the same, and another body is told apart.
    ///
    /// # Errors
    ///
    /// When the store fails.
    pub async fn remember(&self, once: &Once, status: u16, result: String) -> Result<(), Error> {
        let answer = once.remembered(status, result);
        let mut changes: Vec<Change> = Vec::new();
        match self.remembered(once.id()).await? {
            Some(earlier) if earlier.status != 0 => return Ok(()),
            Some(_) => {
                changes
                    .push(Change::Delete(RecordId::Idempotency(once.id().clone()), Version::NEW));
            }
            None => {}
        }
        changes.push(answer.into());
        match self.0.store.commit(changes).await {
            Err(CommitError::Failed(error)) => Err(error.into()),
            // A twin was quicker, and what it was answered stays.
            Ok(_) | Err(CommitError::Conflict(_) | CommitError::AnswerLost) => Ok(()),
        }
    }
}

//! Inline: statements on the calling task, done when the call returns.

use std::sync::Mutex;

use sexton_domain::change::Change;
use sexton_store::Error;

use crate::fail::{Fail, failed};
use crate::mutex::lock;
use crate::options::Access;
use crate::read::{Unreadable, View};
use crate::readers::snapshot;
use crate::writer::{Answer, Writer};

/// One connection for reads and writes, held for the length of a call and never across an await.
pub(crate) struct Inline {
    writer: Mutex<Option<Writer>>,
    access: Access,
    unreadable: Unreadable,
}

impl Inline {
    /// Around a writer, which only reads if it may not write.
    pub(crate) fn new(writer: Writer, access: Access) -> Self {
        let unreadable = Unreadable::default();
        Self { writer: Mutex::new(Some(writer)), access, unreadable }
    }

    /// Applies batches as one group.
    pub(crate) fn apply(&self, mut batches: Vec<Vec<Change>>) -> Vec<Answer> {
        let mut writer = lock(&self.writer);
        let refused = match (&mut *writer, self.access) {
            (None, _) => Error::Closed,
            (Some(_), Access::ReadOnly) => Error::ReadOnly,
            (Some(writer), Access::ReadWrite) => {
                let answers = writer.apply(&mut batches);
                writer.tidy();
                writer.vacuum();
                return answers;
            }
        };
        batches.iter().map(|_| Err(refused.clone().into())).collect()
    }

    /// Reads.
    pub(crate) fn read<T>(
        &self,
        doing: &'static str,
        read: impl FnOnce(&View<'_>) -> Result<T, Fail>,
    ) -> Result<T, Error> {
        let writer = lock(&self.writer);
        let writer = writer.as_ref().ok_or(Error::Closed)?;
        let db = writer.db().map_err(|error| failed(doing, &error))?;
        snapshot(db, &self.unreadable, read).map_err(|fail| fail.into_error(doing))
    }

    /// Lets go of the store.
    pub(crate) fn close(&self) {
        let writer = lock(&self.writer).take();
        if let (Some(writer), Access::ReadWrite) = (writer, self.access) {
            writer.close();
        }
    }
}

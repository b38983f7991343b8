//! Orphans: rows of epochs that no longer live, without looking at the rows of those that do.

use rusqlite::OptionalExtension;
use rusqlite::types::Value;
use sexton_domain::node::Epoch;

use crate::codec;
use crate::fail::Fail;
use crate::read::{View, at_most};
use crate::table::Row;

/// An index by (epoch, id) over the rows that have a living owner or ought to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Owned {
    /// Its name.
    pub index: &'static str,
    /// The condition it is limited to.
    pub only: &'static str,
}

impl Owned {
    /// The next epoch above one.
    pub(crate) fn epochs<R: Row>(self) -> String {
        let (Self { index, only }, table) = (self, R::TABLE.name);
        format!(
            "SELECT epoch FROM {table} INDEXED BY {index} WHERE {only} AND epoch > ? \
             ORDER BY epoch LIMIT 1"
        )
    }

    /// The rows of one epoch, oldest first.
    pub(crate) fn rows<R: Row>(self) -> String {
        let (Self { index, only }, table, extra) = (self, R::TABLE.name, R::TABLE.extra);
        format!(
            "SELECT id, body{extra} FROM {table} INDEXED BY {index} WHERE {only} AND epoch = ? \
             ORDER BY id"
        )
    }

    /// Rows of epochs that are not in `living`, oldest first.
    pub(crate) fn orphans<R: Row, I: Ord>(
        self,
        view: &View<'_>,
        living: &[Epoch],
        limit: u32,
        id: impl Fn(&R) -> I,
    ) -> Result<Vec<R>, Fail> {
        let limit = at_most(limit);
        let mut orphans = Vec::new();
        let mut last = -1;
        while let Some(epoch) = self.epoch_after::<R>(view, last)? {
            last = epoch;
            if !living.contains(&Epoch::from_number(codec::unsigned(epoch))) {
                orphans.extend(view.list(&self.rows::<R>(), vec![Value::Integer(epoch)], limit)?);
            }
        }
        orphans.sort_by_key(id);
        orphans.truncate(limit);
        Ok(orphans)
    }

    /// The rows of one epoch, oldest first.
    pub(crate) fn of<R: Row>(
        self,
        view: &View<'_>,
        epoch: Epoch,
        limit: u32,
    ) -> Result<Vec<R>, Fail> {
        view.list(&self.rows::<R>(), vec![codec::number(epoch.number())], at_most(limit))
    }

    fn epoch_after<R: Row>(self, view: &View<'_>, last: i64) -> rusqlite::Result<Option<i64>> {
        let mut statement = view.db.prepare_cached(&self.epochs::<R>())?;
        statement.query_row([last], |row| row.get(0)).optional()
    }
}

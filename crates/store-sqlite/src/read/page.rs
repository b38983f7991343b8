//! Pages: lists from the newest id to the oldest, along an index, without sorting.
//!
//! A list is one or several *arms*, each a stretch of an index that is in the order of the ids, merged
//! by the database. What the index does not decide is tested row by row, and only rows that pass have
//! their body read. A page looks at [`SCAN_WINDOW`] rows at most.

use rusqlite::params_from_iter;
use rusqlite::types::Value;
use sexton_store::page::{MAX_PAGE, Page, SCAN_WINDOW};
use uuid::Uuid;

use crate::codec;
use crate::fail::Fail;
use crate::read::{View, at_most};
use crate::table::{self, Row, Table};

/// A page ends early, with a next one, when its bodies are larger than this.
const MAX_PAGE_BYTES: usize = 16 * 1024 * 1024;

/// A condition with its values.
#[derive(Debug, Clone, Default)]
pub(crate) struct Condition {
    sql: String,
    values: Vec<Value>,
}

impl Condition {
    /// No condition.
    pub(crate) fn none() -> Self {
        Self::default()
    }

    /// A condition in SQL with a `?` for each value.
    pub(crate) fn new(sql: impl Into<String>, values: Vec<Value>) -> Self {
        Self { sql: sql.into(), values }
    }

    /// Both.
    pub(crate) fn and(mut self, other: Self) -> Self {
        if !self.sql.is_empty() && !other.sql.is_empty() {
            self.sql.push_str(" AND ");
        }
        self.sql.push_str(&other.sql);
        self.values.extend(other.values);
        self
    }
}

/// Which stretch of ids: from `lowest` on, below `below`.
#[derive(Debug, Clone)]
pub(crate) struct Ids {
    lowest: Vec<u8>,
    below: Vec<u8>,
}

impl Ids {
    /// Every id.
    pub(crate) fn all() -> Self {
        Self { lowest: Vec::new(), below: vec![0xff; 17] }
    }

    /// Those after `id` in the order of the list.
    pub(crate) fn after(mut self, id: Option<Uuid>) -> Self {
        if let Some(id) = id {
            self.below = self.below.min(id.as_bytes().to_vec());
        }
        self
    }

    /// Those made at or after.
    pub(crate) fn since(mut self, at: Option<jiff::Timestamp>) -> Self {
        self.lowest = at.map_or(self.lowest, codec::first_id_at);
        self
    }

    /// Those made before.
    pub(crate) fn until(mut self, at: Option<jiff::Timestamp>) -> Self {
        if let Some(at) = at {
            self.below = self.below.min(codec::first_id_at(at));
        }
        self
    }
}

/// A list.
#[derive(Debug, Clone)]
pub(crate) struct Scan {
    /// The index that gives the order; none is the one of the ids themselves.
    pub index: Option<&'static str>,
    /// One stretch of it each: together, all rows of the list.
    pub arms: Vec<Condition>,
    /// What is tested row by row.
    pub rest: Condition,
}

impl Scan {
    /// Along the ids.
    pub(crate) fn by_id(rest: Condition) -> Self {
        Self { index: None, arms: vec![Condition::none()], rest }
    }

    /// Along one stretch of an index.
    pub(crate) fn along(index: &'static str, arm: Condition, rest: Condition) -> Self {
        Self { index: Some(index), arms: vec![arm], rest }
    }

    /// The statement for a stretch of ids.
    pub(super) fn sql<R: Row>(&self, ids: &Ids) -> (String, Vec<Value>) {
        let Table { name, id, extra, .. } = R::TABLE;
        let index = self.index.map_or(String::new(), |index| format!(" INDEXED BY {index}"));
        let body = match self.rest.sql.as_str() {
            "" => "body".to_owned(),
            rest => format!("CASE WHEN {rest} THEN body END"),
        };
        let mut values = Vec::new();
        let mut arms = Vec::with_capacity(self.arms.len());
        for arm in &self.arms {
            let range = [&ids.below, &ids.lowest].map(|bound| Value::Blob(bound.clone())).to_vec();
            let range = arm.clone().and(Condition::new(format!("{id} < ? AND {id} >= ?"), range));
            arms.push(format!("SELECT {id}, {body}{extra} FROM {name}{index} WHERE {}", range.sql));
            values.extend(self.rest.values.iter().cloned().chain(range.values));
        }
        let arms = arms.join(" UNION ALL ");
        (format!("{arms} ORDER BY {id} DESC LIMIT {SCAN_WINDOW}"), values)
    }

    /// One page.
    pub(crate) fn page<R: Row, I: From<Uuid>>(
        &self,
        view: &View<'_>,
        ids: &Ids,
        limit: u32,
    ) -> Result<Page<R, I>, Fail> {
        let limit = at_most(limit.clamp(1, MAX_PAGE));
        let (sql, values) = self.sql::<R>(ids);
        let mut statement = view.db.prepare_cached(&sql)?;
        let mut rows = statement.query(params_from_iter(values))?;
        let (mut items, mut bytes, mut looked_at, mut last) = (Vec::new(), 0, 0, None);
        while let Some(row) = rows.next()? {
            let body =
                row.get_ref(1)?.as_bytes_or_null().unwrap_or_default().map_or(0, <[u8]>::len);
            let passes = row.get_ref(1)? != rusqlite::types::ValueRef::Null;
            if passes && (items.len() == limit || (bytes + body > MAX_PAGE_BYTES && bytes > 0)) {
                return Ok(Page { items, next: last });
            }
            looked_at += 1;
            last = id_of(row)?.map(I::from).or(last);
            if passes {
                bytes += body;
                items.extend(view.readable(table::read(row))?);
            }
        }
        let next = if looked_at == SCAN_WINDOW { last } else { None };
        Ok(Page { items, next })
    }
}

fn id_of(row: &rusqlite::Row<'_>) -> rusqlite::Result<Option<Uuid>> {
    Ok(row.get_ref(0)?.as_blob().ok().and_then(|bytes| Uuid::from_slice(bytes).ok()))
}

//! Reading a table by the names of its columns, row by row.
//!
//! A row that cannot be read is one dropped record, and a column that is not there is as one that is
//! empty. Where a page is damaged, the rows behind it are read from the other end. Damage can link pages
//! in a circle: reading ends where rows are out of order.

use jiff::Timestamp;
use rusqlite::types::ValueRef;
use rusqlite::{Params, Row, Statement};

use super::database::Database;
use super::field::instant;
use crate::model::{Dropped, Place, Tally};

/// What a row takes at least in a file, in bytes: its cell and the pointer to it.
const ROW_BYTES: u64 = 6;
/// What is named as the reason of an end before the end.
pub(super) const CIRCLE: &str = "its rows are out of order, or more than the file has room for";

/// What is read of a table.
#[derive(Debug, Clone, Copy)]
pub(super) struct Table {
    /// Its name.
    pub name: &'static str,
    /// The columns that name a row; without them nothing is read.
    pub key: &'static [&'static str],
    /// Further columns.
    pub columns: &'static [&'static str],
    /// Columns of which only the size in bytes is read.
    pub sizes: &'static [&'static str],
}

/// A table as it is in one database.
pub(super) struct Found {
    table: Table,
    /// The names of its columns that are there.
    there: Vec<String>,
}

impl Found {
    /// Whether it has a column.
    pub fn has(&self, column: &str) -> bool {
        self.there.iter().any(|own| own == column)
    }

    /// The query for what is asked, with `NULL` in the place of what is not there. Rows come by
    /// `position`, and none has that of another.
    pub fn query(&self, position: &str, tail: &str) -> String {
        let Table { name, key, columns, sizes } = self.table;
        let plain = key.iter().chain(columns).map(|column| {
            if self.has(column) { format!("\"{column}\"") } else { "NULL".to_owned() }
        });
        let sizes = sizes.iter().map(|column| {
            if self.has(column) { format!("octet_length(\"{column}\")") } else { "NULL".to_owned() }
        });
        let list: Vec<String> = plain.chain(sizes).collect();
        format!("SELECT {}, {position} FROM \"{name}\" {tail}", list.join(", "))
    }
}

/// Reads a row, or says why it cannot be read.
pub(super) type Each<'a> = &'a mut dyn FnMut(&Columns<'_, '_>) -> Result<(), String>;

impl Database {
    /// Looks for a table. A view or a virtual table is none.
    ///
    /// # Errors
    ///
    /// What SQLite says, or that a column is missing that names its rows.
    pub(super) fn find(&self, table: Table) -> Result<Option<Found>, String> {
        let find = || {
            let there = "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND rootpage > 0 AND name = ?1";
            let count: i64 = self.connection.query_row(there, [table.name], |row| row.get(0))?;
            let mut columns = self.connection.prepare("SELECT name FROM pragma_table_info(?1)")?;
            let names = columns.query_map([table.name], |row| row.get::<_, String>(0))?;
            Ok::<_, rusqlite::Error>((count, names.collect::<Result<Vec<_>, _>>()?))
        };
        let (count, there) = find().map_err(|error| error.to_string())?;
        if count == 0 {
            return Ok(None);
        }
        let found = Found { table, there };
        match table.key.iter().find(|column| !found.has(column)) {
            Some(missing) => Err(format!("it has no column {missing}")),
            None => Ok(Some(found)),
        }
    }

    /// Hands on every row of a table, as they lie in it; a table that is not there has none.
    pub(super) fn rows(&self, table: Table, each: Each<'_>) -> Tally {
        let mut walk = Walk::new(self, table);
        let found = match self.find(table) {
            Ok(Some(found)) => found,
            Ok(None) => return walk.tally,
            Err(reason) => {
                walk.stop(reason);
                return walk.tally;
            }
        };
        let forward = found.query("rowid", "WHERE rowid > ?1 ORDER BY rowid");
        if let Err(reason) = self.one_way(&forward, Way::Up, each, &mut walk) {
            let backward = found.query("rowid", "WHERE rowid > ?1 ORDER BY rowid DESC");
            walk.stop(reason);
            if let Err(reason) = self.one_way(&backward, Way::Down, each, &mut walk) {
                walk.stop(reason);
            }
        }
        walk.tally
    }

    fn one_way(
        &self,
        query: &str,
        way: Way,
        each: Each<'_>,
        walk: &mut Walk,
    ) -> Result<(), String> {
        let mut statement = self.connection.prepare(query).map_err(|error| error.to_string())?;
        let after = walk.last.unwrap_or(i64::MIN);
        walk.read(&mut statement, [after], way, each)
    }
}

/// In which order rows come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// The smallest position first.
    Up,
    /// The largest position first.
    Down,
}

/// The state of reading a table.
pub(super) struct Walk {
    /// What was read so far.
    pub tally: Tally,
    table: Table,
    /// The position of the row that was read last.
    last: Option<i64>,
    /// How many bytes may still come.
    room: u64,
}

impl Walk {
    /// The beginning. Text takes at most twice as much as in a file of another encoding.
    pub fn new(database: &Database, table: Table) -> Self {
        let room = database.info.page_count.saturating_mul(database.info.page_size);
        Self { tally: Tally::default(), table, last: None, room: room.saturating_mul(2) }
    }

    /// Notes why reading ended.
    pub fn stop(&mut self, reason: String) {
        let place = Place::Row(self.table.name.to_owned());
        self.tally.dropped.push(Dropped { place, reason });
    }

    /// Reads the rows of a query that [`Found::query`] made.
    ///
    /// # Errors
    ///
    /// Why it ended before its end, and behind which row.
    pub fn read(
        &mut self,
        statement: &mut Statement<'_>,
        parameters: impl Params,
        way: Way,
        each: Each<'_>,
    ) -> Result<(), String> {
        let mut previous = None;
        let ended = self.read_rows(statement, parameters, way, each, &mut previous);
        self.last = previous.or(self.last);
        ended.map_err(|reason| match previous {
            Some(last) => format!("behind row {last}: {reason}"),
            None => reason,
        })
    }

    fn read_rows(
        &mut self,
        statement: &mut Statement<'_>,
        parameters: impl Params,
        way: Way,
        each: Each<'_>,
        previous: &mut Option<i64>,
    ) -> Result<(), String> {
        let mut rows = statement.query(parameters).map_err(|error| error.to_string())?;
        while let Some(row) = rows.next().map_err(|error| error.to_string())? {
            let columns = Columns { table: &self.table, row };
            let position = columns.position()?;
            let forth = previous.is_none_or(|last| match way {
                Way::Up => position > last,
                Way::Down => position < last,
            });
            let bytes = columns.bytes_in_all();
            let room = self.room.checked_sub(bytes + ROW_BYTES);
            let (true, Some(room)) = (forth, room) else { return Err(CIRCLE.to_owned()) };
            (self.room, *previous) = (room, Some(position));
            self.tally.bytes += bytes;
            match each(&columns) {
                Ok(()) => self.tally.read += 1,
                Err(reason) => {
                    let place = Place::Row(columns.name());
                    self.tally.dropped.push(Dropped { place, reason });
                }
            }
        }
        Ok(())
    }
}

/// A row, by the names of its columns.
pub(super) struct Columns<'a, 'b> {
    table: &'a Table,
    row: &'a Row<'b>,
}

impl Columns<'_, '_> {
    fn width(&self) -> usize {
        self.table.key.len() + self.table.columns.len() + self.table.sizes.len()
    }

    fn value(&self, name: &str) -> ValueRef<'_> {
        let Table { key, columns, sizes, .. } = self.table;
        let index = key.iter().chain(*columns).chain(*sizes).position(|own| *own == name);
        index.and_then(|index| self.row.get_ref(index).ok()).unwrap_or(ValueRef::Null)
    }

    fn position(&self) -> Result<i64, String> {
        self.row.get(self.width()).map_err(|error| error.to_string())
    }

    fn bytes_in_all(&self) -> u64 {
        let sizes = (0..self.width()).map(|index| match self.row.get_ref(index) {
            Ok(ValueRef::Text(bytes) | ValueRef::Blob(bytes)) => bytes.len() as u64,
            _ => 0,
        });
        sizes.sum()
    }

    /// The table and what names the row.
    fn name(&self) -> String {
        let mut name = self.table.name.to_owned();
        for column in self.table.key {
            name.push(' ');
            match self.value(column) {
                ValueRef::Text(bytes) => name.push_str(&String::from_utf8_lossy(bytes)),
                ValueRef::Integer(number) => name.push_str(&number.to_string()),
                _ => name.push('?'),
            }
        }
        name
    }

    /// A text; `None` for anything else.
    pub fn text(&self, name: &str) -> Option<&str> {
        match self.value(name) {
            ValueRef::Text(bytes) => std::str::from_utf8(bytes).ok(),
            _ => None,
        }
    }

    /// A text of its own; `None` for anything else.
    pub fn own(&self, name: &str) -> Option<String> {
        self.text(name).map(str::to_owned)
    }

    /// A text that has to be there.
    pub fn needed(&self, name: &str) -> Result<&str, String> {
        match self.value(name) {
            ValueRef::Text(bytes) => {
                std::str::from_utf8(bytes).map_err(|_| format!("{name} is no UTF-8"))
            }
            ValueRef::Null => Err(format!("{name} is not there")),
            _ => Err(format!("{name} is no text")),
        }
    }

    /// A whole number.
    pub fn number(&self, name: &str) -> Option<i64> {
        match self.value(name) {
            ValueRef::Integer(number) => Some(number),
            _ => None,
        }
    }

    /// A whole number that is not negative.
    pub fn count(&self, name: &str) -> Option<u64> {
        self.number(name).and_then(|number| u64::try_from(number).ok())
    }

    /// Bytes.
    pub fn blob(&self, name: &str) -> Option<&[u8]> {
        match self.value(name) {
            ValueRef::Blob(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// A time in milliseconds; `None` if it is none.
    pub fn time(&self, name: &str) -> Option<Timestamp> {
        match self.value(name) {
            ValueRef::Integer(ms) => instant(ms as f64),
            ValueRef::Real(ms) => instant(ms),
            _ => None,
        }
    }

    /// JSON in a text; `None` if the column is empty.
    pub fn json(&self, name: &str) -> Result<Option<serde_json::Value>, String> {
        if matches!(self.value(name), ValueRef::Null) {
            return Ok(None);
        }
        let text = self.needed(name)?;
        serde_json::from_str(text).map(Some).map_err(|error| format!("{name}: {error}"))
    }
}

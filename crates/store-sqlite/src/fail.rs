//! Failures: what can stop a statement, and how the database's own words become the seam's errors.

use rusqlite::ErrorCode;
use sexton_store::{Conflict, Error};

/// Why a read or a batch stopped.
#[derive(Debug)]
pub(crate) enum Fail {
    /// The database said no.
    Database(rusqlite::Error),
    /// The driver said no.
    Store(Error),
    /// The batch cannot be applied to what is stored now.
    Conflict(Conflict),
}

impl From<rusqlite::Error> for Fail {
    fn from(error: rusqlite::Error) -> Self {
        Self::Database(error)
    }
}

impl From<Error> for Fail {
    fn from(error: Error) -> Self {
        Self::Store(error)
    }
}

impl From<Conflict> for Fail {
    fn from(conflict: Conflict) -> Self {
        Self::Conflict(conflict)
    }
}

impl Fail {
    /// As the seam reports a failing read.
    pub(crate) fn into_error(self, doing: &'static str) -> Error {
        match self {
            Self::Database(error) => failed(doing, &error),
            Self::Store(error) => error,
            Self::Conflict(conflict) => Error::Unavailable { doing, why: conflict.to_string() },
        }
    }
}

/// As the seam reports what the database said.
pub(crate) fn failed(doing: &'static str, error: &rusqlite::Error) -> Error {
    let why = error.to_string();
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            Error::Corrupt { what: "the database file".to_owned(), why }
        }
        _ => Error::Unavailable { doing, why },
    }
}

/// The columns of the uniqueness rule that an insert or update broke, as `table.column, …`.
pub(crate) fn broken_rule(error: &rusqlite::Error) -> Option<&str> {
    match error {
        rusqlite::Error::SqliteFailure(code, Some(message))
            if code.code == ErrorCode::ConstraintViolation =>
        {
            message.strip_prefix("UNIQUE constraint failed: ")
        }
        _ => None,
    }
}

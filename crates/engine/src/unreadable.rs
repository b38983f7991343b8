//! Rows that cannot be read: each is the misfortune of one record, which the log names, and stops nothing
//! else.

use sexton_store::Error;

/// A row that cannot be read is as good as gone. `so` is what becomes of it.
pub(crate) fn readable<T>(
    row: Result<Option<T>, Error>,
    so: &'static str,
) -> Result<Option<T>, Error> {
    match known(row)? {
        Ok(row) => Ok(row),
        Err(error) => {
            tracing::error!(%error, "{so}");
            Ok(None)
        }
    }
}

/// Tells a row that cannot be read from a store that does not answer.
pub(crate) fn known<T>(row: Result<T, Error>) -> Result<Result<T, Error>, Error> {
    match row {
        Err(error @ Error::Corrupt { .. }) => Ok(Err(error)),
        row => row.map(Ok),
    }
}

//! Every route there is.

mod events;
mod jobs;
mod runs;
mod sessions;
mod system;

use crate::query::{CURSOR, LIMIT, Param};
use crate::route::Route;

/// What every list takes that has no filters.
const PAGED: &[Param] = &[LIMIT, CURSOR];

/// Every route, in the order of the document.
pub(crate) fn all() -> Vec<Route> {
    [system::routes(), jobs::routes(), runs::routes(), sessions::routes(), events::routes()]
        .into_iter()
        .flatten()
        .collect()
}

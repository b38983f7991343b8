//! Every route there is.

mod archives;
mod events;
mod hooks;
mod jobs;
mod messages;
mod metrics;
mod runs;
mod sessions;
mod sweeps;
mod system;
mod usage;

use crate::route::Route;

/// Every route, in the order of the document.
pub(crate) fn all() -> Vec<Route> {
    [
        system::routes(),
        jobs::routes(),
        runs::routes(),
        sessions::routes(),
        messages::routes(),
        events::routes(),
        usage::routes(),
        hooks::routes(),
        sweeps::routes(),
        archives::routes(),
        metrics::routes(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

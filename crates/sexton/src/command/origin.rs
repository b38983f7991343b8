//! Origins in words.

use sexton_server::api::Origin;

/// Where a record came from, in a line.
pub fn origin(origin: &Origin) -> String {
    let Origin { system, id, source, place, .. } = origin;
    format!("{system} {id}, {source} {place}").trim_end().to_owned()
}

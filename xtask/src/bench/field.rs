//! What the gateways of the field need for the same thing, measured once on the packages themselves.

use super::book::Book;

/// What the table says before it says anything.
const CAVEATS: &str = "\
### Beside the gateways of the field

Measured once on the released packages `openclaw@2026.5.6` (files) and `openclaw@2026.9.6` (SQLite, WAL,
`synchronous=NORMAL`: a power cut may take the last commits) under Node 24, on a machine of the same kind: 2 CPUs,
fdatasync 0.15 ms. Other work ran beside most of it, so take times as ±15 to 30 %; CPU times are steadier. Their
runs are agent turns against a model that answers at once (1 to 2 ms), ours are `/bin/true` behind a shim: theirs do
more, and what the difference costs is not known. An update of theirs writes an entry of real size (8.7 and 13.9 KB of
JSON), ours nothing but the session's record, in the process that has the store, without HTTP; so do our commits per second,
with 400 bytes of transcript each. Our lists and statuses of a large store are asked for over HTTP, as theirs by RPC.
Stores are of different sizes; each value says its own. Caps were raised: by default neither keeps more than 500 or
5,000 sessions.

| what | Sexton | 2026.5.6 | 2026.9.6 |
|---|---|---|---|
";

/// What was measured of the others, by the key of our figure.
const ROWS: &[(&str, &str, &str, &str)] = &[
    (
        "one update of a session, small store",
        "update.small",
        "43 ms (p99 116) at 1,000, synced",
        "1.1 ms (p99 6.5) at 1,000, not synced",
    ),
    (
        "one update of a session, large store",
        "update.large",
        "482 ms (p99 1,003) at 10,000; fails at 100,000",
        "0.7 ms (p99 9.6) at 100,000, not synced",
    ),
    (
        "a list of sessions, large store",
        "http.list",
        "111 ms (p99 130) at 10,000, by RPC",
        "56 ms (p99 63) at 100,000, by RPC",
    ),
    (
        "a status, large store",
        "http.status",
        "9.3 s at 10,000, by RPC, nothing else answered",
        "162 ms (p99 252) at 100,000, by RPC",
    ),
    (
        "commits per second, many writers",
        "commits.256",
        "21/s at 1,000",
        "790/s at 1,000, one writer",
    ),
    ("runs per minute", "runs", "80 (one at a time)", "132 (eight at once)"),
    ("CPU per run", "cpu", "780 ms", "730 ms"),
    (
        "jobs that ran while others had to wait",
        "fair",
        "not seen: results come after the whole batch",
        "18 of 30 jobs ran in 40 s, one of them 8 times",
    ),
    ("a sweep of 10,000 sessions, and its longest pause", "sweep", "2.5 s; 2.0 s", "232 s; 22.0 s"),
    (
        "ready after start, large store",
        "boot.large",
        "9.6 s at 10,000; at 50,000 it dies",
        "23.8 s at 100,000 (first start 78 s)",
    ),
    (
        "resident memory, empty store",
        "memory.empty",
        "610 MB",
        "755 MB, 1,000 MB with its children",
    ),
    ("resident memory, large store", "memory.large", "1,810 MB at 10,000", "1,629 MB at 100,000"),
    (
        "a stop in the middle of runs",
        "drain",
        "2.3 s, 8 runs abandoned, no end told",
        "19.4 s, waits for all 8 runs; ends of runs are told to nobody",
    ),
];

/// The table, with our figures in it.
pub fn drawn(book: &Book) -> String {
    let mut text = format!("\n{CAVEATS}");
    for (what, key, files, sqlite) in ROWS {
        let ours = book.find(key).map_or("not measured", |figure| figure.value.as_str());
        text += &format!("| {what} | {ours} | {files} | {sqlite} |\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_has_a_key_of_its_own() {
        let keys: std::collections::BTreeSet<_> = ROWS.iter().map(|row| row.1).collect();
        assert_eq!(keys.len(), ROWS.len());
    }
}

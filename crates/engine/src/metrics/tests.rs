//! The names and the page that lists them.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::*;

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/metrics.md");

fn page() -> String {
    let mut page = "# Metrics\n\n\
        `GET /metrics` (scope `read`), in the text format of Prometheus or, if asked for, as OpenMetrics. Written from\n\
        `crates/engine/src/metrics.rs` by a test; after a change run `UPDATE_DOCS=1 cargo test -p sexton-engine metrics`.\n\n\
        Gauges are read from the store, so every node of a store shows the same; counters and histograms count what one\n\
        process did and begin at zero with it. No label is a job, a run or a session: the number of time series does not\n\
        grow with use.\n\n\
        | metric | kind | labels | what it tells |\n|---|---|---|---|\n"
        .to_owned();
    for Definition { name, kind, labels, help } in ALL {
        let (word, suffix) = match kind {
            Kind::Gauge => ("gauge", ""),
            Kind::Counter => ("counter", "_total"),
            Kind::Histogram => ("histogram", ""),
        };
        let labels = labels.iter().map(|label| format!("`{label}`")).collect::<Vec<_>>().join(", ");
        writeln!(page, "| `{name}{suffix}` | {word} | {labels} | {help} |").unwrap();
    }
    page
}

#[test]
fn the_page_of_metrics_is_as_the_code_says() {
    let page = page();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(FILE, &page).unwrap();
    }
    let written = std::fs::read_to_string(FILE).unwrap_or_default();
    assert!(written == page, "run `UPDATE_DOCS=1 cargo test -p sexton-engine metrics`");
}

#[test]
fn every_name_is_there_once_and_says_its_unit() {
    let names: BTreeSet<&str> = ALL.iter().map(|it| it.name).collect();
    assert_eq!(names.len(), ALL.len());
    for Definition { name, kind, help, .. } in ALL {
        assert!(name.starts_with("sexton_"), "{name}");
        assert!(!name.ends_with("_total") && !help.ends_with('.'), "{name}");
        assert!(*kind != Kind::Histogram || name.ends_with("_seconds"), "{name}");
    }
}

#[test]
fn counters_are_named_as_either_format_wants_it() {
    let of = |name, kind| Definition { name, kind, labels: &["what"], help: "Helps" };
    let mut sheet = Sheet::default();
    sheet.counters(of("sexton_things", Kind::Counter), [(["a\"b".to_owned()], 2.0)]);
    sheet.gauges(of("sexton_level", Kind::Gauge), [(["c".to_owned()], 0.5)]);
    let text = sheet.write(Form::Prometheus).unwrap();
    assert_eq!(
        text,
        "# HELP sexton_things_total Helps.\n# TYPE sexton_things_total counter\n\
         sexton_things_total{what=\"a\\\"b\"} 2.0\n\
         # HELP sexton_level Helps.\n# TYPE sexton_level gauge\nsexton_level{what=\"c\"} 0.5\n"
    );
    let open = sheet.write(Form::OpenMetrics).unwrap();
    assert!(open.contains("# TYPE sexton_things counter\n") && open.ends_with("# EOF\n"));
}

//! `docs/dependencies.md` and the manifests say the same.

use std::collections::BTreeSet;
use std::fs;

use crate::workspace::{Dev, expect_none, metadata, needs, root};

#[test]
fn every_dependency_is_named_with_its_reason_and_nothing_else_is() {
    let path = root().join("docs/dependencies.md");
    let text = fs::read_to_string(&path).unwrap();
    let mut findings = Vec::new();
    let mut named = BTreeSet::new();
    for line in text.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let name = cells[0].trim_matches('`').to_owned();
        if cells.len() != 3 || cells.iter().any(|cell| cell.is_empty()) {
            findings.push(format!("the row of {name} does not say what it is for and why it"));
        }
        if !named.insert(name.clone()) {
            findings.push(format!("{name} is named twice"));
        }
    }

    let metadata = metadata();
    let packages = metadata.workspace_packages();
    let members: BTreeSet<String> = packages.iter().map(|it| it.name.to_string()).collect();
    let mut used = BTreeSet::new();
    for package in &packages {
        used.extend(needs(package, Dev::With).into_iter().filter(|name| !members.contains(name)));
    }
    for name in used.difference(&named) {
        findings.push(format!("{name} is used, and docs/dependencies.md does not say why"));
    }
    for name in named.difference(&used) {
        findings.push(format!("{name} is in docs/dependencies.md, and no crate uses it"));
    }
    expect_none("docs/dependencies.md is the list of what we depend on:", &findings);
}

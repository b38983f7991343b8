//! The direction of dependencies: crates are cut by what they may know.

use crate::workspace::{Dev, expect_none, metadata, needs};

/// What each crate may know of the others, as `docs/architecture.md` draws it.
const MAY_KNOW: &[(&str, &[&str])] = &[
    ("sexton-domain", &[]),
    ("sexton-store", &["sexton-domain"]),
    ("sexton-store-sqlite", &["sexton-domain", "sexton-store"]),
    ("sexton-store-postgres", &["sexton-domain", "sexton-store"]),
    ("sexton-engine", &["sexton-domain", "sexton-store"]),
    ("sexton-server", &["sexton-domain", "sexton-engine"]),
    ("sexton-openclaw", &["sexton-domain"]),
    ("sexton", PRODUCT),
    ("sexton-sim", PRODUCT),
    // Near misses of valid input, which the tests of four crates share.
    ("sexton-fuzz", &[]),
    ("xtask", DEVELOPERS),
];

/// What developer commands may know.
const DEVELOPERS: &[&str] =
    &["sexton-domain", "sexton-store", "sexton-store-sqlite", "sexton-engine", "sexton-sim"];

/// The crates that the product consists of.
const PRODUCT: &[&str] = &[
    "sexton-domain",
    "sexton-store",
    "sexton-store-sqlite",
    "sexton-store-postgres",
    "sexton-engine",
    "sexton-server",
    "sexton-openclaw",
];

#[test]
fn every_crate_knows_only_what_it_may_know() {
    let metadata = metadata();
    let packages = metadata.workspace_packages();
    let members: Vec<String> = packages.iter().map(|package| package.name.to_string()).collect();
    let mut findings = Vec::new();
    for package in packages {
        let name = package.name.as_str();
        let Some((_, may_know)) = MAY_KNOW.iter().find(|(known, _)| *known == name) else {
            findings.push(format!(
                "{name} is a new crate: say in MAY_KNOW what it may know, and why it needs to be one"
            ));
            continue;
        };
        for needed in needs(package, Dev::Without) {
            if members.contains(&needed) && !may_know.contains(&needed.as_str()) {
                findings.push(format!(
                    "{name} depends on {needed}, and must not know it: it may know {may_know:?}"
                ));
            }
        }
    }
    expect_none("dependencies point one way:", &findings);
}

#[test]
fn every_dependency_takes_its_version_from_the_workspace() {
    let mut findings = Vec::new();
    for file in crate::workspace::files() {
        if !file.path.ends_with("/Cargo.toml") {
            continue;
        }
        let mut in_dependencies = false;
        for line in file.text.lines() {
            if let Some(section) = line.strip_prefix('[') {
                in_dependencies = section.contains("dependencies");
            } else if in_dependencies && line.contains('=') && !line.contains("workspace") {
                findings.push(format!("{}: {line}", file.path));
            }
        }
    }
    expect_none("versions stand in the root Cargo.toml alone:", &findings);
}

/// Events that are committed around the handle would be told to no hook.
#[test]
fn nobody_commits_around_the_handle_of_the_store() {
    let around = [".read().commit(", ".read().claim("];
    let mut findings = Vec::new();
    for file in crate::workspace::files() {
        let product = ["crates/engine/", "crates/server/", "crates/sexton/"];
        if !product.iter().any(|crate_path| file.path.contains(crate_path)) {
            continue;
        }
        let bare: String = file.text.split_whitespace().collect();
        for call in around.iter().filter(|call| bare.contains(**call)) {
            findings.push(format!("{}: {call}", file.path));
        }
    }
    expect_none("commits go through `Store`, which adds the deliveries:", &findings);
}

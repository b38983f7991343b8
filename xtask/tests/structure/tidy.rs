//! What every file of this repository keeps to.

use crate::workspace::{TextFile, expect_none, files, rust_files};

/// The longest a file may be, in lines.
const MAX_LINES: usize = 600;

/// Names that say nothing about what a module owns.
const EMPTY_NAMES: &[&str] =
    &["util", "utils", "common", "helper", "helpers", "types", "manager", "imp", "misc", "shared"];

#[test]
fn every_rust_file_says_first_what_it_owns() {
    let silent = rust_files().into_iter().filter(|file| !file.text.starts_with("//! "));
    let findings: Vec<String> = silent.map(|file| file.path).collect();
    expect_none("the first line of a file (`//! …`) says what it owns:", &findings);
}

#[test]
fn no_file_is_longer_than_one_thing_needs() {
    let lines = |file: &TextFile| file.text.lines().count();
    let long = rust_files().into_iter().filter(|file| lines(file) > MAX_LINES);
    let findings: Vec<String> =
        long.map(|file| format!("{} has {} lines", file.path, lines(&file))).collect();
    expect_none(&format!("at most {MAX_LINES} lines in a file:"), &findings);
}

/// The same rule for functions is `clippy::too_many_lines`, with the threshold in `clippy.toml` and
/// a reason at each exception.
#[test]
fn nothing_is_left_undone_skipped_or_silenced() {
    let banned = ["todo!", "unimplemented!", "#[ignore", "#[allow(", "#![allow("];
    let findings = mentions(&rust_files(), &banned);
    expect_none("do it, or name the reason with #[expect(…, reason)]:", &findings);
}

/// The order in which branches are polled decides what the simulation of a seed does. Real processes
/// are not simulated: what follows them may poll in any order.
#[test]
fn every_select_in_the_engine_has_an_order() {
    let mut findings = Vec::new();
    let simulated = |file: &&TextFile| {
        file.path.starts_with("crates/engine/src/")
            && !file.path.starts_with("crates/engine/src/process/")
    };
    for file in rust_files().iter().filter(simulated) {
        let lines: Vec<&str> = file.text.lines().map(str::trim).collect();
        for (index, line) in lines.iter().enumerate() {
            let first = lines.get(index + 1).copied().unwrap_or("");
            if line.ends_with("select! {") && first != "biased;" {
                findings.push(format!("{}:{}", file.path, index + 1));
            }
        }
    }
    expect_none("a select! of the engine begins with `biased;`:", &findings);
}

#[test]
fn nothing_depends_on_one_machine() {
    // In two pieces each, so that this file does not mention them itself.
    let banned = [
        concat!("/ho", "me/"),
        concat!("/ro", "ot/"),
        concat!("/Us", "ers/"),
        concat!("/wo", "rk/"),
        concat!("arti", "factory"),
        concat!("index.", "crates"),
        concat!("pypi", ".org"),
    ];
    // State folders of another program hold the paths that it wrote, of a user who does not exist.
    let written_here = |file: &TextFile| !file.path.starts_with("crates/openclaw/tests/fixtures/");
    let files: Vec<_> = files().into_iter().filter(written_here).collect();
    let findings = mentions(&files, &banned);
    expect_none("paths and registries of one machine stay out of the repository:", &findings);
}

#[test]
fn every_locked_package_comes_from_the_public_registry() {
    let public = "source = \"registry+https://github.com/rust-lang/crates.io-index\"";
    let lock = std::fs::read_to_string(crate::workspace::root().join("Cargo.lock")).unwrap();
    let sources = lock.lines().filter(|line| line.starts_with("source = "));
    let findings: Vec<String> = sources.filter(|it| *it != public).map(str::to_owned).collect();
    expect_none("Cargo.lock names no other source than the public one:", &findings);
}

#[test]
fn every_module_is_named_after_the_thing_it_owns() {
    let mut findings = Vec::new();
    for file in rust_files() {
        let parts = file.path.trim_end_matches(".rs").split('/');
        findings.extend(parts.filter(|part| EMPTY_NAMES.contains(part)).map(|_| file.path.clone()));
        let inline = file.text.lines().filter_map(|line| line.trim().strip_suffix(" {"));
        let inline = inline.filter_map(|line| line.rsplit_once("mod ").map(|(_, name)| name));
        findings.extend(
            inline
                .filter(|name| EMPTY_NAMES.contains(name))
                .map(|name| format!("{} has a module {name}", file.path)),
        );
    }
    expect_none("a module's name says what it owns:", &findings);
}

/// Every line of these files that has one of these texts; this file has to name them.
fn mentions(files: &[TextFile], texts: &[&str]) -> Vec<String> {
    let mut findings = Vec::new();
    for file in files.iter().filter(|file| file.path != "xtask/tests/structure/tidy.rs") {
        for (index, line) in file.text.lines().enumerate() {
            if let Some(text) = texts.iter().find(|text| line.contains(**text)) {
                findings.push(format!("{}:{} has {text}", file.path, index + 1));
            }
        }
    }
    findings
}

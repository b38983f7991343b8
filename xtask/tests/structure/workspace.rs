//! What the structure tests look at: the files of this repository and its packages.

use std::fs;
use std::path::{Path, PathBuf};

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Package};

/// The root of the repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// A file that can be read as text, with its path below the root.
#[derive(Debug)]
pub struct TextFile {
    /// With `/` between folders.
    pub path: String,
    /// All of it.
    pub text: String,
}

impl TextFile {
    /// Whether it is Rust.
    pub fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }
}

/// Every text file of the repository, without what is built.
pub fn files() -> Vec<TextFile> {
    let root = root();
    let mut files = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            // In a worktree `.git` is a file.
            if name == "target" || name == ".git" {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else if let Ok(text) = fs::read_to_string(&path) {
                let path = path.strip_prefix(&root).unwrap().to_string_lossy().into_owned();
                files.push(TextFile { path, text });
            }
        }
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    files
}

/// Every Rust file of the repository.
pub fn rust_files() -> Vec<TextFile> {
    files().into_iter().filter(TextFile::is_rust).collect()
}

/// What cargo knows about the workspace.
pub fn metadata() -> Metadata {
    let mut command = MetadataCommand::new();
    command.manifest_path(root().join("Cargo.toml")).no_deps();
    command.exec().unwrap()
}

/// The names of what a package needs to be built (or, with `dev`, also to be tested).
pub fn needs(package: &Package, dev: Dev) -> Vec<String> {
    let counts = |kind| dev == Dev::With || kind != DependencyKind::Development;
    let names = package.dependencies.iter().filter(|needed| counts(needed.kind));
    names.map(|needed| needed.name.clone()).collect()
}

/// Whether dependencies that only tests have count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dev {
    /// They do.
    With,
    /// They do not.
    Without,
}

/// Fails with all findings, one per line.
#[track_caller]
pub fn expect_none(rule: &str, findings: &[String]) {
    assert!(findings.is_empty(), "{rule}\n  {}\n", findings.join("\n  "));
}

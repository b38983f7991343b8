//! What keeps the engine deterministic and cannot be said to the compiler.

use std::fs;
use std::path::{Path, PathBuf};

/// An unbiased `select!` looks at its branches in an order that no seed decides. The executor of real
/// processes is no part of a world.
#[test]
fn every_select_in_the_engine_is_biased() {
    let engine = Path::new(env!("CARGO_MANIFEST_DIR")).join("../engine/src");
    let mut files = rust_files(&engine);
    files.retain(|file| !file.starts_with(engine.join("process")));
    assert!(files.len() > 10, "found only {files:?}");
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        for (at, _) in text.match_indices("select!") {
            let body = text[at..].split_once('{').map_or("", |(_, body)| body.trim_start());
            assert!(
                body.starts_with("biased;"),
                "{} has a select! without biased;",
                file.display()
            );
        }
    }
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).expect("the folder of the sources is there") {
        let path = entry.expect("its entries can be read").path();
        match path.extension() {
            _ if path.is_dir() => files.extend(rust_files(&path)),
            Some(extension) if extension == "rs" => files.push(path),
            _ => {}
        }
    }
    files
}

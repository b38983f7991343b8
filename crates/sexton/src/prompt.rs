//! Prompts as people give them: a text, `@FILE`, or `-` for stdin.

use std::fs;
use std::io::Read as _;
use std::path::Path;

use anyhow::Context as _;

/// From a command line: a text, `@FILE` relative to the current folder, or `-` for stdin. `@@` is a
/// text that begins with `@`.
pub fn of_argument(argument: &str) -> anyhow::Result<String> {
    if argument == "-" {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).context("read the prompt from stdin")?;
        return Ok(text);
    }
    of_text(argument, Path::new(""))
}

/// From a config file: as from a command line but for stdin; files are relative to `folder`.
pub fn of_text(text: &str, folder: &Path) -> anyhow::Result<String> {
    match text.strip_prefix('@') {
        None => Ok(text.to_owned()),
        Some(rest) if rest.starts_with('@') => Ok(rest.to_owned()),
        Some(path) => {
            let path = folder.join(path);
            fs::read_to_string(&path)
                .with_context(|| format!("read the prompt from {}", path.display()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_at_sign_names_a_file_and_two_of_them_are_a_text() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("p.md"), "from a file\n").unwrap();
        assert_eq!(of_text("@p.md", dir.path()).unwrap(), "from a file\n");
        assert_eq!(of_text("@@you there", dir.path()).unwrap(), "@you there");
        assert_eq!(of_text("plain @ text", dir.path()).unwrap(), "plain @ text");
        let error = of_text("@missing", dir.path()).unwrap_err();
        assert!(format!("{error:#}").contains("missing"), "{error:#}");
    }
}

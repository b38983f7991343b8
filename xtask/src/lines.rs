//! The lines of a file that others write to.

use std::fs::File;
use std::io::{ErrorKind, Read as _, Seek as _, SeekFrom};
use std::path::PathBuf;

use anyhow::Context as _;

/// A file that grows, each line of which is read once.
#[derive(Debug)]
pub struct Lines {
    file: PathBuf,
    /// So many bytes were read.
    read: u64,
}

impl Lines {
    /// Nothing was read so far, and the file may not be there yet.
    pub fn of(file: PathBuf) -> Self {
        Self { file, read: 0 }
    }

    /// The lines that were added; what has no end is still being written.
    pub fn read_on(&mut self) -> anyhow::Result<Vec<String>> {
        let reading = || format!("read {}", self.file.display());
        let mut file = match File::open(&self.file) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            file => file.with_context(reading)?,
        };
        file.seek(SeekFrom::Start(self.read)).with_context(reading)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).with_context(reading)?;
        bytes.truncate(bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1));
        let text = std::str::from_utf8(&bytes).with_context(reading)?;
        self.read += bytes.len() as u64;
        Ok(text.lines().map(str::to_owned).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A note that ended within a letter of two bytes, because it was still being written, was an error once:
    /// all of the text was decoded before what has no end was cut off.
    #[test]
    fn a_line_is_read_once_and_when_it_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("lines");
        let mut lines = Lines::of(file.clone());
        let mut read = |text: &[u8]| {
            std::fs::write(&file, text).unwrap();
            lines.read_on().unwrap()
        };
        let text = "one\ntwo ü\n".as_bytes();
        assert_eq!(read(&text[..9]), ["one"]);
        assert_eq!(read(text), ["two ü"]);
        assert_eq!(read(text), Vec::<String>::new());
    }
}

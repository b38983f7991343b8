//! Every command that a text names for people is one that can be typed.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Parser as _;
use clap::error::ErrorKind;

use super::Cli;

/// A command in backticks, where it stands.
struct Named {
    file: PathBuf,
    text: String,
}

/// Everything in backticks that begins with the program's name, in files of this ending.
fn named(folder: &Path, ending: &str, into: &mut Vec<Named>) {
    for entry in fs::read_dir(folder).unwrap() {
        let file = entry.unwrap().path();
        if file.is_dir() {
            named(&file, ending, into);
        } else if file.extension().is_some_and(|it| it == ending) {
            // A text that goes on in the next line of code goes on after its backslash.
            let text = fs::read_to_string(&file).unwrap().replace("\\\n", "\n");
            let pieces = text.split('`').filter(|piece| piece.starts_with("sexton "));
            let pieces = pieces.filter(|piece| piece.lines().count() <= 2);
            into.extend(pieces.map(|piece| Named { file: file.clone(), text: piece.to_owned() }));
        }
    }
}

/// Its words as a person would type them: placeholders are filled in.
fn words(text: &str) -> Vec<String> {
    let typed = text.split('|').next().unwrap_or_default();
    let fill = |word: &str| match word {
        "{state}" => "queued".to_owned(),
        "{what}" => "job".to_owned(),
        word if word.starts_with('{') => "x".to_owned(),
        word => word.to_owned(),
    };
    typed.split_whitespace().filter(|word| *word != "…").map(fill).collect()
}

fn wrong(named: &Named, may_miss: bool) -> Option<String> {
    let error = Cli::try_parse_from(words(&named.text)).err()?;
    let open = may_miss || named.text.contains('…');
    let fine = match error.kind() {
        ErrorKind::DisplayHelp => true,
        ErrorKind::MissingRequiredArgument
        | ErrorKind::InvalidValue
        | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => open,
        _ => false,
    };
    (!fine).then(|| format!("{}: `{}`: {error}", named.file.display(), named.text))
}

#[test]
fn every_command_that_a_message_or_a_page_names_can_be_typed() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let (mut messages, mut pages) = (Vec::new(), Vec::new());
    for entry in fs::read_dir(root.join("crates")).unwrap() {
        let source = entry.unwrap().path().join("src");
        if source.is_dir() {
            named(&source, "rs", &mut messages);
        }
    }
    named(&root.join("docs"), "md", &mut pages);
    // What is optional stands in brackets.
    pages.retain(|page| !page.text.contains('['));
    assert!(messages.len() > 40 && pages.len() > 40, "{} {}", messages.len(), pages.len());
    let wrong: Vec<String> = messages
        .iter()
        .filter_map(|message| wrong(message, false))
        .chain(pages.iter().filter_map(|page| wrong(page, true)))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

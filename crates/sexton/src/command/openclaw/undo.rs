//! `openclaw undo`: takes a healing back.

use sexton_openclaw::heal;
use sexton_openclaw::heal::undo::{Which, undo};

use super::heal::failure;
use super::port::hold;
use super::progress::healing;
use crate::args::openclaw::Undo;
use crate::failure::{Exit, Failure};
use crate::output::{Output, count, word};

/// Runs `openclaw undo`.
pub fn main(args: &Undo, output: Output) -> Result<Exit, Failure> {
    if args.list {
        return list(args, output);
    }
    let which = args.stamp.as_deref().map_or(Which::Latest, Which::Stamp);
    let _held = (!args.stopped).then(|| hold(&args.path)).transpose()?;
    let undone = healing(|observer| undo(&args.path, which, observer))?;
    if output.json {
        output.document(&undone)?;
    } else {
        let files = count(undone.files.len() as u64, "file");
        output.line(format_args!("{files} as before the healing of {}", undone.stamp))?;
    }
    Ok(Exit::Ok)
}

fn list(args: &Undo, output: Output) -> Result<Exit, Failure> {
    let all = heal::list_healings(&args.path).map_err(failure)?;
    if output.json {
        output.document(&all)?;
        return Ok(Exit::Ok);
    }
    let row = |healing: &heal::Healing| {
        vec![
            healing.stamp.clone(),
            word(&healing.state),
            healing.items.to_string(),
            healing.files.to_string(),
        ]
    };
    let rows = all.iter().map(row).collect();
    output.table(&["healing", "state", "cases", "files"], rows, "nothing was healed here")?;
    Ok(Exit::Ok)
}

//! `init`: writes a commented config.

use std::path::PathBuf;

use serde_json::json;

use crate::atomic::{self, Care, Durability, Existing};
use crate::failure::{Exit, Failure};
use crate::output::Output;
use crate::place;

/// The config that is written.
pub const TEMPLATE: &str = include_str!("../template.toml");

/// Runs `init`.
pub fn main(dir: Option<PathBuf>, output: Output) -> Result<Exit, Failure> {
    let path = match dir {
        Some(dir) => dir.join(place::CONFIG_NAME),
        None => place::user_config()?,
    };
    if path.exists() {
        let message = format!("{} exists and is not overwritten", path.display());
        return Err(Failure::new(Exit::Refused, message)
            .hint("move it away, or name another folder: sexton init DIR"));
    }
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        atomic::make_private_dir(folder)?;
    }
    let care = Care { existing: Existing::Keep, durability: Durability::Full };
    atomic::write(&path, TEMPLATE.as_bytes(), care)?;
    if output.json {
        output.document(&json!({ "path": path }))?;
    } else {
        output.line(format_args!("wrote {}", path.display()))?;
        output.note("look through it, then start Sexton: sexton serve");
    }
    Ok(Exit::Ok)
}

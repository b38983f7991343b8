//! The local admin token: made at the first start, found by commands in the data folder.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use anyhow::Context as _;
use sexton_engine::entropy::Entropy;

use crate::atomic::{self, Care, Durability, Existing};
use crate::failure::{Exit, Failure};
use crate::place::DataDir;

/// How many random bytes it has.
const BYTES: usize = 32;

/// Reads the token, or makes one.
pub fn ensure(dir: &DataDir, entropy: &Entropy) -> Result<String, Failure> {
    let path = dir.token();
    match fs::read_to_string(&path) {
        Ok(token) => {
            private(dir)?;
            let token = token.trim().to_owned();
            if token.len() < BYTES {
                let message = format!("the token in {} is too short to be safe", path.display());
                return Err(Failure::new(Exit::Refused, message)
                    .hint("remove the file; the next start makes a new one"));
            }
            Ok(token)
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => make(dir, entropy),
        Err(error) => Err(Failure::new(
            Exit::Usage,
            format!("failed to read the token from {}: {error}", path.display()),
        )),
    }
}

fn make(dir: &DataDir, entropy: &Entropy) -> Result<String, Failure> {
    let mut bytes = [0; BYTES];
    entropy.fill(&mut bytes);
    let token: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let care = Care { existing: Existing::Keep, durability: Durability::Full };
    atomic::write(&dir.token(), format!("{token}\n").as_bytes(), care)?;
    Ok(token)
}

/// Nobody but its owner may read it, whoever wrote it there.
fn private(dir: &DataDir) -> anyhow::Result<()> {
    let path = dir.token();
    let mode = fs::metadata(&path)?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        tracing::warn!(path = %path.display(), "the token was readable for others; it no longer is");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600))
            .with_context(|| format!("protect {}", path.display()))?;
    }
    Ok(())
}

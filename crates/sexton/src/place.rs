//! Where things are: the config file, the data folder and what lies in it.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::args::Globals;
use crate::failure::{Exit, Failure};

/// The name of the config file where the search looks.
pub const CONFIG_NAME: &str = "sexton.toml";

/// The data folder.
#[derive(Debug, Clone)]
pub struct DataDir(PathBuf);

impl DataDir {
    /// `--data-dir`, `SEXTON_DATA_DIR`, or `$XDG_DATA_HOME/sexton`.
    pub fn find(globals: &Globals) -> Result<Self, Failure> {
        let path = match &globals.data_dir {
            Some(path) => path.clone(),
            None => xdg("XDG_DATA_HOME", ".local/share")?,
        };
        let path = std::path::absolute(&path)
            .with_context(|| format!("find the data folder {}", path.display()))?;
        Ok(Self(path))
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The local admin token.
    pub fn token(&self) -> PathBuf {
        self.0.join("token")
    }

    /// Where the running daemon can be reached.
    pub fn address(&self) -> PathBuf {
        self.0.join("address")
    }
}

/// The config file: `--config`, `./sexton.toml`, `$XDG_CONFIG_HOME/sexton/sexton.toml`.
///
/// The second and the third only if they exist; `None` where there is none.
pub fn config_file(globals: &Globals) -> Result<Option<PathBuf>, Failure> {
    if let Some(path) = &globals.config {
        return Ok(Some(path.clone()));
    }
    let local = PathBuf::from(CONFIG_NAME);
    if local.exists() {
        return Ok(Some(local));
    }
    Ok(Some(user_config()?).filter(|path| path.exists()))
}

/// Where `init` writes without a folder: the last place the search looks at.
pub fn user_config() -> Result<PathBuf, Failure> {
    Ok(xdg("XDG_CONFIG_HOME", ".config")?.join(CONFIG_NAME))
}

/// Sexton's folder below a base folder of the XDG specification, which wants it absolute.
fn xdg(variable: &str, below_home: &str) -> Result<PathBuf, Failure> {
    let base = env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = base.or_else(|| env::home_dir().map(|home| home.join(below_home)));
    base.map(|base| base.join("sexton")).ok_or_else(|| {
        Failure::new(Exit::Usage, format!("neither {variable} nor HOME is set"))
            .hint("name the places with --config and --data-dir")
    })
}

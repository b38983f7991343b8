//! Without a daemon: the store, open for reading, behind the same routes.

use std::sync::Arc;

use sexton_engine::archive::files::Folder;
use sexton_engine::clock::Clock as _;
use sexton_engine::handle::Handle;
use sexton_server::Access as Who;
use sexton_store_sqlite::Access;

use crate::args::Globals;
use crate::config::{Config, Surroundings};
use crate::failure::{Exit, Failure};
use crate::output::Output;
use crate::place::{self, DataDir};
use crate::store::{self, Machine, Opening};

/// The routes over the store of the data folder. Where there is no store, what the daemon's absence
/// means is said instead.
pub async fn router(
    globals: &Globals,
    output: Output,
    unreachable: Failure,
) -> Result<axum::Router, Failure> {
    let dir = DataDir::find(globals)?;
    let machine = Machine::new()?;
    let now = machine.clock.now();
    let path = place::config_file(globals)?;
    let config = Config::load(path.as_deref(), Surroundings { data_dir: dir.path(), now })?;
    let opening = Opening {
        path: &config.database,
        durability: config.file.store.durability,
        access: Access::ReadOnly,
    };
    let store = store::open(opening, &machine).map_err(|failure| match failure.exit {
        Exit::Unreachable => unreachable,
        _ => failure,
    })?;
    let shown = config.database.display();
    output.note(format_args!("the daemon is not running; reading {shown} directly"));
    let archives = Arc::new(Folder::new(dir.path()));
    Ok(sexton_server::router(Handle::offline(store, archives, now), Who::in_process()))
}

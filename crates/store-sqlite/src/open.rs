//! Opening: every check before the first write, then the connections.

use std::path::Path;
use std::sync::Arc;

use rusqlite::{Connection, ErrorCode};
use tokio::runtime::Handle;

use crate::connect;
use crate::counters::Counters;
use crate::disk::Disk;
use crate::driver::{Engine, SqliteDriver};
use crate::inline::Inline;
use crate::lock::Lock;
use crate::open_error::OpenError;
use crate::options::{Access, Durability, Mode, Options};
use crate::place;
use crate::queue::Queue;
use crate::readers::Readers;
use crate::reserve::{Ground, Reserve};
use crate::schema::{self, Found, MIGRATIONS, Maker};
use crate::writer::{Tools, Writer};

impl SqliteDriver {
    /// Opens a store. Waits for the disk: a new one is made, an older one copied and migrated.
    ///
    /// # Errors
    ///
    /// [`OpenError`] says what stands in the way; a store that cannot be opened is not touched.
    pub fn open(options: Options) -> Result<Self, OpenError> {
        match options.access {
            Access::ReadWrite => open_to_write(&options),
            Access::ReadOnly => open_to_read(&options),
        }
    }

    /// Opens a store in memory: inline, on the calling task, without threads, and with the same
    /// behaviour each time. Its reserve is kept on that disk, for one driver after the other. The path, the
    /// durability, the mode and the access do not matter.
    ///
    /// # Errors
    ///
    /// [`OpenError`], as for a file.
    pub fn in_memory(disk: &Disk, options: Options) -> Result<Self, OpenError> {
        let mut db = disk.connect().map_err(OpenError::database("connect"))?;
        let found = schema::find(&db).map_err(OpenError::database("look at it"))?;
        let maker = maker(&options);
        maker.check(&options.path, &found)?;
        maker.migrate(&mut db, &found, None)?;
        let counters = Arc::new(Counters::default());
        let reserve = reserve(&options, || Ground::Memory(disk.clone()));
        let tools =
            Tools { disk: Some(disk.clone()), ..tools(&options, &counters, reserve.as_ref()) };
        let writer =
            Writer::new(db, tools, None).map_err(OpenError::database("set the writer up"))?;
        let engine = Engine::Inline(Inline::new(writer, Access::ReadWrite));
        Ok(Self { engine, counters, path: None, unsynced: None, reserve })
    }
}

fn maker(options: &Options) -> Maker<'_> {
    Maker { migrations: MIGRATIONS, store_id: options.store_id, software: &options.software }
}

fn reserve(options: &Options, ground: impl FnOnce() -> Ground) -> Option<Arc<Reserve>> {
    (options.reserve_bytes > 0).then(|| Arc::new(Reserve::keep(ground(), options.reserve_bytes)))
}

fn tools(options: &Options, counters: &Arc<Counters>, reserve: Option<&Arc<Reserve>>) -> Tools {
    Tools {
        reserve: reserve.cloned(),
        disk: None,
        durability: options.durability,
        faults: options.faults.clone(),
        counters: Arc::clone(counters),
        monotonic: Arc::clone(&options.monotonic),
    }
}

fn open_to_write(options: &Options) -> Result<SqliteDriver, OpenError> {
    let path = &options.path;
    let runtime = runtime(options)?;
    place::prepare_folder(path)?;
    let lock = Lock::take(path, options.now)?;
    drop(place::private_file(path, path)?);
    roll_back(path);
    let found = look(options)?;
    let maker = maker(options);
    maker.check(path, &found)?;
    let mut db = connect::writer(options).map_err(OpenError::database("connect"))?;
    maker.migrate(&mut db, &found, Some(path))?;
    let counters = Arc::new(Counters::default());
    let reserve = reserve(options, || Ground::Beside(path.clone()));
    let tools = tools(options, &counters, reserve.as_ref());
    let writer =
        Writer::new(db, tools, Some(lock)).map_err(OpenError::database("set the writer up"))?;
    let engine = match runtime {
        None => Engine::Inline(Inline::new(writer, Access::ReadWrite)),
        Some(runtime) => Engine::Pool {
            readers: Readers::new(path.clone(), runtime.clone()),
            queue: Some(Queue::new(writer, runtime)),
        },
    };
    let unsynced = (options.durability == Durability::Relaxed).then(|| path.clone());
    Ok(SqliteDriver { engine, counters, path: Some(path.clone()), unsynced, reserve })
}

fn open_to_read(options: &Options) -> Result<SqliteDriver, OpenError> {
    let path = &options.path;
    let runtime = runtime(options)?;
    if place::size(path) == 0 {
        return Err(OpenError::Missing { path: path.clone() });
    }
    place::refuse_network(path, &place::folder_of(path))?;
    let found = look(options)?;
    let maker = maker(options);
    maker.check(path, &found)?;
    match found {
        Found::Store { schema, .. } if schema == maker.newest() => {}
        Found::Store { schema, .. } => {
            return Err(OpenError::Older { found: schema, supported: maker.newest() });
        }
        Found::Empty | Found::Foreign => return Err(OpenError::Missing { path: path.clone() }),
    }
    let db = reader(path)?;
    let counters = Arc::new(Counters::default());
    let engine = match runtime {
        Some(runtime) => Engine::Pool { queue: None, readers: Readers::new(path.clone(), runtime) },
        None => {
            let writer = Writer::new(db, tools(options, &counters, None), None)
                .map_err(OpenError::database("connect"))?;
            Engine::Inline(Inline::new(writer, Access::ReadOnly))
        }
    };
    Ok(SqliteDriver { engine, counters, path: Some(path.clone()), unsynced: None, reserve: None })
}

/// The runtime whose blocking pool runs the statements, unless they run inline.
fn runtime(options: &Options) -> Result<Option<Handle>, OpenError> {
    match options.mode {
        Mode::Inline => Ok(None),
        Mode::Pool => Handle::try_current().map(Some).map_err(|_| OpenError::NoRuntime),
    }
}

/// Undoes what was half done when the store was being made. Only then is there a journal: a store that is
/// made has a log instead. Without this nobody could look at it; whether it is a store is seen after that.
fn roll_back(path: &Path) {
    if place::size(&place::beside(path, "-journal")) == 0 {
        return;
    }
    let read = connect::maker(path).and_then(|db| schema::find(&db));
    tracing::info!(found = ?read, "the store was being made when its machine stopped");
}

/// Looks at a database file without changing anything, its log and its folder included.
fn look(options: &Options) -> Result<Found, OpenError> {
    let path = &options.path;
    if place::size(path) == 0 {
        return Ok(Found::Empty);
    }
    place::readable(path)?;
    let logged = place::size(&place::beside(path, "-wal")) > 0;
    let db = if logged { connect::reader(path) } else { connect::bystander(path) };
    db.and_then(|db| schema::find(&db)).map_err(not_readable(path))
}

/// A connection that has read something.
fn reader(path: &Path) -> Result<Connection, OpenError> {
    let db = connect::reader(path).and_then(|db| schema::find(&db).map(|_| db));
    db.map_err(not_readable(path))
}

fn not_readable(path: &Path) -> impl FnOnce(rusqlite::Error) -> OpenError {
    move |source| match source.sqlite_error_code() {
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
            OpenError::NotADatabase { path: path.to_owned() }
        }
        Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly) => {
            OpenError::ReadOnlyLog { path: path.to_owned(), source }
        }
        _ => OpenError::Database { doing: "look at it", source },
    }
}

//! What a gateway starts from: its law, its settings, its store.

use std::sync::Arc;

use jiff::Timestamp;
use sexton_domain::duration as domain;
use sexton_domain::node::ProcessId;
use sexton_domain::plan::jobs::Empty;
use sexton_domain::plan::reconcile::{Fence, MAX_ABSENCE};
use sexton_engine::engine::{Declaration, Engine, Start};
use sexton_engine::entropy::Entropy;
use sexton_engine::env::{Env, Host};
use sexton_engine::handle::Error;
use sexton_engine::settings::Settings;
use sexton_store::Store;
use sexton_store_sqlite::SqliteDriver;

use crate::courier::Postman;
use crate::crew::Crew;
use crate::ops;
use crate::planted::Plant;
use crate::slow::{Slow, Surroundings};
use crate::subscribers;
use crate::teller::Teller;
use crate::witness::Law;
use crate::world::World;

/// Whether a start must not trust the wall clock, by the last heartbeat: with some room, because it looks a little
/// later.
pub(super) fn is_distrusted(last: Timestamp, now: Timestamp) -> bool {
    let room = domain::Duration::from_secs(60);
    room.after(now) < last || room.after(MAX_ABSENCE.after(last)) < now
}

/// Starts an engine; its teller knows its epoch as soon as it has one.
pub(super) async fn begin(world: &World, start: Start, teller: &Teller) -> Result<Engine, Error> {
    Engine::start_with(start, |_| teller.takes(world.newest_epoch())).await
}

/// Draws the law of a gateway, which begins with it.
pub(super) fn law(world: &World) -> Law {
    let hooks = subscribers::in_config(&world.die, &world.nature.hooks);
    let periods = world.nature.settings(&world.die, &hooks).retention;
    let law = Law { hooks, periods };
    world.witness.begin(law.clone());
    law
}

/// What the engine starts from.
pub(super) fn start(
    world: &World,
    law: &Law,
    clock: &Arc<crate::time::LifeClock>,
    crew: &Crew,
    teller: &Teller,
) -> Start {
    let plant = world.plant.begin();
    let executor = Arc::new(world.executor(teller, &plant));
    let settings = world.nature.settings(&world.die, &law.hooks);
    let settings = Settings { retention: law.periods, ..settings };
    let jobs = ops::declared(&world.nature, &world.die, world.time.wall());
    let host = Host {
        name: "sim".to_owned(),
        process: ProcessId { pid: 1, started: 1 },
        software: "sim".to_owned(),
        environment: Default::default(),
    };
    let (mailbox, teller) = (world.mailbox.clone(), teller.clone());
    let postman = Postman { mailbox, teller, plant: plant.clone() };
    Start {
        store: store(world, crew, &plant),
        env: Env {
            clock: plant.clock(Arc::<crate::time::LifeClock>::clone(clock)),
            entropy: Arc::new(Entropy::from_seed(world.die.seed())),
            tasks: crew.tasks(),
            run_files: executor.run_files.clone(),
            executor,
            courier: Arc::new(postman),
            archives: Arc::new(world.shelf.clone()),
            host: Arc::new(host),
        },
        settings,
        jobs: Some(Declaration { source: "main".to_owned(), jobs, empty: Empty::Allow }),
        fence: Fence::Exclusive,
    }
}

fn store(world: &World, crew: &Crew, plant: &Plant) -> Store {
    let driver = SqliteDriver::in_memory(&world.disk, world.store_options())
        .expect("a database in memory opens");
    let around = Surroundings {
        die: world.die.fork(),
        manners: world.manners,
        calm: Arc::clone(&world.calm),
        diary: world.diary.clone(),
        witness: world.witness.clone(),
        disk: world.disk.clone(),
        plant: plant.clone(),
    };
    let time = Arc::clone(&world.time);
    Store::new(Arc::new(Slow::new(driver, around, crew)), Arc::new(move || time.now()))
}

//! A disk that fills up while agents work.

use crate::disk::SmallDisk;
use crate::support::{CONFIG, Place, until};

/// What one run may write is four times the reserve.
const TALKER: &str = r#"
[agents.talk]
executor = "process"
command = ["sh", "-c", "while cat BLOCK; do echo >> SAID; done"]
output_limit = "256MiB"
grace = "1s"
"#;

/// An agent that says nothing for so many looks waits: a store that fails is asked again after a hundred.
const LOOKS: u32 = 300;

/// P2, P7, P10: on a full disk nothing new begins, an agent that goes on talking does not use up the room
/// for ends, what is stopped ends, and once there is room everything goes on without a restart.
#[test]
fn on_a_full_disk_everything_can_still_end_and_nothing_begins_until_there_is_room() {
    let place = Place::new(CONFIG);
    let block = format!("{}\n", "x".repeat(1000)).repeat(64);
    let file = place.dir.path().join("block");
    std::fs::write(&file, block).unwrap();
    let said = place.dir.path().join("said");
    let talker = TALKER.replace("BLOCK", file.to_str().unwrap());
    let talker = talker.replace("SAID", said.to_str().unwrap());
    place.write(&format!("{CONFIG}{talker}"));
    let disk = SmallDisk::new(&place);
    let daemon = place.ready(place.spawn(&[], &disk.environment()));
    for (job, agent) in [("talks", "talk"), ("echoes", "echo")] {
        place.ok(&[
            "job",
            "add",
            "--key",
            job,
            "--agent",
            agent,
            "--cron",
            "0 0 1 1 *",
            "--prompt",
            "hello",
        ]);
    }
    let talks = place.json(&["job", "run", "talks"])["id"].as_str().unwrap().to_owned();
    until("its first words", || {
        (place.json(&["run", "show", &talks])["state"] == "running").then_some(())
    });

    disk.fill_up_to(8 << 20);
    place.logged("the disk is full", 0);
    let refused = place.run(&["job", "run", "echoes"]);
    assert!(refused.err.contains("the disk is full"), "{refused:?}");
    // Nobody listens to it any more.
    let (mut before, mut still) = (0, 0);
    until("it to wait with what it says", || {
        let blocks = std::fs::metadata(&said).unwrap().len();
        still = if blocks == before { still + 1 } else { 0 };
        before = blocks;
        (still == LOOKS).then_some(())
    });
    let free = disk.free_bytes();
    assert!(free > 48 << 20, "{free} bytes are left for ends");

    place.ok(&["run", "cancel", &talks]);
    let ended = until("the end of the run on the full disk", || {
        let run = place.json(&["run", "show", &talks]);
        (run["state"] == "ended").then_some(run)
    });
    assert_eq!(ended["outcome"], "cancelled", "{ended}");
    assert!(place.log().matches("the store keeps its reserve").count() <= 1, "{}", place.log());

    disk.empty();
    let echoed = until("room for new work", || {
        let asked = place.run(&["job", "run", "echoes", "--wait"]);
        (asked.code == 0).then_some(asked)
    });
    assert!(echoed.out.contains("hello"), "{echoed:?}");
    assert!(daemon.stop().success());
}

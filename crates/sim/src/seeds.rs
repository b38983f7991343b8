//! Seeds: those that are part of every test run, and those that once broke a promise, each with its story; the
//! latter are run before any others.

/// The seeds that are part of every test run: together they reach what worlds can reach.
pub const FIXED: &[u64] = &[2, 3, 4, 6, 7, 8, 9, 47, 62, 64, 66, 67, 69, 70, 123];

/// The seeds and what they were about.
pub const REGRESSIONS: &[(u64, &str)] = &[
    (
        6,
        "a store failed while the run of a turn was ended after a crash; its session was ended without \
         it, as `restart`, and the run later as `interrupted`",
    ),
    (
        7,
        "a letter waited for its turn to be sent while it became too old and was given up; it was sent all \
         the same, after what comes behind it in its lane was free to go",
    ),
    (
        12,
        "one commit failed while a node stopped, and all its open sessions stayed open, although there was \
         time to try again",
    ),
    (
        69,
        "the wall clock was set back; the session that had ended last behind a key was not the newest by its id, \
         and the conversation began anew",
    ),
    (
        62,
        "the wall clock was ahead between two looks of the hooks' keeper, and what was to be told by then waited \
         until that time came",
    ),
    (
        65,
        "the wall clock jumped while a gateway started, and its loops took that for what it always showed; later: of \
         two reloads that overlapped the witness judged by the one that had ended first",
    ),
    (
        1113,
        "a delivery was sent again by hand while a sweep deleted the event that it tells: it had been read before \
         as one that nobody waits for",
    ),
    (
        2090,
        "what was decided by a clock that was ahead was stored after the hooks' keeper had looked for such things, \
         and waited until that time came",
    ),
    (
        117,
        "a gateway that had been thought dead wrote to the file of archives where it had ended for it, over those \
         that the next one had committed there",
    ),
    (
        3026,
        "a gateway that had been thought dead claimed runs while the next one started; their sessions were ended \
         without them, as `restart`",
    ),
    (
        3052,
        "a loop stored what it had been about when its node stopped, after the report of that had been counted",
    ),
    (
        1_795_746_361,
        "the clock jumped by less than a minute as a node began, and what was due was overdue before a sweep had time",
    ),
    (
        1_795_749_940,
        "the clock was ahead for less than the pause between two looks at it, and a delivery that failed meanwhile \
         waited until that time came",
    ),
    (
        1_795_750_841,
        "the disk had been full for longer than two sweeps, and what was due was overdue as soon as it had room",
    ),
    (4, "a session was unpinned long after its time, and was overdue by all of it at once"),
];

//! The reaper of a whole engine on a real SQLite file, with archives in real files.
#![expect(clippy::unwrap_used, reason = "helpers of tests are tests, too")]

mod archives;
mod damage;
mod faults;
mod fuzz;
mod make;
mod records;
mod sessions;
mod unreadable;
mod yard;

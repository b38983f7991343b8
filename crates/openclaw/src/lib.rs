//! OpenClaw's state folders: what is in them, what is sick, how to heal it, and how to bring it over.
//!
//! Files of both eras are read as they are (JSON files until 2026.7.1, SQLite since). Reading is
//! tolerant by the record and strict in accounting: what cannot be read is [`model::Dropped`] with its
//! place and the reason, and nothing else of the file is lost. Nothing here asks for the time.

pub mod address;
pub mod finding;
pub mod folder;
pub mod heal;
mod hex;
pub mod import;
pub mod inspect;
pub mod model;
pub mod read;
pub mod schedule;
mod stamp;

//! Archives: compressed transcripts in append-only files outside the store.
//!
//! A segment is a file of frames whose archives expire on one day (`2026-12-25.001.zst`), or never
//! (`forever.001.zst`). Each session is two zstd frames: a skippable one with a JSON manifest, and one
//! with the transcript as JSON lines, so that `zstd -dc FILE` prints plain JSONL. The store knows how
//! many bytes of a segment are committed; what lies beyond is of a write that nobody waited for.
//!
//! | what | where |
//! |---|---|
//! | the files themselves | [`files`] |
//! | how a frame is laid out | `frame` |
//! | writing frames | `writer` |
//! | reading and checking them | `reader` |
//! | what is wrong with all of them | `audit` |
//! | bringing a session back | `restore` |

mod audit;
pub mod files;
mod frame;
mod reader;
mod restore;
mod writer;

pub use audit::{Checkup, Finding};
pub use reader::Damage;

pub(crate) use audit::{check_segment, fault, length, strangers};
pub(crate) use reader::Transcript;
pub(crate) use restore::{NotRestored, restore};
pub(crate) use writer::{Failed, Writer, erase, unread};

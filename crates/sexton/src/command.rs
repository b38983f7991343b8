//! The commands, one file for each word that follows `sexton`.

pub mod alerts;
pub mod archive;
pub mod bench;
pub mod config;
pub mod hook;
pub mod init;
pub mod job;
pub mod node;
pub mod openclaw;
pub mod run;
pub mod send;
pub mod session;
pub mod status;
pub mod stop;
pub mod sweep;
pub mod usage;

mod origin;
mod page;

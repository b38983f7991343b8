//! Brings a state folder over: their records as ours.

pub mod account;
pub mod brought;
pub mod entries;
pub mod gather;
pub mod ids;
pub mod jobs;
pub mod runs;
pub mod sessions;
pub mod text;

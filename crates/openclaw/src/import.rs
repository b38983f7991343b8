//! Brings a state folder over: their records as ours.

pub mod jobs;

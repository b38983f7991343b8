//! placeholder

pub mod executor;
pub mod process;

//! Heals a state folder, with a plan before, a backup beside, and a way back.

pub mod owner;

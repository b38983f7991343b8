//! Seeds that once broke a promise, each with its story. They are run before any others.

/// The seeds and what they were about.
pub const REGRESSIONS: &[(u64, &str)] = &[];

//! Structure tests: rules about the repository itself, each with a sentence when it is broken.

#![expect(clippy::unwrap_used, reason = "these are tests, and so are their helpers")]

mod docs;
mod house;
mod tidy;
mod workspace;

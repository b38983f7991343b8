//! HTTP: the API of a running engine, and of a store that is open for reading.
//!
//! Knows [`sexton_engine::handle::Handle`] and nothing behind it. [`api`] is what goes over the wire.

use std::error::Error;

pub mod api;
mod suggest;

/// An error with everything it rests on, in one line.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}

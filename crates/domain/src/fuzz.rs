//! Any text at all through everything that reads one: nothing panics, what is accepted reads back as it
//! was printed, and what is refused is named.

mod report;
mod text;

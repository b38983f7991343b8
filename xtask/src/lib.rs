//! What developer commands are made of. The program is `main.rs`; what measures the store itself is
//! `bin/measure-store`, what opens it after power cuts `bin/cut-power`: they need the feature `store`.

pub mod archive;
pub mod bench;
pub mod books;
pub mod check;
pub mod clock;
pub mod crash;
pub mod demo;
pub mod dice;
pub mod fuzz;
pub mod gateway;
pub mod hooks;
pub mod http;
pub mod lines;
pub mod needs;
pub mod paint;
pub mod peers;
pub mod power;
#[path = "../disk/preload.rs"]
pub mod preload;
pub mod process;
pub mod signature;
pub mod sim;
pub mod slots;
pub mod webhook;

/// The answer of a command that checks something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Exit code 0.
    Yes,
    /// Exit code 1.
    No,
}

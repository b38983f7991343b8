//! The binary as its users meet it: each test runs the real program in a folder of its own.

mod commands;
mod config;
mod daemon;
mod support;

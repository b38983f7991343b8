//! What becomes of what a dead epoch left behind.


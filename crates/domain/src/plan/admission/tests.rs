//! Which queued runs may start, and why the others wait.


//! When a session may go.


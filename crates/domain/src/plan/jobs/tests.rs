//! Adding, changing, suspending and removing jobs, and reloads of a config.


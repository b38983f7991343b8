//! What follows the end of a run, outcome by outcome.


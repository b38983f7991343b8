//! Limits: how large the parts of a record may be. Every driver holds the same ones.

use sexton_domain::change::{Append, Change, Record, Restore};
use sexton_domain::entry::MAX_ENTRY_BYTES;
use sexton_domain::job::MAX_PROMPT_BYTES;
use sexton_domain::run::{MAX_OUTPUT_BYTES, MAX_STDERR_BYTES, Run};

use crate::driver::Error;

/// The largest session as it is stored (JSON), in bytes.
pub const MAX_SESSION_BYTES: usize = 4 * 1024;
/// The largest event as it is stored (JSON), in bytes: a run's output, escaped, fits.
pub const MAX_EVENT_BYTES: usize = 1024 * 1024;

/// Refuses a change with a part that is too large. What is measured as stored ([`MAX_SESSION_BYTES`],
/// [`MAX_EVENT_BYTES`]) is checked by the driver with [`fits`] when it has written it out.
///
/// # Errors
///
/// [`Error::TooLarge`] names the part.
pub fn check(change: &Change) -> Result<(), Error> {
    match change {
        Change::Put(Record::Job(job)) => fits("a prompt", job.spec.prompt.len(), MAX_PROMPT_BYTES),
        Change::Put(Record::Run(run)) => check_run(run),
        Change::Append(Append { entries, .. }) | Change::Restore(Restore { entries, .. }) => {
            entries
                .iter()
                .try_for_each(|entry| fits("an entry", entry.content.len(), MAX_ENTRY_BYTES))
        }
        _ => Ok(()),
    }
}

fn check_run(run: &Run) -> Result<(), Error> {
    let bytes = |text: &Option<String>| text.as_ref().map_or(0, String::len);
    let prompt = run.input.as_ref().map_or(0, |input| input.prompt.len());
    fits("a prompt", prompt, MAX_PROMPT_BYTES)?;
    fits("a run's output", bytes(&run.output), MAX_OUTPUT_BYTES)?;
    fits("a run's stderr", bytes(&run.stderr), MAX_STDERR_BYTES)
}

/// Refuses what is larger than its limit.
///
/// # Errors
///
/// [`Error::TooLarge`].
pub fn fits(what: &'static str, bytes: usize, limit: usize) -> Result<(), Error> {
    if bytes <= limit { Ok(()) } else { Err(Error::TooLarge { what, bytes, limit }) }
}

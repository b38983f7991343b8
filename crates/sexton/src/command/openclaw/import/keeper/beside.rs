//! The entries of a session that are stored, beside the lines that are to be them.

use std::collections::VecDeque;

use sexton_domain::entry::Entry;
use sexton_domain::id::SessionId;
use sexton_openclaw::import::entries::agree;
use sexton_openclaw::read::transcript::Line;
use sexton_store::Store;
use tokio::runtime::Handle;

use crate::failure::Failure;

/// So many entries are read at once.
const PAGE: u32 = 64;

/// Reads the entries in their order, a page at a time.
pub struct Beside<'a> {
    store: Option<&'a Store>,
    runtime: Handle,
    session: SessionId,
    /// The number of the last one that can be read.
    until: u64,
    /// The number of the last one that was read.
    read: u64,
    page: VecDeque<Entry>,
}

impl<'a> Beside<'a> {
    /// Before the first of so many.
    pub fn new(store: Option<&'a Store>, runtime: Handle, session: SessionId, until: u64) -> Self {
        Self { store, runtime, session, until, read: 0, page: VecDeque::new() }
    }

    /// Whether what is stored in the places of a line's entries is they. Lines are asked for in their order.
    pub fn agrees(&mut self, entries: &[Entry], line: &Line<'_>) -> Result<bool, Failure> {
        let until = self.until;
        for entry in entries.iter().take_while(|entry| entry.seq <= until) {
            if !self.next(entry.seq)?.is_some_and(|stored| agree(entry, line, &stored)) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The entry of this number.
    fn next(&mut self, seq: u64) -> Result<Option<Entry>, Failure> {
        while self.page.pop_front_if(|entry| entry.seq < seq).is_some() {}
        if self.page.is_empty()
            && let Some(store) = self.store
        {
            let after = self.read.max(seq.saturating_sub(1));
            let page = store.read().entries(self.session, after, PAGE);
            self.page = self.runtime.block_on(page).map_err(super::unread)?.into();
            self.read = self.page.back().map_or(after, |entry| entry.seq);
        }
        Ok(self.page.pop_front_if(|entry| entry.seq == seq))
    }
}

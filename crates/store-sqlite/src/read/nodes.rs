//! Reads of nodes.

use sexton_domain::node::Node;

use crate::fail::Fail;
use crate::read::{View, at_most};

pub(crate) const NEWEST: &str = "SELECT epoch, body FROM node ORDER BY epoch DESC";
pub(crate) const LIVING: &str =
    "SELECT epoch, body FROM node INDEXED BY node_living WHERE ended = 0 ORDER BY epoch";

/// See [`sexton_store::Driver::nodes`].
pub(crate) fn newest(view: &View<'_>, limit: u32) -> Result<Vec<Node>, Fail> {
    view.list(NEWEST, Vec::new(), at_most(limit))
}

/// See [`sexton_store::Driver::living_nodes`].
pub(crate) fn living(view: &View<'_>) -> Result<Vec<Node>, Fail> {
    view.list(LIVING, Vec::new(), usize::MAX)
}

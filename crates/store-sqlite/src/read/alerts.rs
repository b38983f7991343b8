//! Reads of alerts.

use sexton_domain::alert::Alert;

use crate::fail::Fail;
use crate::read::{View, at_most};

pub(crate) const ACTIVE: &str = "SELECT key, body FROM alert INDEXED BY alert_active \
     WHERE cleared_at IS NULL ORDER BY raised_at DESC, key DESC";
pub(crate) const CLEARED: &str = "SELECT key, body FROM alert INDEXED BY alert_cleared \
     WHERE cleared_at IS NOT NULL ORDER BY cleared_at DESC, key DESC";

/// See [`sexton_store::Driver::alerts`].
pub(crate) fn alerts(view: &View<'_>, limit: u32) -> Result<Vec<Alert>, Fail> {
    let limit = at_most(limit);
    let mut alerts: Vec<Alert> = view.list(ACTIVE, Vec::new(), limit)?;
    alerts.extend(view.list::<Alert>(CLEARED, Vec::new(), limit - alerts.len())?);
    Ok(alerts)
}

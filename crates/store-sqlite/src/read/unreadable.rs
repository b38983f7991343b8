//! Rows that cannot be read, by what their key columns say.

use rusqlite::types::Value;
use rusqlite::{Row, params_from_iter};
use sexton_domain::alert::Alert;
use sexton_domain::change::{RecordId, Version};
use sexton_domain::hook::{Delivery, Hook};
use sexton_domain::node::{Epoch, Node};
use sexton_domain::sweep::Reaper;
use sexton_store::Error;
use sexton_store::page::{Suspects, Unreadable};

use crate::codec;
use crate::fail::Fail;
use crate::read::{View, uuid};
use crate::record::alert;
use crate::table;

// Each answers the identity, the body and the version, and the event of a delivery.
pub(crate) const NODES: &str = "SELECT epoch, body, version FROM node ORDER BY epoch DESC LIMIT ?";
pub(crate) const HOOKS: &str = "SELECT name, body, version FROM hook ORDER BY name LIMIT ?";
pub(crate) const ACTIVE: &str = "SELECT key, body, version FROM alert INDEXED BY alert_active \
     WHERE cleared_at IS NULL ORDER BY raised_at DESC, key DESC LIMIT ?";
pub(crate) const CLEARED: &str = "SELECT key, body, version FROM alert INDEXED BY alert_cleared \
     WHERE cleared_at IS NOT NULL ORDER BY cleared_at DESC, key DESC LIMIT ?";
pub(crate) const REAPER: &str = "SELECT one, body, version FROM reaper LIMIT ?";
pub(crate) const DELIVERIES: &str = "SELECT id, body, version, event FROM delivery \
     INDEXED BY delivery_oldest WHERE hook = ? AND state = 'pending' ORDER BY seq LIMIT ?";

/// See [`sexton_store::Driver::unreadable`].
pub(crate) fn unreadable(
    view: &View<'_>,
    among: &Suspects,
    limit: u32,
) -> Result<Vec<Unreadable>, Fail> {
    let limit = codec::number(limit.into());
    match among {
        Suspects::Nodes => of::<Node>(view, NODES, vec![limit], |row| {
            Ok(Some(RecordId::Node(Epoch::from_number(codec::unsigned(row.get(0)?)))))
        }),
        Suspects::Hooks => of::<Hook>(view, HOOKS, vec![limit], |row| {
            Ok(row.get::<_, String>(0)?.parse().ok().map(RecordId::Hook))
        }),
        Suspects::Alerts => {
            let id = |row: &Row<'_>| Ok(alert::key(&row.get::<_, String>(0)?).map(RecordId::Alert));
            let mut found = of::<Alert>(view, ACTIVE, vec![limit.clone()], id)?;
            found.extend(of::<Alert>(view, CLEARED, vec![limit], id)?);
            Ok(found)
        }
        Suspects::Reaper => of::<Reaper>(view, REAPER, vec![limit], |_| Ok(Some(RecordId::Reaper))),
        Suspects::Deliveries(hook) => {
            let values = vec![codec::text(hook.as_str()), limit];
            of::<Delivery>(view, DELIVERIES, values, |row| {
                Ok(Some(RecordId::Delivery(uuid(row, 0)?.into())))
            })
        }
    }
}

/// Those rows of a query that cannot be read as what they are. One whose identity cannot be read either
/// is nobody's.
fn of<R: table::Row>(
    view: &View<'_>,
    sql: &str,
    values: Vec<Value>,
    id: impl Fn(&Row<'_>) -> Result<Option<RecordId>, Fail>,
) -> Result<Vec<Unreadable>, Fail> {
    let mut found = Vec::new();
    let mut statement = view.db.prepare_cached(sql)?;
    let mut rows = statement.query(params_from_iter(values))?;
    while let Some(row) = rows.next()? {
        match table::read::<R>(row) {
            Ok(_) => {}
            Err(Fail::Store(Error::Corrupt { .. })) => {
                let Some(id) = id(row)? else { continue };
                let event = match id {
                    RecordId::Delivery(_) => Some(uuid(row, 3)?.into()),
                    _ => None,
                };
                let version = Version(codec::unsigned(row.get(2)?));
                found.push(Unreadable { id, version, event });
            }
            Err(other) => return Err(other),
        }
    }
    Ok(found)
}

//! Boot: kills what is left of hook commands whose shim was killed with the gateway.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use sexton_domain::id::DeliveryId;
use sexton_store::{Error, Store};
use uuid::Uuid;

use crate::env::Env;

/// Kills processes that work for deliveries of this store. To be called before anything is delivered:
/// then all of them are left over.
///
/// In two passes, because who lives is known to the executor and what is ours to the store.
pub(crate) async fn bury(store: &Store, env: &Env) {
    if let Err(error) = try_bury(store, env).await {
        tracing::error!(%error, "survivors of hook commands could not be looked for");
    }
}

async fn try_bury(store: &Store, env: &Env) -> Result<(), Error> {
    let seen = Mutex::new(BTreeSet::new());
    let look = |id: Uuid| {
        seen.lock().unwrap_or_else(PoisonError::into_inner).insert(id);
        false
    };
    if let Err(error) = env.executor.bury(&look).await {
        tracing::error!(%error, "survivors of hook commands could not be looked for");
        return Ok(());
    }
    let mut ours = BTreeSet::new();
    for id in seen.into_inner().unwrap_or_else(PoisonError::into_inner) {
        if store.delivery(DeliveryId::from(id)).await?.is_some() {
            ours.insert(id);
        }
    }
    if ours.is_empty() {
        return Ok(());
    }
    match env.executor.bury(&|id| ours.contains(&id)).await {
        Ok(killed) => {
            for survivor in killed {
                tracing::warn!(delivery.id = %survivor.run, pid = survivor.process.pid,
                    "killed a process of a hook that had outlived its gateway");
            }
        }
        Err(error) => tracing::error!(%error, "a process of a hook does not die"),
    }
    Ok(())
}

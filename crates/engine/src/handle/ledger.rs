//! The ledger: what the agents' model calls took, summed up.

use std::collections::BTreeMap;

use jiff::civil::Date;
use sexton_domain::id::JobId;
use sexton_domain::name::JobKey;
use sexton_domain::usage::{self, By, Group, Sum};

use super::{Error, Handle};

/// Sums of the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ledger {
    /// In the order for reading.
    pub sums: Vec<(Group, Sum)>,
    /// All of them together.
    pub total: Sum,
    /// The keys of the jobs in it, of removed ones, too, while their records are kept.
    pub keys: BTreeMap<JobId, JobKey>,
}

impl Handle {
    /// What the reports from a UTC day on say, summed up.
    ///
    /// # Errors
    ///
    /// When the store fails.
    pub async fn usage(&self, by: By, from: Date) -> Result<Ledger, Error> {
        let days = self.0.store.read().daily_usage(from).await?;
        let (sums, total) = usage::sums(&days, by);
        let mut keys = BTreeMap::new();
        for (group, _) in &sums {
            let Group::Job(Some(id)) = group else { continue };
            match self.0.store.job(*id).await {
                Ok(job) => keys.extend(job.map(|job| (*id, job.key))),
                Err(error @ sexton_store::Error::Corrupt { .. }) => {
                    tracing::warn!(job.id = %id, %error, "a job of the ledger cannot be read; its id stands for it");
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(Ledger { sums, total, keys })
    }
}
